"""Cadenza as a contestant: a preset, its model, and the trainer as every run uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

import torch

from cadenza import models
from cadenza.checkpoint import fresh_model
from cadenza.likelihood import score
from cadenza.planning import MEASURED_STEPS, measure_speed
from cadenza.records import Step
from cadenza.runs.settling import against_overfitting, reads_of_a_work, with_values
from cadenza.settings import ModelSettings, Settings
from cadenza.train import Trainer
from contestant import Bits, Contestant, Work

WIDTH_STEP = 8


class Ours(Contestant):
    """Settings on the work; their own evaluations are left out, as whoever drives decides when to score."""

    def __init__(self, name: str, settings: Settings, work: Work) -> None:
        self.name, self.work = name, work
        self.settings = with_values(settings, "train", evaluations=1, device="cpu")
        if settings.train.precision == "auto":
            self.settings = with_values(self.settings, "train", precision=models.fast_precision(torch.device("cpu")))
        self.model: models.Model = fresh_model(settings.model, work.data.schema, settings.train.seed)

    def training(self, seconds: float) -> Iterator[float]:
        """The schedule ends when the seconds do, at the speed that `measure_speed` finds; what is scored is its mean."""
        begin = time.perf_counter()
        measured, _ = measure_speed(self.model, self.work.data, self.settings)
        left = seconds - (time.perf_counter() - begin)
        steps = max(1, round(left * MEASURED_STEPS / measured))
        planned = with_values(self.settings, "train", steps=steps)
        planned = against_overfitting(planned, reads_of_a_work(self.work.data, planned, self.work.works))
        network = fresh_model(planned.model, self.work.data.schema, planned.train.seed)
        trainer = Trainer(network, self.work.data, planned, steps)
        self.model = trainer.average
        yield 0
        for record in islice(trainer.records(), steps):  # its one evaluation would come after the last step
            if isinstance(record, Step):
                yield record.notes

    def score(self, part: str) -> Bits:
        data = self.work.data
        return Bits.of(score(self.model, data.tables, data.schema, self.work.parts[part]))


def of_size(settings: Settings, parameters: int, work: Work) -> Settings:
    """The settings with the width that brings the network nearest to so many parameters."""

    def distance(model: ModelSettings) -> int:
        built = fresh_model(model, work.data.schema, seed=0)
        return abs(sum(parameter.numel() for parameter in built.parameters()) - parameters)

    widths = range(64, 513, WIDTH_STEP)
    nearest = min((settings.model.model_copy(update={"width": width}) for width in widths), key=distance)
    return settings.model_copy(update={"model": nearest})
