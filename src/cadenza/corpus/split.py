"""Works (or, if asked, files) to training, validation and test; no work is then in two of them.

A corpus of so few works that the test part would not hold one is not split but dealt into folds: each
fold is held out from a model of its own, and the delivered model trains on everything.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cadenza.settings import CorpusSettings

TRAIN, VALIDATION, TEST = PARTS = "train", "validation", "test"

Codes = npt.NDArray[np.int8]


def split_works(
    work: npt.NDArray[np.int64], settings: CorpusSettings, seed: int, seen: npt.NDArray[np.bool_]
) -> tuple[Codes, Codes]:
    """The part (its index in `PARTS`) and the fold (-1: none) of every piece, by its work.

    `seen` says of each piece whether a parent model has seen it, or nothing; such works are never held out.
    """
    group = work if settings.split_by == "work" else np.arange(len(work))
    known = np.unique(group[seen] if len(seen) else group[:0])
    works, place, sizes = np.unique(group, return_inverse=True, return_counts=True)
    free = ~np.isin(works, known)
    folds = np.full(len(works), -1, np.int8)
    parts = np.full(len(works), PARTS.index(TRAIN), np.int8)
    if 2 <= free.sum() < works_to_split(settings):
        folds[free] = deal(sizes[free], min(settings.folds, int(free.sum())), seed)
    else:
        parts[:] = [PARTS.index(part) for part in parts_of(sizes, free, settings, seed)]
    return parts[place], folds[place]


def works_to_split(settings: CorpusSettings) -> float:
    """The number of works from which the test part holds at least one; fewer are dealt into folds."""
    if settings.folds < 2 or settings.split_by != "work" or not (settings.test and settings.validation):
        return 0
    return 1 / settings.test


def deal(sizes: npt.NDArray[np.int64], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """A fold for every work, shape (W,): the largest first, each to the fold that has fewest pieces."""
    order = np.random.default_rng([seed, len(sizes)]).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold, filled = np.zeros(len(sizes), dtype=np.int64), np.zeros(folds, dtype=np.int64)
    for work in order.tolist():
        fold[work] = int(filled.argmin())
        filled[fold[work]] += sizes[work]
    return fold


def parts_of(
    sizes: npt.NDArray[np.int64], free: npt.NDArray[np.bool_], settings: CorpusSettings, seed: int
) -> list[str]:
    """A part for every work, by its number of pieces and whether it is free to be held out.

    Works are shuffled; one that is not free trains, or else the largest; then test and validation each
    take works until they hold their share of the pieces (at least one each from three works on, a test
    work alone from two). One work is all training: then there is no held-out figure to claim.
    """
    order = np.random.default_rng([seed, len(sizes)]).permutation(len(sizes))
    kept = int(sizes.argmax()) if len(sizes) and free.all() else -1
    left = [int(place) for place in order if free[place] and place != kept]
    parts, available = [TRAIN] * len(sizes), len(left)
    for part, share, needed in ((TEST, settings.test, 1), (VALIDATION, settings.validation, 2)):
        wanted, taken = share * sizes.sum(), 0
        spare = int(part == TEST and settings.validation > 0 and available >= 2)  # a work for validation
        while len(left) > spare and available >= needed and share > 0 and taken < wanted:
            place = left.pop()
            parts[place] = part
            taken += sizes[place]
    return parts
