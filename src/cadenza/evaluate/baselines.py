"""What a model must beat: the same ids scored by models that know nothing of order.

In: the rows of pieces. Out: nats of their scored ids, by piece and field, shape (P, F). *Uniform* gives
every id of a field the same probability; *unigram* its share of the training ids, with one added to every
count (Laplace smoothing).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cadenza.tokens import Rows, Schema

Floats = npt.NDArray[np.float64]


def uniform(schema: Schema, pieces: Sequence[Rows]) -> Floats:
    """Nats if every id of a field is equally likely."""
    return from_costs(schema, pieces, [np.full(size, np.log(size)) for size in schema.sizes])


def unigram(schema: Schema, training: Sequence[Rows], pieces: Sequence[Rows]) -> Floats:
    """Nats if every field follows its training frequencies."""
    rows = np.concatenate(training)
    scored, costs = schema.scored(rows), []
    for f, size in enumerate(schema.sizes):
        counts = np.bincount(rows[scored[:, f], f], minlength=size) + 1
        costs.append(-np.log(counts / counts.sum()))
    return from_costs(schema, pieces, costs)


def from_costs(schema: Schema, pieces: Sequence[Rows], costs: Sequence[Floats]) -> Floats:
    """Sums over pieces, if each id of a field has one cost."""
    nats_PF = np.zeros((len(pieces), len(costs)))
    for place, piece in enumerate(pieces):
        scored = schema.scored(piece)
        nats_PF[place] = [cost[piece[scored[:, f], f]].sum() for f, cost in enumerate(costs)]
    return nats_PF
