"""Which pieces are the same work? Performances, transpositions and near-duplicates are grouped.

A piece is a set of pitch-interval n-grams, so neither key, tempo nor rhythm matters; where notes
follow fast it is two sets, since only one of them shows what is a chord and what is a run. Two
pieces belong together if they share a large part of their n-grams; groups are the connected
components. An inverted index finds the candidates, so the cost grows with the number of n-grams, not
with the square of the number of pieces (cf. Uitdenbogerd & Zobel, 1999).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cadenza.notes import Notes

GRAM = 7
WEIGHTS = 257 ** np.arange(GRAM)
"""An n-gram as one number: its intervals, moved to 1…255, are the digits."""

TOGETHER_SECONDS = (0.04, 0.12)
"""Notes that begin within so long may be one chord: by a strict ear and by a lenient one."""

ALIKE = 0.95
"""The lenient ear is asked where its line has less than this share of the other's notes."""

SHARED = 0.28
"""Share of their n-grams from which two pieces are one work; see `enough`."""

FEWEST = 8
"""N-grams that two pieces share at least, unless the smaller one has fewer and shares them all."""

COMMON = 16
"""Each set that holds an n-gram is compared with so many of the next ones that hold it."""

BLOCK = 1 << 21
"""N-grams whose pairs are counted at a time; bounds the memory, nothing else."""

SET_BITS = 24
"""Bits that number a set; the others of a 64-bit key are for the hash of an n-gram."""

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Grams = tuple[Ints, ...]
"""The n-grams of a piece: one sorted set, or two where the two ears hear rather different lines."""


def group_works(pieces: Sequence[Notes]) -> Ints:
    """A group number for every piece, shape (P,), numbered in the order of first appearance.

    >>> scale = Notes.of(range(20), range(60, 80), [1] * 20, [80] * 20)
    >>> higher = Notes.of(range(20), range(65, 85), [1] * 20, [80] * 20)
    >>> group_works([scale, higher]).tolist()
    [0, 0]
    """
    return group_grams([interval_grams(piece) for piece in pieces])


def group_grams(grams: Sequence[Grams]) -> Ints:
    """Like `group_works`, from the interval n-grams of each piece."""
    owner = np.repeat(np.arange(len(grams)), [len(sets) for sets in grams])
    sets = [one for both in grams for one in both]
    size = np.array([len(one) for one in sets])
    alike = [np.empty((0, 2), np.int64)]
    for left, right, shared in shared_grams(sets):
        found = enough(shared, size[left], size[right])
        alike.append(np.stack([owner[left[found]], owner[right[found]]], axis=1))
    return components(len(grams), np.concatenate(alike))


def enough(shared: npt.NDArray[Any], size: Ints, other: Ints) -> npt.NDArray[np.bool_]:
    """Whether sets of these sizes that share so many n-grams are one work.

    What counts is mostly the part of the smaller set, so that an excerpt belongs to its piece; but
    the longer the larger one, the more scales and arpeggios any short piece finds in it by chance.
    """
    small, large = np.minimum(size, other), np.maximum(size, other)
    return shared >= np.maximum(SHARED * small**0.75 * large**0.25, np.minimum(small, FEWEST))


def interval_grams(piece: Notes) -> Grams:
    """The distinct n-grams of intervals along the upper line, as numbers, for each ear."""
    strict, lenient = (upper_line(piece, seconds) for seconds in TOGETHER_SECONDS)
    lines = [strict, lenient] if len(lenient) < ALIKE * len(strict) else [strict]
    return tuple(line_grams(line) for line in lines)


def line_grams(pitch: npt.NDArray[np.int32]) -> Ints:
    """The distinct n-grams of the intervals between successive pitches; standing still is none."""
    intervals = np.diff(pitch).astype(np.int64)
    intervals = intervals[intervals != 0]
    if len(intervals) < GRAM:
        intervals = np.pad(intervals, (0, GRAM - len(intervals)))
    grams = np.sort(np.correlate(intervals + 128, WEIGHTS, "valid"))
    return grams[changes(grams)]


def upper_line(piece: Notes, together_seconds: float) -> npt.NDArray[np.int32]:
    """Pitches of the notes beside which no higher one begins within `together_seconds`.

    Players do not strike the notes of a chord in the same order each time.
    """
    together = round(together_seconds / piece.header.step_seconds)
    heard = np.ones(len(piece), dtype=bool)
    for distance in range(1, len(piece)):
        close = piece.onset[distance:] - piece.onset[:-distance] <= together
        if not close.any():
            break
        higher = piece.pitch[distance:] > piece.pitch[:-distance]
        heard[:-distance] &= ~(close & higher)
        heard[distance:] &= ~close | higher
    return piece.pitch[heard]


def shared_grams(sets: Sequence[Ints]) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Pairs of sets and the number of n-grams that each pair shares, in portions of (left, right, shared).

    Sets are first put in an order that only their content decides and that brings like ones together
    (the smallest hash; Broder, 1997): the n-grams of a work that is there a hundred times are then
    compared among its nearest copies, and the order in which the sets came makes no difference.
    """
    assert len(sets) < 1 << SET_BITS
    hashed = mixed(np.concatenate(sets)) >> np.uint64(SET_BITS)
    sizes = np.array([len(one) for one in sets])
    start = np.cumsum(sizes) - sizes
    ordered = np.lexsort((np.add.reduceat(hashed, start), np.minimum.reduceat(hashed, start)))
    place = np.empty(len(sets), np.uint64)
    place[ordered] = np.arange(len(sets), dtype=np.uint64)
    index = np.sort(hashed << np.uint64(SET_BITS) | np.repeat(place, sizes))
    gram, place = index >> np.uint64(SET_BITS), index & np.uint64((1 << SET_BITS) - 1)
    for low, high in blocks(sizes[ordered]):
        left, right, shared = counted(gram, place, np.flatnonzero((place >= low) & (place < high)))
        yield ordered[left], ordered[right], shared


def blocks(sizes: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of successive sets that hold about `BLOCK` n-grams."""
    edges = np.searchsorted(np.cumsum(sizes), np.arange(BLOCK, sizes.sum() + BLOCK, BLOCK)).tolist()
    low = 0
    for high in edges:
        yield low, min(high + 1, len(sizes))
        low = high + 1


def counted(gram: Hashes, place: Hashes, at: Ints) -> tuple[Ints, Ints, Ints]:
    """Each pair of a place in the index, one of `at`, and one after it with the same n-gram, and how often it occurs."""
    pairs = []
    for distance in range(1, COMMON):
        at = at[: np.searchsorted(at, len(gram) - distance)]
        at = at[gram[at + distance] == gram[at]]
        pairs.append(place[at] << np.uint64(SET_BITS) | place[at + distance])
    pair = np.sort(np.concatenate(pairs))
    first = np.flatnonzero(changes(pair))
    both = pair[first].astype(np.int64)
    return both >> SET_BITS, both & ((1 << SET_BITS) - 1), np.diff(first, append=len(pair))


def changes(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where a sorted array holds another value than just before."""
    new = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return new


def mixed(grams: Ints) -> Hashes:
    """Numbers as hashes whose every bit depends on every bit (the finaliser of SplitMix; Steele et al., 2014)."""
    bits = grams.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ bits >> np.uint64(shift)) * np.uint64(factor)
    return bits ^ bits >> np.uint64(31)


def components(size: int, pairs: Ints) -> Ints:
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
