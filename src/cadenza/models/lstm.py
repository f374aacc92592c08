"""A stack of LSTM layers (Hochreiter & Schmidhuber, 1997)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

from cadenza.models.contract import Dropout, RowEmbedding, State, Trunk
from cadenza.settings import ModelSettings


def drop_between(layers: nn.LSTM, dropout: Dropout) -> None:
    """Have as much dropped between the layers as after them."""
    layers.dropout = dropout.in_force if layers.num_layers > 1 else 0.0


@cache
def low_precision_here() -> bool:
    """Whether this CPU has an LSTM in bfloat16; PyTorch has none for those without instructions for it."""
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", torch.bfloat16):
        try:
            nn.LSTM(8, 8)(torch.zeros(1, 1, 8))
        except RuntimeError:
            return False
    return True


def through(layers: nn.LSTM, x_BTD: Tensor, state: State) -> tuple[Tensor, State]:
    """The layers in the precision that is asked for, or else in float32."""
    if x_BTD.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or low_precision_here():
        return layers(x_BTD, state)
    with torch.autocast("cpu", enabled=False):
        return layers(x_BTD.float(), state)


class LSTMTrunk(Trunk):
    """State: the hidden and cell vectors of each layer, so its size never grows."""

    def __init__(self, settings: ModelSettings, sizes: Sequence[int], context_width: int) -> None:
        super().__init__()
        self.embed = RowEmbedding(sizes, context_width, settings.width)
        self.layers = nn.LSTM(settings.width, settings.width, settings.layers, batch_first=True)
        self.dropout = Dropout(settings.dropout)
        for name, bias in self.layers.named_parameters():
            if name.startswith("bias_ih"):  # remember at first (Jozefowicz et al., 2015); gates: in, forget, cell, out
                nn.init.ones_(bias.data[settings.width : 2 * settings.width])

    def forward(self, ids_BTF: Tensor, context_BTC: Tensor, state: State) -> tuple[Tensor, State]:
        drop_between(self.layers, self.dropout)
        hidden_BTD, state = through(self.layers, self.dropout(self.embed(ids_BTF, context_BTC)), state)
        return self.dropout(hidden_BTD), state
