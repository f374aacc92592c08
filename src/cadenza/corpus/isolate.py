"""Run a function over items in worker processes, so that an item that kills or hangs one costs only itself.

Batches of items go through joblib. Each worker notes which item it is at, and a watchdog ends it
when one item takes too long. When a worker dies, the items that were being worked on run again, one
to a process; what dies then is a `Casualty`, everything else goes on.
"""

from __future__ import annotations

import faulthandler
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky.process_executor import BrokenProcessPool

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH = 16
REARM_SHARE = 0.1
"""The watchdog is set anew after this share of an item's time, since that costs as much as a small file."""


@dataclass(frozen=True)
class Casualty:
    """Stands for the result of an item whose worker died."""

    reason: str


def isolated_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int = 0, seconds: float = 20
) -> Iterator[tuple[int, Result | Casualty]]:
    """Yield (index, result) for every item, in no fixed order.

    `function` must be importable and should return, not raise. `workers` 0 takes one per core, and
    at least two processes are used, since one would be this very process.
    """
    todo = list(range(len(items)))
    processes = max(2, workers or cpu_count())
    while todo:
        with tempfile.TemporaryDirectory(prefix="cadenza-workers-") as folder:
            done: set[int] = set()
            suspects: set[int] = set()
            try:
                for batch in run_batches(function, items, todo, processes, seconds, Path(folder)):
                    done.update(index for index, _ in batch)
                    yield from batch
            except BrokenProcessPool:
                suspects = {int(marker.read_text() or -1) for marker in Path(folder).iterdir()} & set(todo) - done
                if not done | suspects:  # no worker ever began: trying again would never end
                    raise
            todo = [index for index in todo if index not in done]
        for index in sorted(suspects):
            yield index, run_alone(function, items[index], seconds)
        todo = [index for index in todo if index not in suspects]


def run_batches(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    indices: Sequence[int],
    processes: int,
    seconds: float,
    folder: Path,
) -> Iterator[list[tuple[int, Result]]]:
    size = max(1, min(BATCH, -(-len(indices) // (4 * processes))))
    batches = [indices[first : first + size] for first in range(0, len(indices), size)]
    parallel = Parallel(n_jobs=processes, backend="loky", return_as="generator_unordered", batch_size=1)
    yield from parallel(
        delayed(work)(function, [(index, items[index]) for index in batch], seconds, folder / str(batch[0]))
        for batch in batches
    )


def run_alone(function: Callable[[Item], Result], item: Item, seconds: float) -> Result | Casualty:
    with tempfile.TemporaryDirectory(prefix="cadenza-worker-") as folder:
        try:
            [[(_, result)]] = Parallel(n_jobs=2, backend="loky")(
                [delayed(work)(function, [(0, item)], seconds, Path(folder) / "0")]
            )
            return cast(Result, result)
        except BrokenProcessPool:
            return Casualty(f"it crashed the reader, or kept it busy for over {seconds:g} s")


def work(
    function: Callable[[Item], Result], batch: Sequence[tuple[int, Item]], seconds: float, marker: Path
) -> list[tuple[int, Result]]:
    """One task of a worker; `marker` holds the index of the item in hand."""
    results = []
    with open(marker, "w", encoding="ascii") as place, open(os.devnull, "w", encoding="ascii") as nowhere:
        armed = -math.inf
        for index, item in batch:
            place.seek(0)
            place.write(f"{index:<20}")
            place.flush()
            if time.monotonic() - armed > REARM_SHARE * seconds:
                armed = time.monotonic()
                faulthandler.dump_traceback_later((1 + REARM_SHARE) * seconds, exit=True, file=nowhere)
            results.append((index, function(item)))
        faulthandler.cancel_dump_traceback_later()
    return results
