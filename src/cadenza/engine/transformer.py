"""One row through the blocks of a transformer, in compiled loops.

Keys and values of the last `window` rows lie in a ring: row t at place t modulo the window. Keys are rotated once,
by the number of their row, since only the distance of two rotations counts.

Shapes: A lanes that read, L lanes in all, N layers, W window, D width, H columns inside the MLP.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cadenza.engine.kernels import TILE, Floats, Linear, add, add_rows, floats, gated, in_order, linear, norm, softmax
from cadenza.settings import HEAD_WIDTH


class Blocks(NamedTuple):
    """The weights of all blocks, stacked; those of the norms stand in the matrices behind them."""

    query_key_value: Linear
    mix: Linear
    gate_up: Linear
    down: Linear


class Memory(NamedTuple):
    """What each lane has read: keys (N, L, D, W), values (N, L, W, D), rows so far (L,)."""

    keys: Floats
    values: Floats
    rows: np.ndarray

    @classmethod
    def blank(cls, layers: int, lanes: int, window: int, width: int) -> Memory:
        return cls(
            floats(layers, lanes, width, window), floats(layers, lanes, window, width), np.zeros(lanes, np.int64)
        )


class Room(NamedTuple):
    """Where a thread computes, for so many lanes."""

    normed: Floats
    query_key_value: Floats
    gate_up: Floats
    mixed: Floats
    inner: Floats
    scores: Floats
    tile: Floats
    bits: np.ndarray

    @classmethod
    def for_lanes(cls, blocks: Blocks, lanes: int, window: int) -> Room:
        width, inner = blocks.mix.weight.shape[1], blocks.down.weight.shape[1]
        widest = max(3 * width, 2 * inner)
        return cls(
            normed=floats(lanes, width),
            query_key_value=floats(lanes, 3 * width),
            gate_up=floats(lanes, 2 * inner),
            mixed=floats(lanes, width),
            inner=floats(lanes, inner),
            scores=floats(window),
            tile=floats(TILE * widest),
            bits=np.zeros(max(window, widest), np.int32),
        )


@in_order
def read_row(blocks, memory, room, lanes_A, speed_c, x_AD):
    """Move so many lanes on by the embedded rows x; x becomes what the last norm has of the hidden vectors."""
    count = len(x_AD)
    normed_AD, mixed_AD, inner_AH = room.normed[:count], room.mixed[:count], room.inner[:count]
    qkv_AO, wide_AO = room.query_key_value[:count], room.gate_up[:count]
    for n in range(blocks.mix.weight.shape[0]):
        for a in range(count):
            norm(x_AD[a], normed_AD[a])
        part = blocks.query_key_value
        linear(normed_AD, part.weight[n], part.scale[n], part.bias[n], room.tile, qkv_AO)
        for a in range(count):
            lane = lanes_A[a]
            attend(qkv_AO[a], memory.keys[n, lane], memory.values[n, lane], memory.rows[lane], speed_c,
                   room.scores, room.bits, mixed_AD[a])  # fmt: skip
        linear(mixed_AD, blocks.mix.weight[n], blocks.mix.scale[n], blocks.mix.bias[n], room.tile, normed_AD)
        for a in range(count):
            add(normed_AD[a], x_AD[a])
            norm(x_AD[a], normed_AD[a])
        part = blocks.gate_up
        linear(normed_AD, part.weight[n], part.scale[n], part.bias[n], room.tile, wide_AO)
        for a in range(count):
            gated(wide_AO[a], inner_AH[a], room.bits)
        linear(inner_AH, blocks.down.weight[n], blocks.down.scale[n], blocks.down.bias[n], room.tile, normed_AD)
        for a in range(count):
            add(normed_AD[a], x_AD[a])
    for a in range(count):
        norm(x_AD[a], x_AD[a])
        memory.rows[lanes_A[a]] += 1


@in_order
def attend(qkv_O, keys_DW, values_WD, row, speed_c, scores_W, bits, out_D):
    """What the row takes from those in sight, itself among them; its key and value are put in their place."""
    width, window = keys_DW.shape
    place, seen = row % window, min(row + 1, window)
    query_D, key_D = qkv_O[:width], qkv_O[width : 2 * width]
    for c in range(speed_c.shape[0]):
        cos, sin = np.float32(math.cos(row * speed_c[c])), np.float32(math.sin(row * speed_c[c]))
        for even in range(2 * c, width, HEAD_WIDTH):
            turn(query_D, even, cos, sin)
            turn(key_D, even, cos, sin)
    for d in range(width):
        keys_DW[d, place] = key_D[d]
        values_WD[place, d] = qkv_O[2 * width + d]
        query_D[d] *= np.float32(1 / math.sqrt(HEAD_WIDTH))
    for head in range(0, width, HEAD_WIDTH):
        seen_W = scores_W[:seen]
        seen_W[:] = 0
        for d in range(head, head + HEAD_WIDTH, TILE):
            add_rows(query_D, d, keys_DW, d, 0, seen_W)
        softmax(seen_W, bits)
        out_D[head : head + HEAD_WIDTH] = 0
        mix(scores_W, seen, values_WD, head, out_D[head : head + HEAD_WIDTH])


@in_order
def turn(x, even, cos, sin):
    a, b = x[even], x[even + 1]
    x[even], x[even + 1] = a * cos - b * sin, a * sin + b * cos


@in_order
def mix(share_W, seen, values_WD, column, out_d):
    """Adds share @ values to out, of the columns from one on."""
    whole = seen - seen % TILE
    for w in range(0, whole, TILE):
        add_rows(share_W, w, values_WD, w, column, out_d)
    for w in range(whole, seen):
        for d in range(out_d.shape[0]):
            out_d[d] += share_W[w] * values_WD[w, column + d]
