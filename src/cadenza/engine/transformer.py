"""One row through the blocks of a transformer, in compiled loops.

Keys and values of the last rows lie in a ring: row t at place t modulo the window. Keys are rotated once, by the number
of their row, since only the distance of two rotations counts. Both lie as the weights of a matrix do, in int8 or float32,
so the tiles that multiply weights make scores (an output for each row) and what is taken from the values.

Shapes: A lanes that read, L lanes in all, N layers, H heads, R places of the ring (a multiple of 32), C rotations,
D width, K columns of a head, S steps, W numbers of a step.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.compiling import in_order
from cadenza.engine.embedding import embed
from cadenza.engine.kernels import Floats, add, floats, norm, softmax, whole
from cadenza.engine.matrices import LARGEST, Linear, add_gated, bound, linear, paired, rows_of
from cadenza.engine.tiles import BLOCK, one_lane
from cadenza.settings import HEAD_WIDTH

assert HEAD_WIDTH == BLOCK  # the values of a head are one block


class Blocks(NamedTuple):
    """The weights of all blocks; those of the norms stand in the matrices behind them."""

    query_key_value: Linear
    mix: Linear
    gate_up: Linear
    down: Linear


class Memory(NamedTuple):
    """What each lane has read: keys (N, L, H, R / 32, S, W), values (N, L, H, S, W), a scale for each, (N, L, H, R), and
    rows so far (L,). A row is in sight for `window` rows.
    """

    keys: npt.NDArray[Any]
    values: npt.NDArray[Any]
    key_scale: Floats
    value_scale: Floats
    rows: npt.NDArray[np.int64]
    window: int

    @classmethod
    def blank(cls, layers: int, lanes: int, heads: int, window: int, small: bool) -> Memory:
        places, pair, kind = -(-window // BLOCK) * BLOCK, 2 if small else 1, np.int8 if small else np.float32
        return cls(
            keys=np.zeros((layers, lanes, heads, places // BLOCK, HEAD_WIDTH // pair, BLOCK * pair), kind),
            values=np.zeros((layers, lanes, heads, places // pair, HEAD_WIDTH * pair), kind),
            key_scale=floats(layers, lanes, heads, places),
            value_scale=floats(layers, lanes, heads, places),
            rows=np.zeros(lanes, np.int64),
            window=window,
        )


class Sight(NamedTuple):
    """What a thread needs to look back: how fast each pair of columns rotates; its cosines and sines in every lane,
    (A, C); scores of the places of the ring, (R,).
    """

    speed: npt.NDArray[np.float64]
    cos: Floats
    sin: Floats
    scores: Floats


class Transformer(NamedTuple):
    """All of it, for a thread."""

    blocks: Blocks
    memory: Memory
    sight: Sight


@in_order
def read(held, lanes_A, rows_AF, context_AC):
    """A row in each of these lanes; what the last norm has of the hidden vectors stays."""
    room, blocks, memory, sight = held.room, held.trunk.blocks, held.trunk.memory, held.trunk.sight
    count, width = lanes_A.shape[0], held.last.hidden.shape[1]
    x_AD = held.last.hidden[:count]
    normed_AD, mixed_AD = rows_of(room.normed, count, width), rows_of(room.inner, count, width)
    qkv_AO = rows_of(room.wide, count, 3 * width)
    embed(held.embedding, held.last, lanes_A, rows_AF, context_AC, x_AD)
    for a in range(count):
        for c in range(sight.speed.shape[0]):
            angle = memory.rows[lanes_A[a]] * sight.speed[c]
            sight.cos[a, c], sight.sin[a, c] = math.cos(angle), math.sin(angle)
    for n in range(blocks.mix.weight.shape[0]):
        for a in range(count):
            norm(x_AD[a], normed_AD[a])
        linear(normed_AD, blocks.query_key_value, n, 0, room, qkv_AO)
        for a in range(count):
            rotate(qkv_AO[a, : 2 * width], sight.cos[a], sight.sin[a])
            attend(qkv_AO[a], memory, n, lanes_A[a], sight.scores, room, mixed_AD[a])
        linear(mixed_AD, blocks.mix, n, 0, room, normed_AD)
        for a in range(count):
            add(normed_AD[a], x_AD[a])
        add_gated(x_AD, blocks.gate_up, blocks.down, n, room)
    for a in range(count):
        norm(x_AD[a], x_AD[a])
        memory.rows[lanes_A[a]] += 1


@in_order
def rotate(x, cos_C, sin_C):
    """Turn the pairs of columns of all heads."""
    for head in range(0, x.shape[0], HEAD_WIDTH):
        for c in range(HEAD_WIDTH // 2):
            a, b = x[head + 2 * c], x[head + 2 * c + 1]
            x[head + 2 * c], x[head + 2 * c + 1] = a * cos_C[c] - b * sin_C[c], a * sin_C[c] + b * cos_C[c]


@in_order
def attend(qkv_O, memory, n, lane, scores_R, room, out_D):
    """What the row takes from those in sight, itself among them; its key and value are put in their place."""
    width, row = out_D.shape[0], memory.rows[lane]
    place, seen = row % memory.window, min(row + 1, memory.window)
    for head in range(width // HEAD_WIDTH):
        first, last = head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH
        keys, values_SW = memory.keys[n, lane, head], memory.values[n, lane, head]
        key_scale_R, value_scale_R = memory.key_scale[n, lane, head], memory.value_scale[n, lane, head]
        key_scale_R[place] = keep_key(qkv_O[width + first : width + last], keys, place, room.taken)
        value_scale_R[place] = keep_value(qkv_O[2 * width + first : 2 * width + last], values_SW, place, room.taken)
        score(qkv_O[first:last], keys, key_scale_R, room, scores_R[:seen])
        softmax(scores_R[:seen], room.bits)
        take(scores_R[:seen], values_SW, value_scale_R, room, out_D[first:last])


@in_order
def keep_key(key_K, keys, place, taken):
    """Puts a key where the weights of an output stand; returns its scale."""
    pair = paired(keys)
    scale = whole(key_K, 0 if pair == 1 else LARGEST, taken[:HEAD_WIDTH])
    block_SW, first = keys[place // BLOCK], place % BLOCK * pair
    for s in range(HEAD_WIDTH // pair):
        for k in range(pair):
            block_SW[s, first + k] = taken[s * pair + k]
    return scale


@in_order
def keep_value(value_K, values_SW, place, taken):
    """Puts a value where the weights of a column stand; returns its scale."""
    pair = paired(values_SW)
    scale = whole(value_K, 0 if pair == 1 else LARGEST, taken[:HEAD_WIDTH])
    step_W, first = values_SW[place // pair], place % pair
    for k in range(HEAD_WIDTH):
        step_W[k * pair + first] = taken[k]
    return scale


@in_order
def score(query_K, keys, scale_R, room, scores_R):
    """Sets scores to how much the query wants each row in sight."""
    step = whole(query_K, bound(keys, HEAD_WIDTH), room.taken[:HEAD_WIDTH]) * np.float32(1 / math.sqrt(HEAD_WIDTH))
    query_1K = room.taken[:HEAD_WIDTH].reshape(1, HEAD_WIDTH)
    for block in range((scores_R.shape[0] + BLOCK - 1) // BLOCK):
        one_lane(query_1K, keys[block], room.sums[block * BLOCK :])
    for r in range(scores_R.shape[0]):
        scores_R[r] = np.float32(room.sums[r]) * (step * scale_R[r])


@in_order
def take(share_R, values_SW, scale_R, room, out_K):
    """Sets out to the sum of the values by their shares."""
    pair, seen = paired(values_SW), share_R.shape[0]
    steps = 2 * ((seen + 2 * pair - 1) // (2 * pair))
    for r in range(seen):
        share_R[r] *= scale_R[r]
    step = whole(share_R, bound(values_SW, pair * values_SW.shape[0]), room.taken[: steps * pair])
    one_lane(room.taken[: steps * pair].reshape(1, steps * pair), values_SW[:steps], room.sums)
    for k in range(HEAD_WIDTH):
        out_K[k] = np.float32(room.sums[k]) * step
