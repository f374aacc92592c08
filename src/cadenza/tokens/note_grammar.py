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

SILENT, RESTING, OPEN, FULL = range(4)
"""Before the first note; after a rest; after a note, with room above it at the same moment or without."""


class Place(NamedTuple):
    """Where each of L pieces stands after some rows: one of the four, and the lowest pitch that may begin together with the last note."""

    stage: npt.NDArray[np.int64]
    lowest: npt.NDArray[np.int64]


class NoteGrammar:
    """Masks for one pitch range (`lowest`…`highest`, both included), made once and looked up."""

    masked: tuple[int, ...] = (SHIFT, PITCH)

    def __init__(self, sizes: tuple[int, ...], rest: int, end: int, lowest: int, highest: int) -> None:
        self.sizes, self.rest, self.end, self.highest = sizes, rest, end, highest
        self.shifts: Mask = np.ones((4, sizes[SHIFT]), dtype=bool)
        self.shifts[SILENT, 1:] = False
        self.shifts[RESTING, [0, end]] = False
        self.shifts[FULL, 0] = False
        pitches, lows = np.arange(sizes[PITCH]), np.arange(sizes[PITCH] + 2)
        self.above: Mask = (pitches >= lowest) & (pitches <= highest) & (pitches >= lows[:, None])

    def begin(self, lanes: int) -> Place:
        return Place(np.full(lanes, SILENT), np.zeros(lanes, np.int64))

    def allowed(self, place: Place, field: int, rows_LF: Rows) -> Mask:
        """The ids that `field` may take, given the first field of its rows; shape (L, V)."""
        if field == SHIFT:
            return self.shifts[place.stage]
        if field == PITCH:
            return self.above[place.lowest * (rows_LF[:, SHIFT] == 0)]
        return np.ones((len(rows_LF), self.sizes[field]), dtype=bool)

    def advance(self, place: Place, rows_LF: Rows) -> Place:
        """The places after one more row each."""
        rests_L, pitch_L = rows_LF[:, SHIFT] == self.rest, rows_LF[:, PITCH]
        stage_L = np.where(rests_L, np.minimum(place.stage, RESTING), OPEN + (pitch_L >= self.highest))
        return Place(stage_L, (pitch_L + 1) * ~rests_L)

    def ends(self, rows: Rows) -> Mask:
        return rows[..., SHIFT] == self.end

    def last_field(self, rows: Rows) -> Mask:
        """Whether a row is complete after its shift, as REST and END rows are."""
        return rows[..., SHIFT] >= self.rest
