"""A real Dask cluster on this machine: a scheduler and workers, each a process of its own, over loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class LocalCluster:
    """The scheduler's address and, of each worker, the process that starts it anew when it dies."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: Sequence[subprocess.Popen[bytes]]


@contextmanager
def local_cluster(folder: Path, workers: int, allowed_failures: int = 3, *options: str) -> Iterator[LocalCluster]:
    """Logs go to the folder; every process has ended when the context does."""
    about = folder / "scheduler.json"
    begun: list[subprocess.Popen[bytes]] = []

    def begin(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with open(folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures)},
                start_new_session=True,
            )
        begun.append(process)
        return process

    try:
        host = ("--host", "127.0.0.1", "--no-dashboard")
        scheduler = begin("scheduler", "scheduler", *host, "--port", "0", "--scheduler-file", str(about))
        address = address_in(about, scheduler)
        arguments = ("worker", address, *host, "--nthreads", "1", "--local-directory", str(folder), *options)
        yield LocalCluster(address, scheduler, [begin(f"worker-{k}", *arguments) for k in range(workers)])
    finally:
        for process in reversed(begun):
            kill(process)


def address_in(about: Path, scheduler: subprocess.Popen[bytes]) -> str:
    """The address in the file that a scheduler writes once it listens."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < limit and scheduler.poll() is None:
        try:
            return str(json.loads(about.read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError):
            time.sleep(0.05)
    raise RuntimeError(f"no scheduler has begun; see the logs in {about.parent}")


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children at once, as a machine that loses its power does."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
