"""Which of many improvised pieces to keep.

In: pieces, what each note of them cost the model, and, where the run is at hand, its training pieces. Out: three scores
of each and their mean rank.

* `likelihood`: minus the bits per note under the model as it is;
* `closeness`: minus the mean distance of the piece's features from those of training excerpts as long, in spreads of
  the latter (`fidelity`);
* `originality`: the share of its patterns of eight notes, intervals and rhythm, that no training piece has
  (`originality`).

A piece's rank in a score is the share of the other pieces that it beats, ties counting half; its `score` is the mean of
its ranks, 0 to 1. A model alone has the first score only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cadenza.evaluate.draws import excerpts
from cadenza.evaluate.features import histograms
from cadenza.evaluate.fidelity import common_features, mean_rows, set_distances
from cadenza.evaluate.originality import TrainingIndex
from cadenza.notes import Notes

PATTERN = 8
REFERENCE = 256
"""Training pieces that closeness looks at; more would not move their mean."""

Floats = npt.NDArray[np.float64]


def scores(pieces: Sequence[Notes], bits_per_note: Sequence[float], training: Sequence[Notes]) -> dict[str, Floats]:
    """Every score of pieces with notes, shape (N,), the mean rank as `score`; the higher the better."""
    found = {"likelihood": -np.asarray(bits_per_note, dtype=np.float64)}
    if training:
        found["closeness"] = -distances(pieces, training)
        found["originality"] = 1 - np.array(
            [one.shares[PATTERN] for one in TrainingIndex.of(training).likeness(pieces)]
        )
    return found | {"score": np.mean([ranks(values) for values in found.values()], axis=0)}


def distances(pieces: Sequence[Notes], training: Sequence[Notes]) -> Floats:
    """How far each piece is from training excerpts as long as the pieces are; a feature it lacks counts as 1."""
    rng = np.random.default_rng(0)
    known = excerpts([training[k] for k in rng.permutation(len(training))[:REFERENCE]], pieces, rng)
    kinds = common_features([*pieces, *known])
    ours, theirs = histograms(pieces, kinds), histograms(known, kinds)
    found = [
        set_distances(
            kind, np.stack([mean_rows(row[None])[0] for row in ours[kind.key]]), mean_rows(theirs[kind.key])[0]
        )
        for kind in kinds
        if theirs[kind.key].any()
    ]
    return np.nan_to_num(np.array(found), nan=1.0).mean(axis=0)


def ranks(values: Floats) -> Floats:
    """The share of the others that each beats; of one alone, 1.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [0.75, 0.0, 0.75]
    """
    if len(values) < 2:
        return np.ones(len(values))
    beaten = (values[:, None] > values).sum(axis=1) + ((values[:, None] == values).sum(axis=1) - 1) / 2
    return beaten / (len(values) - 1)


def best(found: Mapping[str, Floats], count: int) -> list[int]:
    """The places of the best, the best first; of equal ones the earlier."""
    return np.argsort(-found["score"], kind="stable")[:count].tolist()
