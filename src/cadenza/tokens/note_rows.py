"""`notes`: one row per note, four fields: shift since the previous onset, pitch, duration, velocity.

In and out: `Notes` of N notes <-> int16 ids of shape (rows, 4). The shift field has two ids beyond
its time values: REST (the longest shift passes without a note; such rows split gaps that are longer
still) and END (the last row). Rows with either score only that field. Every field's start id, one
past its last, stands for "before the piece" and fills the unscored fields.

Shifts are quantised against the *decoded* clock, so rounding never accumulates. Simultaneous notes
stay simultaneous: their shift is always 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from cadenza.notes import Header, Notes, TimeBase, pitch_name
from cadenza.playability import Player
from cadenza.settings import AugmentSettings
from cadenza.tokens.bins import (
    VELOCITY_WIDTH,
    bin_velocity,
    bin_widths,
    nearest_bin,
    time_name,
    time_values,
    velocity_bin,
)
from cadenza.tokens.contract import Mask, Representation, Rows, Widths
from cadenza.tokens.note_grammar import NoteGrammar
from cadenza.tokens.playable import PlayableRows
from cadenza.tokens.variation import DURATION, PITCH, SHIFT, VELOCITY, NoteVariation

METRE = np.array([0.5, 1, 1.5, 2, 3, 4])
"""Periods in which music in beats is told where it stands, beats: from half a beat to bars of four."""


class NoteRows(Representation):
    """The representation on one time base.

    >>> piece = Notes.of(onset=[0, 50], pitch=[60, 64], duration=[50, 50], velocity=[80, 80])
    >>> NoteRows(TimeBase()).encode(piece).shape
    (3, 4)
    """

    name = "notes"
    unit = "token"
    fields = ("shift", "pitch", "duration", "velocity")
    pitch_fields = (PITCH,)

    def __init__(self, base: TimeBase) -> None:
        self.shifts = time_values(base, first=0)
        self.durations = time_values(base, first=1)
        self.rest = len(self.shifts)
        self.end = self.rest + 1
        self._moves = np.append(self.shifts, [self.shifts[-1], 0, 0])
        self.context_groups = (2 * len(METRE),) if base.unit == "beats" else ()
        super().__init__(base, (self.end + 1, 128, len(self.durations), 32))

    @cached_property
    def longest(self) -> int:
        """The longest shift, steps; longer gaps are split by REST rows."""
        return int(self.shifts[-1])

    def encode(self, notes: Notes, end: bool = True) -> Rows:
        """Ids of shape (notes + rests + 1, 4); the last row is END, unless `end` is false."""
        onset, pitch, duration, velocity = self._on_clock(notes)
        gaps = np.diff(onset, prepend=0)
        rests = np.maximum(-(-gaps // self.longest) - 1, 0)
        rows = np.empty((len(onset) + int(rests.sum()) + 1, 4), dtype=np.int16)
        rows[:] = self.start_row
        rows[:, SHIFT] = self.rest
        rows[-1, SHIFT] = self.end
        at = np.arange(len(onset)) + np.cumsum(rests)
        rows[at, SHIFT] = _bins(self.base, 0)[gaps - rests * self.longest]
        rows[at, PITCH] = pitch
        rows[at, DURATION] = _bins(self.base, 1)[np.minimum(duration, self.durations[-1])]
        rows[at, VELOCITY] = velocity_bin(velocity)
        return rows if end else rows[:-1]

    def decode(self, rows: Rows, header: Header | None = None) -> Notes:
        """Notes of rows; what follows END is ignored."""
        ended = np.flatnonzero(rows[:, SHIFT] == self.end)
        rows = rows[: ended[0]] if len(ended) else rows
        onset = np.cumsum(self.steps(rows))
        sounds = rows[:, SHIFT] < self.rest
        kept = rows[sounds].astype(np.int64)
        header = header or Header(time_base=self.base)
        return Notes.of(
            onset[sounds], kept[:, PITCH], self.durations[kept[:, DURATION]], bin_velocity(kept[:, VELOCITY]), header
        )

    def pending(self, rows: Rows) -> Rows:
        """Only an end, after which nothing counts: every row stands for itself."""
        return rows[rows[:, SHIFT] == self.end]

    def scored(self, rows: Rows) -> Mask:
        mask = np.ones(rows.shape, dtype=bool)
        mask[rows[:, SHIFT] >= self.rest, PITCH:] = False
        return mask

    def begins_note(self, rows: Rows) -> Mask:
        return rows[:, SHIFT] < self.rest

    def beginnings(self) -> tuple[int, npt.NDArray[np.int64]]:
        return PITCH, np.arange(self.sizes[PITCH])

    def grammar(self, lowest: int = 0, highest: int = 127) -> NoteGrammar:
        return NoteGrammar(self.sizes, self.rest, self.end, lowest, highest)

    def playable(self, player: Player, lowest: int = 0, highest: int = 127) -> PlayableRows:
        pitches = self.grammar(lowest, highest).above[0]
        return PlayableRows(player, pitches, self.sizes, np.append(self.shifts, [self.longest, 0]), self.durations)

    def steps(self, rows: Rows) -> npt.NDArray[np.int64]:
        """How far each row moves the clock, shape (N,); start and END rows do not."""
        return self._moves[rows[:, SHIFT]]

    def context_at(self, clock_N: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """In beats, sine and cosine of where the clock stands in every period of `METRE`, shape (N, 12)."""
        if not self.context_width:
            return super().context_at(clock_N)
        angle = 2 * np.pi / (METRE * self.base.steps) * clock_N[:, None]
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)

    def id_name(self, field: int, id: int) -> str:  # noqa: A002
        if field == PITCH:
            return pitch_name(id)
        if field == VELOCITY:
            return f"{VELOCITY_WIDTH * id}–{VELOCITY_WIDTH * id + VELOCITY_WIDTH - 1}"
        if field == SHIFT and id >= self.rest:
            return "end" if id == self.end else "rest"
        return time_name(self.base, int((self.shifts, self.durations)[field == DURATION][id]))

    def widths(self, field: int) -> Widths:
        """Of shifts and durations; pitches are exact, REST and END are no bins, and velocities stay in theirs."""
        found = super().widths(field)
        if field in (SHIFT, DURATION):
            values = (self.shifts, self.durations)[field == DURATION]
            found[: len(values)] = bin_widths(values) * self.units_per_step
        return found

    def variation(self, pieces: Iterable[Rows], settings: AugmentSettings) -> NoteVariation:
        """In the pitch range of the pieces; what is written in beats keeps its tempo and its dynamics."""
        there = np.zeros(self.sizes[PITCH], bool)
        for piece in pieces:
            there[piece[piece[:, SHIFT] < self.rest, PITCH]] = True
        span = int(np.argmax(there)), self.sizes[PITCH] - 1 - int(np.argmax(there[::-1]))
        played = self.base.unit == "seconds"
        stretch, velocity = (settings.stretch, settings.velocity // VELOCITY_WIDTH) if played else (0.0, 0)
        return NoteVariation(self.shifts, self.durations, *span, settings.transpose, settings.invert, stretch, velocity)

    def _on_clock(self, notes: Notes) -> tuple[npt.NDArray[np.int64], ...]:
        """The columns with onsets as decoded, in row order, one note per onset and pitch."""
        onset, pitch, duration, velocity = (column.astype(np.int64) for column in notes.columns)
        onset = self._decoded_onsets(onset)
        if ((np.diff(onset) > 0) | (np.diff(pitch) > 0)).all():
            return onset, pitch, duration, velocity
        # rounding has put notes of two onsets on one: sort again, and of equal pitches keep the longest
        order = np.lexsort((velocity, duration, pitch, onset))
        onset, pitch = onset[order], pitch[order]
        last = np.append((np.diff(onset) > 0) | (np.diff(pitch) > 0), True)
        return onset[last], pitch[last], duration[order][last], velocity[order][last]

    def _decoded_onsets(self, onset: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Each distinct onset moved to what the decoder's clock will show.

        The error after a note depends on the error before it, so this is a scan; its one step is a
        table look-up.
        """
        begins = np.diff(onset, prepend=-1) != 0
        distinct = onset[begins]
        gaps = np.diff(distinct, prepend=0)
        inside = np.where(gaps > self.longest, (gaps - 1) % self.longest + 1 + self.longest, gaps)
        error_after = _errors(self.base)
        errors = np.fromiter(
            accumulate(inside.tolist(), lambda error, gap: error_after[gap - error], initial=0), np.int64, len(gaps) + 1
        )
        return (distinct + errors[1:])[np.cumsum(begins) - 1]


@lru_cache
def _bins(base: TimeBase, first: int) -> npt.NDArray[np.int64]:
    """Time to index of the nearest time value."""
    return nearest_bin(time_values(base, first))


@lru_cache
def _errors(base: TimeBase) -> list[int]:
    """The clock's error (decoded minus true, steps) after a wanted shift d, at index d.

    Index 0…2·longest+slack are wanted shifts; negative indices count back from the list's end and
    mean that the clock is ahead: the shift is then 0 and the error what remains.
    """
    values = time_values(base, first=0)
    longest = int(values[-1])
    slack = longest
    wanted = np.arange(2 * longest + slack)
    within = np.where(wanted > longest, (wanted - 1) % longest + 1, wanted)
    after = values[_bins(base, 0)[within]] - within
    ahead = np.arange(slack, 0, -1)
    return np.concatenate([after, ahead]).tolist()
