"""Batches to weights: a generator of records. It prints nothing and writes nothing.

AdamW (Loshchilov & Hutter, 2019) or Adam (Kingma & Ba, 2015), a cosine decay after a short warm-up
or a constant rate, gradients clipped by norm. What is evaluated and kept is a mean of the latest weights
(polynomial-decay averaging: Shamir & Zhang, 2013). Dropout grows from nothing over the steps (Morerio et
al., 2017), and so does the share of hidden ids: what has hardly been read cannot be known by heart.

Every step draws its batch and its dropout from (seed, step), so a run that is continued from its saved tensors
repeats the uninterrupted run exactly, on a CPU bit for bit. (Not so the dropout between LSTM layers on a GPU,
which cuDNN draws by itself.)

Several processes draw the same batch and deal its windows among them, so what is learned does not depend on their
number, apart from rounding and from dropout, which each draws for itself.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cadenza.batches import Batch, Tables, batches_in_epoch, grown, training_batches
from cadenza.corpus.split import VALIDATION
from cadenza.errors import CadenzaError
from cadenza.likelihood import Score, check_ids, score
from cadenza.models import Model
from cadenza.parallel import ALONE, Group
from cadenza.records import Evaluation, Step
from cadenza.settings import Settings, TrainSettings
from cadenza.tokens import Schema

WARM_UP_SHARE, FINAL_SHARE = 0.02, 0.02

BETAS = 0.9, 0.95
"""Of AdamW: the second moment forgets faster than usual, as small batches and short runs want it."""

RANK_STRIDE = 2_654_435_769
"""From the seed of one process's dropout to the next one's: far from the seeds of all steps, in 32 bits too (Knuth,
1973), which is all that the generator of a CPU takes."""

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


class Nats(nn.Module):
    """A model whose output is the nats of a batch."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        hidden_BTD, _ = self.model(batch.ids_BTF, batch.context_BTC)
        return self.model.nats(hidden_BTD, batch.ids_BTF, batch.targets_BTF, batch.scored_BTF).sum()


class Trainer:
    """A model on its way; `records` moves it forward, `tensors` and `restore` save and load it."""

    def __init__(
        self, model: Model, data: Data, settings: Settings, steps: int, last: int = 0, group: Group = ALONE
    ) -> None:
        """`last` is the step to stop after, on a schedule of `steps`; 0 goes to its end. All of the group train alike."""
        check_ids(model, data.schema, [data.tables.rows])
        self.group, self.nats = group, group.data_parallel(Nats(model))
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
            yield self.update(batch)
            if self._due():
                yield self._evaluate()

    def _due(self) -> bool:
        """Whether this step is to be evaluated and has not been; none is so close to the last."""
        every = max(1, self.steps // self.settings.train.evaluations)
        regular = self.step % every == 0 and self.steps - self.step > every // 2
        return self.step > self.evaluated_step and (regular or self.step == self.last)

    def update(self, batch: Batch) -> Step:
        train = self.settings.train
        rate = train.learning_rate * (schedule(self.step, self.steps) if train.schedule == "cosine" else 1)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(train.seed * 1_000_003 + self.step + RANK_STRIDE * self.group.rank)
            nats = self._backward(batch)
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
        """Gradients of the mean nats per row of the batch, of which this process reads its share; returns its nats."""
        self.model.train()
        self.model.drop(grown(self.step, self.ramp))
        self.optimiser.zero_grad(set_to_none=True)
        rows, nats = int(batch.scored_BTF[..., 0].sum()), torch.zeros((), device=self.device)
        *parts, last = dealt(batch, self.group, self.settings.train.micro_batch)
        with self.group.held_back(self.nats):
            for part in parts:
                nats += self._add_gradients(part, rows)
        nats += self._add_gradients(last, rows)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.train.clip)
        return float(self.group.sum(np.array([float(nats)]))[0]) + 0 * float(norm)

    def _add_gradients(self, part: Batch, rows: int) -> Tensor:
        """Those of the nats per row of the whole batch; a group takes their mean, so each of it gives so much more."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.train.precision == "bfloat16"):
            nats = self.nats(part.to(self.device))
        (nats / rows * self.group.world).backward()
        return nats.detach()

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
            part: score(self.average, data.tables, data.schema, pieces, group=self.group)
            for part, pieces in parts.items()
            if len(pieces)
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


def dealt(batch: Batch, group: Group, size: int) -> list[Batch]:
    """The windows of this process, at most `size` of them at once (0 is no bound); where it has none, one that is not scored."""
    share = Batch(*(tensor[group.share] for tensor in vars(batch).values()))
    if not len(share.ids_BTF):
        first = Batch(*(tensor[:1] for tensor in vars(batch).values()))
        return [replace(first, scored_BTF=torch.zeros_like(first.scored_BTF))]
    return [Batch(*part) for part in zip(*(tensor.split(size or len(tensor)) for tensor in vars(share).values()), strict=True)]  # fmt: skip


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


def copy_of(model: Model) -> Model:
    """A copy with its own weights; moving it, though nowhere, lays those of an LSTM out again as cuDNN wants them."""
    return copy.deepcopy(model).to(next(model.parameters()).device)
