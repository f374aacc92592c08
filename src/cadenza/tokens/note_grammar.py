"""What may come next in a table of note rows, as small masks over ids.

The rules are those of `NoteRows.encode` for pieces without silence before their first note: they
begin at once, chords are written from the lowest pitch up, and a rest is followed by a note at a
later moment.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cadenza.tokens.contract import Mask, Row

SHIFT, PITCH = 0, 1


class Place(NamedTuple):
    """Where a piece stands after some rows; `top` is the highest pitch of the sounding onset."""

    begun: bool = False
    resting: bool = False
    top: int = -1


class NoteGrammar:
    """Masks for one pitch range (`lowest`…`highest`, both included)."""

    def __init__(self, sizes: tuple[int, ...], rest: int, end: int, lowest: int, highest: int) -> None:
        self.sizes, self.rest, self.end = sizes, rest, end
        pitches = np.arange(sizes[PITCH])
        self.in_range: Mask = (pitches >= lowest) & (pitches <= highest)
        self.highest = highest

    def begin(self) -> Place:
        return Place()

    def allowed(self, place: Place, field: int, row: Row) -> Mask:
        """The ids that `field` may take, given the earlier fields of its `row`; shape (V,)."""
        if field == SHIFT:
            return self._shifts(place)
        if field == PITCH:
            together = row[SHIFT] == 0 and place.begun and not place.resting
            return self.in_range & (np.arange(self.sizes[PITCH]) > place.top) if together else self.in_range
        return np.ones(self.sizes[field], dtype=bool)

    def _shifts(self, place: Place) -> Mask:
        if not place.begun:
            return np.arange(self.sizes[SHIFT]) == 0
        mask = np.ones(self.sizes[SHIFT], dtype=bool)
        mask[self.end] = not place.resting
        mask[0] = not place.resting and place.top < self.highest
        return mask

    def advance(self, place: Place, row: Row) -> Place:
        """The place after one more row."""
        if row[SHIFT] == self.rest:
            return place._replace(resting=True)
        return Place(begun=True, resting=False, top=int(row[PITCH]))

    def ends(self, row: Row) -> bool:
        return bool(row[SHIFT] == self.end)

    def last_field(self, row: Row) -> bool:
        """Whether the row is complete after its shift, as REST and END rows are."""
        return bool(row[SHIFT] >= self.rest)
