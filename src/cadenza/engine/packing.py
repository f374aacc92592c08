"""A model's weights, by their names, as the compiled loops take them.

In: arrays of float32 as PyTorch has them, (out, in). Out: `Linear` in blocks of 32 outputs, in int8 with a scale for each
output or in float32; the gains of a norm stand in the matrix behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cadenza.engine.choice import NO_NUMBERS
from cadenza.engine.kernels import Floats
from cadenza.engine.matrices import LARGEST, Linear
from cadenza.engine.tiles import BLOCK, CHAINS
from cadenza.errors import CadenzaError

Weights = Mapping[str, Floats]


class Packing(NamedTuple):
    """Named weights, and whether matrices become int8."""

    weights: Weights
    small: bool

    def linear(self, name: str, norm: str = "") -> Linear:
        """The layer of a name, behind the norm of another."""
        gain_K = self.weights[f"{norm}.weight"] if norm else np.float32(1)
        matrix = self.weights[f"{name}.weight"]
        return self.matrix(matrix * gain_K, self.weights.get(f"{name}.bias", np.zeros(len(matrix), np.float32)))

    def matrix(self, weight_OK: Floats, bias_O: Floats) -> Linear:
        if not np.isfinite(weight_OK).all():
            raise CadenzaError(NO_NUMBERS)
        outside, inside = weight_OK.shape
        pair, scale_O = 1, np.ones(outside, np.float32)
        if self.small:
            pair, scale_O = 2, np.maximum(np.abs(weight_OK).max(axis=1), np.float32(1e-30)) / np.float32(LARGEST)
            weight_OK = np.rint(weight_OK / scale_O[:, None]).astype(np.int8)
        weight_OK = padded(padded(weight_OK, 0, BLOCK), 1, CHAINS * pair)
        block_BOSP = weight_OK.reshape(-(-outside // BLOCK), BLOCK, -1, pair)
        weight_BSOP = np.ascontiguousarray(block_BOSP.transpose(0, 2, 1, 3))
        weight_BSW = weight_BSOP.reshape(len(weight_BSOP), -1, BLOCK * pair)
        return Linear(weight_BSW[None], padded(scale_O, 0, BLOCK)[None], padded(bias_O, 0, BLOCK)[None], inside)

    def stacked(self, names: Sequence[str], norms: Sequence[str] = ()) -> Linear:
        """Layers of like shape, each behind a norm if there are any, one after the other."""
        if not names:
            return self.matrix(np.zeros((1, 1), np.float32), np.zeros(1, np.float32))  # nothing goes through it
        norms = norms or [""] * len(names)
        return joined([self.linear(name, norm) for name, norm in zip(names, norms, strict=True)], axis=0)

    def beside(self, names: Sequence[str]) -> Linear:
        """Layers that read the same as one with the columns of all."""
        parts = [np.concatenate([self.weights[f"{name}.{part}"] for name in names]) for part in ("weight", "bias")]
        return self.matrix(*parts)


def padded(array: Any, axis: int, multiple: int) -> Any:
    """With zeros up to a multiple."""
    missing = -array.shape[axis] % multiple
    return np.pad(array, [(0, missing if k == axis else 0) for k in range(array.ndim)])


def joined(layers: Sequence[Linear], axis: int) -> Linear:
    """One after the other (axis 0), or, if they read the same, side by side (axis 1)."""
    weight, scale, bias = (
        np.ascontiguousarray(np.concatenate([layer[part] for layer in layers], axis)) for part in range(3)
    )
    return Linear(weight, scale, bias, layers[0].inside)


class Tables(NamedTuple):
    """Embeddings one after the other, (N, D), and where each begins, (T,)."""

    rows: Floats
    begins: np.ndarray

    @classmethod
    def of(cls, tables: Sequence[Floats], width: int) -> Tables:
        begins = np.cumsum([0, *map(len, tables)])[:-1] if tables else np.zeros(0, np.int64)
        return cls(np.concatenate(tables) if tables else np.zeros((0, width), np.float32), begins.astype(np.int64))
