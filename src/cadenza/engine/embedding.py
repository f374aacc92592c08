"""A row as a vector, in compiled loops: the sum of its ids, of how its pitches have moved and of its context.

Shapes: A lanes that read, L lanes in all, F fields, I width, C context columns, N ids of all tables, T tables.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.compiling import in_order
from cadenza.engine.kernels import Floats, add

Integers = npt.NDArray[np.int64]


class Embedding(NamedTuple):
    """Vectors of ids, then of melodic intervals, (N, I), where each table begins, (T,), and those of the context, (C, I).

    `sizes` of the fields, and the number of each among the pitch fields (-1: none), stand with it.
    """

    tables: Floats
    begins: Integers
    context: Floats
    sizes: Integers
    place: Integers


class Last(NamedTuple):
    """What the lanes of a thread have read last, (A, F), what the trunk made of it, (A, D), and, for all lanes, the rows
    before which the next will stand, (L, F).
    """

    rows: Integers
    hidden: Floats
    before: Integers


@in_order
def interval(id_, before, size):
    """The number of an interval; one past the last if either is a start id."""
    return id_ - before + size - 1 if id_ < size and before < size else 2 * size - 1


@in_order
def embed(embedding, last, lanes_A, rows_AF, context_AC, x_AI):
    """Sets x to the sums of the rows, which become the last."""
    fields = rows_AF.shape[1]
    for a in range(lanes_A.shape[0]):
        x_I, before_F = x_AI[a], last.before[lanes_A[a]]
        x_I[:] = 0
        for f in range(fields):
            id_, place = np.int64(rows_AF[a, f]), embedding.place[f]
            add(embedding.tables[embedding.begins[f] + id_], x_I)
            if place >= 0:
                moved = interval(id_, before_F[f], embedding.sizes[f])
                add(embedding.tables[embedding.begins[fields + place] + moved], x_I)
            before_F[f] = last.rows[a, f] = id_
        for c in range(context_AC.shape[1]):
            for d in range(x_I.shape[0]):
                x_I[d] += context_AC[a, c] * embedding.context[c, d]
