"""Which pieces are the same work? Performances, transpositions and near-duplicates are grouped.

A piece is the set of its pitch-interval n-grams, so neither key, tempo nor rhythm matters. Two
pieces belong together if they share a large part of the smaller one's n-grams; groups are the
connected components. An inverted index finds the candidates, so the cost grows with what is shared,
not with the square of the number of pieces (cf. Uitdenbogerd & Zobel, 1999).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cadenza.notes import Notes

GRAM = 7
SHARED = 0.28
TOGETHER_SECONDS = 0.05
COMMON = 16
WEIGHTS = 257 ** np.arange(GRAM)
"""An n-gram as one number: its intervals, moved to 1…255, are the digits."""

Groups = npt.NDArray[np.int64]


def group_works(pieces: Sequence[Notes]) -> Groups:
    """A group number for every piece, shape (P,), numbered in the order of first appearance.

    >>> scale = Notes.of(range(20), range(60, 80), [1] * 20, [80] * 20)
    >>> higher = Notes.of(range(20), range(65, 85), [1] * 20, [80] * 20)
    >>> group_works([scale, higher]).tolist()
    [0, 0]
    """
    return group_grams([interval_grams(piece) for piece in pieces])


def group_grams(grams: Sequence[npt.NDArray[np.int64]]) -> Groups:
    """Like `group_works`, from the interval n-grams of each piece."""
    pairs, shared = shared_grams(grams)
    size = np.array([len(gram) for gram in grams])
    smaller = np.minimum(size[pairs[:, 0]], size[pairs[:, 1]])
    return components(len(grams), pairs[shared >= SHARED * smaller])


def interval_grams(piece: Notes) -> npt.NDArray[np.int64]:
    """The distinct n-grams of intervals along the upper line, as numbers."""
    intervals = np.diff(upper_line(piece)).astype(np.int64)
    intervals = intervals[intervals != 0]
    if len(intervals) < GRAM:
        intervals = np.pad(intervals, (0, GRAM - len(intervals)))
    return np.unique(np.correlate(intervals + 128, WEIGHTS, "valid"))


def upper_line(piece: Notes) -> npt.NDArray[np.int32]:
    """Pitches of the notes beside which no higher one begins within `TOGETHER_SECONDS`.

    Players do not strike the notes of a chord in the same order each time.
    """
    together = round(TOGETHER_SECONDS / piece.header.step_seconds)
    heard = np.ones(len(piece), dtype=bool)
    for distance in range(1, len(piece)):
        close = piece.onset[distance:] - piece.onset[:-distance] <= together
        if not close.any():
            break
        higher = piece.pitch[distance:] > piece.pitch[:-distance]
        heard[:-distance] &= ~(close & higher)
        heard[distance:] &= ~(close & ~higher)
    return piece.pitch[heard]


def shared_grams(grams: Sequence[npt.NDArray[np.int64]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of pieces, shape (K, 2), and the number of n-grams that each pair shares, shape (K,)."""
    gram = np.concatenate(grams)
    number = np.min_scalar_type(len(grams))  # two bytes as a rule: numpy sorts those by radix, far faster
    piece = np.repeat(np.arange(len(grams), dtype=number), [len(one) for one in grams])
    order = np.argsort(gram, kind="stable")
    gram, piece = gram[order], piece[order]
    at = np.arange(len(gram))
    left, right = [piece[:0]], [piece[:0]]
    for distance in range(1, min(COMMON, len(gram))):
        at = at[: np.searchsorted(at, len(gram) - distance)]
        at = at[gram[at + distance] == gram[at]]
        left.append(piece[at])
        right.append(piece[at + distance])
    return distinct_pairs(np.concatenate(left), np.concatenate(right))


def distinct_pairs(left: Groups, right: Groups) -> tuple[Groups, Groups]:
    """Each pair (left, right) once, in order, shape (K, 2), and how often it occurs, shape (K,)."""
    order = np.lexsort((right, left))
    left, right = left[order].astype(np.int64), right[order].astype(np.int64)
    new = np.ones(len(order), dtype=bool)
    new[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    first = np.flatnonzero(new)
    return np.stack([left[first], right[first]], axis=1), np.diff(first, append=len(order))


def components(size: int, pairs: npt.NDArray[np.int64]) -> Groups:
    """Connected components of `size` nodes, by union–find (Tarjan, 1975)."""
    parent = list(range(size))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for left, right in pairs.tolist():
        a, b = root(left), root(right)
        parent[max(a, b)] = min(a, b)
    return np.unique([root(node) for node in range(size)], return_inverse=True)[1].astype(np.int64)
