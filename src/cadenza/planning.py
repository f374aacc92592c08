"""How much training fits into the minutes that it may take, by a measurement of its speed."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np

from cadenza.batches import batches_in_epoch
from cadenza.models import Model
from cadenza.parallel import ALONE, Group
from cadenza.settings import Settings
from cadenza.train import Data, Trainer, copy_of, stream

MEASURED_STEPS, UNMEASURED_STEPS = 20, 5
MEASURED_SHARE, MEASURED_SECONDS = 0.1, 5.0
"""The longest that measuring the speed may take: of the minutes, and in any case."""
SUSTAINED = 0.85
"""Of the speed of the first seconds: what is left of it over minutes, as seen in training after training."""
FORWARD_SHARE, FORWARD_SHARE_OF_LOW = 0.4, 1.0
"""Cost of scoring a row, always in float32, as a share of training on it in float32, in bfloat16; for planning only."""


class Plan(NamedTuple):
    """How much training fits into the minutes, at the measured speed; a stride of 0 is the asked one."""

    steps: int
    stride: int
    rows_per_second: float


def plan(model: Model, data: Data, settings: Settings, group: Group = ALONE) -> Plan:
    """Measure the speed, evaluations included, and derive the number of steps.

    Of a group, one process is measured, with its share of each batch; what they have to tell one another is not. With
    `train.epochs`, a stride grows as far as those need to fit; where that is not enough, there are fewer. The measurement
    trains a copy, so the model itself is as it was.
    """
    seconds, rows = measure_speed(model, data, settings, group)
    rate = rows / seconds
    evaluated = sum(data.tables.lengths(pieces).sum() for pieces in (data.validation, *data.watched.values()))
    forward = FORWARD_SHARE_OF_LOW if settings.train.precision == "bfloat16" else FORWARD_SHARE
    evaluation = settings.train.evaluations * float(evaluated) * forward / rate
    budget = max(60 * settings.train.minutes - evaluation, 30 * settings.train.minutes)
    fitting = max(1, round(SUSTAINED * budget / (seconds / MEASURED_STEPS)))
    if not settings.train.epochs:
        return Plan(fitting, 0, rate)
    lengths, batches = data.tables.lengths(data.training), settings.batches
    wanted = settings.train.epochs * batches_in_epoch(lengths, batches)
    for stride in range(batches.stride + 1, batches.rows + 1) if batches.stride else ():
        if wanted <= fitting:
            break
        batches = batches.model_copy(update={"stride_in_force": stride})
        wanted = settings.train.epochs * batches_in_epoch(lengths, batches)
    return Plan(min(fitting, wanted), batches.stride_in_force, rate)


def measure_speed(model: Model, data: Data, settings: Settings, group: Group = ALONE) -> tuple[float, float]:
    """Seconds and rows of `MEASURED_STEPS` steps, by the median step: other work on the machine comes in bursts.

    Dropout and hiding are on throughout. Where steps are so slow that measuring would take over
    `MEASURED_SECONDS` or `MEASURED_SHARE` of the minutes, fewer are made.
    """
    steady = settings.model_copy(update={"train": settings.train.model_copy(update={"ramp": False})})
    trainer = Trainer(
        copy_of(model), data, steady, UNMEASURED_STEPS + MEASURED_STEPS, group=replace(group, channel=None)
    )
    allowed = min(MEASURED_SECONDS, MEASURED_SHARE * 60 * settings.train.minutes)
    rows: list[int] = []
    times = [time.perf_counter()]
    for batch in islice(stream(data, steady), trainer.steps):
        trainer.update(batch)
        rows.append(int(batch.scored_BTF[..., 0].sum()))
        times.append(time.perf_counter())
        if len(rows) > 1 and times[-1] - times[0] > allowed:
            break
    skipped = min(UNMEASURED_STEPS, len(rows) // 2)
    seconds = float(np.median(np.diff(times)[skipped:]))
    return seconds * MEASURED_STEPS, float(np.mean(rows[skipped:])) * MEASURED_STEPS
