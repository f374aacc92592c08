"""Training inside a run folder: saved after every evaluation, stopped by a signal, resumed."""

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
from cadenza.records import Evaluation, Record, Said, Started, Step, Stopped
from cadenza.runs.folder import INIT, LOG, MODEL, STATE, TIMINGS, Run
from cadenza.settings import Settings
from cadenza.train import Data, Trainer

FINE_TUNING_RATE = 0.3
"""Of the learning rate of a fresh model."""


@dataclass(frozen=True)
class Course:
    """One training of a run: its folder below the run's, what it reads, and the step it stops after."""

    place: str
    data: Data
    last: int


def fit(run: Run) -> Iterator[Record]:
    """Train the model that is delivered, to the last step."""
    yield from train_on(run, Course("", run.data(), run.last_step()))


def train_on(run: Run, course: Course) -> Iterator[Record]:
    """Train along a course, saving the last state and the best model after every evaluation."""
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
    trainer = Trainer(model, course.data, settings, settings.train.steps, course.last)
    if (run.folder / course.place / STATE).exists():
        take_up(trainer, run.folder / course.place / STATE)
    yield Started(trainer.step, trainer.last, "perplexity per event" if run.facts().losses else "bits per note")
    lines = [line for line in run.log(course.place) if line["step"] <= trainer.step]
    began = time.perf_counter()
    with stop_signal() as stop:
        for record in trainer.records():
            lines.append(as_line(record, trainer))
            yield record
            if isinstance(record, Evaluation):
                save_state(run, course.place, trainer, lines, time.perf_counter() - began)
            if stop.is_set():
                save_state(run, course.place, trainer, lines, time.perf_counter() - began)
                raise Stopped(
                    f"Stopped after step {trainer.step:,} of {trainer.last:,}; everything is saved. Go on with the same command and --resume (folder {run.folder})."
                )
    save_state(run, course.place, trainer, lines, time.perf_counter() - began)


def take_up(trainer: Trainer, path: Path) -> None:
    """Go on from a saved state; a damaged one raises `CadenzaError`."""
    try:
        trainer.restore(load(path.read_bytes()))
    except SafetensorError as error:
        raise CadenzaError(f"{path}: damaged ({error}); copy it back, or begin again with another --out.") from None


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


def save_state(run: Run, place: str, trainer: Trainer, lines: list[dict[str, Any]], seconds: float) -> None:
    settings = run.settings()
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
    run.write(place + MODEL, weights)
    run.write(place + LOG, "".join(json.dumps(line) + "\n" for line in lines).encode())
    run.write(place + STATE, save(trainer.tensors()))
    timing = json.dumps(
        {"step": trainer.step, "seconds_this_session": round(seconds, 2), "threads": torch.get_num_threads()}
    )
    timings = run.folder / place / TIMINGS
    run.write(place + TIMINGS, (timings.read_bytes() if timings.exists() else b"") + f"{timing}\n".encode())


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; the second one interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(*_: object) -> None:
        stop.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
