"""Which pieces are the same work? Performances, transpositions and near-duplicates are grouped.

Two pieces belong together if they share a large part of their n-grams (`grams`); groups are the
connected components. Candidates come from a sample of the n-grams' hashes (FracMinHash: Irber et al.,
2022) in an inverted index (cf. Uitdenbogerd & Zobel, 1999): the sets that hold one hash are compared
with their next neighbours alone, in an order that only their content decides. Whether two candidates
are alike is then decided by all their n-grams, and only where they are not in one group already. So
the cost grows with the number of n-grams, not with the square of the number of pieces, and memory
holds some fifty bytes for each piece.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cadenza.corpus.grams import HASH_BITS, SET_BITS, Grams, Hashes, Ints, changes, hashed, interval_grams, mixed
from cadenza.corpus.sorting import PARTS, Sorter
from cadenza.notes import Notes
from cadenza.records import Progress, outcome

SHARED = 0.28
"""Share of their n-grams from which two pieces are one work; see `enough`."""

FEWEST = 8
"""N-grams that two pieces share at least, unless the smaller one has fewer and shares them all."""

SAMPLED = 4
"""One hash in so many is looked up, all of a set of fewer than `SMALL`."""

SMALL = 64

NEXT = 4
"""Each set that holds a hash is compared with so many of the next ones that hold it."""

DOUBT = 8 * SAMPLED
"""Candidates have this share (one in so many) of the n-grams that they would have to share in common places."""

PORTION = 1 << 12
"""Sets whose hashes are looked up at a time."""

NO_PAIRS = (np.empty(0, np.int64),) * 3


@dataclass(frozen=True)
class Outline:
    """What grouping keeps in memory of S sets: whose they are, their sizes, smallest hashes, and keys of their content."""

    owner: Ints
    size: Ints
    first: Hashes
    key: Hashes

    def ordered(self) -> Ints:
        """The sets in an order that only content decides and that brings like ones together (Broder, 1997)."""
        return np.lexsort((self.key, self.first))


class Sets(Protocol):
    """The n-grams of pieces as sets of hashes, wherever they are kept."""

    def outline(self) -> Outline:
        """All sets in small."""

    def samples(self) -> Iterator[tuple[Ints, Hashes]]:
        """The sampled hashes of all sets, in portions: which sets, repeated for each hash, and the hashes."""

    def hashes(self, index: int) -> Hashes:
        """All hashes of a set, sorted."""

    def known(self, pairs: Hashes) -> npt.NDArray[np.int8]:
        """Whether pairs were found alike (1) or not (0) before, by their keys; -1 where that is not known."""

    def learn(self, pairs: list[int], alike: list[bool]) -> None:
        """Take note of what was found."""


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
    return outcome(group_sets(len(grams), InMemory(grams)))


def group_sets(pieces: int, sets: Sets) -> Generator[Progress, None, Ints]:
    """Like `group_works`, from sets of hashes."""
    outline = sets.outline()
    parent = np.arange(pieces)
    for doing, (left, right, common) in candidates(outline, sets):
        yield doing
        needed = least(outline.size[left], outline.size[right])
        likely = np.flatnonzero(common * DOUBT >= needed)
        likely = likely[differ(parent, outline, left[likely], right[likely])]
        left, right, common = left[likely], right[likely], common[likely]
        best = np.argsort(-common, kind="stable")
        connect(parent, outline, sets, left[best], right[best])
    return np.unique(roots(parent, np.arange(pieces)), return_inverse=True)[1].astype(np.int64)


def connect(parent: Ints, outline: Outline, sets: Sets, left: Ints, right: Ints) -> None:
    """Join the owners of the candidates that are alike; what has been joined by then is not asked."""
    pair = pair_keys(outline.key[left], outline.key[right])
    known = sets.known(pair)
    join(parent, outline.owner[left[known == 1]], outline.owner[right[known == 1]])
    left, right, pair = left[known < 0], right[known < 0], pair[known < 0]
    learned: list[int] = []
    alike: list[bool] = []
    apart = np.arange(len(left))
    while len(apart := apart[differ(parent, outline, left[apart], right[apart])]):
        portion, apart = apart[:PORTION], apart[PORTION:]
        for place, one, other in zip(portion.tolist(), left[portion].tolist(), right[portion].tolist(), strict=True):
            a, b = (root(parent, int(outline.owner[index])) for index in (one, other))
            if a == b:
                continue
            shared = common_hashes(sets.hashes(one), sets.hashes(other))
            learned.append(int(pair[place]))
            alike.append(bool(enough(np.array(shared), outline.size[one], outline.size[other])))
            if alike[-1]:
                parent[max(a, b)] = min(a, b)
    sets.learn(learned, alike)


def candidates(outline: Outline, sets: Sets) -> Iterator[tuple[Progress, tuple[Ints, Ints, Ints]]]:
    """Pairs of sets that are neighbours at a sampled hash, in portions, and at how many hashes they are.

    While hashes are looked up and sorted, portions are empty.
    """
    count = len(outline.size)
    bits = count.bit_length()
    assert bits <= SET_BITS
    ordered = outline.ordered()
    place = np.empty(count, np.uint64)
    place[ordered] = np.arange(count, dtype=np.uint64)
    reached = 0
    with Sorter(64) as index, Sorter(2 * bits) as pairs:
        for which, hashes in sets.samples():
            index.add(hashes << np.uint64(SET_BITS) | place[which])
            reached = max(reached, int(which.max(initial=0)))
            yield grouping(0, reached / max(1, count)), NO_PAIRS
        for number, part in enumerate(index):
            pairs.add(neighbours(part, bits))
            yield grouping(1, number / PARTS), NO_PAIRS
        for number, part in enumerate(pairs):
            first = np.flatnonzero(changes(part)) if len(part) else np.empty(0, np.int64)
            both = part[first].astype(np.int64)
            left, right = ordered[both >> bits], ordered[both & ((1 << bits) - 1)]
            yield grouping(2, number / PARTS), (left, right, np.diff(first, append=len(part)))


def grouping(third: int, share: float) -> Progress:
    """How far grouping has come, in hundredths, of three parts that take about as long as one another."""
    return Progress("grouping", int(100 * (third + share) / 3), 100)


def neighbours(index: Hashes, bits: int) -> Hashes:
    """Each place in a sorted index (hash above, place below) with each of the next ones at its hash, as one number of twice
    so many bits.
    """
    hashes, place = index >> np.uint64(SET_BITS), index & np.uint64((1 << SET_BITS) - 1)
    same = hashes[1:] == hashes[:-1]
    alike, pairs = np.ones(len(index), bool), [np.empty(0, np.uint64)]
    for distance in range(1, min(NEXT, len(index) - 1) + 1):
        alike = alike[:-1] & same[distance - 1 :]
        pairs.append(place[:-distance][alike] << np.uint64(bits) | place[distance:][alike])
    return np.concatenate(pairs)


def sample(hashes: Hashes) -> Hashes:
    """The part of a set's sorted hashes by which candidates are found."""
    if len(hashes) < SMALL:
        return hashes
    return hashes[: np.searchsorted(hashes, np.uint64((1 << HASH_BITS) // SAMPLED))]


def enough(shared: npt.NDArray[Any], size: Ints, other: Ints) -> npt.NDArray[np.bool_]:
    """Whether sets of these sizes that share so many n-grams are one work."""
    return shared >= least(size, other)


def least(size: Ints, other: Ints) -> npt.NDArray[np.float64]:
    """How many n-grams sets of these sizes share at least if they are one work.

    What counts is mostly the part of the smaller set, so that an excerpt belongs to its piece; but
    the longer the larger one, the more scales and arpeggios any short piece finds in it by chance.
    """
    small, large = np.minimum(size, other), np.maximum(size, other)
    return np.maximum(SHARED * small**0.75 * large**0.25, np.minimum(small, FEWEST))


def common_hashes(one: Hashes, other: Hashes) -> int:
    """How many numbers two sorted sets share."""
    small, large = sorted((one, other), key=len)
    at = np.searchsorted(large, small)
    return int((large[np.minimum(at, len(large) - 1)] == small).sum())


def content_key(hashes: Hashes) -> int:
    """A number of 63 bits for the content of a set."""
    return int.from_bytes(blake2b(hashes.tobytes(), digest_size=8).digest(), "little") >> 1


def pair_keys(one: Hashes, other: Hashes) -> Hashes:
    """A number of 63 bits for two contents in either order."""
    low, high = np.minimum(one, other), np.maximum(one, other)
    return mixed((mixed(low.view(np.int64)) + high).view(np.int64)) >> np.uint64(1)


class InMemory:
    """Sets of pieces whose n-grams are at hand."""

    def __init__(self, grams: Sequence[Grams]) -> None:
        self.sets = [hashed(one) for both in grams for one in both]
        self.owner = np.repeat(np.arange(len(grams)), [len(both) for both in grams])

    def outline(self) -> Outline:
        return Outline(
            self.owner,
            np.array([len(one) for one in self.sets], np.int64),
            np.array([one[0] for one in self.sets], np.uint64),
            np.array([content_key(one) for one in self.sets], np.uint64),
        )

    def samples(self) -> Iterator[tuple[Ints, Hashes]]:
        for number, one in enumerate(self.sets):
            hashes = sample(one)
            yield np.full(len(hashes), number), hashes

    def hashes(self, index: int) -> Hashes:
        return self.sets[index]

    def known(self, pairs: Hashes) -> npt.NDArray[np.int8]:
        return np.full(len(pairs), -1, np.int8)

    def learn(self, pairs: list[int], alike: list[bool]) -> None:
        """Nothing is asked twice."""


def root(parent: Ints, node: int) -> int:
    """The smallest node known to be connected with this one; the way there is shortened (union–find: Tarjan, 1975)."""
    while (above := int(parent[node])) != node:
        parent[node] = parent[above]
        node = above
    return node


def roots(parent: Ints, nodes: Ints) -> Ints:
    """`root` of many nodes."""
    found = parent[nodes]
    while (parent[found] != found).any():
        found = parent[found]
    parent[nodes] = found
    return found


def differ(parent: Ints, outline: Outline, left: Ints, right: Ints) -> npt.NDArray[np.bool_]:
    """Where the owners of two sets are not connected yet."""
    return roots(parent, outline.owner[left]) != roots(parent, outline.owner[right])


def join(parent: Ints, left: Ints, right: Ints) -> None:
    """Connect pairs of nodes."""
    while len(left):
        a, b = roots(parent, left), roots(parent, right)
        apart = a != b
        left, right, a, b = left[apart], right[apart], a[apart], b[apart]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
