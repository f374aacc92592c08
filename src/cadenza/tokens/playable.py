"""What an instrument can play, as a rule that stands beside a representation's grammar.

In: a `Player`, and the pitches that the grammar knows, of shape (128,). Out: masks over ids that leave what can be
played after what has been. A time is taken away if nothing could begin there; waiting longer never is, so
something is left. What is given to go on from may hold notes that cannot be played: they count for nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.playability import FINE, Past, Player, Sound
from cadenza.tokens import study_grammar as study
from cadenza.tokens.contract import Mask, Rows
from cadenza.tokens.variation import DURATION, PITCH, SHIFT

KEPT = 2**14
"""How many masks over shifts are remembered: most notes stand alone, so that the same ones come back."""

Integers = npt.NDArray[np.int64]
Lanes = npt.NDArray[np.object_]


class RowsLane(NamedTuple):
    """Where a table of note rows stands: what was played, the clock, and the pitch of its last row (-1: none)."""

    past: Past = ()
    clock: int = 0
    top: int = -1


class EventsLane(NamedTuple):
    """Where a table of the study's events stands: the pitch that sounds (-1: none) began at `onset`."""

    past: Past = ()
    clock: int = 0
    pitch: int = -1
    onset: int = 0


def side_by_side(lanes: Iterable[Any]) -> Lanes:
    return np.fromiter(lanes, dtype=object)


def begins(player: Player, pitches: Mask, past: Past, onset: int) -> Mask:
    """The pitches that can begin, shape (128,)."""
    return pitches & (player.objections(past, onset) == FINE)


def waits(player: Player, pitches: Mask, past: Past, clock: int, steps_V: Integers) -> Mask:
    """Whether something can begin so many steps after the clock, shape (V,)."""
    moments = player.moments(past, clock)
    open_M = np.array([begins(player, pitches, past, moment).any() for moment in moments])
    return open_M[np.searchsorted(moments, clock + steps_V, side="right") - 1]


class PlayableRows:
    """For note rows; `shifts` and `durations` are the steps of the ids, those of REST and END in `shifts` too."""

    field = None

    def __init__(self, player: Player, pitches: Mask, sizes: tuple[int, ...], shifts: Integers, durations: Integers):
        self.player, self.pitches, self.sizes = player, pitches, sizes
        self.shifts, self.durations, self.rest = shifts, durations, len(shifts) - 2
        self.known_times = lru_cache(KEPT)(self.times)

    def begin(self, lanes: int) -> Lanes:
        return side_by_side([RowsLane()] * lanes)

    def allowed(self, place: Lanes, field: int, rows_LF: Rows) -> Mask:
        mask_LV = np.ones((len(place), self.sizes[field]), dtype=bool)
        if field == SHIFT:
            for mask_V, lane in zip(mask_LV, place, strict=True):
                past = tuple(Sound(pitch, onset - lane.clock, until - lane.clock) for pitch, onset, until in lane.past)
                mask_V[: self.rest] = self.known_times(past, lane.top)
        elif field == PITCH:
            for mask_V, lane, shift in zip(mask_LV, place, rows_LF[:, SHIFT].tolist(), strict=True):
                if shift < self.rest:
                    mask_V[:] = begins(self.player, self.pitches, lane.past, lane.clock + self.shifts[shift])
        return mask_LV

    def times(self, past: Past, top: int) -> Mask:
        """The shifts after which something can begin, seen from step 0; with no shift only above `top`."""
        mask_V = waits(self.player, self.pitches, past, 0, self.shifts[: self.rest])
        mask_V[0] = begins(self.player, self.pitches, past, 0)[top + 1 :].any()
        return mask_V

    def advance(self, place: Lanes, rows_LF: Rows) -> Lanes:
        return side_by_side(self.after(lane, row) for lane, row in zip(place, rows_LF.tolist(), strict=True))

    def after(self, lane: RowsLane, row: list[int]) -> RowsLane:
        clock = lane.clock + int(self.shifts[row[SHIFT]])
        if row[SHIFT] >= self.rest:
            return RowsLane(lane.past, clock)
        pitch, duration = row[PITCH], int(self.durations[row[DURATION]])
        return RowsLane(self.player.play(lane.past, pitch, clock, duration), clock, pitch)


class PlayableEvents:
    """For the study's events, whose notes follow each other; `kind` and `value` of every id, shape (V,).

    A note lasts at least a step, so that no other begins with it.
    """

    field = None

    def __init__(self, player: Player, pitches: Mask, kind: Integers, value: Integers) -> None:
        self.player, self.pitches, self.kind, self.value = player, pitches, kind, value
        self.on, self.gap = np.flatnonzero(kind == study.ON), np.flatnonzero(kind == study.SHIFT)

    def begin(self, lanes: int) -> Lanes:
        return side_by_side([EventsLane()] * lanes)

    def allowed(self, place: Lanes, field: int, rows_LF: Rows) -> Mask:  # noqa: ARG002
        mask_LV = np.ones((len(place), len(self.kind)), dtype=bool)
        for mask_V, (past, clock, pitch, onset) in zip(mask_LV, place, strict=True):
            if pitch >= 0:
                mask_V[self.kind == study.OFF] = clock > onset
            else:
                mask_V[self.on] = begins(self.player, self.pitches, past, clock)[self.value[self.on]]
                mask_V[self.gap] = waits(self.player, self.pitches, past, clock, self.value[self.gap])
        return mask_LV

    def advance(self, place: Lanes, rows_LF: Rows) -> Lanes:
        return side_by_side(self.after(lane, event) for lane, event in zip(place, rows_LF[:, 0].tolist(), strict=True))

    def after(self, lane: EventsLane, event: int) -> EventsLane:
        kind, value = int(self.kind[event]), int(self.value[event])
        if kind == study.SHIFT:
            return lane._replace(clock=lane.clock + value)
        if kind == study.ON:
            return lane._replace(pitch=value, onset=lane.clock)
        if kind == study.OFF and value == lane.pitch:
            past = self.player.play(lane.past, value, lane.onset, max(1, lane.clock - lane.onset))
            return lane._replace(past=past, pitch=-1)
        return lane
