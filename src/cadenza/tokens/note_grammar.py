"""What may come next in a table of note rows, as small masks over ids.

The rules are those of `NoteRows.encode` for pieces without silence before their first note: they
begin at once, chords are written from the lowest pitch up, and a rest is followed by a note at a
later moment.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.tokens.contract import Mask, Rows

SHIFT, PITCH = 0, 1


class Place(NamedTuple):
    """Where each of L pieces stands after some rows; `top` is the highest pitch of the sounding onset."""

    begun: Mask
    resting: Mask
    top: npt.NDArray[np.int64]


class NoteGrammar:
    """Masks for one pitch range (`lowest`…`highest`, both included)."""

    def __init__(self, sizes: tuple[int, ...], rest: int, end: int, lowest: int, highest: int) -> None:
        self.sizes, self.rest, self.end = sizes, rest, end
        self.pitches = np.arange(sizes[PITCH])
        self.in_range: Mask = (self.pitches >= lowest) & (self.pitches <= highest)
        self.highest = highest

    def begin(self, lanes: int) -> Place:
        return Place(np.zeros(lanes, dtype=bool), np.zeros(lanes, dtype=bool), np.full(lanes, -1))

    def allowed(self, place: Place, field: int, rows_LF: Rows) -> Mask:
        """The ids that `field` may take, given the earlier fields of its rows; shape (L, V)."""
        if field == SHIFT:
            return self._shifts(place)
        if field == PITCH:
            together_L = (rows_LF[:, SHIFT] == 0) & place.begun & ~place.resting
            return self.in_range & (self.pitches > np.where(together_L, place.top, -1)[:, None])
        return np.ones((len(rows_LF), self.sizes[field]), dtype=bool)

    def _shifts(self, place: Place) -> Mask:
        mask_LV = np.repeat(place.begun[:, None], self.sizes[SHIFT], axis=1)
        mask_LV[:, self.end] &= ~place.resting
        mask_LV[:, 0] = ~place.begun | (~place.resting & (place.top < self.highest))
        return mask_LV

    def advance(self, place: Place, rows_LF: Rows) -> Place:
        """The places after one more row each."""
        rests_L = rows_LF[:, SHIFT] == self.rest
        top_L = np.where(rests_L, place.top, rows_LF[:, PITCH])
        return Place(place.begun | ~rests_L, rests_L, top_L)

    def ends(self, rows: Rows) -> Mask:
        return rows[..., SHIFT] == self.end

    def last_field(self, rows: Rows) -> Mask:
        """Whether a row is complete after its shift, as REST and END rows are."""
        return rows[..., SHIFT] >= self.rest
