"""Loops that are compiled (numba), over float32 vectors and weights of int8 or float32.

The sum of a lane is always made in the same order, whatever the number of lanes: none of them is reassociated across
lanes, and products may be fused only as written. So lane k of many is the same, bit for bit, as alone.

Shapes: L lanes, K columns in, O columns out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float32]

TILE = 8
"""Rows of weights that are taken at once."""


def compiled(*liberties: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a loop, with these liberties in its arithmetic, and keep it on disk where that is possible."""

    def compile_loop(loop: Callable[..., Any]) -> Any:
        how: dict[str, Any] = {"fastmath": set(liberties), "nogil": True, "error_model": "numpy"}
        try:
            return njit(cache=True, **how)(loop)
        except RuntimeError:  # no folder to keep it in
            return njit(**how)(loop)

    return compile_loop


in_order = compiled("contract")
any_order = compiled("contract", "reassoc", "nsz", "arcp")

LOG2_E = np.float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float32(0.693145751953125), np.float32(1.428606765330187e-06)
SMALLEST, LARGEST = np.float32(-87), np.float32(87)
"""Beyond these the exponential leaves the range of float32."""
NORM_EPSILON = float(np.finfo(np.float32).eps)


class Linear(NamedTuple):
    """Weights (K, O) of int8 or float32, the scale of each column, and what is added to it; layers come first, if many."""

    weight: npt.NDArray[Any]
    scale: Floats
    bias: Floats


def floats(*shape: int) -> Floats:
    """Zeros."""
    return np.zeros(shape, np.float32)


@in_order
def linear(x_LK, weight_KO, scale_O, bias_O, tile, out_LO):
    """Sets out = scale * (x @ weight) + bias; `tile` has room for TILE rows of weights."""
    lanes, inside = x_LK.shape
    outside = weight_KO.shape[1]
    out_LO[:] = 0
    whole = inside - inside % TILE
    tile_TO = tile[: TILE * outside].reshape(TILE, outside)
    for k in range(0, whole, TILE):
        if lanes == 1:
            add_rows(x_LK[0], k, weight_KO, k, 0, out_LO[0])
            continue
        for j in range(TILE):
            for o in range(outside):
                tile_TO[j, o] = weight_KO[k + j, o]
        for lane in range(0, lanes - 1, 2):
            add_rows_to_two(x_LK[lane], x_LK[lane + 1], k, tile_TO, out_LO[lane], out_LO[lane + 1])
        if lanes % 2:
            add_rows(x_LK[lanes - 1], k, tile_TO, 0, 0, out_LO[lanes - 1])
    for lane in range(lanes):
        out_O = out_LO[lane]
        for k in range(whole, inside):
            x = x_LK[lane, k]
            for o in range(outside):
                out_O[o] += x * np.float32(weight_KO[k, o])
        for o in range(outside):
            out_O[o] = out_O[o] * scale_O[o] + bias_O[o]


@in_order
def add_rows(x_K, k, weight_KO, row, column, out_O):
    """Adds to out: x[k : k + 8] @ weight[row : row + 8, column : column + O]."""
    a, b, c, d = x_K[k], x_K[k + 1], x_K[k + 2], x_K[k + 3]
    e, f, g, h = x_K[k + 4], x_K[k + 5], x_K[k + 6], x_K[k + 7]
    for o in range(out_O.shape[0]):
        s = out_O[o]
        s += a * np.float32(weight_KO[row, column + o])
        s += b * np.float32(weight_KO[row + 1, column + o])
        s += c * np.float32(weight_KO[row + 2, column + o])
        s += d * np.float32(weight_KO[row + 3, column + o])
        s += e * np.float32(weight_KO[row + 4, column + o])
        s += f * np.float32(weight_KO[row + 5, column + o])
        s += g * np.float32(weight_KO[row + 6, column + o])
        s += h * np.float32(weight_KO[row + 7, column + o])
        out_O[o] = s


@in_order
def add(x, out):
    """Adds x to out."""
    for i in range(x.shape[0]):
        out[i] += x[i]


