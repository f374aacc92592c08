"""An existing Dask cluster (Rocklin, 2015) as the workers of `isolate`: all its machines see the same files.

The tasks go through Dask's own client. (joblib has a backend for Dask, but a task that has killed too many workers
is never reported to it, and it waits without end.) A worker that dies takes no result along: Dask gives its tasks to
others, until as many have died of one as the scheduler allows (three more than the first, unless it is set). Only then
may a task be to blame: its items run again, one after the other and nothing beside them, and what kills as many
workers once more is a `Casualty`. Nannies, which `dask worker` has unless told otherwise, start dead workers anew.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from socket import gethostname
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from cadenza.corpus.worker import Casualty, batches_of, work
from cadenza.errors import CadenzaError

if TYPE_CHECKING:
    from dask.distributed import Client
    from dask.distributed import Future as Task

Item = TypeVar("Item")
Result = TypeVar("Result")
Answer = TypeVar("Answer")

AHEAD = 1000
"""Batches that are known to the cluster at once: more than its workers can have in hand, fewer than weigh anything."""
CONNECT_SECONDS, WORKER_SECONDS = 10, 60
"""How long a scheduler may take to answer, and a cluster to have a worker (again)."""
SILENT_SECONDS = 5
"""After so long without a result it is asked whether there is still a cluster."""
SAME_EVERYWHERE = ("python", "dask", "distributed", "cloudpickle")
SAME_WHERE_FILES_ARE_READ = ("cadenza", "numpy", "symusic")


@dataclass(frozen=True)
class Cluster:
    """The address of its scheduler, and a file by which a worker can tell that it sees what it is to read."""

    scheduler: str
    witness: Path


def cluster_map(
    function: Callable[[Item], Result], items: Sequence[Item], seconds: float, cluster: Cluster
) -> Iterator[tuple[int, Result | Casualty]]:
    """`isolated_map` on a cluster; one that cannot be used, or is lost, raises `CadenzaError`."""
    suspects: list[int] = []
    with connected(cluster.scheduler) as client:
        workers = len(check(client, cluster.scheduler))
        make = Maker(function, items, seconds, cluster)
        for batch, results in run_batches(client, make, batches_of(range(len(items)), workers), AHEAD):
            if results is None:
                suspects += batch
            else:
                yield from results
        for [index], results in run_batches(client, make, ([index] for index in suspects), 1):
            yield (index, Casualty.after(seconds)) if results is None else results[0]


@dataclass(frozen=True)
class Maker:
    """Tasks for a cluster."""

    function: Callable[[Any], Any]
    items: Sequence[Any]
    seconds: float
    cluster: Cluster

    def submit(self, client: Client, batch: Sequence[int]) -> Task:
        known = [(index, self.items[index]) for index in batch]
        asked = (self.function, known, self.seconds, self.cluster.witness, software())
        return client.submit(work_in_sight, *asked, pure=False)


def work_in_sight(
    function: Callable[[Item], Result],
    batch: Sequence[tuple[int, Item]],
    seconds: float,
    witness: Path,
    versions: Mapping[str, str | None],
) -> list[tuple[int, Result | Casualty]]:
    """One task of a worker of a cluster; a worker that cannot do it raises `CadenzaError`."""
    compare(f"worker on {gethostname()}", software(), versions, SAME_WHERE_FILES_ARE_READ)
    if not witness.exists():
        raise CadenzaError(
            f"The worker on {gethostname()} does not see {witness}; put the music where all machines of the cluster see it under the same path (archives are unpacked where TMPDIR says)."
        )
    return work(function, batch, seconds, Path(os.devnull))


@cache
def software() -> Mapping[str, str | None]:
    """The versions in this process of what reads files."""
    return {package: version(package) for package in SAME_WHERE_FILES_ARE_READ}


def run_batches(
    client: Client, make: Maker, batches: Iterator[Sequence[int]], ahead: int
) -> Iterator[tuple[Sequence[int], list[tuple[int, Any]] | None]]:
    """Every batch with its results, or None if it has ended all workers that it met; `ahead` of them are under way."""
    finished: SimpleQueue[Task] = SimpleQueue()
    under_way: dict[str, Sequence[int]] = {}
    while True:
        for batch in islice(batches, ahead - len(under_way)):
            future = make.submit(client, batch)
            under_way[future.key] = batch
            future.add_done_callback(finished.put)
        if not under_way:
            return
        future = patiently(client, lambda: finished.get(timeout=SILENT_SECONDS))
        yield under_way.pop(future.key), results_of(client, future)


def results_of(client: Client, future: Task) -> list[tuple[int, Any]] | None:
    from dask.distributed import KilledWorker

    try:
        return patiently(client, lambda: future.result(timeout=SILENT_SECONDS))
    except KilledWorker:
        return None
    except CancelledError:
        raise lost() from None
    except (ImportError, RuntimeError) as error:  # the function or its items cannot be loaded there
        why = str(error.__cause__ or error).splitlines()[0]
        raise CadenzaError(
            f"The cluster cannot load this version of Cadenza ({why}); install the same one for its scheduler and its workers."
        ) from None


def patiently(client: Client, ask: Callable[[], Answer]) -> Answer:
    """What is asked for, however long that takes, as long as there is a cluster to do it."""
    while True:
        try:
            return ask()
        except (Empty, TimeoutError):
            check_alive(client)


def check_alive(client: Client) -> None:
    """A cluster that has lost its scheduler, or all of its workers for long, raises `CadenzaError`."""
    try:
        if client.status != "running":
            raise OSError
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError:
        raise CadenzaError(
            f"The cluster has had no worker for {WORKER_SECONDS} s; start some with dask worker (not with --no-nanny, so that they come back), and repeat."
        ) from None
    except OSError:
        raise lost() from None


def lost() -> CadenzaError:
    return CadenzaError("The connection to the Dask scheduler is lost; see whether it still runs, and repeat.")


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at an address, for as long as the context lasts."""
    try:
        from dask.distributed import Client
    except ImportError:
        raise CadenzaError(
            "A cluster needs the package distributed, which is not here; pip install 'cadenza[cluster]'."
        ) from None
    with silence():
        try:
            client = within(
                3 * CONNECT_SECONDS,
                lambda: Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="cadenza"),
            )
        except (OSError, ValueError, TypeError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CadenzaError(
                f"No Dask scheduler answers at {address} ({why}); give the address that dask scheduler prints, such as tcp://host:8786."
            ) from None
        with client:
            yield client


def within(seconds: float, make: Callable[[], Answer]) -> Answer:
    """What is made, or `TimeoutError`: a client waits without end for a server that accepts it and is no scheduler."""
    ended: SimpleQueue[Future[Answer]] = SimpleQueue()

    def try_it() -> None:
        attempt: Future[Answer] = Future()
        try:
            attempt.set_result(make())
        except Exception as error:
            attempt.set_exception(error)
        ended.put(attempt)

    Thread(target=try_it, daemon=True).start()
    try:
        return ended.get(timeout=seconds).result()
    except Empty:
        raise TimeoutError("what listens there does not speak Dask's language") from None


@contextmanager
def silence() -> Iterator[None]:
    """Dask's own reports of what is reported here are left out."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def check(client: Client, address: str) -> Mapping[str, int]:
    """The threads of each worker; a cluster without any, of other versions, or of many threads raises `CadenzaError`."""
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError:
        raise CadenzaError(
            f"The cluster at {address} has had no worker for {WORKER_SECONDS} s; start some with dask worker {address} --nthreads 1."
        ) from None
    versions = client.get_versions()
    workers = {f"worker {worker}": found for worker, found in versions["workers"].items()}
    for who, found in ({"scheduler": versions["scheduler"]} | workers).items():
        compare(who, found["packages"], versions["client"]["packages"], SAME_EVERYWHERE)
    threads: Mapping[str, int] = client.nthreads()
    for worker, count in threads.items():
        if count > 1:
            raise CadenzaError(
                f"The worker {worker} has {count} threads, so a file that hangs could not be stopped by itself; start workers with --nthreads 1, and --nworkers for several on a machine."
            )
    return threads


def compare(who: str, found: Mapping[str, str | None], here: Mapping[str, str | None], packages: Sequence[str]) -> None:
    """Other versions than here raise `CadenzaError`; of Python's, the last number may differ."""
    for package in packages:
        theirs, ours = (plain(package, each.get(package)) for each in (found, here))
        if theirs != ours:
            raise CadenzaError(
                f"The {who} has {package} {theirs}, and here it is {ours}; install the same versions on all machines of the cluster (constraints.txt)."
            )


def plain(package: str, number: str | None) -> str:
    if number is None:
        return "not at all"
    return ".".join(number.split(".")[:2]) if package == "python" else number
