"""Batches to weights: a generator of records. It prints nothing and writes nothing.

AdamW (Loshchilov & Hutter, 2019) or Adam (Kingma & Ba, 2015), a cosine decay after a short warm-up
or a constant rate, gradients clipped by norm. What is evaluated and kept is a mean of the latest weights
(polynomial-decay averaging: Shamir & Zhang, 2013). Dropout grows from nothing over the steps (Morerio et
al., 2017), and so does the share of hidden ids: what has hardly been read cannot be known by heart.

Every step draws its batch and its dropout from (seed, step), so a run that is continued from its saved tensors
repeats the uninterrupted run exactly, on a CPU bit for bit. (Not so the dropout between LSTM layers on a GPU,
which cuDNN draws by itself.)
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cadenza.batches import Batch, Tables, batches_in_epoch, grown, training_batches
from cadenza.corpus.split import VALIDATION
from cadenza.errors import CadenzaError
from cadenza.likelihood import Score, check_ids, score
from cadenza.models import Model
from cadenza.records import Evaluation, Step
from cadenza.settings import Settings, TrainSettings
from cadenza.tokens import Schema

WARM_UP_SHARE, FINAL_SHARE = 0.02, 0.02
MEASURED_STEPS, UNMEASURED_STEPS = 20, 5
MEASURED_SHARE, MEASURED_SECONDS = 0.1, 5.0
"""The longest that measuring the speed may take: of the minutes, and in any case."""
SUSTAINED = 0.85
"""Of the speed of the first seconds: what is left of it over minutes, as seen in training after training."""
FORWARD_SHARE, FORWARD_SHARE_OF_LOW = 0.4, 1.0
"""Cost of scoring a row, always in float32, as a share of training on it in float32, in bfloat16; for planning only."""

BETAS = 0.9, 0.95
"""Of AdamW: the second moment forgets faster than usual, as small batches and short runs want it."""

Pieces = npt.NDArray[np.int64]
"""Indices into the tables."""


@dataclass(frozen=True)
class Data:
    """What a trainer reads: tables, and which of their pieces are for what.

    `watched` are pieces by the name of their part, scored at every evaluation for the curve alone.
    """

    tables: Tables
    schema: Schema
    training: Pieces
    validation: Pieces
    watched: Mapping[str, Pieces] = field(default_factory=dict)


class Trainer:
    """A model on its way; `records` moves it forward, `tensors` and `restore` save and load it."""

    def __init__(self, model: Model, data: Data, settings: Settings, steps: int, last: int = 0) -> None:
        """`last` is the step to stop after, on a schedule of `steps`; 0 goes to its end."""
        check_ids(model, data.schema, [data.tables.rows])
        self.model, self.data, self.settings, self.steps = model, data, settings, steps
        self.last = last or steps
        self.ramp = steps if settings.train.ramp else 0
        self.optimiser = optimiser_of(model, settings.train)
        self.average = copy_of(model)
        self.epoch_steps = batches_in_epoch(data.tables.lengths(data.training), settings.batches)
        self.step = 0
        self.best_bits = math.inf
        self.best_step = 0
        self.evaluated_step = 0
        self.scores: dict[str, Score] = {}
        self.best = copy.deepcopy(model.state_dict())
        self.device = next(model.parameters()).device

    def records(self) -> Iterator[Step | Evaluation]:
        """Train to the last step; an evaluation follows the steps due for one and the last step.

        `scores` are those of the evaluation that was yielded last.
        """
        if self._due():  # stopped between a step and its evaluation
            yield self._evaluate()
        for batch in islice(stream(self.data, self.settings, self.step, self.ramp), self.last - self.step):
            yield self._update(batch)
            if self._due():
                yield self._evaluate()

    def _due(self) -> bool:
        """Whether this step is to be evaluated and has not been; none is so close to the last."""
        every = max(1, self.steps // self.settings.train.evaluations)
        regular = self.step % every == 0 and self.steps - self.step > every // 2
        return self.step > self.evaluated_step and (regular or self.step == self.last)

    def _update(self, batch: Batch) -> Step:
        train = self.settings.train
        rate = train.learning_rate * (schedule(self.step, self.steps) if train.schedule == "cosine" else 1)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(train.seed * 1_000_003 + self.step)
            nats = self._backward(batch.to(self.device))
        if not math.isfinite(nats):
            raise CadenzaError(
                f"Training met a loss that is not a number at step {self.step + 1}; the best state so far is kept. "
                f"Lower train.learning_rate (now {train.learning_rate:g}) and run again with another --out."
            )
        self.optimiser.step()
        self._follow()
        self.step += 1
        scored = batch.scored_BTF.any(-1)
        notes = self.data.schema.note_count(batch.targets_BTF[scored].numpy())
        return Step(self.step, nats / math.log(2) / max(notes, 1), notes, rate)

    def _backward(self, batch: Batch) -> float:
        """Gradients of the mean nats per row; returns the nats of the batch."""
        self.model.train()
        self.model.drop(grown(self.step, self.ramp))
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.train.precision == "bfloat16"):
            hidden_BTD, _ = self.model(batch.ids_BTF, batch.context_BTC)
            nats = self.model.nats(hidden_BTD, batch.ids_BTF, batch.targets_BTF, batch.scored_BTF).sum()
        rows = batch.scored_BTF[..., 0].sum()
        (nats / rows).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.train.clip)
        return float(nats.detach()) + 0 * float(norm)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the mean towards the weights; it reaches back over a constant share of the steps so far."""
        share = 1 / (1 + self.settings.train.average * self.step)
        for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(now, share)

    def _evaluate(self) -> Evaluation:
        """Without validation pieces the last state counts as the best."""
        data = self.data
        parts = {VALIDATION: data.validation, **data.watched}
        self.scores = scores = {
            part: score(self.average, data.tables, data.schema, pieces) for part, pieces in parts.items() if len(pieces)
        }
        bits = scores[VALIDATION].bits_per_note if VALIDATION in scores else math.nan
        best = bits < self.best_bits or VALIDATION not in scores
        self.evaluated_step = self.step
        if best:
            self.best_bits, self.best_step = bits, self.step
            self.best = copy.deepcopy(self.average.state_dict())
        return Evaluation(
            self.step,
            self.step / self.epoch_steps,
            best,
            {part: one.bits_per_note for part, one in scores.items()},
            {part: one.perplexity_per_token for part, one in scores.items()},
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a later process needs to go on, apart from settings and data."""
        named = dict(self.model.named_parameters())
        saved = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        saved |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
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
            self.average.load_state_dict(with_prefix(saved, "average."))
            self.best = with_prefix(saved, "best.")
            named = dict(self.model.named_parameters())
            for entry, value in with_prefix(saved, "optimiser.").items():
                key, _, name = entry.partition(".")
                place = "cpu" if key == "step" and not self.optimiser.defaults["fused"] else named[name].device
                self.optimiser.state[named[name]][key] = value.to(place, copy=True)
            *steps, self.best_bits = saved["progress"].tolist()
        except (KeyError, RuntimeError, ValueError) as error:
            raise CadenzaError(
                f"The saved training state does not fit this run ({str(error).splitlines()[0]}); begin again with another --out."
            ) from None
        self.step, self.evaluated_step, self.best_step = map(int, steps)


def optimiser_of(model: Model, settings: TrainSettings) -> torch.optim.Optimizer:
    """Only matrices decay, except under Adam, which decays all by the gradient, as the study did."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "adam":
        return torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay)
    groups = [
        {"params": [parameter for parameter in model.parameters() if parameter.ndim > 1], "weight_decay": decay},
        {"params": [parameter for parameter in model.parameters() if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, fused=True)


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then a cosine (Loshchilov & Hutter, 2017)."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))


def stream(data: Data, settings: Settings, first_step: int = 0, ramp: int = 0) -> Iterator[Batch]:
    """The training batches of these settings, from a step on, as `training_batches` has them."""
    return training_batches(
        data.tables,
        data.schema,
        data.training,
        settings.batches,
        settings.augment,
        settings.train.seed,
        first_step,
        ramp,
    )


class Plan(NamedTuple):
    """How much training fits into the minutes, at the measured speed; a stride of 0 is the asked one."""

    steps: int
    stride: int
    rows_per_second: float


def plan(model: Model, data: Data, settings: Settings) -> Plan:
    """Measure the speed, evaluations included, and derive the number of steps.

    With `train.epochs`, a stride grows as far as those need to fit; where that is not enough, there
    are fewer. The measurement trains a copy, so the model itself is as it was.
    """
    seconds, rows = measure_speed(model, data, settings)
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


def measure_speed(model: Model, data: Data, settings: Settings) -> tuple[float, float]:
    """Seconds and rows of `MEASURED_STEPS` steps, by the median step: other work on the machine comes in bursts.

    Dropout and hiding are on throughout. Where steps are so slow that measuring would take over
    `MEASURED_SECONDS` or `MEASURED_SHARE` of the minutes, fewer are made.
    """
    steady = settings.model_copy(update={"train": settings.train.model_copy(update={"ramp": False})})
    trainer = Trainer(copy_of(model), data, steady, UNMEASURED_STEPS + MEASURED_STEPS)
    allowed = min(MEASURED_SECONDS, MEASURED_SHARE * 60 * settings.train.minutes)
    rows: list[int] = []
    times = [time.perf_counter()]
    for batch in islice(stream(data, steady), trainer.steps):
        trainer._update(batch)
        rows.append(int(batch.scored_BTF[..., 0].sum()))
        times.append(time.perf_counter())
        if len(rows) > 1 and times[-1] - times[0] > allowed:
            break
    skipped = min(UNMEASURED_STEPS, len(rows) // 2)
    seconds = float(np.median(np.diff(times)[skipped:]))
    return seconds * MEASURED_STEPS, float(np.mean(rows[skipped:])) * MEASURED_STEPS


def copy_of(model: Model) -> Model:
    """A copy with its own weights; moving it, though nowhere, lays those of an LSTM out again as cuDNN wants them."""
    return copy.deepcopy(model).to(next(model.parameters()).device)
