"""Batches to weights: a generator of records. It prints nothing and writes nothing.

AdamW (Loshchilov & Hutter, 2019) with a short warm-up and a cosine decay, gradients clipped by
norm. Every step draws its batch and its dropout from (seed, step), so a run that is continued from
its saved tensors repeats the uninterrupted run exactly.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cadenza.batches import Batch, Tables, training_batches
from cadenza.errors import CadenzaError
from cadenza.likelihood import score
from cadenza.models import Model
from cadenza.records import Evaluation, Step
from cadenza.settings import Settings
from cadenza.tokens import Representation

WARM_UP_SHARE, FINAL_SHARE = 0.05, 0.02
MEASURED_STEPS, UNMEASURED_STEPS = 6, 2
FORWARD_SHARE = 0.4
"""Cost of scoring a row, as a share of training on it; used for planning only."""


@dataclass(frozen=True)
class Data:
    """What a trainer reads: tables, and which of their pieces are for what."""

    tables: Tables
    representation: Representation
    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]


class Trainer:
    """A model on its way; `records` moves it forward, `tensors` and `restore` save and load it."""

    def __init__(self, model: Model, data: Data, settings: Settings, steps: int) -> None:
        self.model, self.data, self.settings, self.steps = model, data, settings, steps
        train = settings.train
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=train.learning_rate, weight_decay=train.weight_decay)
        self.step = 0
        self.best_bits = math.inf
        self.best_step = 0
        self.evaluated_step = 0
        self.best = copy.deepcopy(model.state_dict())
        self.device = next(model.parameters()).device

    def records(self) -> Iterator[Step | Evaluation]:
        """Train to the last step; an evaluation follows the steps due for one and the last step."""
        if self._due():  # stopped between a step and its evaluation
            yield self._evaluate()
        batches = self.settings.batches
        stream = training_batches(
            self.data.tables,
            self.data.representation,
            self.data.training,
            rows=batches.rows,
            size=batches.size,
            seed=self.settings.train.seed,
            first_step=self.step,
        )
        for batch in islice(stream, self.steps - self.step):
            yield self._update(batch)
            if self._due():
                yield self._evaluate()

    def _due(self) -> bool:
        """Whether this step is to be evaluated and has not been; none is so close to the last."""
        every = max(1, self.steps // self.settings.train.evaluations)
        regular = self.step % every == 0 and self.steps - self.step > every // 2
        return self.step > self.evaluated_step and (regular or self.step == self.steps)

    def _update(self, batch: Batch) -> Step:
        train = self.settings.train
        rate = train.learning_rate * schedule(self.step, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(train.seed * 1_000_003 + self.step)
            nats, notes = self._backward(batch.to(self.device))
        if not math.isfinite(nats):
            raise CadenzaError(
                f"Training met a loss that is not a number at step {self.step + 1}; the best state so far is kept. "
                f"Lower train.learning_rate (now {train.learning_rate:g}) and run again with another --out."
            )
        self.optimiser.step()
        self.step += 1
        return Step(self.step, nats / math.log(2) / max(notes, 1), notes, rate)

    def _backward(self, batch: Batch) -> tuple[float, int]:
        """Gradients of the mean nats per row; returns the nats and notes of the batch."""
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        hidden_BTD, _ = self.model(batch.ids_BTF, batch.context_BTC)
        nats = self.model.nats(hidden_BTD, batch.targets_BTF, batch.scored_BTF).sum()
        rows = batch.scored_BTF[..., 0].sum()
        (nats / rows).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.train.clip)
        return float(nats.detach()) + 0 * float(norm), int(batch.scored_BTF[..., -1].sum())

    def _evaluate(self) -> Evaluation:
        """Without validation pieces the last state counts as the best."""
        data = self.data
        bits = (
            score(self.model, data.tables, data.representation, data.validation).bits_per_note
            if len(data.validation)
            else math.nan
        )
        best = bits < self.best_bits or not len(data.validation)
        self.evaluated_step = self.step
        if best:
            self.best_bits, self.best_step = bits, self.step
            self.best = copy.deepcopy(self.model.state_dict())
        return Evaluation(self.step, bits, best)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a later process needs to go on, apart from settings and data."""
        named = dict(self.model.named_parameters())
        saved = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        saved |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in named.items():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                saved[f"optimiser.{key}.{name}"] = value
        saved["progress"] = torch.tensor(
            [self.step, self.evaluated_step, self.best_step, self.best_bits], dtype=torch.float64
        )
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in saved.items()}

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Take up `tensors`; a mismatch raises `CadenzaError`."""
        try:
            self.model.load_state_dict(with_prefix(saved, "model."))
            self.best = with_prefix(saved, "best.")
            for name, parameter in self.model.named_parameters():
                entries = {
                    key: saved[f"optimiser.{key}.{name}"]
                    for key in ("step", "exp_avg", "exp_avg_sq")
                    if f"optimiser.{key}.{name}" in saved
                }
                self.optimiser.state[parameter] = {
                    key: value.clone() if key == "step" else value.to(parameter) for key, value in entries.items()
                }
            *steps, self.best_bits = saved["progress"].tolist()
        except (KeyError, RuntimeError, ValueError) as error:
            raise CadenzaError(
                f"The saved training state does not fit this run ({str(error).splitlines()[0]}); begin again with another --out."
            ) from None
        self.step, self.evaluated_step, self.best_step = map(int, steps)


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then a cosine (Loshchilov & Hutter, 2017)."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))


def plan_steps(model: Model, data: Data, settings: Settings) -> tuple[int, float]:
    """How many steps fit into the minutes, evaluations included, and the notes per second measured.

    The measurement trains a copy, so the model itself is as it was.
    """
    trainer = Trainer(copy.deepcopy(model), data, settings, UNMEASURED_STEPS + MEASURED_STEPS)
    batches = settings.batches
    stream = training_batches(
        data.tables, data.representation, data.training, rows=batches.rows, size=batches.size, seed=settings.train.seed
    )
    notes = 0
    began = time.perf_counter()
    for number, batch in enumerate(islice(stream, trainer.steps)):
        if number == UNMEASURED_STEPS:
            began, notes = time.perf_counter(), 0
        notes += trainer._update(batch).notes
    seconds = time.perf_counter() - began
    rate = notes / seconds
    validation = settings.train.evaluations * float(data.tables.lengths(data.validation).sum()) * FORWARD_SHARE / rate
    budget = max(60 * settings.train.minutes - validation, 30 * settings.train.minutes)
    return max(1, round(budget / (seconds / MEASURED_STEPS))), rate
