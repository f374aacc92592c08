"""How far are improvised pieces from human music, and how much of a difference is chance?

In: improvised pieces and reference music, both of one time base. Out: the distance of `fidelity`, of all pieces and of all
but each of them, from the same excerpts of the reference. Where two ways of improvising began from the
same seeds, piece by piece, their leave-one-out distances give the standard error of the difference
(jackknife; Efron & Stein, 1981).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cadenza.evaluate.features import histograms
from cadenza.evaluate.fidelity import Floats, common_features, excerpts, mean_rows, set_distances
from cadenza.notes import Notes


@dataclass(frozen=True)
class Closeness:
    """`without_N` holds the distance without each piece; infinite where fewer than two have notes."""

    distance: float
    without_N: Floats


def closeness(pieces: Sequence[Notes], reference: Sequence[Notes]) -> Closeness:
    """The distance of all pieces is that of `fidelity.distance`."""
    heard, known = ([piece for piece in group if len(piece)] for group in (pieces, reference))
    if len(heard) < 2 or not known:
        return Closeness(math.inf, np.full(len(pieces), math.inf))
    kinds = common_features([*heard, *known])
    ours = histograms(pieces, kinds)
    theirs = histograms(excerpts(known, heard, np.random.default_rng(0)), kinds)
    everything = np.arange(len(pieces))
    all_but_each = np.stack([np.delete(everything, k) for k in everything])
    found = []
    for kind in kinds:
        rows, others = ours[kind.key], theirs[kind.key]
        if rows.any() or others.any():
            means = np.concatenate([mean_rows(rows), mean_rows(rows, all_but_each)])
            found.append(np.nan_to_num(set_distances(kind, means, mean_rows(others)[0]), nan=1.0))
    whole, *without = np.mean(found, axis=0)
    return Closeness(float(whole), np.array(without))


def noise(one: Closeness, other: Closeness) -> float:
    """The standard error of the difference of two distances whose pieces began from the same seeds."""
    if one is other:
        return 0.0
    differences = one.without_N - other.without_N
    count = len(differences)
    return float(math.sqrt((count - 1) / count * ((differences - differences.mean()) ** 2).sum()))
