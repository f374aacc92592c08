"""Loops over one float32 vector: each is the same code whatever else is computed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from cadenza.compiling import any_order, in_order

Floats = npt.NDArray[np.float32]


LOG2_E = np.float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float32(0.693145751953125), np.float32(1.428606765330187e-06)
SMALLEST, LARGEST = np.float32(-87), np.float32(87)
"""Beyond these the exponential leaves the range of float32."""
NORM_EPSILON = float(np.finfo(np.float32).eps)


def floats(*shape: int) -> Floats:
    """Zeros."""
    return np.zeros(shape, np.float32)


@in_order
def add(x, out):
    """Adds x to out."""
    for i in range(x.shape[0]):
        out[i] += x[i]


@in_order
def put(x, out):
    """Sets the first of out to x; an assignment of slices would compile what its error might say."""
    for i in range(x.shape[0]):
        out[i] = x[i]


@in_order
def largest_bits(bits):
    """The bits of the largest float without its sign; infinities and what is no number count as largest."""
    found = np.int32(0)
    for i in range(bits.shape[0]):
        found = np.int32(max(found, bits[i] & 0x7FFFFFFF))
    return found


@in_order
def whole(x, largest, out):
    """Sets out to x in integers up to the largest, and zeros; returns what 1 stands for. 0 takes x as it is."""
    size = x.shape[0]
    for i in range(size, out.shape[0]):
        out[i] = 0
    if largest == 0:
        put(x, out)
        return np.float32(1)
    bits = np.int32(largest_bits(x.view(np.int32)))
    peak = bits.view(np.float32) if bits else np.float32(1)
    share = np.float32(largest) / peak
    for i in range(size):
        out[i] = np.floor(x[i] * share + np.float32(0.5))
    return peak / np.float32(largest)


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
