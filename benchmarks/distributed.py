"""A cluster that loses a machine, and two processes beside one.

The 1,021 files of the violin corpus are scanned by processes of this machine (loky) and by a Dask cluster of a scheduler
and three workers, each a process of its own over loopback. Once half of the files are read, one worker and the nanny
that would start it anew are killed (SIGKILL). `lost` counts the pieces, with all that the manifest says of them and
all of their notes, that only loky has found, `duplicated` those that only the cluster has found.

The same corpus is then learned by one process and by two that torchrun starts (gloo, on this machine's processor):
50 steps of the default network on one schedule, in float32 and without dropout. `ddp_max_weight_difference` is the
largest difference between any two weights, whether they have much of a gradient or little.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # this script must not be taken for the package of its name

import hashlib
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import load_file

from cadenza.corpus.scan import Corpus, scan
from cadenza.corpus.sources import open_source
from cadenza.records import Progress
from cadenza.settings import CorpusSettings, Settings
from local_cluster import LocalCluster, kill, local_cluster
from timing import arguments, corpus, needs, one_thread, report

WORKERS, STEPS = 3, 50
TRAINING = ("train.evaluations=1", f"train.steps={STEPS}", "train.precision=float32", "model.dropout=0", "train.threads=1")  # fmt: skip

Found = Counter[tuple[object, str]]


def main() -> None:
    one_thread()
    needs(["dask"])
    archive = corpus(arguments(__doc__).data, "violin-etudes.tar.gz")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here, there = scan_here(archive), scan_there(archive, folder)
        apart = weights_apart(archive, folder)
    lost, duplicated = here - there, there - here
    figures = {
        "killed": 1,
        "lost": lost.total(),
        "duplicated": duplicated.total(),
        "ddp_max_weight_difference": float(f"{apart:.3g}"),
    }
    report(
        [
            f"{here.total():,} entries by loky, {there.total():,} by a cluster of {WORKERS} workers that lost one",
            f"weights after {STEPS} steps in two processes and in one: at most {apart:.2g} apart",
        ],
        figures,
    )


def scan_here(archive: Path) -> Found:
    with open_source(str(archive), settings := Settings(corpus=CorpusSettings(workers=2))) as source:
        return found_in(finish(scan(source, settings)))


def scan_there(archive: Path, folder: Path) -> Found:
    """By a cluster that loses a worker half way."""
    with local_cluster(folder, WORKERS) as cluster:
        settings = Settings(corpus=CorpusSettings(backend="dask", scheduler=cluster.address))
        with open_source(str(archive), settings) as source:
            return found_in(finish(scan(source, settings), cluster))


def finish(records: Iterator[Progress], cluster: LocalCluster | None = None) -> Corpus:
    """The corpus; a cluster loses its first worker at the first record of a half."""
    while True:
        try:
            record = next(records)
        except StopIteration as done:
            found: Corpus = done.value
            assert cluster is None or cluster.workers[0].poll() is not None
            return found
        if cluster is not None and cluster.workers[0].poll() is None and 2 * record.done >= record.total:
            kill(cluster.workers[0])


def found_in(corpus: Corpus) -> Found:
    """Every line of the manifest, with a digest of the notes where there are any."""
    notes = iter(hashlib.sha256(b"".join(column.tobytes() for column in piece.columns)).hexdigest() for piece in corpus.pieces)  # fmt: skip
    return Counter((entry, "" if entry.reason else next(notes)) for entry in corpus.entries)


def weights_apart(archive: Path, folder: Path) -> float:
    """The largest difference of a weight after training in one process and in two."""
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    runs = [train(archive, folder / "one"), train(archive, folder / "two", *torchrun)]
    one, two = (load_file(run / "state.safetensors") for run in runs)
    return max(float((one[key] - two[key]).abs().max()) for key in one if key.startswith("model."))


def train(archive: Path, out: Path, *launcher: str) -> Path:
    settings = [part for setting in TRAINING for part in ("--set", setting)]
    command = [sys.executable, *launcher, "-m", "cadenza", "train", str(archive), "--out", str(out), *settings]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=sys.stderr)
    return out


if __name__ == "__main__":
    main()
