"""What a model must beat: the same held-out ids scored by models that know nothing of order.

In: the scored ids of training and held-out rows. Out: the nats of all held-out ids together. *Uniform* gives every id of a
field the same probability; *unigram* its share of the training ids, with one added to every count
(Laplace smoothing).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cadenza.batches import Tables
from cadenza.tokens import Representation, Rows


def scored_rows(tables: Tables, pieces: Sequence[int]) -> Rows:
    return np.concatenate([tables.piece(int(index)) for index in pieces])


def uniform(representation: Representation, held_out: Rows) -> float:
    """Nats if every id of a field is equally likely."""
    return float(representation.scored(held_out).sum(axis=0) @ np.log(representation.sizes))


def unigram(representation: Representation, training: Rows, held_out: Rows) -> float:
    """Nats if every field follows its training frequencies."""
    known, asked = representation.scored(training), representation.scored(held_out)
    nats = 0.0
    for f, size in enumerate(representation.sizes):
        counts = np.bincount(training[known[:, f], f], minlength=size) + 1
        nats -= np.log(counts / counts.sum())[held_out[asked[:, f], f]].sum()
    return float(nats)
