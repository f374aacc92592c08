"""Work in a process of its own, with a time limit: what a hostile file breaks is not the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cadenza.errors import CadenzaError
from cadenza.web.problems import Trouble
from cadenza.web.tasks import PATIENT

Values = dict[str, Any]
SLOTS, WAIT_SECONDS = 2, 10.0
"""So many tasks that somebody waits for are done at a time; how long others may wait for their turn."""
BUSY = "The studio is busy with other files; try again in a moment."


class Errands:
    """The processes that are out; `end` ends them."""

    def __init__(self) -> None:
        self.out: set[subprocess.Popen[bytes]] = set()
        self.over, self.change = False, threading.Lock()
        self.slots = threading.BoundedSemaphore(SLOTS)

    def send(self, task: str, asked: Values, seconds: float) -> Values:
        """Do a task; what its process objects to, or cannot do in time, raises `CadenzaError`."""
        with self.turn(task):
            process = self.begin(task)
            try:
                written, _ = process.communicate(json.dumps(asked).encode(), timeout=seconds)
            except subprocess.TimeoutExpired:
                raise CadenzaError(f"It was not done within {seconds:.0f} seconds, and was given up.") from None
            finally:
                self.out.discard(process)
                kill(process)
                with process:
                    process.wait()
        try:
            found: Values = json.loads(written)
        except ValueError:
            raise CadenzaError("The file crashed its reader; leave it out.") from None
        if "error" in found:
            raise CadenzaError(found["error"])
        return found

    def begin(self, task: str) -> subprocess.Popen[bytes]:
        with self.change:
            if self.over:
                raise CadenzaError("The studio is ending.")
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cadenza.web.tasks", task],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self.out.add(process)
            return process

    @contextmanager
    def turn(self, task: str) -> Iterator[None]:
        """A task's turn; one that somebody waits for, and that has to wait too long, is `Trouble`."""
        if task in PATIENT:
            yield
            return
        if not self.slots.acquire(timeout=WAIT_SECONDS):
            raise Trouble(429, BUSY)
        try:
            yield
        finally:
            self.slots.release()

    def end(self) -> None:
        with self.change:
            self.over = True
        for process in list(self.out):
            kill(process)  # whoever sent it is told, and cleans up


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it began."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
