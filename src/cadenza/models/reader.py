"""A model of PyTorch that reads row by row: the reference of the compiled loops, and what runs on a GPU.

A fixed number of lanes is always computed, because the last bits of logits depend on the batch. A model with a window
reads its last rows anew for every row, the others go on from their state.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cadenza.engine.choice import ByLogits
from cadenza.models.contract import Model, State

Floats = npt.NDArray[np.float32]


class ModelReader(ByLogits):
    """Reads in so many lanes. Shapes: L lanes that read, F fields, C context columns, V ids."""

    def __init__(self, model: Model, lanes: int = 8) -> None:
        self.model, self.sizes, self.lanes = model.eval(), model.sizes, lanes
        self.device = next(model.parameters()).device

    def begin(self, lanes: int) -> None:  # noqa: ARG002
        self.state: State = None
        self.read_so_far: list[tuple[npt.NDArray[Any], Floats]] = []

    @torch.inference_mode()
    def read(self, lanes_L: npt.NDArray[np.int64], rows_LF: npt.NDArray[Any], context_LC: Floats) -> None:
        self.reading = lanes_L
        self.read_so_far.append((self.in_all(rows_LF, self.model.sizes), self.in_all(context_LC, 0)))
        del self.read_so_far[: -(self.model.window or 1)]
        ids_BTF, context_BTC = (
            torch.from_numpy(np.stack(part, axis=1)) for part in zip(*self.read_so_far, strict=True)
        )
        self.ids_BF = ids_BTF[:, -1].to(self.device)
        state = None if self.model.window else self.state
        hidden_BTD, self.state = self.model(ids_BTF.to(self.device), context_BTC.to(self.device), state)
        self.hidden_BD = hidden_BTD[:, -1]

    @torch.inference_mode()
    def logits(self, field: int, rows_LF: npt.NDArray[Any]) -> Floats:
        rows_BF = torch.from_numpy(self.in_all(rows_LF, self.model.sizes)).to(self.device)
        logits_BV = self.model.heads.field(field, self.hidden_BD, self.ids_BF, rows_BF)
        return logits_BV.float().cpu().numpy()[self.reading]

    def in_all(self, values_LX: npt.NDArray[Any], blank: object) -> npt.NDArray[Any]:
        """The values of those that read in their lanes, something blank in the others."""
        kind = np.float32 if values_LX.dtype == np.float32 else np.int64
        all_BX = np.empty((self.lanes, values_LX.shape[1]), kind)
        all_BX[:] = blank
        all_BX[self.reading] = values_LX
        return all_BX
