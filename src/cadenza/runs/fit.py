"""Training inside a run folder: saved after every evaluation and every minute, stopped by a signal, resumed.

Of what is saved the state comes last: it alone says how far training has come, and whatever else is there of later
steps is passed over and made again, the same. When it is saved decides what a killed run loses, never what it becomes.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from cadenza.checkpoint import fresh_model, model_bytes
from cadenza.corpus.split import VALIDATION
from cadenza.errors import CadenzaError
from cadenza.improviser import load_improviser
from cadenza.models import device
from cadenza.parallel import ALONE, Group
from cadenza.records import Evaluation, Record, Said, Started, Step, Stopped
from cadenza.runs.folder import INIT, LOG, MODEL, STATE, TIMINGS, Run
from cadenza.settings import Settings
from cadenza.train import Data, Trainer

FINE_TUNING_RATE = 0.3
"""Of the learning rate of a fresh model."""
SAVE_SECONDS, SAVE_SHARE = 60.0, 0.02
"""Between evaluations the state is saved so often, or so rarely that saving takes this share of the time."""


@dataclass(frozen=True)
class Course:
    """One training of a run: its folder below the run's, what it reads, and the step it stops after."""

    place: str
    data: Data
    last: int


def fit(run: Run, group: Group) -> Iterator[Record]:
    """Train the model that is delivered, to the last step."""
    yield from train_on(run, Course("", run.data(), run.last_step()), group)


def train_on(run: Run, course: Course, group: Group = ALONE) -> Iterator[Record]:
    """Train along a course, saving the last state and the best model after every evaluation.

    All processes of a group train; the first one alone writes. A signal to any of them stops them after the same step.
    """
    settings = run.settings()
    torch.set_num_threads(settings.train.threads)
    model = fresh_model(settings.model, course.data.schema, settings.train.seed)
    if (run.folder / INIT).exists():
        model.load_state_dict(load_improviser(run.folder / INIT).model.state_dict())
        settings = gentler(settings)
        yield Said(
            f"Fine-tuning at a learning rate of {settings.train.learning_rate:g}, {FINE_TUNING_RATE:g} of the usual."
        )
    model.to(device(settings.train.device))
    trainer = Trainer(model, course.data, settings, settings.train.steps, course.last, group)
    if (run.folder / course.place / STATE).exists():
        take_up(trainer, run.folder / course.place / STATE)
    yield Started(trainer.step, trainer.last, "perplexity per event" if run.facts().losses else "bits per note")
    saved = Saved(run, course.place, lines_until(trainer, run, course.place))
    with stop_signal(repeated=group.world > 1) as stop:
        for record in trainer.records():
            saved.lines.append(as_line(record, trainer))
            yield record
            stopping = group.anyone(stop.is_set())
            saved.after(record, trainer, stopping)
            if stopping:
                group.anyone(False)  # torchrun ends all as soon as one has ended
                raise Stopped(
                    f"Stopped after step {trainer.step:,} of {trainer.last:,}; everything is saved. Go on with the same command and --resume (folder {run.folder})."
                )
    if not group.rank:
        saved.whole(trainer)


def take_up(trainer: Trainer, path: Path) -> None:
    """Go on from a saved state; a damaged one raises `CadenzaError`."""
    try:
        trainer.restore(load(path.read_bytes()))
    except SafetensorError as error:
        raise CadenzaError(f"{path}: damaged ({error}); copy it back, or begin again with another --out.") from None


def lines_until(trainer: Trainer, run: Run, place: str) -> list[dict[str, Any]]:
    """The lines of the log up to where a trainer is; a log that lacks some raises `CadenzaError`."""
    until = {"step": trainer.step, "evaluation": trainer.evaluated_step}
    lines = [line for line in run.log(place) if line["step"] <= until[line["kind"]]]
    if sum(line["kind"] == "step" for line in lines) != trainer.step:
        raise CadenzaError(
            f"{run.folder / place / LOG}: it does not hold the {trainer.step:,} steps of the saved state; copy it back, or begin again with another --out."
        )
    return lines


def gentler(settings: Settings) -> Settings:
    """What a trained model can bear."""
    rate = FINE_TUNING_RATE * settings.train.learning_rate
    return settings.model_copy(update={"train": settings.train.model_copy(update={"learning_rate": rate})})


def as_line(record: Step | Evaluation, trainer: Trainer) -> dict[str, Any]:
    """A line of the log; an evaluation also holds the nats of each validation piece and field."""
    line = {"kind": type(record).__name__.lower(), **asdict(record)}
    if isinstance(record, Evaluation) and VALIDATION in trainer.scores:
        line["nats"] = trainer.scores[VALIDATION].nats_PF.round(6).tolist()
    return line


class Saved:
    """What is on the disk of a training, whose log has these `lines` by now."""

    def __init__(self, run: Run, place: str, lines: list[dict[str, Any]]) -> None:
        self.run, self.place, self.lines = run, place, lines
        self.began = self.ended = time.monotonic()
        self.took = 0.0

    def after(self, record: Step | Evaluation, trainer: Trainer, stopping: bool) -> None:
        """Save what is due; of several processes the first one alone writes."""
        if trainer.group.rank:
            return
        if isinstance(record, Evaluation) or stopping:
            self.whole(trainer)
        elif self.is_due():
            self.state(trainer)

    def is_due(self) -> bool:
        """Whether the last time is long enough ago."""
        return time.monotonic() - self.ended > max(SAVE_SECONDS, self.took / SAVE_SHARE)

    def whole(self, trainer: Trainer) -> None:
        """The best model, which only an evaluation changes, then the state."""
        run, settings = self.run, self.run.settings()
        weights = model_bytes(
            trainer.best,
            settings.model,
            settings.tokens,
            settings.midi,
            run.facts(),
            run.manifest_sha256(),
            trainer.best_step,
            run.seen(),
        )
        run.write(self.place + MODEL, weights)
        self.state(trainer)

    def state(self, trainer: Trainer) -> None:
        """What `--resume` needs."""
        run, place, begin = self.run, self.place, time.monotonic()
        run.write(place + LOG, "".join(json.dumps(line) + "\n" for line in self.lines).encode())
        run.write(place + STATE, save(trainer.tensors()))
        self.ended = time.monotonic()
        self.took = self.ended - begin
        spent = {"step": trainer.step, "seconds_this_session": round(self.ended - self.began, 2)}
        timing = json.dumps(spent | {"threads": torch.get_num_threads()})
        timings = run.folder / place / TIMINGS
        run.write(place + TIMINGS, (timings.read_bytes() if timings.exists() else b"") + f"{timing}\n".encode())


@contextmanager
def stop_signal(repeated: bool = False) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; the second one interrupts at once.

    Where signals are `repeated`, as torchrun does with those it gets, no further one interrupts.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(*_: object) -> None:
        stop.set()
        for each, handler in before.items() if not repeated else ():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
