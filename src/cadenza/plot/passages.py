"""Two passages of music on the same axes, one of them improvised: what has it of the other?

In: the notes of both, each from its own beginning, and by how many semitones the first lies higher. Out:
two figures of one size, that span the same seconds and, counted from where the melodies agree, the same
pitches. Notes that agree are of a stronger colour.
"""

from __future__ import annotations

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch

from cadenza.notes import Notes
from cadenza.plot import theme
from cadenza.plot.roll import (
    ROLL_LEFT,
    ROLL_RIGHT,
    SMALL,
    WIDTH,
    ends_of,
    ground,
    note_path,
    pitch_range,
    pitch_ticks,
    time_ticks,
)  # fmt: skip

Mask = npt.NDArray[np.bool_]

ABOVE, TALL, BELOW = 8.0, 104.0, 22.0
"""Points above the notes of a passage, that they fill, and below them."""
PASSAGE_TOP, PASSAGE_TALL = ABOVE / (72 * WIDTH), TALL / (72 * WIDTH)
"""The same as fractions of the picture's width."""


def aligned_rolls(own: Notes, other: Notes, agree: Mask, semitones: int = 0) -> tuple[Figure, Figure]:
    """A roll of each; where `own` lies `semitones` higher, its axis does too, so that equal melodies look equal.

    `agree` says of the first notes of both, one by one, whether they are part of what is shared.

    Both cover 0 to `passage_seconds` from `ROLL_LEFT` to `ROLL_RIGHT` of the width.
    """
    low, high = pitch_range(np.concatenate([own.pitch, other.pitch + semitones]))
    seconds = passage_seconds(own, other)
    return (
        passage(own, padded(agree, own), low, high, seconds),
        passage(other, padded(agree, other), low - semitones, high - semitones, seconds),
    )


def passage_seconds(own: Notes, other: Notes) -> float:
    """The time that both pictures span: that of the longer passage, at least a second."""
    return max(own.length_seconds, other.length_seconds, 1.0)


def padded(agree: Mask, notes: Notes) -> Mask:
    """The mask of all notes; those beyond its end do not agree."""
    return np.append(agree, np.zeros(len(notes), dtype=bool))[: len(notes)]


def passage(notes: Notes, agree: Mask, low: int, high: int, seconds: float) -> Figure:
    """One of the two rolls."""
    width, height, semitone = 72 * WIDTH, ABOVE + TALL + BELOW, TALL / (high - low + 1)
    with matplotlib.rc_context(theme.STYLE | {"xtick.labelsize": SMALL, "ytick.labelsize": SMALL}):
        figure = theme.blank(WIDTH, height / 72)
        axes = theme.place(figure, ROLL_LEFT * width, BELOW, (ROLL_RIGHT - ROLL_LEFT) * width, TALL)
        axes.set_xlim(0, seconds)
        axes.set_ylim(low - 0.5, high + 0.5)
        ground(axes, low, high, 1, semitone)
        left, right = notes.onset * notes.header.step_seconds, ends_of(notes)
        wide = theme.width_of(axes) / seconds * float(np.median(right - left)) >= 3 if len(notes) else False
        for kind, mask, colour in (("other", ~agree, theme.PALE), ("agreeing", agree, theme.BLUE)):
            if mask.any():
                path = note_path(left[mask], right[mask], notes.pitch[mask], semitone)
                axes.add_artist(PathPatch(path, facecolor=colour, edgecolor=theme.CARD, linewidth=0.6 if wide else 0, zorder=3, gid=kind))  # fmt: skip
        pitch_ticks(axes, low, high, semitone)
        time_ticks(axes, 0, seconds, long=seconds > 60)
        axes.spines[["left", "bottom"]].set_visible(False)
        return figure
