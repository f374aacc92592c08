"""The longest runs of symbols that a text shares with a large body of others.

In: integer symbols ≥ 1, one text per piece. Out: for every place of a text, how many symbols from there
on occur somewhere in the body, and where. The body is kept as a suffix array, built by prefix doubling
and searched by bisection (Manber & Myers, 1993); all places of a text are searched at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Symbols = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]

SEPARATOR = 0
"""Ends every text of the body; a text that is searched for never holds it."""
BLOCK = 16
"""So many symbols are compared at once."""


@dataclass(frozen=True, eq=False)
class SuffixArray:
    """`order` lists the places of the body by what stands from there on; `windows_NB` are its blocks."""

    body: Symbols
    order: Places
    windows_NB: Symbols

    @classmethod
    def of(cls, body: Symbols) -> SuffixArray:
        """Sort the suffixes of a body whose texts each end with `SEPARATOR`.

        >>> SuffixArray.of(np.array([2, 1, 2, 0])).order
        array([3, 1, 2, 0])
        """
        return cls(body, sorted_suffixes(body), blocks(body, SEPARATOR))

    def longest(self, text: Symbols) -> tuple[Places, Places]:
        """Length of the longest match that begins at each place of `text`, and where in the body it stands.

        >>> SuffixArray.of(np.array([5, 6, 7, 0, 6, 7, 8, 0])).longest(np.array([1, 6, 7, 8, 9]))[0]
        array([0, 3, 2, 1, 0])
        """
        asked_NB = blocks(text, SEPARATOR - 1)
        low, high = np.zeros((2, len(text)), dtype=np.int64)
        high += len(self.order)
        shared_low, shared_high, best, where = np.zeros((4, len(text)), dtype=np.int64)
        for _ in range(len(self.order).bit_length()):
            middle = (low + high) // 2
            place = self.order[np.minimum(middle, len(self.order) - 1)]
            shared, before = self._compare(asked_NB, place, np.minimum(shared_low, shared_high))
            longer = shared > best
            best, where = np.where(longer, shared, best), np.where(longer, place, where)
            up, down = before & (low < high), ~before & (low < high)
            low, shared_low = np.where(up, middle + 1, low), np.where(up, shared, shared_low)
            high, shared_high = np.where(down, middle, high), np.where(down, shared, shared_high)
        return best, where

    def _compare(self, asked_NB: Symbols, place: Places, known: Places) -> tuple[Places, npt.NDArray[np.bool_]]:
        """How many symbols each suffix asked for shares with the one at `place`, and whether it comes after it.

        `known` symbols are known to agree.
        """
        shared, after = known.copy(), np.zeros(len(place), dtype=bool)
        open_ = np.arange(len(place))
        while len(open_):
            asked = asked_NB[open_ + shared[open_]]
            found = self.windows_NB[place[open_] + shared[open_]]
            differs = asked != found
            first = differs.argmax(axis=1)
            ended = differs.any(axis=1)
            at = np.flatnonzero(ended), first[ended]
            after[open_[ended]] = asked[at] > found[at]
            shared[open_] += np.where(ended, first, BLOCK)
            open_ = open_[~ended]
        return shared, after


def blocks(text: Symbols, end: int) -> Symbols:
    """The `BLOCK` symbols from each place on, shape (N + BLOCK, BLOCK), filled up with `end`."""
    padded = np.concatenate([text, np.full(2 * BLOCK, end, dtype=np.int64)])
    return np.lib.stride_tricks.sliding_window_view(padded, BLOCK)


def sorted_suffixes(body: Symbols) -> Places:
    """The places of a body, in the order of what stands from there on."""
    if not len(body):
        return np.zeros(0, dtype=np.int64)
    rank = np.unique(body, return_inverse=True)[1].astype(np.int64)
    width = 1
    while int(rank.max()) + 1 < len(body):
        after = np.zeros_like(rank)
        after[:-width] = rank[width:] + 1
        rank = np.unique(rank * (len(body) + 1) + after, return_inverse=True)[1].astype(np.int64)
        width *= 2
    return np.argsort(rank)
