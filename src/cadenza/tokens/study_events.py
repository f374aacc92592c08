"""`study`: the events of the study that Cadenza began from, its quirks included. F = 1.

In and out: `Notes` in 10 ms steps <-> int16 ids of shape (events, 1). A piece opens with VELOCITY_100;
each note then writes, in this order:

* TIME_SHIFT_n, the gap since the end of the note before it, at most 300; nothing if that is 0 or less,
* NOTE_ON_p,
* TIME_SHIFT_n, its duration, at most 200,
* NOTE_OFF_p,
* VELOCITY_v, its velocity drawn into 60…100; nothing if that is 100.

So a note that begins before the last one ends moves to that end, everything after it shifts along,
and since a velocity stands *after* its note, a reader that goes by the order gives it to the next.
There is no event for the end. The vocabulary is the events that were observed, sorted as text; its
first id is never scored, because the study's loss skipped id 0 as if it were padding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cadenza.errors import CadenzaError
from cadenza.notes import Header, Notes, TimeBase
from cadenza.playability import Player
from cadenza.tokens.contract import Mask, Representation, Rows
from cadenza.tokens.playable import PlayableEvents
from cadenza.tokens.study_grammar import LONGEST_DURATION, LOUDEST, OFF, ON, SHIFT, VELOCITY, StudyGrammar

LONGEST_GAP, SOFTEST = 300, 60
KINDS = ("NOTE_OFF", "NOTE_ON", "TIME_SHIFT", "VELOCITY")
POSSIBLE = (
    (OFF, range(128)),
    (ON, range(128)),
    (SHIFT, range(1, LONGEST_GAP + 1)),
    (VELOCITY, range(SOFTEST, LOUDEST + 1)),
)
CODE = 1024
"""Inside, an event is the number `CODE * kind + value`."""


class StudyEvents(Representation):
    """The representation with a vocabulary, or with all 597 possible events.

    >>> events = StudyEvents(TimeBase())
    >>> piece = Notes.of(onset=[0], pitch=[60], duration=[50], velocity=[80])
    >>> [events.vocabulary[id] for id in events.encode(piece)[:, 0]]
    ['VELOCITY_100', 'NOTE_ON_60', 'TIME_SHIFT_50', 'NOTE_OFF_60', 'VELOCITY_80']
    """

    name = "study"
    unit = "event"
    fields = ("event",)

    def __init__(self, base: TimeBase, vocabulary: Sequence[str] = ()) -> None:
        if base != TimeBase("seconds", 100):
            raise CadenzaError(
                "The study's events count in steps of 10 ms; set midi.time_base=seconds and midi.steps_per_second=100."
            )
        names = sorted(vocabulary or (f"{KINDS[kind]}_{value}" for kind, values in POSSIBLE for value in values))
        super().__init__(base, (len(names),), names)
        self.codes = np.array([code_of(name) for name in names], dtype=np.int64)
        self.kind, self.value = np.divmod(self.codes, CODE)
        self._moves = np.append(np.where(self.kind == SHIFT, self.value, 0), 0)
        self._id = np.full(len(KINDS) * CODE, -1, dtype=np.int16)
        self._id[self.codes] = np.arange(len(names))

    def encode(self, notes: Notes, end: bool = True) -> Rows:  # noqa: ARG002
        """Ids of shape (events, 1), without the events that the vocabulary lacks."""
        ids = self._id[event_codes(notes)]
        return ids[ids >= 0][:, None]

    def decode(self, rows: Rows, header: Header | None = None) -> Notes:
        """Notes of events in any order.

        Shifts move the clock, a velocity holds until the next one (100 before the first). A NOTE_ON
        sounds until the next NOTE_OFF of its pitch; without one, or with another NOTE_ON before it, it
        is lost. What lasts no time lasts one step.
        """
        kind, value = self.kind[rows[:, 0]], self.value[rows[:, 0]]
        clock = np.cumsum(np.where(kind == SHIFT, value, 0))
        velocity = last_seen(np.where(kind == VELOCITY, value, 0), before=LOUDEST)
        keys = np.flatnonzero((kind == ON) | (kind == OFF))
        keys = keys[np.argsort(value[keys], kind="stable")]
        on, off = keys[:-1], keys[1:]
        sounds = (kind[on] == ON) & (kind[off] == OFF) & (value[on] == value[off])
        on, off = on[sounds], off[sounds]
        duration = np.maximum(clock[off] - clock[on], 1)
        return Notes.of(clock[on], value[on], duration, velocity[on], header or Header(time_base=self.base))

    def pending(self, rows: Rows) -> Rows:
        """All from the first note on that still sounds, after the velocity that was in force there."""
        kind, value = self.kind[rows[:, 0]], self.value[rows[:, 0]]
        keys = np.flatnonzero((kind == ON) | (kind == OFF))
        last = keys[::-1][np.unique(value[keys][::-1], return_index=True)[1]]
        sounding = last[kind[last] == ON]
        first = int(sounding.min(initial=len(rows)))
        loudness = np.flatnonzero(kind[:first] == VELOCITY)[-1:]
        return np.concatenate([rows[loudness], rows[first:]])

    def scored(self, rows: Rows) -> Mask:
        return np.asarray(rows != 0)

    def begins_note(self, rows: Rows) -> Mask:
        return np.append(self.kind == ON, False)[rows[:, 0]]

    def steps(self, rows: Rows) -> npt.NDArray[np.int64]:
        """How far each event moves the clock, shape (N,); the start id does not."""
        return self._moves[rows[:, 0]]

    def beginnings(self) -> tuple[int, npt.NDArray[np.int64]]:
        return 0, np.where(self.kind == ON, self.value, -1)

    def grammar(self, lowest: int = 0, highest: int = 127) -> StudyGrammar:
        pitched = self.kind <= ON
        allowed = ~pitched | ((self.value >= lowest) & (self.value <= highest))
        return StudyGrammar(self.kind, self.value, allowed)

    def playable(self, player: Player, lowest: int = 0, highest: int = 127) -> PlayableEvents:
        pitches = np.isin(np.arange(128), self.value[self.grammar(lowest, highest).on])
        return PlayableEvents(player, pitches, self.kind, self.value)

    def id_name(self, field: int, id: int) -> str:  # noqa: A002, ARG002
        return self.vocabulary[id]

    def observed(self, rows: Rows) -> tuple[str, ...]:
        return tuple(self.vocabulary[number] for number in np.unique(rows))

    def unknown(self, notes: Notes) -> Counter[str]:
        codes = event_codes(notes)
        missing = codes[self._id[codes] < 0]
        return Counter(f"{KINDS[code // CODE]}_{code % CODE}" for code in missing.tolist())

    def losses(self, pieces: Sequence[Notes]) -> str:
        notes = max(1, sum(map(len, pieces)))
        moved = sum(int((piece.onset[1:] < (piece.onset + piece.duration)[:-1]).sum()) for piece in pieces)
        clamped = sum(int(((piece.velocity < SOFTEST) | (piece.velocity > LOUDEST)).sum()) for piece in pieces)
        return (
            f"The study's events lose the onset of {moved / notes:.0%} of the notes and clamp the velocity of "
            f"{clamped / notes:.0%}, so bits per note would not compare with those of a whole representation."
        )


def event_codes(notes: Notes) -> npt.NDArray[np.int64]:
    """The events of a piece, as codes."""
    onset, pitch, duration, velocity = (column.astype(np.int64) for column in notes.columns)
    gap = np.minimum(onset - np.append(0, (onset + duration)[:-1]), LONGEST_GAP)
    velocity = np.clip(velocity, SOFTEST, LOUDEST)
    table = np.stack([SHIFT * CODE + gap, ON * CODE + pitch, SHIFT * CODE + np.minimum(duration, LONGEST_DURATION),
                      OFF * CODE + pitch, VELOCITY * CODE + velocity], axis=1)  # fmt: skip
    written = np.ones(table.shape, dtype=bool)
    written[:, 0] = gap > 0
    written[:, 4] = velocity != LOUDEST
    return np.append(VELOCITY * CODE + LOUDEST, table[written])


def code_of(name: str) -> int:
    """The code of an event's name; what is none raises `ValueError`."""
    kind, _, value = name.rpartition("_")
    code = KINDS.index(kind) * CODE + int(value)
    if not any(kind == KINDS[known] and int(value) in values for known, values in POSSIBLE):
        raise ValueError(f"there is no event {name}")
    return code


def last_seen(values: npt.NDArray[np.int64], before: int) -> npt.NDArray[np.int64]:
    """Each value, or where it is 0 the last one that was not."""
    at = np.maximum.accumulate(np.where(values > 0, np.arange(len(values)), -1))
    return np.where(at >= 0, values[at], before)
