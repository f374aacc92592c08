"""What every model is: a trunk that reads rows and heads that predict the fields of the next row.

Shapes: B pieces, T rows, F fields, C context columns, D hidden width, V ids of a field.
The trunk's hidden state at row t predicts row t + 1. Row -1 is the representation's start row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadenza.settings import ModelSettings

State = Any
"""What a trunk remembers: opaque, of bounded size; None stands for the start of a piece."""


class Trunk(nn.Module, ABC):
    """Reads rows in order; implementations must never let a row see a later one."""

    def __init__(self, settings: ModelSettings, sizes: Sequence[int], context_width: int) -> None:  # noqa: ARG002
        super().__init__()
        self.width = settings.width

    @abstractmethod
    def forward(self, ids_BTF: Tensor, context_BTC: Tensor, state: State) -> tuple[Tensor, State]:
        """`hidden_BTD` and the state after the last row."""


class RowEmbedding(nn.Module):
    """The sum of one embedding per field (start ids included) and a projection of the context."""

    def __init__(self, sizes: Sequence[int], context_width: int, width: int) -> None:
        super().__init__()
        self.fields = nn.ModuleList(nn.Embedding(size + 1, width) for size in sizes)
        self.context = nn.Linear(context_width, width, bias=False) if context_width else None

    def forward(self, ids_BTF: Tensor, context_BTC: Tensor) -> Tensor:
        embedded_BTD = torch.stack([table(ids_BTF[..., f]) for f, table in enumerate(self.fields)]).sum(0)
        return embedded_BTD if self.context is None else embedded_BTD + self.context(context_BTC)


class Heads(nn.Module, ABC):
    """Predict the fields of a row in order, each given the fields before it in that row."""

    def __init__(self, sizes: Sequence[int], width: int, dropout: float) -> None:  # noqa: ARG002
        super().__init__()

    @abstractmethod
    def field(self, f: int, hidden: Tensor, row: Tensor) -> Tensor:
        """Logits (..., V) of field `f`; `hidden` (..., D), `row` (..., F) of which only ids before `f` are read."""


class FieldHeads(Heads):
    """logits_f = out_f(gelu(in_f(hidden) + sum over g < f of embedding_g(id_g)))."""

    def __init__(self, sizes: Sequence[int], width: int, dropout: float) -> None:
        super().__init__(sizes, width, dropout)
        self.enter = nn.ModuleList(nn.Linear(width, width) for _ in sizes)
        self.given = nn.ModuleList(nn.Embedding(size + 1, width) for size in sizes[:-1])
        self.leave = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        self.dropout = nn.Dropout(dropout)

    def field(self, f: int, hidden: Tensor, row: Tensor) -> Tensor:
        mixed = self.enter[f](hidden)
        for g in range(f):
            mixed = mixed + self.given[g](row[..., g])
        return self.leave[f](self.dropout(functional.gelu(mixed)))


class Model(nn.Module):
    """A trunk with heads; `sizes` are the predictable ids of each field.

    A model with a `window` is to be read from a blank state, at most that many rows at a time; 0 has
    no such bound.
    """

    def __init__(self, trunk: Trunk, heads: Heads, sizes: Sequence[int], window: int = 0) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.window = window
        self.trunk = trunk
        self.heads = heads

    def forward(self, ids_BTF: Tensor, context_BTC: Tensor, state: State = None) -> tuple[Tensor, State]:
        return self.trunk(ids_BTF, context_BTC, state)

    def nats(self, hidden_BTD: Tensor, targets_BTF: Tensor, scored_BTF: Tensor) -> Tensor:
        """Negative log-likelihood of every scored id, shape (B, T, F); 0 where not scored."""
        columns = []
        for f in range(len(self.sizes)):
            logits_BTV = self.heads.field(f, hidden_BTD, targets_BTF)
            wanted_BT = targets_BTF[..., f].masked_fill(~scored_BTF[..., f], -100)
            columns.append(
                functional.cross_entropy(
                    logits_BTV.flatten(0, 1), wanted_BT.flatten(), ignore_index=-100, reduction="none"
                )
            )
        return torch.stack(columns, dim=-1).view(targets_BTF.shape)
