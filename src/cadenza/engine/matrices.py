"""Products of matrices and vectors, and the gated MLP made of them, in compiled loops.

Weights are float32, or int8 with a scale for each output; then a vector becomes integers of at most 16 bits with one
scale for all, whose sums of products stay within 32 bits. A lane has the same bits alone and beside others.

Shapes: A lanes, K columns in, O columns out, N layers, B blocks of 32 outputs, S steps, W numbers of a step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.compiling import in_order
from cadenza.engine.kernels import Floats, add, floats, gated, norm, whole
from cadenza.engine.tiles import BLOCK, one_lane, two_lanes

LARGEST = 127
"""Of a weight in int8."""
LARGEST_SHORT, LARGEST_SUM = 2**15 - 1, 2**31 - 1


class Linear(NamedTuple):
    """Layers of like shape: weights (N, B, S, W), in blocks; the scale of each output, (N, 32 B), and what is added to it.

    `inside` columns enter; the steps may have room for more.
    """

    weight: npt.NDArray[Any]
    scale: Floats
    bias: Floats
    inside: int


class Room(NamedTuple):
    """Where a thread computes: vectors of all lanes as the matrices take them, their scales, the sums of tiles; vectors
    on their way; and what exponentials need.
    """

    taken: npt.NDArray[Any]
    step: Floats
    sums: npt.NDArray[Any]
    mixed: Floats
    normed: Floats
    wide: Floats
    inner: Floats
    bits: npt.NDArray[np.int32]

    @classmethod
    def for_lanes(cls, lanes: int, widest: int, small: bool) -> Room:
        """`widest` is the most columns that enter or leave a matrix."""
        return cls(
            taken=np.zeros(lanes * (widest + BLOCK), np.int16 if small else np.float32),
            step=floats(lanes),
            sums=np.zeros(widest + 2 * BLOCK, np.int32 if small else np.float32),
            mixed=floats(lanes * widest),
            normed=floats(lanes * widest),
            wide=floats(lanes * widest),
            inner=floats(lanes * widest),
            bits=np.zeros(widest, np.int32),
        )


@in_order
def rows_of(room, count, columns):
    """So many vectors, next to each other in a room."""
    return room[: count * columns].reshape(count, columns)


@in_order
def paired(weight):
    """How many columns a step takes: 2 of int8, 1 of float32."""
    return weight.shape[-1] // BLOCK


@in_order
def bound(weight, inside):
    """The largest integer of a vector with so many columns; 0 for one that stays as it is."""
    return 0 if paired(weight) == 1 else min(LARGEST_SHORT, LARGEST_SUM // (LARGEST * inside))


@in_order
def linear(x_AK, layer, n, first, room, out_AO):
    """Sets out to what layer n, from its block `first` on, makes of x."""
    count, columns = out_AO.shape
    largest = bound(layer.weight, layer.inside)
    taken_AK = rows_of(room.taken, count, layer.weight.shape[2] * paired(layer.weight))
    for a in range(count):
        room.step[a] = whole(x_AK[a], largest, taken_AK[a])
    for b in range(0, columns, BLOCK):
        weight_SW = layer.weight[n, first + b // BLOCK]
        begin, size = first * BLOCK + b, min(BLOCK, columns - b)
        scale_O, bias_O = layer.scale[n, begin : begin + size], layer.bias[n, begin : begin + size]
        for a in range(0, count - 1, 2):
            two_lanes(taken_AK[a:], weight_SW, room.sums)
            finish(room.sums, room.step[a], scale_O, bias_O, out_AO[a, b : b + size])
            finish(room.sums[BLOCK:], room.step[a + 1], scale_O, bias_O, out_AO[a + 1, b : b + size])
        if count % 2:
            one_lane(taken_AK[count - 1 :], weight_SW, room.sums)
            finish(room.sums, room.step[count - 1], scale_O, bias_O, out_AO[count - 1, b : b + size])


@in_order
def finish(sums, step, scale_O, bias_O, out_O):
    for o in range(out_O.shape[0]):
        out_O[o] = np.float32(sums[o]) * (step * scale_O[o]) + bias_O[o]


@in_order
def add_gated(x_AD, gate_up, down, n, room):
    """Adds to x what a gated MLP (layer n of its two matrices) makes of it, normed."""
    count, width = x_AD.shape
    normed_AD, inner_AK = rows_of(room.normed, count, width), rows_of(room.inner, count, down.inside)
    wide_AO = rows_of(room.wide, count, 2 * down.inside)
    for a in range(count):
        norm(x_AD[a], normed_AD[a])
    linear(normed_AD, gate_up, n, 0, room, wide_AO)
    for a in range(count):
        gated(wide_AO[a], inner_AK[a], room.bits)
    linear(inner_AK, down, n, 0, room, normed_AD)
    for a in range(count):
        add(normed_AD[a], x_AD[a])
