"""The study's network: an embedding of half the width, LSTM layers as PyTorch starts them, linear heads.

Dropout stands between the layers and before the output, nowhere else. At 3 layers of 256 and one
field this is the network of the study that Cadenza began from.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cadenza.models.contract import Dropout, Heads, RowEmbedding, State, Trunk
from cadenza.models.lstm import drop_between, through
from cadenza.settings import ModelSettings


class StudyTrunk(Trunk):
    """State: the hidden and cell vectors of each layer."""

    def __init__(self, settings: ModelSettings, sizes: Sequence[int], context_width: int) -> None:
        super().__init__()
        half = settings.width // 2
        self.embed = RowEmbedding(sizes, context_width, half)
        self.layers = nn.LSTM(half, settings.width, settings.layers, batch_first=True)
        self.dropout = Dropout(settings.dropout)

    def forward(self, ids_BTF: Tensor, context_BTC: Tensor, state: State) -> tuple[Tensor, State]:
        drop_between(self.layers, self.dropout)
        hidden_BTD, state = through(self.layers, self.embed(ids_BTF, context_BTC), state)
        return self.dropout(hidden_BTD), state


class LinearHeads(Heads):
    """logits_f = out_f(hidden + sum over g < f of embedding_g(id_g)); no intervals."""

    know_intervals = False

    def __init__(self, sizes: Sequence[int], settings: ModelSettings, pitch_fields: Sequence[int]) -> None:
        super().__init__()
        width = settings.width
        self.pitch_fields = tuple(pitch_fields)
        self.given = nn.ModuleList(nn.Embedding(size + 1, width) for size in sizes[:-1])
        self.leave = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def field(self, f: int, hidden: Tensor, before: Tensor, row: Tensor) -> Tensor:  # noqa: ARG002
        for g in range(f):
            hidden = hidden + self.given[g](row[..., g])
        return self.leave[f](hidden)
