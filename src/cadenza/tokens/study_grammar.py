"""What may come next among the study's events, as its encoder writes them.

One note after the other: a gap or none, NOTE_ON, its duration or none, NOTE_OFF of the same pitch, a
velocity other than 100 or none. The study itself sampled without this.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.tokens.contract import Mask, Rows

OFF, ON, SHIFT, VELOCITY = range(4)
OPENING, LOUDEST, LONGEST_DURATION = -1, 100, 200

Integers = npt.NDArray[np.int64]


class Place(NamedTuple):
    """The kind of each piece's last event, and the pitch that sounds (-1: none); shape (L,)."""

    last: Integers
    sounding: Integers


class StudyGrammar:
    """`kind` and `value` of every id, shape (V,), and which ids may occur at all."""

    masked: tuple[int, ...] = (0,)

    def __init__(self, kind: Integers, value: Integers, possible: Mask) -> None:
        self.kind, self.value = kind, value
        self.sizes: tuple[int, ...] = (len(kind),)
        self.off = (kind == OFF) & possible
        self.on = (kind == ON) & possible & np.isin(value, value[self.off])  # what cannot be released is never struck
        gap, loudness = kind == SHIFT, (kind == VELOCITY) & (value != LOUDEST)
        self.duration = gap & (value <= LONGEST_DURATION)
        after = {
            OPENING: (kind == VELOCITY) & (value == LOUDEST),
            OFF: self.on | gap | loudness,
            SHIFT: self.on,
            VELOCITY: self.on | gap,
        }
        self.after_KV = np.stack([after.get(last, np.zeros_like(self.on)) for last in range(OPENING, VELOCITY + 1)])

    def begin(self, lanes: int) -> Place:
        return Place(np.full(lanes, OPENING), np.full(lanes, -1))

    def allowed(self, place: Place, field: int, rows_LF: Rows) -> Mask:  # noqa: ARG002
        """The ids that may come next, shape (L, V)."""
        sounds_L1 = (place.sounding >= 0)[:, None]
        release_LV = self.off & (self.value == place.sounding[:, None])
        lasting_LV = self.duration & (place.last == ON)[:, None]
        return np.where(sounds_L1, release_LV | lasting_LV, self.after_KV[place.last - OPENING])

    def advance(self, place: Place, rows_LF: Rows) -> Place:
        kind_L, value_L = self.kind[rows_LF[:, 0]], self.value[rows_LF[:, 0]]
        sounding_L = np.where(kind_L == ON, value_L, np.where(kind_L == OFF, -1, place.sounding))
        return Place(kind_L, sounding_L)

    def ends(self, rows: Rows) -> Mask:
        return np.zeros(rows.shape[:-1], dtype=bool)

    def last_field(self, rows: Rows) -> Mask:
        return np.ones(rows.shape[:-1], dtype=bool)
