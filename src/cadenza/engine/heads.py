"""The heads of a row, in compiled loops: logits of one field after the other.

Shapes: A lanes, D width, K known ids, V ids of the field, J intervals' starting points, S = V + J · (2 V - 1) columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cadenza.engine.kernels import TILE, Floats, Linear, add, floats, gated, gelu, in_order, linear, norm


class FieldWeights(NamedTuple):
    """What predicts one field. `leave` has the columns of its ids, then those of each kind of interval.

    The layers between are stacked. `plain` heads have no function after the sum.
    """

    gate_up: Linear
    down: Linear
    leave: Linear
    plain: bool


class Reading(NamedTuple):
    """Sizes of the fields, the number of each among the pitch fields (-1: none), and where its tables begin.

    First come those of ids, then those of melodic intervals.
    """

    sizes: np.ndarray
    place: np.ndarray
    read_begins: np.ndarray
    head_begins: np.ndarray


class HeadRoom(NamedTuple):
    """Where a thread computes, for so many lanes."""

    mixed: Floats
    normed: Floats
    wide: Floats
    inner: Floats
    out: Floats
    tile: Floats
    bits: np.ndarray

    @classmethod
    def for_lanes(cls, width: int, columns: int, lanes: int) -> HeadRoom:
        widest = max(2 * width, columns)
        return cls(
            mixed=floats(lanes, width),
            normed=floats(lanes, width),
            wide=floats(lanes, 2 * width),
            inner=floats(lanes, width),
            out=floats(lanes * columns),
            tile=floats(TILE * widest),
            bits=np.zeros(widest, np.int32),
        )


@in_order
def interval(id_, before, size):
    """The number of an interval; one past the last if either is a start id."""
    return id_ - before + size - 1 if id_ < size and before < size else 2 * size - 1


@in_order
def field_logits(weights, tables_ND, reading, f, before_AF, row_AF, room, entered_AO, first, logits_AV):
    """The logits of field f, given the row read last and the fields before f in the next.

    `entered` holds the columns of the field from `first` on.
    """
    count, width, size = entered_AO.shape[0], room.mixed.shape[1], logits_AV.shape[1]
    mixed_AD, normed_AD, wide_AO, inner_AD = (
        room.mixed[:count],
        room.normed[:count],
        room.wide[:count],
        room.inner[:count],
    )
    fields = row_AF.shape[1]
    for a in range(count):
        mixed_AD[a] = entered_AO[a, first : first + width]
        for g in range(f):
            add(tables_ND[reading.head_begins[g] + row_AF[a, g]], mixed_AD[a])
            if reading.place[g] >= 0:
                moved = interval(row_AF[a, g], before_AF[a, g], reading.sizes[g])
                add(tables_ND[reading.head_begins[fields - 1 + reading.place[g]] + moved], mixed_AD[a])
        if not weights.plain:
            gelu(mixed_AD[a], normed_AD[a], room.bits)
    for n in range(weights.down.weight.shape[0]):
        for a in range(count):
            norm(mixed_AD[a], normed_AD[a])
        part = weights.gate_up
        linear(normed_AD, part.weight[n], part.scale[n], part.bias[n], room.tile, wide_AO)
        for a in range(count):
            gated(wide_AO[a], inner_AD[a], room.bits)
        linear(inner_AD, weights.down.weight[n], weights.down.scale[n], weights.down.bias[n], room.tile, normed_AD)
        for a in range(count):
            add(normed_AD[a], mixed_AD[a])
    columns = weights.leave.weight.shape[1]
    out_AS = room.out[: count * columns].reshape(count, columns)
    linear(mixed_AD, weights.leave.weight, weights.leave.scale, weights.leave.bias, room.tile, out_AS)
    for a in range(count):
        logits_AV[a] = out_AS[a, :size]
        if reading.place[f] < 0:
            continue
        add_intervals(out_AS[a], before_AF[a, f], size, 0, logits_AV[a])
        kind = 1
        for g in range(f):
            if reading.place[g] >= 0:
                add_intervals(out_AS[a], row_AF[a, g], size, kind, logits_AV[a])
                kind += 1


@in_order
def add_intervals(out_S, start, size, kind, logits_V):
    """Logits of the intervals from an id, where there is one, to those of the ids they lead to."""
    if start < size:
        zero = size + kind * (2 * size - 1) + size - 1 - start
        add(out_S[zero : zero + size], logits_V)


@in_order
def embed(tables_ND, reading, ids_AF, before_AF, context_CD, context_AC, x_AD):
    """Sets x to the sum of the embeddings of ids and melodic intervals and of the columns of the context."""
    fields = ids_AF.shape[1]
    for a in range(x_AD.shape[0]):
        x_AD[a] = 0
        for f in range(fields):
            add(tables_ND[reading.read_begins[f] + ids_AF[a, f]], x_AD[a])
            if reading.place[f] >= 0:
                moved = interval(ids_AF[a, f], before_AF[a, f], reading.sizes[f])
                add(tables_ND[reading.read_begins[fields + reading.place[f]] + moved], x_AD[a])
        for c in range(context_AC.shape[1]):
            for d in range(x_AD.shape[1]):
                x_AD[a, d] += context_AC[a, c] * context_CD[c, d]
