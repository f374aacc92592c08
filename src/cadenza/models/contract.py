"""What every model is: a trunk that reads rows and heads that predict the fields of the next row.

Shapes: B pieces, T rows, F fields, C context columns, D hidden width, V ids of a field.
The trunk's hidden state at row t predicts row t + 1. Row -1 is the representation's start row.

Fields that hold pitches are read and predicted as *intervals* as well, differences of ids (Conklin & Witten, 1995):
from the same field in the row before, and from the pitches before it in its row. What is learned in one key then
holds in every key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadenza.settings import ModelSettings

State = Any
"""What a trunk remembers: opaque, of bounded size; None stands for the start of a piece."""


class Trunk(nn.Module, ABC):
    """Reads rows in order; implementations must never let a row see a later one.

    It is made of `ModelSettings`, the sizes of the fields it reads and the width of the context.
    A `bounded` trunk looks back on `settings.window` rows by itself, whatever it is handed at once.
    """

    bounded = False

    @abstractmethod
    def forward(self, ids_BTF: Tensor, context_BTC: Tensor, state: State) -> tuple[Tensor, State]:
        """`hidden_BTD` and the state after the last row."""


class Dropout(nn.Module):
    """Dropout (Srivastava et al., 2014) at a third of the cost on a CPU: a random byte decides, so shares are in 256ths.

    `in_force` is what is dropped for now, at most the whole `share`.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = self.in_force = share

    def forward(self, x: Tensor) -> Tensor:
        dropped = min(round(256 * self.in_force), 255)
        if not self.training or not dropped:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, dropped / 256)
        bytes_8 = torch.empty(x.numel() // 8 + 1, dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = bytes_8.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
        return x * (kept.to(x.dtype) * (256 / (256 - dropped)))


class RowEmbedding(nn.Module):
    """The sum of one embedding per field (start ids included) and of one per column of the context, as large at first."""

    def __init__(self, sizes: Sequence[int], context_width: int, width: int) -> None:
        super().__init__()
        self.fields = nn.ModuleList(nn.Embedding(size + 1, width) for size in sizes)
        self.context = nn.Linear(context_width, width, bias=False) if context_width else None
        if self.context is not None:  # heard from the start beside the embeddings
            nn.init.normal_(self.context.weight)

    def forward(self, ids_BTF: Tensor, context_BTC: Tensor) -> Tensor:
        embedded_BTD = torch.stack([table(ids_BTF[..., f]) for f, table in enumerate(self.fields)]).sum(0)
        return embedded_BTD if self.context is None else embedded_BTD + self.context(context_BTC)


class Heads(nn.Module, ABC):
    """Predict the fields of a row in order, each given the fields before it in that row.

    They are made of the sizes of the fields, of `ModelSettings` and of the pitch fields; heads that do not
    `know_intervals` are given none.
    """

    know_intervals = True
    pitch_fields: tuple[int, ...]

    @abstractmethod
    def field(self, f: int, hidden: Tensor, before: Tensor, row: Tensor) -> Tensor:
        """Logits (..., V) of field `f`.

        `hidden` is (..., D); `before` (..., F) is the last row read; of `row` (..., F), the one that is
        predicted, only ids before `f` count.
        """


class GatedMLP(nn.Module):
    """down(silu(gate(x)) * up(x)), without biases (Shazeer, 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * up)


class HeadLayer(nn.Module):
    """x + mlp(norm(x))."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.mlp, self.dropout = nn.RMSNorm(width), GatedMLP(width, width), Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.mlp(self.norm(x)))


class FieldHeads(Heads):
    """logits_f = out_f(h_f), where h_f begins as gelu(in_f(hidden) + sum over g < f of what is known of field g).

    Known are its id and, in a pitch field, its melodic interval. Layers of a gated MLP each then add to h_f. In a pitch
    field, the logits of melodic and harmonic intervals add to those of the ids that they lead to.
    """

    def __init__(self, sizes: Sequence[int], settings: ModelSettings, pitch_fields: Sequence[int]) -> None:
        super().__init__()
        width = settings.width
        self.sizes, self.pitch_fields = tuple(sizes), tuple(pitch_fields)
        self.enter = nn.ModuleList(nn.Linear(width, width) for _ in sizes)
        self.given = nn.ModuleList(nn.Embedding(size + 1, width) for size in sizes[:-1])
        self.moved = nn.ModuleDict({str(f): nn.Embedding(interval_count(sizes[f]) + 1, width) for f in pitch_fields if f < len(sizes) - 1})  # fmt: skip
        self.deeper = nn.ModuleList(
            nn.Sequential(*(HeadLayer(width, settings.dropout) for _ in range(settings.head_layers))) for _ in sizes
        )
        self.leave = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        self.dropout = Dropout(settings.dropout)
        self.melodic = nn.ModuleDict({str(f): nn.Linear(width, interval_count(sizes[f])) for f in pitch_fields})
        self.harmonic = nn.ModuleDict({f"{g}-{f}": nn.Linear(width, interval_count(sizes[f])) for g, f in combinations(pitch_fields, 2)})  # fmt: skip

    def field(self, f: int, hidden: Tensor, before: Tensor, row: Tensor) -> Tensor:
        mixed = self.enter[f](hidden)
        for g in range(f):
            mixed = mixed + self.given[g](row[..., g])
            if g in self.pitch_fields:
                mixed = mixed + self.moved[str(g)](intervals(row[..., g], before[..., g], self.sizes[g]))
        mixed = self.deeper[f](self.dropout(functional.gelu(mixed)))
        logits = self.leave[f](mixed)
        if f not in self.pitch_fields:
            return logits
        logits = logits + from_here(self.melodic[str(f)](mixed), before[..., f])
        for g in (earlier for earlier in self.pitch_fields if earlier < f):
            logits = logits + from_here(self.harmonic[f"{g}-{f}"](mixed), row[..., g])
        return logits


def interval_count(size: int) -> int:
    """How many different intervals `size` ids have."""
    return 2 * size - 1


def intervals(ids: Tensor, before: Tensor, size: int) -> Tensor:
    """The number of each id's interval from another, in their shape; one past the last if either is a start id."""
    known = (ids < size) & (before < size)
    return (ids - before + size - 1).masked_fill(~known, interval_count(size))


def from_here(by_interval: Tensor, before: Tensor) -> Tensor:
    """Logits (..., V) of ids from those of intervals (..., 2 V - 1) and the id before (...); 0 if that is a start id."""
    size = (by_interval.shape[-1] + 1) // 2
    reached = torch.arange(size, device=before.device) + (size - 1 - before.clamp(max=size - 1))[..., None]
    return by_interval.gather(-1, reached).masked_fill((before == size)[..., None], 0)


class Model(nn.Module):
    """A trunk with heads; `sizes` are the predictable ids of each field.

    A model with a `window` is to be read from a blank state, at most that many rows at a time; 0 has
    no such bound. The trunk reads the melodic intervals of the heads' pitch fields as further fields.
    """

    def __init__(self, trunk: Trunk, heads: Heads, sizes: Sequence[int], window: int = 0) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.window = window
        self.trunk = trunk
        self.heads = heads

    def forward(self, ids_BTF: Tensor, context_BTC: Tensor, state: State = None) -> tuple[Tensor, State]:
        pitches = list(self.heads.pitch_fields)
        if not pitches:
            return self.trunk(ids_BTF, context_BTC, state)
        before_BP, state = (
            (ids_BTF.new_tensor(self.sizes)[pitches].expand(len(ids_BTF), -1), None) if state is None else state
        )
        before_BTP = torch.cat([before_BP[:, None], ids_BTF[:, :-1, pitches]], dim=1)
        moved = [intervals(ids_BTF[..., f], before_BTP[..., place], self.sizes[f]) for place, f in enumerate(pitches)]
        read_BTF = torch.cat([ids_BTF, torch.stack(moved, dim=-1)], dim=-1)
        hidden_BTD, state = self.trunk(read_BTF, context_BTC, state)
        return hidden_BTD, (ids_BTF[:, -1, pitches], state)

    def drop(self, strength: float) -> None:
        """Have every `Dropout` drop this part of its share from now on."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.in_force = strength * module.share

    def nats(self, hidden_BTD: Tensor, ids_BTF: Tensor, targets_BTF: Tensor, scored_BTF: Tensor) -> Tensor:
        """Negative log-likelihood of every scored id, shape (B, T, F); 0 where not scored. `ids_BTF` were read."""
        columns = []
        for f in range(len(self.sizes)):
            logits_BTV = self.heads.field(f, hidden_BTD, ids_BTF, targets_BTF)
            wanted_BT = targets_BTF[..., f].masked_fill(~scored_BTF[..., f], -100)
            columns.append(
                functional.cross_entropy(
                    logits_BTV.flatten(0, 1).float(), wanted_BT.flatten(), ignore_index=-100, reduction="none"
                )
            )
        return torch.stack(columns, dim=-1).view(targets_BTF.shape)
