"""Scanning speed against bare parsing.

The 1,021 files of the violin corpus, unpacked beforehand, go through a full scan (isolated workers,
digests, statistics, duplicates, grouping by work) and through bare `symusic.Score(path)`; both on
two processes that are already running. Both work in turn, and the best round of each counts.
"""

from __future__ import annotations

from joblib import Parallel, delayed
from symusic import Score

from cadenza.corpus.scan import Corpus, scan
from cadenza.corpus.sources import Source, open_source
from cadenza.records import outcome
from cadenza.settings import CorpusSettings, Settings
from timing import alternate, arguments, corpus, one_thread, report

PROCESSES = 2
ROUNDS = 9
BATCH = 16


def main() -> None:
    one_thread()
    archive = corpus(arguments(__doc__).data, "violin-etudes.tar.gz")
    settings = Settings(corpus=CorpusSettings(workers=PROCESSES))
    with open_source(str(archive), settings) as source:
        files = len(source.files)
        ours, peer = alternate(lambda: full_scan(source, settings), lambda: bare_parse(source), ROUNDS)
    figures = {"files_per_second": round(files / min(ours)), "ratio_vs_parse_only": round(min(ours) / min(peer), 2)}
    report(
        [
            f"{files:,} files, best of {ROUNDS} rounds on {PROCESSES} processes",
            f"cadenza scan:  {files / min(ours):8,.0f} files per second",
            f"symusic alone: {files / min(peer):8,.0f} files per second",
        ],
        figures,
    )


def full_scan(source: Source, settings: Settings) -> Corpus:
    found = outcome(scan(source, settings))
    assert len(found.pieces) + len(found.dropped) == len(source.files)
    return found


def bare_parse(source: Source) -> None:
    tracks = Parallel(n_jobs=PROCESSES, backend="loky", batch_size=BATCH)(
        delayed(track_count)(str(file.path)) for file in source.files
    )
    assert len(tracks) == len(source.files) and all(tracks)


def track_count(path: str) -> int:
    return len(Score(path).tracks)


if __name__ == "__main__":
    main()
