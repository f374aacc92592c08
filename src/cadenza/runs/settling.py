"""What follows from the machine and the corpus: settings as they are in force, each said as it is derived."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import torch

from cadenza import report
from cadenza.batches import batches_in_epoch
from cadenza.checkpoint import fresh_model
from cadenza.models import device, fast_precision
from cadenza.records import Progress, Record, Said
from cadenza.settings import Settings
from cadenza.train import Data, plan

FEW_READS, DOUBLINGS, MOST = 6, 4, 1.5
"""Of each work: up to so many do no harm; after so many doublings all measures are at full strength, dropout at most at so much."""


def settle(settings: Settings, data: Data, works: int, trainings: int) -> Generator[Record, None, Settings]:
    """Settle what depends on this machine and corpus: device, threads, precision, steps, stride, and against overfitting.

    `works` stand in the training part; the trainings share the minutes.
    """
    where = device(settings.train.device)
    precision = fast_precision(where) if settings.train.precision == "auto" else settings.train.precision
    settings = with_values(settings, "train", threads=torch.get_num_threads(), precision=precision)
    if not settings.train.steps:
        yield Progress("measuring the speed of training", 0, 1)
        model = fresh_model(settings.model, data.representation, settings.train.seed).to(where)
        minutes = settings.train.minutes / trainings
        found = plan(model, data, with_values(settings, "train", minutes=minutes))
        settings = with_values(settings, "train", steps=found.steps)
        settings = with_values(settings, "batches", stride_in_force=found.stride)
        weights = sum(parameter.numel() for parameter in model.parameters())
        yield Said(
            f"{weights:,} weights; {found.rows_per_second:,.0f} rows per second on {where.type} in {precision} with {report.counted(torch.get_num_threads(), 'thread')}: {found.steps:,} steps in at most {minutes:.3g} minutes{f' for each of {trainings} trainings' if trainings > 1 else ''}."
        )
    if settings.train.epochs:
        yield Said(in_full(settings, data))
    reads = reads_of_a_work(data, settings, works)
    settings = against_overfitting(settings, reads)
    by_the_end = " by the end" if settings.train.ramp else ""
    yield Said(
        f"Each work is read about {reads:,.0f} times: {settings.model.dropout:.0%} of the activations dropped, {settings.augment.blank:.0%} of the ids hidden{by_the_end}, {settings.augment.invert:.0%} of the windows upside down."
    )
    return settings


def with_values(settings: Settings, section: str, **values: Any) -> Settings:
    """The settings with other values in one section."""
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})


def reads_of_a_work(data: Data, settings: Settings, works: int) -> float:
    """How often training comes upon the notes of one work, in any performance."""
    batches = settings.batches
    passes = settings.train.steps / batches_in_epoch(data.tables.lengths(data.training), batches)
    if batches.stride:
        passes *= batches.rows / (batches.stride_in_force or batches.stride)  # windows overlap so often
    return passes * len(data.training) / works


def against_overfitting(settings: Settings, reads: float) -> Settings:
    """The oftener each work is read, the more is dropped, hidden and turned round; what was set stays as it is.

    Found on the violin and the fiddle corpus (docs/log.md).
    """
    strength = max(math.log2(max(reads, 1) / FEW_READS) / DOUBLINGS, 0.0)
    derived = {
        "model": {"dropout": 0.1 + 0.1 * min(strength, MOST)},
        "augment": {"invert": 0.3 * min(strength, 1), "blank": 0.15 * min(strength, 1)},
    }
    for section, values in derived.items():
        chosen = getattr(settings, section).model_fields_set
        free = {key: round(value, 3) for key, value in values.items() if key not in chosen}
        settings = with_values(settings, section, **free)
    return settings


def in_full(settings: Settings, data: Data) -> str:
    """What the asked epochs would be, and what this run makes of them."""
    train, batches = settings.train, settings.batches
    lengths = data.tables.lengths(data.training)
    asked = batches_in_epoch(lengths, batches.model_copy(update={"stride_in_force": 0}))
    rows = asked * batches.size * batches.rows if batches.stride else int(lengths.sum())
    at = f" at stride {batches.stride}" if batches.stride else ""
    whole = f"{train.epochs} epochs{at} are {train.epochs * rows / 1e6:,.1f} million row-steps"
    if train.steps >= train.epochs * asked:
        return f"{whole}, and this run makes them all."
    stride = f"stride {batches.stride_in_force}, " if batches.stride_in_force else ""
    epochs = train.steps / batches_in_epoch(lengths, batches)
    return f"{whole}. Cut to fit: {stride}{epochs:.1f} epochs, {train.steps / (train.epochs * asked):.1%} of the whole; more --minutes bring it nearer."
