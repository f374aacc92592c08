"""The process of one training: the whole way of a run, with every record as a line of a file, and a sample at each evaluation.

In: what is asked, as JSON in the arguments. Out: lines of `events.jsonl`, which is all that the server knows of it, so that
nothing is lost when a page, or the server, goes. It stops, with everything saved, when its input ends, as it does with the server.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cadenza.corpus.split import TRAIN, VALIDATION
from cadenza.errors import CadenzaError
from cadenza.improviser import load_improviser
from cadenza.presets import build
from cadenza.records import Evaluation, Progress, Said, Started, Step, Stopped, outcome
from cadenza.runs.folder import CHOICE, MODEL, Run
from cadenza.runs.folds import place
from cadenza.runs.stages import carry_out
from cadenza.settings import SampleSettings
from cadenza.web.reading import rows_of

EVENTS, SAMPLES = "events.jsonl", "samples"
SAMPLE = SampleSettings(seconds=15, ending="never")
APART_SECONDS, WAIT_SECONDS = 0.5, 30.0
"""From one step that is told to the next; how long the process before may take to end."""


class Job:
    """Tells what happens to a run."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder, self.run = folder, run
        self.state, self.told = "", 0.0
        self.before, self.last, self.place = 0, 0, ""
        self.began, self.first, self.notes = 0.0, 0, 0
        self.to_sample = 0

    def tell(self, kind: str, **values: Any) -> None:
        """A line of the file; an empty one before it ends what was cut off."""
        with open(self.folder / EVENTS, "ab") as out:
            out.write(b"\n" + json.dumps({"kind": kind, "time": round(time.time(), 2), **values}).encode() + b"\n")

    def enter(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.tell("state", state=state)

    def take(self, record: object) -> None:
        if self.to_sample:
            self.sample(self.to_sample)
            self.to_sample = 0
        match record:
            case Said(text):
                self.tell("said", text=text)
            case Started():
                self.start(record)
            case Step():
                self.step(record)
            case Evaluation():
                self.evaluated(record)
            case Progress() if self.state == "training":
                self.enter("judging")

    def start(self, record: Started) -> None:
        """A training begins: that of the model, or before it those of the folds."""
        folds, steps = self.run.folds(), self.run.settings().train.steps
        done = [self.run.evaluated_step(place(fold)) >= steps for fold in range(folds)]
        ready = not folds or (self.run.folder / CHOICE).exists()
        self.place = "" if ready else place(done.index(False))
        self.before = steps * sum(done)
        self.last = self.before + record.steps if ready else steps * (folds + 1)
        self.began, self.first, self.notes = time.monotonic(), self.before + record.step, 0
        self.enter("training")
        self.tell("started", step=self.first, steps=self.last)

    def step(self, record: Step) -> None:
        self.notes += record.notes
        now, at = time.monotonic(), self.before + record.step
        if now - self.told < APART_SECONDS and at < self.last:
            return
        self.told = now
        seconds = max(now - self.began, 1e-3)
        left = seconds / max(at - self.first, 1) * (self.last - at)
        self.tell("step", step=at, bits=record.bits_per_note, rate=round(self.notes / seconds, 1), left=round(left, 1))

    def evaluated(self, record: Evaluation) -> None:
        at, bits = self.before + record.step, record.bits_per_note
        self.tell("evaluation", step=at, epoch=record.epoch, train=bits.get(TRAIN), validation=bits.get(VALIDATION))
        self.to_sample = at  # the model is saved once this record was taken

    def sample(self, at: int) -> None:
        """Fifteen seconds by the best state so far."""
        try:
            model = load_improviser(self.run.folder / self.place / MODEL)
            [piece] = outcome(model.stream(model.settled(SAMPLE), [0], seed=1))
        except CadenzaError as error:
            self.tell("said", text=f"No sample after step {at:,}: {error}")
            return
        (self.folder / SAMPLES).mkdir(exist_ok=True)
        found = {"notes": rows_of(piece.notes), "seconds": piece.notes.length_seconds, "program": model.facts.program}
        (self.folder / SAMPLES / f"{at}.json").write_text(json.dumps(found), encoding="ascii")
        self.tell("sample", step=at)


def work(asked: dict[str, Any]) -> None:
    """Do the run and tell how it ended."""
    run = Run(Path(asked["run"]))
    job = Job(Path(asked["folder"]), run)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, if a script began the studio in its background
    try:
        threading.Thread(target=stop_with_its_input, daemon=True).start()
        wait_for_the_last(job.folder)
        job.tell("began", pid=os.getpid())
        job.enter("preparing")
        settings = build(asked["preset"], train={"minutes": asked["minutes"], "seed": asked["seed"]})
        for record in carry_out(asked["source"], settings, run.folder, resume=asked["resume"]):
            job.take(record)
        job.take(None)
        job.tell("ended", state="done", error="")
    except (Stopped, KeyboardInterrupt):
        job.tell("ended", state="stopped", error="")
    except CadenzaError as error:
        job.tell("ended", state="failed", error=str(error))
    except Exception as error:
        job.tell("ended", state="failed", error=f"The training broke off inside the program ({type(error).__name__}); output.log says where.")  # fmt: skip
        raise


def wait_for_the_last(folder: Path) -> None:
    """A server that was killed may have left a process that is still saving: let it end."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline and is_running(folder / EVENTS):
        time.sleep(0.1)


def is_running(events: Path) -> bool:
    """Whether the process that last began has not said that it ended, and is there."""
    pid = 0
    for line in events.read_bytes().splitlines() if events.exists() else ():
        try:
            event = json.loads(line)
        except ValueError:  # cut off
            continue
        pid = event["pid"] if event.get("kind") == "began" else 0 if event.get("kind") == "ended" else pid
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def stop_with_its_input() -> None:
    """Interrupt this process when its input ends: once, as a second interrupt would keep it from saving."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)  # whoever plays comes first
    work(json.loads(sys.argv[1]))
