"""A piece to the pitch-interval n-grams by which it is known again.

In: notes. Out: sets of numbers, one or two for a piece. Neither key, tempo nor rhythm matters; where
notes follow fast there are two sets, since only one of them shows what is a chord and what is a run.
"""

from __future__ import annotations

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

SET_BITS = 24
"""Bits that number a set; the others of a 64-bit key are for the hash of an n-gram."""

HASH_BITS = 64 - SET_BITS

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Grams = tuple[Ints, ...]
"""The n-grams of a piece: one sorted set, or two where the two ears hear rather different lines."""


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


def hashed(grams: Ints) -> Hashes:
    """The n-grams as sorted hashes of `HASH_BITS` bits."""
    hashes = np.sort(mixed(grams) >> np.uint64(SET_BITS))
    return hashes[changes(hashes)]


def mixed(grams: Ints) -> Hashes:
    """Numbers as hashes whose every bit depends on every bit (the finaliser of SplitMix; Steele et al., 2014)."""
    bits = grams.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ bits >> np.uint64(shift)) * np.uint64(factor)
    return bits ^ bits >> np.uint64(31)


def changes(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where a sorted array holds another value than just before."""
    new = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return new
