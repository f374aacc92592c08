"""How far are improvised pieces from human music, and how much of a difference is chance?

In: improvised pieces and reference music, both of one time base. Out: the distance of `fidelity`, and what it would have
been without each of the pieces and without each work of the reference. Two ways of improvising that began from the same
seeds, piece by piece, are compared by the jackknife (Efron & Stein, 1981), whose variances over pieces and over
works add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cadenza.evaluate.draws import excerpts
from cadenza.evaluate.features import Feature, histograms
from cadenza.evaluate.fidelity import Floats, common_features, mean_rows, set_distances, spread
from cadenza.notes import Notes


@dataclass(frozen=True, eq=False)
class Closeness:
    """`without_N` holds the distance without each of N pieces, `without_W` that without each of W works.

    All are infinite where fewer than two pieces have notes, `without_W` is empty for a single work.
    """

    distance: float
    without_N: Floats
    without_W: Floats


def measure_closeness(pieces: Sequence[Notes], reference: Sequence[Notes], works: Sequence[int]) -> Closeness:
    """`works` names the work of each piece of the reference, which all have notes; the distance is `fidelity.distance`."""
    names = np.unique(works)
    names = names if len(names) > 1 else names[:0]
    heard = [piece for piece in pieces if len(piece)]
    if len(heard) < 2:
        return Closeness(math.inf, np.full(len(pieces), math.inf), np.full(len(names), math.inf))
    kinds = common_features([*heard, *reference])
    ours = histograms(pieces, kinds)
    theirs = histograms(excerpts(reference, heard, np.random.default_rng(0)), kinds)
    all_but_each = np.stack([np.delete(np.arange(len(pieces)), k) for k in range(len(pieces))])
    found = []
    for kind in kinds:
        rows, others = ours[kind.key], theirs[kind.key]
        if rows.any() or others.any():
            whole, known = mean_rows(rows), mean_rows(others)[0]
            fewer = [mean_rows(others[np.asarray(works) != name])[0] for name in names]
            measured = [set_distances(kind, means, known) for means in (whole, mean_rows(rows, all_but_each))]
            measured += [set_distances(kind, whole, mean) * unit_ratio(kind, mean, known) for mean in fewer]
            found.append(np.nan_to_num(np.concatenate(measured), nan=1.0))
    means = np.mean(found, axis=0)
    return Closeness(float(means[0]), means[1 : 1 + len(pieces)], means[1 + len(pieces) :])


def unit_ratio(kind: Feature, fewer: Floats, known: Floats) -> float:
    """Turns spreads of a part of the reference into those of the whole, lest one odd work should change the unit."""
    return spread(kind, fewer) / spread(kind, known) if kind.ordered else 1.0


def noise(one: Closeness, other: Closeness) -> float:
    """The standard error of the difference of two distances from the same reference."""
    return math.sqrt(variance(one.without_N - other.without_N) + variance(one.without_W - other.without_W))


def variance(differences: Floats) -> float:
    """The jackknife's variance of a figure, from its values without each part; 0 where there are no parts."""
    count = len(differences)
    return float((count - 1) / count * ((differences - differences.mean()) ** 2).sum()) if count else 0.0
