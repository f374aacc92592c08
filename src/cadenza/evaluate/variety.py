"""How varied is a piece, as the study measured it at each temperature?

In: the rows of one piece and its notes. The study names its measures without defining the repetition
rate; here it is the share of runs of four rows that have occurred before in the same piece.
"""

from __future__ import annotations

import numpy as np

from cadenza.notes import Notes
from cadenza.tokens import Representation, Rows

RUN = 4


def variety(representation: Representation, rows: Rows, notes: Notes) -> dict[str, float]:
    """Different rows, repetition (0…1), different pitches, and the variance of the time shifts (s²)."""
    runs = np.lib.stride_tricks.sliding_window_view(rows, RUN, axis=0) if len(rows) >= RUN else rows[:0]
    shifts = representation.steps(rows) * notes.header.step_seconds
    shifts = shifts[shifts > 0]
    return {
        "unique": len(np.unique(rows, axis=0)),
        "repetition": 1 - len(np.unique(runs, axis=0)) / len(runs) if len(runs) else 0.0,
        "pitches": len(np.unique(notes.pitch)),
        "shift_variance": float(shifts.var()) if len(shifts) else 0.0,
    }
