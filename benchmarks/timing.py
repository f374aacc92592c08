"""What the benchmarks share: finding the corpora, timing two ways of working in turn, printing figures.

In: the command line (`--data FOLDER`). Out: seconds per round; human lines, then one JSON line.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line that all benchmarks take."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--data",
        type=Path,
        default=ROOT.parent / "shared" / "data",
        metavar="FOLDER",
        help="where the corpora are, for benchmarks that read one; ../shared/data, seen from the repository, unless given",
    )
    return made


def arguments(description: str | None) -> argparse.Namespace:
    return parser(description).parse_args()


def corpus(data: Path, name: str) -> Path:
    """The file `name` in the data folder; without it the benchmark ends with exit code 2."""
    path = data / name
    if not path.is_file():
        give_up(f"There is no {name} in {os.path.relpath(data)}; give its folder with --data FOLDER.")
    return path


def needs(packages: Sequence[str]) -> None:
    """Without one of the packages the benchmark ends with exit code 2."""
    absent = [package for package in packages if find_spec(package) is None]
    if absent:
        give_up(f"This benchmark needs {' and '.join(absent)}; install cadenza with its extra, '.[benchmarks]'.")


def give_up(reason: str) -> NoReturn:
    """End with one sentence and exit code 2."""
    print(reason, file=sys.stderr)
    raise SystemExit(2)


def one_thread() -> None:
    """Start this script anew with one thread per process: libraries read how many when they load."""
    if any(os.environ.get(key) != value for key, value in ONE_THREAD.items()):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **ONE_THREAD})


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, with the garbage of others cleared away first."""
    gc.collect()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def alternate(ours: Callable[[], object], peer: Callable[[], object], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of every round of both, in turn and each going first as often, after one unmeasured round."""
    ours()
    peer()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            times[which].append(seconds((ours, peer)[which]))
    return times


def report(lines: list[str], figures: Mapping[str, float | None]) -> None:
    """Human lines, then the figures as one line of JSON."""
    print("\n".join(lines))
    print(json.dumps(figures))
