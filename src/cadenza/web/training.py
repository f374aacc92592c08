"""Trainings: one at a time, a few that wait, each in a process that outlives neither its end nor the server."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cadenza.runs.folder import CONFIG, Run
from cadenza.web.folder import Studio, folders, fresh, identity, read_json, write_json
from cadenza.web.job import EVENTS, SAMPLES
from cadenza.web.problems import Trouble, missing
from cadenza.web.wire import NewRun

WAITING = 4
JOB, OUTPUT = "job.json", "output.log"
FULL = f"One training runs and {WAITING} wait already; stop one, or come back when one is done."
END_SECONDS = 20.0


class Trainings:
    """The queue of a studio, worked off by a thread of its own."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.change = threading.Condition()
        self.waiting: list[str] = []
        self.running, self.process = "", None  # type: tuple[str, subprocess.Popen[bytes] | None]
        self.ending = False

    def begin(self) -> None:
        """Go on with the queue as it was when the last server ended."""
        asked = [(read_json(folder / JOB), folder.name) for folder in folders(self.studio.jobs)]
        waiting = [(job["asked"], name) for job, name in asked if job.get("state") == "waiting"]
        self.waiting = [name for _, name in sorted(waiting)]
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
        if self.active(id) and is_open(self.studio.jobs / id / EVENTS):
            raise Trouble(409, "This run is going on already.")
        job = read_json(self.studio.jobs / id / JOB) or made_elsewhere(run)
        self.queue(id, {**job, "resume": (run.folder / CONFIG).exists()})

    def queue(self, id: str, job: dict[str, Any]) -> None:  # noqa: A002
        with self.change:
            if len(self.waiting) >= WAITING + (not self.running):
                raise Trouble(429, FULL)
            write_json(self.studio.jobs / id / JOB, {**job, "asked": time.time(), "state": "waiting"})
            self.tell(id, kind="state", state="waiting")
            self.waiting.append(id)
            self.change.notify_all()

    def active(self, id: str) -> bool:  # noqa: A002
        with self.change:
            return id == self.running or id in self.waiting

    def stop(self, id: str) -> None:  # noqa: A002
        """Save and stop, or wait no longer."""
        self.studio.run(id)
        with self.change:
            if id in self.waiting:
                self.waiting.remove(id)
                self.mark(id, "stopped")
                self.tell(id, kind="ended", state="stopped", error="")
            elif id == self.running and self.process is not None:
                self.process.send_signal(signal.SIGINT)
            else:
                raise Trouble(409, "This run is not going on.")

    def mark(self, id: str, state: str) -> None:  # noqa: A002
        path = self.studio.jobs / id / JOB
        write_json(path, {**read_json(path), "state": state})

    def work(self) -> None:
        """Take one training after the other."""
        while True:
            with self.change:
                self.change.wait_for(lambda: self.waiting or self.ending)
                if self.ending:
                    return
                self.running = self.waiting.pop(0)
                self.mark(self.running, "begun")
                self.process = self.start(self.running)
            code = self.process.wait()
            assert self.process.stdin is not None
            self.process.stdin.close()
            with self.change:
                self.over(self.running, code)
                self.running, self.process = "", None
                self.change.notify_all()

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
        if is_open(self.studio.jobs / id / EVENTS):
            error = f"The training was ended from outside ({code}); go on with it, or begin another."
            self.tell(id, kind="ended", state="failed", error=error)

    def tell(self, id: str, **event: Any) -> None:  # noqa: A002
        """A line among those of the job; an empty one before it ends what was cut off."""
        with open(self.studio.jobs / id / EVENTS, "ab") as out:
            out.write(b"\n" + json.dumps(event | {"time": round(time.time(), 2)}).encode() + b"\n")

    def end(self) -> None:
        """Have the training that runs save and stop."""
        with self.change:
            self.ending = True
            process = self.process
            self.change.notify_all()
        if process is not None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def remove(self, id: str) -> None:  # noqa: A002
        if self.active(id):
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
