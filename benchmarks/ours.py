"""Cadenza as a contestant: a preset, its model, and the trainer as every run uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

from cadenza import models
from cadenza.likelihood import score
from cadenza.records import Step
from cadenza.settings import ModelSettings, Settings
from cadenza.train import MEASURED_STEPS, Trainer, measure_speed
from contestant import Bits, Contestant, Work

WIDTH_STEP = 8


class Ours(Contestant):
    """Settings on the work; their own evaluations are left out, as whoever drives decides when to score."""

    def __init__(self, name: str, settings: Settings, work: Work) -> None:
        self.name, self.settings, self.work = name, settings, work
        rows = work.data.representation
        self.network = self.model = models.build(settings.model, rows.sizes, rows.context_width, settings.train.seed)

    def training(self, seconds: float) -> Iterator[float]:
        """The schedule ends when the seconds do, at the speed that `measure_speed` finds."""
        begin = time.perf_counter()
        measured, _ = measure_speed(self.network, self.work.data, self.settings)
        left = seconds - (time.perf_counter() - begin)
        steps = max(1, round(left * MEASURED_STEPS / measured))
        yield 0
        trainer = Trainer(self.network, self.work.data, self.settings, steps)
        for record in islice(trainer.records(), steps):  # its one evaluation would come after the last step
            if isinstance(record, Step):
                yield record.notes

    def score(self, part: str) -> Bits:
        data = self.work.data
        return Bits.of(score(self.network, data.tables, data.representation, self.work.parts[part]))


def without_evaluations(settings: Settings) -> Settings:
    """The same training on the CPU, evaluated only at its end."""
    train = settings.train.model_copy(update={"evaluations": 1, "device": "cpu"})
    return settings.model_copy(update={"train": train})


def of_size(settings: Settings, parameters: int, work: Work) -> Settings:
    """The settings with the width that brings the network nearest to so many parameters."""
    rows = work.data.representation

    def distance(model: ModelSettings) -> int:
        built = models.build(model, rows.sizes, rows.context_width)
        return abs(sum(parameter.numel() for parameter in built.parameters()) - parameters)

    widths = range(64, 513, WIDTH_STEP)
    nearest = min((settings.model.model_copy(update={"width": width}) for width in widths), key=distance)
    return settings.model_copy(update={"model": nearest})
