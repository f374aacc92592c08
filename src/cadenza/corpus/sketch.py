"""A small trace of the music a model was trained on, by which it is known again.

In: the interval n-grams of pieces. Out: 64-bit numbers, about one byte per n-gram. Only n-grams
whose hash falls under a fixed threshold are kept, so that any two pieces keep the same ones of those
that they share, and the share can be estimated (Broder, 1997; FracMinHash: Irber et al., 2022).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cadenza.corpus.works import SET_BITS, SHARED, Grams, Hashes, Ints, enough, mixed

KEPT = 8
"""One n-gram in so many is kept."""

MASK = np.uint64((1 << SET_BITS) - 1)

DOUBT = 0.25
"""Standard errors by which an estimate may fall short of what grouping asks for and still count."""


def sketch_of(grams: Sequence[Grams]) -> Hashes:
    """The sampled n-grams of all pieces, sorted: the hash in the upper bits, the number of the set in the lower ones."""
    sets = [sampled(one) for both in grams for one in both]
    assert len(sets) < 1 << SET_BITS
    number = np.repeat(np.arange(len(sets), dtype=np.uint64), [len(one) for one in sets])
    hashed = np.concatenate([*sets, np.empty(0, np.uint64)])
    return np.sort(hashed << np.uint64(SET_BITS) | number)


def joined(one: Hashes, other: Hashes) -> Hashes:
    """One sketch of all sets of two, the second's numbered after those of the first."""
    count = int((one & MASK).max()) + 1 if len(one) else 0
    return np.sort(np.concatenate([one, other + np.uint64(count)]))


def seen(grams: Sequence[Grams], traces: Hashes) -> npt.NDArray[np.bool_]:
    """Whether each piece is the same work as one in the sketch, shape (P,); where that is in doubt, it is.

    The criterion is that of grouping, less the error of the estimate. A piece too short to leave any
    trace counts as seen.
    """
    hashed, number = traces >> np.uint64(SET_BITS), (traces & MASK).astype(np.int64)
    sizes = np.bincount(number)
    return np.array([any(recognised(sampled(one), hashed, number, sizes) for one in both) for both in grams], bool)


def recognised(own: Hashes, hashed: Hashes, number: Ints, sizes: Ints) -> bool:
    """Whether a set of sampled n-grams shares enough with any set of a sketch, given as columns and sizes."""
    if not len(own):
        return True
    first, last = (np.searchsorted(hashed, own, side) for side in ("left", "right"))
    shared = np.bincount(np.concatenate([number[low:high] for low, high in zip(first, last, strict=True)]))
    sets = np.flatnonzero(shared)
    error = np.sqrt(SHARED * (1 - SHARED) * np.minimum(len(own), sizes[sets]))
    found = shared[sets] + DOUBT * error
    return bool(enough(KEPT * found, np.array(KEPT * len(own)), KEPT * sizes[sets]).any())


def sampled(grams: Ints) -> Hashes:
    """The hashes, shifted to leave room for the number of a set, of the n-grams that are kept."""
    hashed = mixed(grams)
    return np.unique(hashed[hashed < np.uint64((1 << 64) // KEPT)] >> np.uint64(SET_BITS))
