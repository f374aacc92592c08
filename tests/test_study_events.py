"""The study's events, against values written down by hand from its rules."""

from __future__ import annotations

import numpy as np
import pytest

from cadenza.notes import Header, Notes, TimeBase
from cadenza.tokens import representation
from cadenza.tokens.study_events import StudyEvents

STEPS = TimeBase("seconds", 100)

SCALE = Notes.of(
    #      C    D    E   F (begins before E ends)  G (5 s later)  A    B
    onset=[7, 57, 107, 147, 700, 750, 800],
    pitch=[60, 62, 64, 65, 67, 69, 71],
    duration=[50, 50, 50, 50, 50, 50, 250],
    velocity=[80, 80, 100, 30, 127, 64, 99],
)
"""A scale from 0.07 s on: one overlap, one long rest, one velocity of 100, two that are clamped, one long note."""

WRITTEN = """
VELOCITY_100
TIME_SHIFT_7 NOTE_ON_60 TIME_SHIFT_50 NOTE_OFF_60 VELOCITY_80
NOTE_ON_62 TIME_SHIFT_50 NOTE_OFF_62 VELOCITY_80
NOTE_ON_64 TIME_SHIFT_50 NOTE_OFF_64
NOTE_ON_65 TIME_SHIFT_50 NOTE_OFF_65 VELOCITY_60
TIME_SHIFT_300 NOTE_ON_67 TIME_SHIFT_50 NOTE_OFF_67
NOTE_ON_69 TIME_SHIFT_50 NOTE_OFF_69 VELOCITY_64
NOTE_ON_71 TIME_SHIFT_200 NOTE_OFF_71 VELOCITY_99
""".split()  # noqa: SIM905 - one note a line

READ = [
    # onset, pitch, duration, velocity: each note has the velocity that was written before it
    (7, 60, 50, 100),
    (57, 62, 50, 80),
    (107, 64, 50, 80),
    (157, 65, 50, 80),  # moved to the end of the note before
    (507, 67, 50, 60),  # the rest of 503 steps has become 300, and nothing reset the velocity
    (557, 69, 50, 60),
    (607, 71, 200, 64),
]


def full() -> StudyEvents:
    return StudyEvents(STEPS)


def names(events: StudyEvents, notes: Notes) -> list[str]:
    return [events.vocabulary[number] for number in events.encode(notes)[:, 0]]


def rows(events: StudyEvents, text: str) -> np.ndarray:
    return np.array([[events.vocabulary.index(name)] for name in text.split()], dtype=np.int16).reshape(-1, 1)


def read(text: str) -> list[tuple[int, ...]]:
    notes = full().decode(rows(full(), text))
    return [tuple(int(value) for value in row) for row in zip(*notes.columns, strict=True)]


def test_a_scale_is_written_event_by_event() -> None:
    assert names(full(), SCALE) == WRITTEN


def test_the_scale_is_read_back_with_every_quirk() -> None:
    notes = full().decode(full().encode(SCALE), Header("scale"))
    assert [tuple(int(value) for value in row) for row in zip(*notes.columns, strict=True)] == READ
    assert notes.header.name == "scale"


def test_the_vocabulary_is_what_occurs_sorted_as_text_and_its_first_id_is_not_scored() -> None:
    observed = full().observed(full().encode(SCALE))
    assert list(observed) == sorted(set(WRITTEN))
    events = representation("study", STEPS, observed)
    assert observed[0] == "NOTE_OFF_60"
    table = events.encode(SCALE)
    assert events.sizes == (len(set(WRITTEN)),)
    assert events.scored(table)[:, 0].tolist() == [name != "NOTE_OFF_60" for name in WRITTEN]
    assert events.note_count(table) == 7


def test_events_that_the_vocabulary_lacks_are_counted_and_left_out() -> None:
    events = StudyEvents(STEPS, full().observed(full().encode(SCALE)))
    other = Notes.of([0, 50, 107], [60, 61, 60], [50, 50, 51], [80, 80, 80])
    assert events.unknown(other) == {"NOTE_ON_61": 1, "NOTE_OFF_61": 1, "TIME_SHIFT_51": 1}
    expected = "VELOCITY_100 NOTE_ON_60 TIME_SHIFT_50 NOTE_OFF_60 VELOCITY_80 TIME_SHIFT_50 VELOCITY_80 TIME_SHIFT_7 NOTE_ON_60 NOTE_OFF_60 VELOCITY_80"
    assert names(events, other) == expected.split()
    assert not events.unknown(SCALE)


def test_the_clock_moves_with_shifts_only() -> None:
    table = full().encode(SCALE)
    assert full().steps(table).sum() == 7 + 4 * 50 + 300 + 2 * 50 + 200
    assert full().steps(full().start_row[None]).tolist() == [0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("NOTE_OFF_60 TIME_SHIFT_5", []),
        ("NOTE_ON_60 TIME_SHIFT_5", []),
        ("NOTE_ON_60 NOTE_OFF_60", [(0, 60, 1, 100)]),
        ("NOTE_ON_60 TIME_SHIFT_5 NOTE_ON_60 TIME_SHIFT_3 NOTE_OFF_60", [(5, 60, 3, 100)]),
        ("NOTE_ON_60 TIME_SHIFT_5 NOTE_OFF_60 NOTE_OFF_60", [(0, 60, 5, 100)]),
        ("NOTE_ON_60 TIME_SHIFT_2 NOTE_ON_64 TIME_SHIFT_3 NOTE_OFF_60 NOTE_OFF_64", [(0, 60, 5, 100), (2, 64, 3, 100)]),
        ("VELOCITY_70 NOTE_ON_60 VELOCITY_90 TIME_SHIFT_5 NOTE_OFF_60 NOTE_ON_60 NOTE_OFF_60", [(0, 60, 5, 70), (5, 60, 1, 90)]),
    ],
)  # fmt: skip
def test_events_in_any_order_are_read(text: str, expected: list[tuple[int, ...]]) -> None:
    assert read(text) == expected


def test_what_is_lost_is_said_with_its_share() -> None:
    assert "lose the onset of 14% of the notes and clamp the velocity of 29%" in full().losses([SCALE])


@pytest.mark.parametrize("name", ["NOTE_ON_128", "TIME_SHIFT_0", "TIME_SHIFT_301", "VELOCITY_59", "NOTE_60", "END"])
def test_a_vocabulary_of_other_events_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"no event|not in tuple|not in list|invalid literal"):
        StudyEvents(STEPS, ["NOTE_ON_60", name])
