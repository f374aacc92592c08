"""Trainings: one at a time, a few that wait, each in a process that outlives neither its end nor the server."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from cadenza.runs.folder import CONFIG, Run
from cadenza.web.errands import kill
from cadenza.web.folder import JOB, Studio, folders, fresh, identity, read_json, write_json
from cadenza.web.job import EVENTS, SAMPLES
from cadenza.web.problems import Trouble, missing
from cadenza.web.wire import NewRun

LOG = logging.getLogger("cadenza.web")
WAITING = 4
OUTPUT = "output.log"
FULL = f"One training runs and {WAITING} wait already; stop one, or come back when one is done."
END_SECONDS = 20.0


class Trainings:
    """The queue of a studio, worked off by a thread of its own."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.change = threading.Condition()
        self.waiting: list[str] = []
        self.running, self.process = "", None  # type: tuple[str, subprocess.Popen[bytes] | None]
        self.turn = 0
        self.stopping, self.ending = False, False

    def begin(self) -> None:
        """Go on with the queue as it was when the last server ended."""
        jobs = [(read_json(folder / JOB), folder.name) for folder in folders(self.studio.jobs)]
        waiting = sorted((job.get("turn", 0), name) for job, name in jobs if job.get("state") == "waiting")
        self.waiting = [name for _, name in waiting]
        self.turn = max((turn for turn, _ in waiting), default=0)
        threading.Thread(target=self.work, daemon=True).start()

    def add(self, asked: NewRun, source: Path) -> str:
        """A new training; its id."""
        id = fresh(asked.name)  # noqa: A001
        job = {
            "name": asked.name or id, "source": str(source.resolve()), "preset": asked.preset,
            "minutes": asked.minutes, "seed": asked.seed, "resume": False,
        }  # fmt: skip
        self.queue(id, job)
        return id

    def resume(self, id: str) -> None:  # noqa: A002
        """Go on with a run that was stopped, or that failed."""
        run = Run(self.studio.run(id))
        with self.change:
            if self.active(id):
                raise Trouble(409, "This run is going on already.")
            job = read_json(self.studio.jobs / id / JOB) or made_elsewhere(run)
            self.queue(id, {**job, "resume": (run.folder / CONFIG).exists()})

    def queue(self, id: str, job: dict[str, Any]) -> None:  # noqa: A002
        with self.change:
            if len(self.waiting) >= WAITING + (not self.running):
                raise Trouble(429, FULL)
            self.turn += 1
            write_json(self.studio.jobs / id / JOB, {**job, "turn": self.turn, "state": "waiting"})
            self.tell(id, kind="state", state="waiting")
            self.waiting.append(id)
            self.change.notify_all()

    def active(self, id: str) -> bool:  # noqa: A002
        """Whether it waits, or runs and has not said that it ended."""
        with self.change:
            return id in self.waiting or (id == self.running and is_open(self.studio.jobs / id / EVENTS))

    def stop(self, id: str) -> None:  # noqa: A002
        """Save and stop, or wait no longer."""
        self.studio.run(id)
        with self.change:
            if not self.active(id):
                raise Trouble(409, "This run is not going on.")
            if id in self.waiting:
                self.waiting.remove(id)
                self.mark(id, "stopped")
                self.tell(id, kind="ended", state="stopped", error="")
            else:
                self.interrupt()

    def interrupt(self) -> None:
        """Have what runs save and stop, which it does when its input ends, be that asked once or twice."""
        self.stopping = True
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def mark(self, id: str, state: str) -> None:  # noqa: A002
        path = self.studio.jobs / id / JOB
        write_json(path, {**read_json(path), "state": state})

    def work(self) -> None:
        """Take one training after the other, whatever becomes of each."""
        while True:
            with self.change:
                self.change.wait_for(lambda: self.waiting or self.ending)
                if self.ending:
                    return
                self.running, self.stopping = self.waiting.pop(0), False
            try:
                self.carry_out(self.running)
            except Exception as error:
                LOG.exception("%s could not be trained", self.running)
                with suppress(OSError):
                    self.tell(
                        self.running,
                        kind="ended",
                        state="failed",
                        error=f"It could not be begun ({error}); free space, or see the log of the studio.",
                    )
            with self.change:
                self.running, self.process = "", None
                self.change.notify_all()

    def carry_out(self, id: str) -> None:  # noqa: A002
        """One training, to its end."""
        with self.change:
            self.mark(id, "begun")
            self.process = process = self.start(id)
            if self.stopping:
                self.interrupt()
        code = ended(process)
        with self.change:
            assert process.stdin is not None
            process.stdin.close()
            self.over(id, code)

    def start(self, id: str) -> subprocess.Popen[bytes]:  # noqa: A002
        folder = self.studio.jobs / id
        job = read_json(folder / JOB)
        run = self.studio.run_folders().get(id, self.studio.runs / id)
        asked = {"run": str(run.resolve()), "folder": str(folder.resolve())}
        asked |= {key: job[key] for key in ("source", "preset", "minutes", "seed", "resume")}
        with open(folder / OUTPUT, "ab") as output:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "cadenza.web.job", json.dumps(asked)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def over(self, id: str, code: int) -> None:  # noqa: A002
        """A process that could not say how it ended is spoken for."""
        if id in self.waiting or not is_open(self.studio.jobs / id / EVENTS):
            return
        error = (
            "" if self.stopping else f"The training was ended from outside ({code}); go on with it, or begin another."
        )
        self.tell(id, kind="ended", state="failed" if error else "stopped", error=error)

    def tell(self, id: str, **event: Any) -> None:  # noqa: A002
        """A line among those of the job; an empty one before it ends what was cut off."""
        with open(self.studio.jobs / id / EVENTS, "ab") as out:
            out.write(b"\n" + json.dumps(event | {"time": round(time.time(), 2)}).encode() + b"\n")

    def end(self) -> None:
        """Have the training that runs save and stop."""
        with self.change:
            self.ending = True
            self.interrupt()
            process = self.process
            self.change.notify_all()
        if process is not None:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                kill(process)

    def remove(self, id: str) -> None:  # noqa: A002
        """Its folders; a process that has said that it ended has saved all, and is not waited for."""
        with self.change:
            if id == self.running and self.process is not None and not self.active(id):
                self.process.kill()
                self.change.wait_for(lambda: id != self.running, END_SECONDS)
            if id == self.running or id in self.waiting:
                raise Trouble(409, "This run is going on; stop it first.")
            found = [path for path in folders(self.studio.runs) if identity(path.name) == id]
            found += [path for path in folders(self.studio.jobs) if path.name == id]
            if not found:
                raise missing("run")
            for path in found:
                shutil.rmtree(path, ignore_errors=True)

    def sample(self, id: str, step: int) -> dict[str, Any]:  # noqa: A002
        """The notes of a sample, and its program."""
        known = [folder for folder in folders(self.studio.jobs) if folder.name == id]
        found = read_json(known[0] / SAMPLES / f"{step:d}.json") if known else {}
        if not found:
            raise missing("sample")
        return found


def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for a training; with it ends what it left of its session, if it was stopped while it began its workers."""
    if hasattr(os, "waitid"):
        with suppress(OSError):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # so that its number is not another's yet
            kill(process)
    return process.wait()


def is_open(events: Path) -> bool:
    """Whether the last thing that a job said is not that it ended."""
    lines = events.read_bytes().splitlines() if events.exists() else []
    return not lines or b'"kind": "ended"' not in lines[-1]


def made_elsewhere(run: Run) -> dict[str, Any]:
    """A job for a run that `cadenza run` began; one without its settings raises `CadenzaError`."""
    settings, origin = run.settings(), run.origin()
    return {
        "name": run.folder.name, "source": origin["found_at"], "preset": "small",
        "minutes": settings.train.minutes, "seed": settings.train.seed, "resume": True,
    }  # fmt: skip
