"""What may come next among the study's events, as its encoder writes them.

One note after the other: a gap or none, NOTE_ON, its duration or none, NOTE_OFF of the same pitch, a
velocity other than 100 or none. The study itself sampled without this.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.tokens.contract import Mask, Row

OFF, ON, SHIFT, VELOCITY = range(4)
OPENING, LOUDEST, LONGEST_DURATION = -1, 100, 200


class Place(NamedTuple):
    """The kind of the last event, and the pitch that sounds (-1: none)."""

    last: int = OPENING
    sounding: int = -1


class StudyGrammar:
    """`kind` and `value` of every id, shape (V,), and which ids may occur at all."""

    def __init__(self, kind: npt.NDArray[np.int64], value: npt.NDArray[np.int64], possible: Mask) -> None:
        self.kind, self.value = kind, value
        self.sizes: tuple[int, ...] = (len(kind),)
        self.on, self.off = (kind == ON) & possible, (kind == OFF) & possible
        self.on &= np.isin(value, value[self.off])  # a pitch that cannot be released is never struck
        self.gap, self.duration = kind == SHIFT, (kind == SHIFT) & (value <= LONGEST_DURATION)
        self.loudness = (kind == VELOCITY) & (value != LOUDEST)
        self.opening = (kind == VELOCITY) & (value == LOUDEST)

    def begin(self) -> Place:
        return Place()

    def allowed(self, place: Place, field: int, row: Row) -> Mask:  # noqa: ARG002
        if place.last == OPENING:
            return self.opening
        if place.sounding >= 0:
            release = self.off & (self.value == place.sounding)
            return release | self.duration if place.last == ON else release
        if place.last == SHIFT:
            return self.on
        return self.on | self.gap | self.loudness if place.last == OFF else self.on | self.gap

    def advance(self, place: Place, row: Row) -> Place:
        kind, value = int(self.kind[row[0]]), int(self.value[row[0]])
        sounding = {ON: value, OFF: -1}.get(kind, place.sounding)
        return Place(kind, sounding)

    def ends(self, row: Row) -> bool:  # noqa: ARG002
        return False

    def last_field(self, row: Row) -> bool:  # noqa: ARG002
        return True
