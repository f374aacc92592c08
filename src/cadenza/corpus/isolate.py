"""Run a function over items in worker processes, so that an item that kills or hangs one costs only itself.

Batches of items go through joblib. Each worker notes which item it is at, and a watchdog ends it
when one item takes too long. When a worker dies, the items that were being worked on run again, one
to a process; what dies then is a `Casualty`, everything else goes on. On a cluster, `cluster` does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky.process_executor import BrokenProcessPool

from cadenza.corpus.cluster import Cluster, cluster_map
from cadenza.corpus.temporary import in_temporary, scratch
from cadenza.corpus.worker import MARKER, SPARE_BYTES, Casualty, batches_of, taken, work_into
from cadenza.errors import CadenzaError

__all__ = ["Casualty", "Cluster", "isolated_map", "run_alone"]

ATTEMPTS = 3
"""So often in a row may all workers be lost before any has begun."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def isolated_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int = 0,
    seconds: float = 20,
    cluster: Cluster | None = None,
) -> Iterator[tuple[int, Result | Casualty]]:
    """Yield (index, result) for every item, in no fixed order.

    `function` must be importable and should return, not raise. `workers` 0 takes one per core, and
    at least two processes are used, since one would be this very process. A `cluster` works with all it has.
    """
    if cluster is not None:
        yield from cluster_map(function, items, seconds, cluster)
        return
    with in_temporary():  # the only place that is written to
        yield from local_map(function, items, max(2, workers or cpu_count()), seconds)


def local_map(
    function: Callable[[Item], Result], items: Sequence[Item], processes: int, seconds: float
) -> Iterator[tuple[int, Result | Casualty]]:
    """`isolated_map` on this machine."""
    todo, fruitless = list(range(len(items))), 0
    while todo:
        with scratch("cadenza-workers-") as folder:
            done: set[int] = set()
            suspects: set[int] = set()
            try:
                for batch in run_batches(function, items, todo, processes, seconds, folder):
                    done.update(index for index, _ in batch)
                    yield from batch
            except BrokenProcessPool as error:
                suspects = {int(marker.read_text() or -1) for marker in folder.glob(f"*{MARKER}")} & set(todo) - done
                fruitless = 0 if done | suspects else fruitless + 1
                if fruitless == ATTEMPTS:
                    raise CadenzaError(
                        f"The processes that read files end before they begin ({str(error).splitlines()[0]}); free memory, or have fewer of them (corpus.workers)."
                    ) from error
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
) -> Iterator[list[tuple[int, Result | Casualty]]]:
    parallel = Parallel(n_jobs=processes, backend="loky", return_as="generator_unordered", batch_size=1)
    left = parallel(
        delayed(work_into)(folder / str(batch[0]), function, [(index, items[index]) for index in batch], seconds)
        for batch in batches_of(indices, processes)
    )
    yield from map(taken, left)


def run_alone(
    function: Callable[[Item], Result], item: Item, seconds: float, spare: int | None = SPARE_BYTES
) -> Result | Casualty:
    """The result of one item, worked on by a process of this machine that may die of it; memory as in `work`."""
    with scratch("cadenza-worker-") as folder:
        try:
            [left] = Parallel(n_jobs=2, backend="loky")(
                [delayed(work_into)(folder / "0", function, [(0, item)], seconds, spare)]
            )
            [(_, result)] = taken(left)
            return cast(Result | Casualty, result)
        except BrokenProcessPool:
            return Casualty.after(seconds)
