"""Training inside a run folder: saved after every evaluation, stopped by a signal, resumed."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from cadenza.errors import CadenzaError
from cadenza.improviser import fresh_model, load_improviser, model_bytes
from cadenza.models import device
from cadenza.records import Evaluation, Record, Said, Started, Step, Stopped
from cadenza.runs.folder import INIT, LOG, MODEL, STATE, TIMINGS, Run
from cadenza.settings import Settings
from cadenza.train import Trainer

FINE_TUNING_RATE = 0.3
"""Of the learning rate of a fresh model."""


def fit(run: Run) -> Iterator[Record]:
    """Train to the last step, saving the last state and the best model after every evaluation."""
    settings = run.settings()
    torch.set_num_threads(settings.train.threads)
    data = run.data()
    model = fresh_model(settings.model, data.representation, settings.train.seed)
    if (run.folder / INIT).exists():
        model.load_state_dict(load_improviser(run.folder / INIT).model.state_dict())
        settings = gentler(settings)
        yield Said(
            f"Fine-tuning at a learning rate of {settings.train.learning_rate:g}, {FINE_TUNING_RATE:g} of the usual."
        )
    trainer = Trainer(model.to(device(settings.train.device)), data, settings, settings.train.steps)
    if (run.folder / STATE).exists():
        try:
            trainer.restore(load((run.folder / STATE).read_bytes()))
        except SafetensorError as error:
            raise CadenzaError(
                f"{run.folder / STATE}: damaged ({error}); copy it back, or begin again with another --out."
            ) from None
    yield Started(trainer.step, trainer.steps, "perplexity per event" if run.facts().losses else "bits per note")
    lines = [line for line in run.log() if line["step"] <= trainer.step]
    began = time.perf_counter()
    with stop_signal() as stop:
        for record in trainer.records():
            lines.append(as_line(record))
            yield record
            if isinstance(record, Evaluation):
                save_state(run, trainer, lines, time.perf_counter() - began)
            if stop.is_set():
                save_state(run, trainer, lines, time.perf_counter() - began)
                raise Stopped(
                    f"Stopped after step {trainer.step:,} of {trainer.steps:,}; everything is saved. Go on with the same command and --resume (folder {run.folder})."
                )
    save_state(run, trainer, lines, time.perf_counter() - began)


def gentler(settings: Settings) -> Settings:
    """What a trained model can bear."""
    rate = FINE_TUNING_RATE * settings.train.learning_rate
    return settings.model_copy(update={"train": settings.train.model_copy(update={"learning_rate": rate})})


def as_line(record: Step | Evaluation) -> dict[str, Any]:
    """A line of the log."""
    return {"kind": type(record).__name__.lower(), **asdict(record)}


def save_state(run: Run, trainer: Trainer, lines: list[dict[str, Any]], seconds: float) -> None:
    settings = run.settings()
    run.write(
        MODEL,
        model_bytes(
            trainer.best,
            settings.model,
            settings.tokens,
            settings.midi,
            run.facts(),
            run.manifest_sha256(),
            trainer.best_step,
        ),
    )
    run.write(LOG, "".join(json.dumps(line) + "\n" for line in lines).encode())
    run.write(STATE, save(trainer.tensors()))
    timing = json.dumps(
        {"step": trainer.step, "seconds_this_session": round(seconds, 2), "threads": torch.get_num_threads()}
    )
    timings = run.folder / TIMINGS
    run.write(TIMINGS, (timings.read_bytes() if timings.exists() else b"") + f"{timing}\n".encode())


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
