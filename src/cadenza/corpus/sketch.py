"""A small trace of the music a model was trained on, by which it is known again.

In: the interval n-grams of pieces. Out: 64-bit numbers, about one byte per n-gram. Only n-grams
whose hash falls under a fixed threshold are kept, so that any two pieces keep the same ones of those
that they share, and the share can be estimated (Broder, 1997; FracMinHash: Irber et al., 2022).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cadenza.corpus.grams import HASH_BITS, SET_BITS, Grams, Hashes, Ints, hashed
from cadenza.corpus.sorting import Sorter
from cadenza.corpus.works import SHARED, enough

KEPT = 8
"""One n-gram in so many is kept."""

MASK = np.uint64((1 << SET_BITS) - 1)

DOUBT = 0.25
"""Standard errors by which an estimate may fall short of what grouping asks for and still count."""


def sketch_of(grams: Iterable[Grams]) -> Hashes:
    """The sampled n-grams of all pieces, sorted: the hash in the upper bits, the number of the set in the lower ones."""
    return np.concatenate([*traces(hashed(one) for both in grams for one in both)])


def traces(sets: Iterable[Hashes]) -> Iterator[Hashes]:
    """`sketch_of` in portions that follow one another, from sets of sorted hashes."""
    with Sorter(64) as keys:
        for number, one in enumerate(sets):
            assert number < 1 << SET_BITS
            keys.add(sampled(one) << np.uint64(SET_BITS) | np.uint64(number))
        yield from keys


def joined(one: Hashes, other: Hashes) -> Hashes:
    """One sketch of all sets of two, the second's numbered after those of the first."""
    count = int((one & MASK).max()) + 1 if len(one) else 0
    return np.sort(np.concatenate([one, other + np.uint64(count)]))


def seen(grams: Sequence[Grams], sketch: Hashes) -> npt.NDArray[np.bool_]:
    """Whether each piece is the same work as one in the sketch, shape (P,); where that is in doubt, it is."""
    return known_again(([hashed(one) for one in both] for both in grams), sketch)


def known_again(pieces: Iterable[Sequence[Hashes]], sketch: Hashes) -> npt.NDArray[np.bool_]:
    """`seen`, from the sets of sorted hashes of each piece.

    The criterion is that of grouping, less the error of the estimate. A piece too short to leave any
    trace counts as seen.
    """
    hashes, number = sketch >> np.uint64(SET_BITS), (sketch & MASK).astype(np.int64)
    sizes = np.bincount(number)
    return np.array(
        [any(recognised(sampled(one), hashes, number, sizes) for one in both) for both in pieces], dtype=bool
    )


def recognised(own: Hashes, hashes: Hashes, number: Ints, sizes: Ints) -> bool:
    """Whether a set of sampled n-grams shares enough with any set of a sketch, given as columns and sizes."""
    if not len(own):
        return True
    first, last = (np.searchsorted(hashes, own, side) for side in ("left", "right"))
    shared = np.bincount(np.concatenate([number[low:high] for low, high in zip(first, last, strict=True)]))
    sets = np.flatnonzero(shared)
    error = np.sqrt(SHARED * (1 - SHARED) * np.minimum(len(own), sizes[sets]))
    found = shared[sets] + DOUBT * error
    return bool(enough(KEPT * found, np.array(KEPT * len(own)), KEPT * sizes[sets]).any())


def sampled(hashes: Hashes) -> Hashes:
    """The part of a set's sorted hashes that is kept."""
    return hashes[: np.searchsorted(hashes, np.uint64((1 << HASH_BITS) // KEPT))]