@in_order
def add_rows_to_two(x_K, y_K, k, tile_TO, out_O, other_O):
    """`add_rows` for two lanes, with one reading of the weights."""
    a, b, c, d = x_K[k], x_K[k + 1], x_K[k + 2], x_K[k + 3]
    e, f, g, h = x_K[k + 4], x_K[k + 5], x_K[k + 6], x_K[k + 7]
    i, j, m, n = y_K[k], y_K[k + 1], y_K[k + 2], y_K[k + 3]
    p, q, r, u = y_K[k + 4], y_K[k + 5], y_K[k + 6], y_K[k + 7]
    for o in range(out_O.shape[0]):
        s, t = out_O[o], other_O[o]
        s += a * tile_TO[0, o]
        t += i * tile_TO[0, o]
        s += b * tile_TO[1, o]
        t += j * tile_TO[1, o]
        s += c * tile_TO[2, o]
        t += m * tile_TO[2, o]
        s += d * tile_TO[3, o]
        t += n * tile_TO[3, o]
        s += e * tile_TO[4, o]
        t += p * tile_TO[4, o]
        s += f * tile_TO[5, o]
        t += q * tile_TO[5, o]
        s += g * tile_TO[6, o]
        t += r * tile_TO[6, o]
        s += h * tile_TO[7, o]
        t += u * tile_TO[7, o]
        out_O[o], other_O[o] = s, t


@in_order
def exponentials(x, bits):
    """Sets x = exp(x): a power of two by its bits times a polynomial (Cody & Waite, 1980); `bits` is room for int32."""
    for i in range(x.shape[0]):
        value = min(max(x[i], SMALLEST), LARGEST)
        power = np.floor(value * LOG2_E + np.float32(0.5))
        rest = value - power * LN2_HIGH - power * LN2_LOW
        total = np.float32(1 / 720)
        total = total * rest + np.float32(1 / 120)
        total = total * rest + np.float32(1 / 24)
        total = total * rest + np.float32(1 / 6)
        total = total * rest + np.float32(1 / 2)
        total = total * rest + np.float32(1)
        x[i] = total * rest + np.float32(1)
        bits[i] = (np.int32(power) + np.int32(127)) << np.int32(23)
    scale = bits[: x.shape[0]].view(np.float32)
    for i in range(x.shape[0]):
        x[i] *= scale[i]


@any_order
def softmax(x, bits):
    """Puts probabilities in place of logits."""
    largest = x[0]
    for i in range(x.shape[0]):
        largest = max(largest, x[i])
    for i in range(x.shape[0]):
        x[i] -= largest
    exponentials(x, bits)
    whole = np.float32(0)
    for i in range(x.shape[0]):
        whole += x[i]
    share = np.float32(1) / whole
    for i in range(x.shape[0]):
        x[i] *= share


@any_order
def norm(x, out):
    """Sets out to x over its root mean square; the weights of a norm stand in the matrix behind it."""
    total = np.float32(0)
    for i in range(x.shape[0]):
        total += x[i] * x[i]
    share = np.float32(1 / math.sqrt(total / x.shape[0] + NORM_EPSILON))
    for i in range(x.shape[0]):
        out[i] = x[i] * share


@any_order
def gated(gate_up, out, bits):
    """Sets out = silu(gate) * up."""
    columns = out.shape[0]
    for i in range(columns):
        out[i] = -gate_up[i]
    exponentials(out, bits)
    for i in range(columns):
        out[i] = gate_up[i] * gate_up[columns + i] / (np.float32(1) + out[i])


@any_order
def gelu(x, room, bits):
    """Multiplies x by the normal distribution at x, by the error function of Abramowitz & Stegun (1964), 7.1.26."""
    for i in range(x.shape[0]):
        room[i] = np.float32(-0.5) * x[i] * x[i]
    exponentials(room[: x.shape[0]], bits)
    for i in range(x.shape[0]):
        t = np.float32(1) / (np.float32(1) + np.float32(0.3275911 * 0.7071067811865476) * abs(x[i]))
        total = np.float32(1.061405429)
        total = total * t - np.float32(1.453152027)
        total = total * t + np.float32(1.421413741)
        total = total * t - np.float32(0.284496736)
        total = total * t + np.float32(0.254829592)
        tail = np.float32(0.5) * total * t * room[i]
        x[i] *= np.float32(1) - tail if x[i] > 0 else tail


@any_order
def sigmoid(x, bits):
    """Puts 1 / (1 + exp(-x)) in place of x."""
    for i in range(x.shape[0]):
        x[i] = -x[i]
    exponentials(x, bits)
    for i in range(x.shape[0]):
        x[i] = np.float32(1) / (np.float32(1) + x[i])
