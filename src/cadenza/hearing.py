"""Rows to the notes that are heard of them: the whole piece at once, or each note as soon as its row is there.

A piece begins with its first note, or with a prompt that stays as it was given; no pitch sounds twice at a time, and no
note sounds at the limit or after. Times are steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cadenza.notes import Header, Notes, concatenate, from_first_onset, one_at_a_time, shift_time
from cadenza.tokens import Representation, Rows


@dataclass(frozen=True)
class Frame:
    """How rows are read: `begun` are those of the prompt or the opening, whose last onset the prompt has `late` steps later."""

    representation: Representation
    header: Header
    prompt: Notes | None
    begun: Rows
    late: int
    limit: int

    def notes(self, rows: Rows) -> Notes:
        """The notes of all rows, with the prompt's own put back."""
        piece = self.representation.decode(rows, self.header)
        prompt = self.prompt
        if prompt is None:
            return one_at_a_time(cut(from_first_onset(piece), self.limit))
        known = self.representation.decode(self.begun)
        new = piece[~np.isin(places(piece), places(known))]
        return concatenate([prompt, self.unprompted(one_at_a_time(cut(shift_time(new, self.late), self.limit)))])

    def unprompted(self, notes: Notes) -> Notes:
        """Those whose pitch does not sound in the prompt when they begin."""
        prompt = self.prompt
        if prompt is None:
            return notes
        ends = np.zeros(128, dtype=np.int64)
        np.maximum.at(ends, prompt.pitch, prompt.onset.astype(np.int64) + prompt.duration)
        return notes[notes.onset >= ends[notes.pitch]]


class Hearing:
    """Listens to the rows after those that a frame has begun with; what is settled is not looked at again.

    A note that a later one of its pitch cuts short comes with the length it had until then.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.rows, self.clock = frame.begun[:0], 0
        self.origin: int | None = None
        self.found: set[int] = set()
        first = self.settle(frame.begun)
        if frame.prompt is not None:
            self.origin = -frame.late
            self.heard = set(places(frame.prompt).tolist())
            self.waiting = first[:0]
        else:
            self.heard = set()
            self.waiting = first

    def add(self, row: npt.NDArray[np.int16]) -> Notes:
        """The notes that a row has brought; those of the opening come with the first."""
        found = self.settle(row[None])
        if len(self.waiting):
            found, self.waiting = concatenate([self.waiting, found]), found[:0]
        if self.origin is None and len(found):
            self.origin = int(found.onset[0])
        if self.origin is not None and len(found):
            found = shift_time(found[found.onset >= self.origin], -self.origin)
        if not len(found):
            return found
        found = self.frame.unprompted(one_at_a_time(cut(found, self.frame.limit)))
        return unknown(found, self.heard)

    def settle(self, rows: Rows) -> Notes:
        """The notes that are new with these rows, on the clock of the rows."""
        tokens = self.frame.representation
        self.rows = np.concatenate([self.rows, rows])
        found = unknown(shift_time(tokens.decode(self.rows, self.frame.header), self.clock), self.found)
        pending = tokens.pending(self.rows)
        self.clock += int(tokens.steps(self.rows).sum() - tokens.steps(pending).sum())
        self.rows = pending
        return found


def unknown(notes: Notes, known: set[int]) -> Notes:
    """The notes at places that are not known, which they are from now on."""
    here = places(notes).tolist()
    new = np.array([place not in known for place in here], dtype=bool)
    known.update(here)
    return notes[new]


def places(notes: Notes) -> npt.NDArray[np.int64]:
    """Onset and pitch of every note as one number, shape (N,)."""
    return notes.onset.astype(np.int64) << 7 | notes.pitch


def cut(notes: Notes, limit: int) -> Notes:
    """No note begins or sounds at `limit` or after."""
    notes = notes[notes.onset < limit]
    return Notes.of(
        notes.onset, notes.pitch, np.minimum(notes.duration, limit - notes.onset), notes.velocity, notes.header
    )
