"""What follows from the machine and the corpus: settings as they are in force, each said as it is derived."""

from __future__ import annotations

import math
import os
from collections.abc import Generator
from typing import Any

import torch

from cadenza.batches import batches_in_epoch
from cadenza.checkpoint import fresh_model
from cadenza.errors import CadenzaError
from cadenza.models import Model, device, fast_precision
from cadenza.parallel import ALONE, Group, outline
from cadenza.planning import Plan, plan
from cadenza.records import Progress, Record, Said, counted
from cadenza.settings import Settings
from cadenza.train import Data

FEW_READS = 6
"""Of each work: up to so many do no harm."""
DOUBLINGS = 4
"""After so many doublings of that all measures are at full strength."""
MOST = 1.5
"""Dropout goes on growing, up to so many times what it had gained by then."""

BYTES, BYTES_OF_A_WEIGHT = 240, 20
"""In training on a CPU, for each row, layer and unit of its width, as measured; weight, gradient, two moments, mean."""


def settle(settings: Settings, data: Data, works: int, trainings: int) -> Generator[Record, None, Settings]:
    """Settle what depends on this machine and corpus: threads, precision, steps, stride, and against overfitting.

    `works` stand in the training part; the trainings share the minutes. A model that does not fit into
    memory raises `CadenzaError`.
    """
    where = device(settings.train.device)
    precision = fast_precision(where) if settings.train.precision == "auto" else settings.train.precision
    settings = with_values(settings, "train", threads=torch.get_num_threads(), precision=precision)
    model = fresh_model(settings.model, data.schema, settings.train.seed).to(where)
    weights = sum(parameter.numel() for parameter in model.parameters())
    if where.type == "cpu":
        check_memory(settings, weights)
    group = outline() if trainings == 1 else ALONE  # folds are trained by the first process
    processes = f" in each of {group.world} processes" if group.world > 1 else ""
    on = f"{weights:,} weights on {where.type} in {precision} with {counted(torch.get_num_threads(), 'thread')}{processes}"
    if settings.train.steps:
        yield Said(f"{on}: {counted(settings.train.steps, 'step')}, as set.")
    else:
        yield Progress("measuring the speed of training", 0, 1)
        minutes = settings.train.minutes / trainings
        found = planned(model, data, with_values(settings, "train", minutes=minutes), group)
        settings = with_values(settings, "train", steps=found.steps)
        settings = with_values(settings, "batches", stride_in_force=found.stride)
        each = f" for each of {trainings} trainings" if trainings > 1 else ""
        yield Said(
            f"{on}: {found.rows_per_second:,.0f} rows per second, {counted(found.steps, 'step')} in about {minutes:.3g} minutes{each}."
        )
    if settings.train.epochs:
        yield Said(in_full(settings, data))
    reads = reads_of_a_work(data, settings, works)
    varied = data.schema.variation([data.tables.piece(int(data.training[0]))], settings.augment) is not None
    found_so = against_overfitting(settings, reads)
    yield Said(measures(settings, found_so, reads, varied))
    if reads < 1:
        yield Said("Warning: training will end before every work was read; give it more --minutes.")
    return found_so


def check_memory(settings: Settings, weights: int) -> None:
    """A model that would fill more memory than this machine has, roughly reckoned, raises `CadenzaError`."""
    batches, model = settings.batches, settings.model
    windows = min(settings.train.micro_batch or batches.size, batches.size)
    needed = BYTES * windows * batches.rows * model.layers * model.width + BYTES_OF_A_WEIGHT * weights
    if needed > memory_here():
        raise CadenzaError(
            f"Training would need about {needed / 2**30:.0f} GiB of memory, and this machine has {memory_here() / 2**30:.0f}; lower batches.size (now {batches.size}), set train.micro_batch to fewer windows, or choose a smaller --preset."
        )


def memory_here() -> float:
    """Bytes of this machine; endless where it does not tell."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf


def planned(model: Model, data: Data, settings: Settings, group: Group) -> Plan:
    try:
        return plan(model, data, settings, group)
    except torch.OutOfMemoryError:
        raise CadenzaError(
            f"The GPU has too little memory to train this model; lower batches.size (now {settings.batches.size}), set train.micro_batch to fewer windows, or choose a smaller --preset."
        ) from None


def measures(before: Settings, after: Settings, reads: float, varied: bool) -> str:
    """What is done against overfitting, in a sentence; what was set before is said to be."""
    shares = [("model", "dropout", "of the activations dropped"), ("augment", "blank", "of the ids hidden")]
    if varied:
        shares.append(("augment", "invert", "of the windows upside down"))
    found = []
    for section, key, what in shares:
        share, was_set = getattr(getattr(after, section), key), key in getattr(before, section).model_fields_set
        if share or was_set:
            grows = " by the end" if after.train.ramp and key != "invert" else ""
            found.append(f"{share:.0%} {what}{grows}{' (as set)' if was_set else ''}")
    often = f"about {counted(round(reads), 'time')}" if reads >= 1 else "less than once"
    return f"Each work is read {often}: {', '.join(found)}."


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
