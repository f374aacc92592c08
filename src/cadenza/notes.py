"""The only musical data: an immutable table of notes with a piece header.

In and out: four int32 columns of equal length N (onset, pitch, duration, velocity), sorted by onset,
then pitch. Onsets and durations count integer steps of the header's time base. No files here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from cadenza.errors import CadenzaError

Column = npt.NDArray[np.int32]


@dataclass(frozen=True)
class TimeBase:
    """What one step is: 1 / `steps` of a second, or of a beat (a quarter note)."""

    unit: Literal["seconds", "beats"] = "seconds"
    steps: int = 100


@dataclass(frozen=True)
class Header:
    """What is known of a piece beside its notes.

    `tempo` is in quarter notes per minute and gives beats their length in seconds; `meter` is
    (numerator, denominator), or None where unknown; `downbeat` is the step of the first bar line. `origin` says in JSON how
    an improvised piece was made.
    """

    name: str = ""
    time_base: TimeBase = TimeBase()
    tempo: float = 120.0
    meter: tuple[int, int] | None = None
    downbeat: int = 0
    origin: str = ""

    @property
    def step_seconds(self) -> float:
        """Length of one step, seconds."""
        beat_seconds = 60.0 / self.tempo
        return (1.0 if self.time_base.unit == "seconds" else beat_seconds) / self.time_base.steps


@dataclass(frozen=True, eq=False)
class Notes:
    """N notes of one piece; build it with `Notes.of`."""

    onset: Column
    pitch: Column
    duration: Column
    velocity: Column
    header: Header = field(default_factory=Header)

    @classmethod
    def of(
        cls,
        onset: npt.ArrayLike,
        pitch: npt.ArrayLike,
        duration: npt.ArrayLike,
        velocity: npt.ArrayLike,
        header: Header | None = None,
    ) -> Notes:
        """Sort, check and freeze four columns; a value out of range raises `CadenzaError`.

        >>> Notes.of(onset=[4, 0], pitch=[62, 60], duration=[4, 4], velocity=[80, 80]).pitch
        array([60, 62], dtype=int32)
        """
        columns = [np.asarray(column, dtype=np.int64).ravel() for column in (onset, pitch, duration, velocity)]
        if len({len(column) for column in columns}) > 1:
            raise CadenzaError("The columns of a piece have different lengths; give one value per note in each.")
        for column, name, low, high in zip(columns, COLUMNS, LOWEST, HIGHEST, strict=True):
            if len(column) and (column.min() < low or column.max() > high):
                raise CadenzaError(f"A note's {name} lies outside {low}…{high}.")
        if (columns[0] + columns[2]).max(initial=0) > HIGHEST[0]:
            raise CadenzaError(f"A note ends after step {HIGHEST[0]}.")
        columns = in_order(columns)
        frozen = [column.astype(np.int32) for column in columns]
        return cls(frozen[0], frozen[1], frozen[2], frozen[3], header or Header())

    def __post_init__(self) -> None:
        for column in self.columns:
            column.setflags(write=False)

    def __len__(self) -> int:
        return len(self.onset)

    def __getitem__(self, rows: slice | npt.NDArray[np.bool_]) -> Notes:
        """Some of the notes, in order."""
        return Notes(self.onset[rows], self.pitch[rows], self.duration[rows], self.velocity[rows], self.header)

    @property
    def end(self) -> int:
        """The step at which the last note stops; 0 for no notes."""
        return int((self.onset + self.duration).max(initial=0))

    @property
    def length_seconds(self) -> float:
        """Time from step 0 to the end of the last note, seconds."""
        return self.end * self.header.step_seconds

    @property
    def columns(self) -> tuple[Column, Column, Column, Column]:
        return self.onset, self.pitch, self.duration, self.velocity


def in_order(columns: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
    """Sort four columns by onset, then pitch, then the rest; fast where tracks are sorted already."""
    place = columns[0] << 7 | columns[1]
    if (np.diff(place) > 0).all():
        return columns
    order = np.argsort(place, kind="stable")
    if not np.diff(place[order]).all():  # equal onsets and pitches
        order = np.lexsort((columns[3], columns[2], place))
    return [column[order] for column in columns]


NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def pitch_name(pitch: int) -> str:
    """Scientific pitch notation.

    >>> pitch_name(69)
    'A4'
    """
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"


COLUMNS = ("onset", "pitch", "duration", "velocity")
LOWEST = (0, 0, 1, 1)
HIGHEST = (2**31 - 1, 127, 2**31 - 1, 127)


def shift_time(notes: Notes, steps: int) -> Notes:
    """Move every note later by `steps` (earlier if negative); the bar lines move along.

    >>> shift_time(Notes.of([4], [60], [4], [80]), -4).onset
    array([0], dtype=int32)
    """
    header = replace(notes.header, downbeat=notes.header.downbeat + steps)
    if steps <= 0 and (not len(notes) or int(notes.onset[0]) >= -steps):  # earlier: in order and in range as before
        onset = notes.onset + np.int32(steps)
        onset.setflags(write=False)
        return replace(notes, onset=onset, header=header)
    return Notes.of(notes.onset.astype(np.int64) + steps, *notes.columns[1:], header=header)


def from_first_onset(notes: Notes) -> Notes:
    """Drop the silence before the first note."""
    return shift_time(notes, -int(notes.onset[0])) if len(notes) else notes


def concatenate(pieces: Sequence[Notes]) -> Notes:
    """All notes of several pieces on one time line, under the first piece's header."""
    onset, pitch, duration, velocity = (np.concatenate([piece.columns[i] for piece in pieces]) for i in range(4))
    return Notes.of(onset, pitch, duration, velocity, pieces[0].header)


def one_at_a_time(notes: Notes) -> Notes:
    """Let no two notes of one pitch overlap, as no key or string can sound twice.

    Equal pitches at one onset become one note (the longest, at the loudest velocity); an earlier
    note is cut where the next one of its pitch begins.
    """
    place = notes.pitch.astype(np.int64) << 32 | notes.onset
    order = np.argsort(place)
    place, duration = place[order], notes.duration[order]
    if not (place[1:] < place[:-1] + duration[:-1]).any():
        return notes
    first = np.flatnonzero(np.append(True, np.diff(place) > 0))
    place, duration = place[first], np.maximum.reduceat(duration, first)
    velocity = np.maximum.reduceat(notes.velocity[order], first)
    until_next = np.append(np.diff(place), np.iinfo(np.int32).max)  # a next pitch is far away
    return Notes.of(place & (2**32 - 1), place >> 32, np.minimum(duration, until_next), velocity, notes.header)


def simultaneous(notes: Notes) -> int:
    """The largest number of notes that sound at once."""
    times = np.concatenate([notes.onset, notes.onset + notes.duration])
    changes = np.concatenate([np.ones(len(notes), int), -np.ones(len(notes), int)])
    order = np.lexsort((changes, times))
    return int(np.cumsum(changes[order]).max(initial=0))
