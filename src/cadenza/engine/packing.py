"""A model's weights, by their names, as the compiled loops take them.

In: arrays of float32 as PyTorch has them, (out, in). Out: `Linear` of (in, out), in int8 with a scale for each output
or in float32; the gains of a norm stand in the matrix behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cadenza.engine.choice import NO_NUMBERS
from cadenza.engine.kernels import Floats, Linear
from cadenza.errors import CadenzaError

LARGEST = 127

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
        weight_KO = np.ascontiguousarray(weight_OK.T)
        if not np.isfinite(weight_KO).all():
            raise CadenzaError(NO_NUMBERS)
        scale_O = np.ones(len(bias_O), np.float32)
        if self.small:
            scale_O = np.maximum(np.abs(weight_KO).max(axis=0), np.float32(1e-30)) / np.float32(LARGEST)
            return Linear(np.rint(weight_KO / scale_O).astype(np.int8), scale_O, np.ascontiguousarray(bias_O))
        return Linear(weight_KO, scale_O, np.ascontiguousarray(bias_O))

    def none(self) -> Linear:
        """No layers, stacked."""
        nothing = np.zeros((0, 1), np.float32)
        return Linear(np.zeros((0, 1, 1), np.int8 if self.small else np.float32), nothing, nothing)

    def stacked(self, names: Sequence[str], norms: Sequence[str] = ()) -> Linear:
        """Layers of like shape, one after the other."""
        return (
            stack([self.linear(name, norm) for name, norm in zip(names, norms or [""] * len(names), strict=True)])
            if names
            else self.none()
        )


def stack(layers: Sequence[Linear]) -> Linear:
    """Layers of like shape as one, the layers coming first."""
    return Linear(*(np.stack(part) for part in zip(*layers, strict=True)))


def side_by_side(layers: Sequence[Linear]) -> Linear:
    """Layers that read the same as one with the columns of all."""
    return Linear(*(np.ascontiguousarray(np.concatenate(part, axis=-1)) for part in zip(*layers, strict=True)))


class Tables(NamedTuple):
    """Embeddings one after the other, (N, D), and where each begins, (T,)."""

    rows: Floats
    begins: np.ndarray

    @classmethod
    def of(cls, tables: Sequence[Floats], width: int) -> Tables:
        begins = np.cumsum([0, *map(len, tables)])[:-1] if tables else np.zeros(0, np.int64)
        return cls(np.concatenate(tables) if tables else np.zeros((0, width), np.float32), begins.astype(np.int64))
