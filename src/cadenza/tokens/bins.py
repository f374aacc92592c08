"""Bins for times and velocities: fine where the ear is fine, coarse where it is not.

Times are integer steps. Near zero every step has its own bin, so that what is small is exact; wider
bins follow. The widest stays narrow enough that half of it goes unnoticed in a long note.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from cadenza.notes import TimeBase

Values = npt.NDArray[np.int64]

TIME_VALUES = 64
VELOCITY_WIDTH = 4


def time_values(base: TimeBase, first: int) -> Values:
    """The times that have an id, ascending from `first` (0 for shifts, 1 for durations), steps.

    Seconds: 10 ms apart to 200 ms, then by a constant ratio to 4 s, `TIME_VALUES` values in all (fewer on a
    coarser grid).
    Beats: every step to one beat, sixteenths and their triplets to 4, eighths to 8, beats to 16.

    >>> time_values(TimeBase("seconds", 100), 0)[[0, 20, -1]]
    array([  0,  20, 400])
    """
    if base.unit == "seconds":
        fine = np.arange(first, base.steps // 5 + 1)
        coarse = np.geomspace(base.steps // 5, 4 * base.steps, TIME_VALUES - len(fine) + 1)
        return np.union1d(fine, np.rint(coarse).astype(np.int64))
    beat = base.steps
    steps = np.arange(first, 16 * beat + 1)
    fits = steps <= beat
    fits |= (steps <= 4 * beat) & ((steps * 6 % beat == 0) | (steps * 4 % beat == 0))
    fits |= (steps <= 8 * beat) & (steps * 2 % beat == 0)
    fits |= steps % beat == 0
    return steps[fits]


def time_name(base: TimeBase, steps: int) -> str:
    """A time in words.

    >>> time_name(TimeBase("seconds", 100), 12), time_name(TimeBase("beats", 24), 36)
    ('120 ms', '3/2 beat')
    """
    if base.unit == "seconds":
        seconds = steps / base.steps
        return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
    return f"{Fraction(steps, base.steps)} beat"


def nearest_bin(values: Values) -> Values:
    """A table from each time 0…last value to the index of the nearest value (the lower if halfway)."""
    edges = (values[1:] + values[:-1]) / 2
    return np.searchsorted(edges, np.arange(values[-1] + 1), side="left")


def bin_widths(values: Values) -> Values:
    """How many steps of the grid have each value as their nearest, shape (V,).

    The last bin is open-ended; it counts as wide above its value as below.

    >>> bin_widths(np.array([0, 1, 2, 4, 8]))
    array([1, 1, 2, 3, 3])
    """
    widths = np.bincount(nearest_bin(values)[values[0] :], minlength=len(values))
    widths[-1] = 2 * widths[-1] - 1
    return widths


def velocity_bin(velocity: Values) -> Values:
    """1…127 to 0…31."""
    return velocity // VELOCITY_WIDTH


def bin_velocity(index: Values) -> Values:
    """The velocity that stands for a bin."""
    return index * VELOCITY_WIDTH + VELOCITY_WIDTH // 2
