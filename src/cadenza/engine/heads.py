"""The heads of a row, in compiled loops: logits of one field after the other.

Shapes: A lanes, F fields, D width, N ids of all tables, T tables, V ids of the field, J intervals' starting points,
S = V + J · (2 V - 1) columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cadenza.compiling import in_order
from cadenza.engine.embedding import Integers, interval
from cadenza.engine.kernels import Floats, add, gelu, put
from cadenza.engine.matrices import Linear, add_gated, linear, rows_of


class Heads(NamedTuple):
    """What predicts all fields. Layers of `enter`, and of the `layers` between for each field, stand in their order;
    those of `leave` begin at blocks: columns of ids, then those of each kind of interval, (S,).

    `tables` (N, D) have the ids of the fields before, then how those among them that are pitches have moved, and begin
    at `begins` (T,). `plain` heads have no function after the sum, and nothing enters them but the hidden vector.
    """

    enter: Linear
    gate_up: Linear
    down: Linear
    leave: Linear
    blocks: Integers
    columns: Integers
    tables: Floats
    begins: Integers
    layers: int
    plain: bool


@in_order
def field_logits(held, f, rows_AF, logits_AV):
    """Sets the logits of field f, given the row read last and the fields before f in the next."""
    heads, embedding, room, last = held.heads, held.embedding, held.room, held.last
    count, size = logits_AV.shape
    mixed_AD = rows_of(room.mixed, count, last.hidden.shape[1])
    if not heads.plain:
        linear(last.hidden[:count], heads.enter, f, 0, room, mixed_AD)
    for a in range(count):
        if heads.plain:
            put(last.hidden[a], mixed_AD[a])
        for g in range(f):
            add_known(heads, embedding, g, np.int64(rows_AF[a, g]), last.rows[a, g], mixed_AD[a])
        if not heads.plain:
            gelu(mixed_AD[a], room.normed, room.bits)
    for n in range(f * heads.layers, (f + 1) * heads.layers):
        add_gated(mixed_AD, heads.gate_up, heads.down, n, room)
    out_AS = rows_of(room.wide, count, heads.columns[f])
    linear(mixed_AD, heads.leave, 0, heads.blocks[f], room, out_AS)
    for a in range(count):
        put(out_AS[a, :size], logits_AV[a])
        if embedding.place[f] >= 0:
            add_intervals(embedding.place, f, rows_AF[a], last.rows[a], out_AS[a], logits_AV[a])


@in_order
def add_known(heads, embedding, g, id_, before, mixed_D):
    """Adds what a field before says, and how far it has moved if it is a pitch."""
    add(heads.tables[heads.begins[g] + id_], mixed_D)
    if embedding.place[g] >= 0:
        table = embedding.sizes.shape[0] - 1 + embedding.place[g]
        moved = interval(id_, before, embedding.sizes[g])
        add(heads.tables[heads.begins[table] + moved], mixed_D)


@in_order
def add_intervals(place_F, f, row_F, before_F, out_S, logits_V):
    """Adds the logits of the intervals from the pitch before, then from each pitch of the row that is known."""
    add_interval(out_S, before_F[f], 0, logits_V)
    kind = 1
    for g in range(f):
        if place_F[g] >= 0:
            add_interval(out_S, np.int64(row_F[g]), kind, logits_V)
            kind += 1


@in_order
def add_interval(out_S, start, kind, logits_V):
    """Logits of the intervals from an id, where there is one, to those of the ids they lead to."""
    size = logits_V.shape[0]
    if start < size:
        zero = size + kind * (2 * size - 1) + size - 1 - start
        add(out_S[zero : zero + size], logits_V)
