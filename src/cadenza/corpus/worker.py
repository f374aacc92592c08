"""What a worker does with a batch of items: one after the other, within bounds of memory, under a watchdog that ends the process.

It leaves the results in a file. A pipe that many workers share would do for them only as long as none is killed while
it writes: half a result is waited for without end. The name of a file is short enough to be written at once.

The watchdog is a thread of the interpreter's own (faulthandler), so code that never lets go of the interpreter cannot
hold it up. It watches over a whole process, which is why that may work on one batch only at a time.
"""

from __future__ import annotations

import faulthandler
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cadenza.corpus.temporary import in_temporary

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH = 16
MARKER = ".at"
SPARE_BYTES = 2**30
"""What a process may hold more while it works on an item than before."""
REARM_SHARE = 0.1
"""The watchdog is set anew after this share of an item's time, since that costs as much as a small file."""


@dataclass(frozen=True)
class Casualty:
    """Stands for the result of an item whose worker died."""

    reason: str

    @classmethod
    def after(cls, seconds: float) -> Casualty:
        return cls(f"it crashed the reader, or kept it busy for over {seconds:g} s (midi.max_seconds)")

    @classmethod
    def of_memory(cls) -> Casualty:
        return cls(f"it takes more than {SPARE_BYTES >> 30} GiB of memory to read")


def batches_of(indices: Sequence[int], workers: int) -> Iterator[Sequence[int]]:
    """Portions for the workers, four for each at least as far as there are items."""
    size = max(1, min(BATCH, -(-len(indices) // (4 * workers))))
    return (indices[first : first + size] for first in range(0, len(indices), size))


def work(
    function: Callable[[Item], Result],
    batch: Sequence[tuple[int, Item]],
    seconds: float,
    marker: Path,
    spare: int | None = SPARE_BYTES,
) -> list[tuple[int, Result | Casualty]]:
    """One task of a worker; `marker` holds the index of the item in hand, `spare` None is no bound on memory."""
    results: list[tuple[int, Result | Casualty]] = []
    with open(marker, "w", encoding="ascii") as place, open(os.devnull, "w", encoding="ascii") as nowhere:
        armed = -math.inf
        try:
            for index, item in batch:
                place.seek(0)
                place.write(f"{index:<20}")
                place.flush()
                if time.monotonic() - armed > REARM_SHARE * seconds:
                    armed = time.monotonic()
                    faulthandler.dump_traceback_later((1 + REARM_SHARE) * seconds, exit=True, file=nowhere)
                results.append((index, within(spare, function, item)))
        finally:
            faulthandler.cancel_dump_traceback_later()
    return results


def work_into(
    path: Path,
    function: Callable[[Item], Result],
    batch: Sequence[tuple[int, Item]],
    seconds: float,
    spare: int | None = SPARE_BYTES,
) -> Path:
    """`work`, its results left at the path that is returned, the index of the item in hand at `path` with suffix .at.

    Results for which there is no room raise `CadenzaError`.
    """
    results = work(function, batch, seconds, path.with_suffix(MARKER), spare)
    with in_temporary(), open(path, "wb") as file:
        pickle.dump(results, file, pickle.HIGHEST_PROTOCOL)
    return path


def taken(path: Path) -> list[tuple[int, Any]]:
    """What `work_into` has left there, which is removed."""
    with open(path, "rb") as file:
        found: list[tuple[int, Any]] = pickle.load(file)  # noqa: S301 - left by a worker in a folder of our own
    path.unlink()
    return found


def within(spare: int | None, function: Callable[[Item], Result], item: Item) -> Result | Casualty:
    """What the function makes of the item, unless that takes too much memory."""
    if spare is None:
        return function(item)
    try:
        with bounded_memory(spare):
            return function(item)
    except MemoryError:
        return Casualty.of_memory()


@contextmanager
def bounded_memory(spare: int) -> Iterator[None]:
    """No more than `spare` bytes on top of what this process holds, where the system can see to that (Linux)."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = pages * resource.getpagesize() + spare
    resource.setrlimit(resource.RLIMIT_DATA, (most if soft == resource.RLIM_INFINITY else min(most, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
