"""A temperature for each field, fitted on validation pieces (temperature scaling: Guo et al., 2017).

A network that has read a small set often is too sure of itself. Its logits are divided by one number for each field,
in the weights of its last layers, so that it stays one model whose probabilities sum to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cadenza.batches import Tables
from cadenza.likelihood import score
from cadenza.models import Model
from cadenza.models.contract import FieldHeads
from cadenza.tokens import Rows, Schema

GRID = np.round(np.arange(1, 1.31, 0.05), 2)
"""Temperatures that are tried."""


def calibrate(model: Model, schema: Schema, pieces: Sequence[Rows]) -> npt.NDArray[np.float64]:
    """Give each field the temperature of `GRID` with the fewest nats in these pieces; returns them, shape (F,)."""
    tables, every = Tables.of(pieces), np.arange(len(pieces))
    nats_GF = np.empty((len(GRID), len(schema.sizes)))
    before = 1.0
    for number, temperature in enumerate(GRID.tolist()):
        temper(model, [temperature / before] * len(schema.sizes))
        nats_GF[number] = score(model, tables, schema, every).nats_PF.sum(axis=0)
        before = temperature
    found_F = GRID[nats_GF.argmin(axis=0)]
    temper(model, (found_F / before).tolist())
    return found_F


@torch.no_grad()
def temper(model: Model, temperatures: Sequence[float]) -> None:
    """Divide the logits of each field."""
    assert isinstance(model.heads, FieldHeads)
    for f, temperature in enumerate(temperatures):
        for layer in last_layers(model.heads, f):
            layer.weight.div_(temperature)
            layer.bias.div_(temperature)


def last_layers(heads: FieldHeads, f: int) -> Iterator[nn.Linear]:
    """The layers whose sum is the logits of a field."""
    own = [heads.leave[f], heads.melodic[str(f)], *(heads.harmonic[f"{g}-{f}"] for g in range(f))]
    for layer in own:
        assert isinstance(layer, nn.Linear)
        yield layer
