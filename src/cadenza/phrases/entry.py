"""A pause before the music goes on: no note begins before a step, as where a player was stopped and goes on later.

The first row that would begin a note too early, or a shift after which one had to, is refused; the longest shift is not, so
that any pause can be passed.

Shapes: L pieces, F fields, V ids.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cadenza.tokens import Representation, Rows
from cadenza.tokens.contract import Mask

Integers = npt.NDArray[np.int64]


class Entry:
    """Refuses what begins before `start` (steps on the clock of the rows); a place is the clock of each piece."""

    def __init__(self, tokens: Representation, start: int) -> None:
        self.tokens, self.start, self.field = tokens, start, 0
        first_VF = np.tile(tokens.start_row, (tokens.sizes[0], 1))
        first_VF[:, 0] = np.arange(len(first_VF))
        self.moves_V = tokens.steps(first_VF)
        begins_V = np.asarray(tokens.begins_note(first_VF))
        moves_on_V = (self.moves_V > 0) & (self.moves_V < self.moves_V.max())
        self.early_V = begins_V | moves_on_V

    def begin(self, lanes: int) -> Integers:
        return np.zeros(lanes, np.int64)

    def allowed(self, place: Integers, field: int, rows_LF: Rows) -> Mask | None:  # noqa: ARG002
        if field != 0 or (place >= self.start).all():
            return None
        return np.asarray(~self.early_V | (place[:, None] + self.moves_V >= self.start))

    def advance(self, place: Integers, rows_LF: Rows) -> Integers:
        return place + self.tokens.steps(rows_LF)
