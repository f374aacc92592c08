"""Grouping by work against the truth, and how long it takes.

Grouping knows neither names nor truth. The violin corpus (1,021 performances) is judged by the piece
of each file, the piano corpus (112 performances of four works) by its file names; both are read
beforehand. The large set is made of the fiddle tunes: each copy is transposed and stretched, one note
in 20 is changed or missing, and every fourth is an excerpt. Its recall counts pairs of copies of one
tune; its precision allows for tunes that are found to be the same work before any is copied. Times
include the n-grams; one process does all. They are wall times of one round (the large set) and of
the best of five (the violin corpus).
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

import numpy as np

from cadenza.corpus.scan import Corpus, scan
from cadenza.corpus.sources import open_source
from cadenza.corpus.works import group_works
from cadenza.notes import Notes
from cadenza.records import outcome
from cadenza.settings import Settings
from timing import arguments, corpus, one_thread, report, seconds

COPIES = 100_000
ROUNDS = 5
CHANGED, MISSING, CUT = 0.03, 0.02, 0.25
SHORTEST = 60
"""Notes that an excerpt keeps at least."""


def main() -> None:
    one_thread()
    data = arguments(__doc__).data
    violin, vienna = (read(str(corpus(data, name))) for name in ("violin-etudes.tar.gz", "vienna4x22-midi.zip"))
    table = corpus(data, "split_by_piece.csv")
    recall, precision = agreement(violin_truth(violin, table), found := works(violin.pieces))
    piano_recall, piano_precision = agreement(vienna_truth(vienna), works(vienna.pieces))
    quick = min(seconds(lambda: group_works(violin.pieces)) for _ in range(ROUNDS))

    tunes = read("fiddle").pieces
    of_tune = works(tunes)
    parents = [number % len(tunes) for number in range(COPIES)]
    copies = [copied(tunes[parent], number) for number, parent in enumerate(parents)]
    groups: list[int] = []
    slow = seconds(lambda: groups.extend(works(copies)))
    many_recall = agreement(parents, groups)[0]
    many_precision = agreement([of_tune[parent] for parent in parents], groups)[1]
    report(
        [
            f"violin: {len(found):,} performances in {len(set(found)):,} works, {quick:.2f} s; of the pairs of one piece {recall:.2%} found, of those found {precision:.2%} right",
            f"piano:  {len(vienna.pieces):,} performances; {piano_recall:.2%} and {piano_precision:.2%}",
            f"copies: {COPIES:,} of {len(tunes):,} tunes ({len(set(of_tune)):,} works) in {len(set(groups)):,} works, {slow:.0f} s; {many_recall:.2%} and {many_precision:.2%}",
        ],
        {
            "pairs_recall": round(recall, 4),
            "pairs_precision": round(precision, 4),
            "vienna_recall": round(piano_recall, 4),
            "vienna_precision": round(piano_precision, 4),
            "seconds_1021_files": round(quick, 3),
            "seconds_100k_pieces": round(slow, 1),
            "recall_100k": round(many_recall, 4),
            "precision_100k": round(many_precision, 4),
        },
    )


def read(given: str) -> Corpus:
    with open_source(given, Settings()) as source:
        return outcome(scan(source, Settings()))


def works(pieces: Sequence[Notes]) -> list[int]:
    return group_works(pieces).tolist()


def violin_truth(violin: Corpus, table: Path) -> list[str]:
    """The piece of each performance, by the table that comes with the corpus."""
    with open(table, encoding="utf-8", newline="") as rows:
        piece = {row["file"]: f"{row['book']} {row['piece']}" for row in csv.DictReader(rows)}
    return [piece["/".join(entry.name.split("/")[-2:])] for entry in violin.kept]


def vienna_truth(vienna: Corpus) -> list[tuple[str, ...]]:
    """Composer and opus; the two lengths of opus 38 are one work."""
    return [tuple(entry.name.split("/")[-1].split("_")[:2]) for entry in vienna.kept]


def agreement(truth: Sequence[Hashable], found: Sequence[int]) -> tuple[float, float]:
    """Recall and precision of the pairs that share a label."""

    def pairs(labels: Iterator[Hashable]) -> int:
        return sum(count * (count - 1) // 2 for count in Counter(labels).values())

    both = pairs(zip(truth, found, strict=True))
    return both / pairs(iter(truth)), both / pairs(iter(found))


def copied(tune: Notes, seed: int) -> Notes:
    """The tune in another key and tempo, with some notes changed and some missing, or a part of it."""
    rng = np.random.default_rng(seed)
    if rng.random() < CUT and len(tune) > SHORTEST:
        length = int(rng.integers(max(SHORTEST, len(tune) // 3), len(tune)))
        first = int(rng.integers(0, len(tune) - length + 1))
        tune = tune[first : first + length]
    tune = tune[rng.random(len(tune)) >= MISSING]
    pitch = tune.pitch + rng.integers(1, 4, len(tune)) * rng.choice([-1, 1], len(tune)) * (
        rng.random(len(tune)) < CHANGED
    )
    ratio = rng.uniform(0.7, 1.4)
    onset, duration = (np.rint(column * ratio).astype(int) for column in (tune.onset, tune.duration))
    return Notes.of(onset, pitch + rng.integers(-6, 7), np.maximum(duration, 1), tune.velocity, tune.header)


if __name__ == "__main__":
    main()
