"""Tables read by the letter of their format: anything that it does not provide for is refused.

In: rows of ids. Out: the notes they say, as (onset, pitch, duration, velocity) in steps; a table that breaks a rule
raises `Invalid`, which says at which row. Written from what `tokens.note_rows`, `tokens.bins` and `tokens.study_events`
say of their formats, in plain loops, and sharing no code with them: a mistake there is not repeated here.

A piece that was cut off before its end is whole up to there: note rows need no END, and of the study's events the last
note may lack its release.
"""

from __future__ import annotations

from collections.abc import Sequence

Note = tuple[int, int, int, int]
Row = Sequence[int]

PITCHES, VELOCITIES = 128, 32
START, NOTE, REST, END = "the start", "a note", "a rest", "the end"
"""What a row of notes can follow."""
OPENING, READY, AFTER_GAP, STRUCK, HELD, RELEASED = (
    "the opening", "a velocity", "a gap", "a strike", "a duration", "a release",
)  # fmt: skip
"""What an event of the study can follow."""


class Invalid(Exception):  # noqa: N818
    """A table that its format does not provide for."""


def demand(held: bool, rule: str, row: int) -> None:
    if not held:
        raise Invalid(f"row {row}: {rule}")


def times(unit: str, first: int) -> list[int]:
    """The steps that time ids stand for: hundredths of a second, or 24ths of a beat."""
    if unit == "seconds":
        fine = list(range(first, 21))
        wider = 64 - len(fine)
        return fine + [round(20 * 20 ** (place / wider)) for place in range(1, wider + 1)]
    sixteenths, triplets, eighths, beats = range(0, 97, 6), range(0, 97, 4), range(0, 193, 12), range(0, 385, 24)
    return sorted({*range(25), *sixteenths, *triplets, *eighths, *beats} - set(range(first)))


def read_note_rows(rows: Sequence[Row], lowest: int, highest: int, unit: str) -> list[Note]:
    """Rows of shift, pitch, duration and velocity, for an instrument from `lowest` to `highest`."""
    shifts, durations = times(unit, 0), times(unit, 1)
    rest, end = len(shifts), len(shifts) + 1
    unsaid = [PITCHES, len(durations), VELOCITIES]
    notes: list[Note] = []
    clock, after = 0, START
    for number, (shift, *said) in enumerate(rows):
        demand(after != END, "comes after the end", number)
        demand(0 <= shift <= end, f"there is no shift {shift}", number)
        demand(after != START or shift == 0, "a piece begins with a note at once", number)
        demand(after != REST or shift not in (0, end), "a rest leads to a later note", number)
        if shift >= rest:
            demand(said == unsaid, "says what a rest or an end has not", number)
            clock, after = clock + (shifts[-1] if shift == rest else 0), REST if shift == rest else END
            continue
        demand(len(said) == 3 and all(0 <= one < size for one, size in zip(said, unsaid, strict=True)), "leaves the bins", number)  # fmt: skip
        pitch, duration, velocity = said
        demand(lowest <= pitch <= highest, "leaves the instrument's range", number)
        demand(after == START or shift > 0 or pitch > notes[-1][1], "a chord is written from below", number)
        clock, after = clock + shifts[shift], NOTE
        notes.append((clock, pitch, durations[duration], 4 * velocity + 2))
    return notes


def read_study_events(rows: Sequence[Row], lowest: int, highest: int, vocabulary: Sequence[str]) -> list[Note]:
    """Rows of one event each, for an instrument from `lowest` to `highest`."""
    notes: list[Note] = []
    clock, after, loudness, onset, pitch = 0, OPENING, 100, 0, -1
    for number, row in enumerate(rows):
        demand(len(row) == 1 and 0 <= row[0] < len(vocabulary), "is no event", number)
        kind, _, digits = vocabulary[row[0]].rpartition("_")
        value = int(digits)
        demand(after != OPENING or (kind, value) == ("VELOCITY", 100), "a piece opens with VELOCITY_100", number)
        if kind == "NOTE_ON":
            demand(after in (READY, AFTER_GAP, RELEASED), f"a strike after {after}", number)
            demand(lowest <= value <= highest, "leaves the instrument's range", number)
            onset, pitch, after = clock, value, STRUCK
        elif kind == "NOTE_OFF":
            demand(after in (STRUCK, HELD), f"a release after {after}", number)
            demand(value == pitch, "releases what does not sound", number)
            notes.append((onset, pitch, max(1, clock - onset), loudness))
            after = RELEASED
        elif kind == "TIME_SHIFT":
            demand(after in (READY, STRUCK, RELEASED), f"a shift after {after}", number)
            demand(1 <= value <= (200 if after == STRUCK else 300), "is too long a time", number)
            clock, after = clock + value, HELD if after == STRUCK else AFTER_GAP
        else:
            demand(after in (OPENING, RELEASED), f"a velocity after {after}", number)
            demand(after == OPENING or 60 <= value < 100, "says a velocity that goes without saying, or none", number)
            loudness, after = value, READY
    return notes
