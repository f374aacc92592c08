from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadenza.errors import CadenzaError
from cadenza.notes import (
    Header,
    Notes,
    TimeBase,
    concatenate,
    from_first_onset,
    one_at_a_time,
    shift_time,
    simultaneous,
)
from conftest import same_notes

Row = tuple[int, int, int, int]

SEVERAL = st.lists(
    st.tuples(st.integers(0, 30), st.integers(60, 63), st.integers(1, 12), st.integers(1, 127)), max_size=25
)
"""Few pitches and onsets, so that notes meet."""


def table(rows: list[Row], header: Header | None = None) -> Notes:
    onset, pitch, duration, velocity = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Notes.of(onset, pitch, duration, velocity, header)


def rows(notes: Notes) -> list[Row]:
    return list(zip(*(column.tolist() for column in notes.columns), strict=True))


@given(SEVERAL)
def test_notes_are_sorted_by_onset_then_pitch_then_duration_then_velocity(notes: list[Row]) -> None:
    assert rows(table(notes)) == sorted(notes)


@given(SEVERAL, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(notes: list[Row], rng: Any) -> None:
    shuffled = rng.sample(notes, len(notes))
    assert same_notes(table(shuffled), table(notes))


@pytest.mark.parametrize(
    "made", [lambda n: n, lambda n: n[:2], lambda n: n[n.pitch > 60], one_at_a_time, from_first_onset]
)
def test_columns_cannot_be_changed(made: Callable[[Notes], Notes]) -> None:
    notes = made(table([(4, 60, 4, 80), (6, 62, 4, 80), (8, 64, 4, 80)]))
    for column in notes.columns:
        assert column.dtype == np.int32
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_the_arrays_given_are_not_kept() -> None:
    onset = np.array([0, 4], np.int32)
    notes = Notes.of(onset, [60, 62], [4, 4], [80, 80])
    onset[0] = 99
    assert notes.onset.tolist() == [0, 4]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ((-1, 60, 1, 80), "onset"),
        ((2**31, 60, 1, 80), "onset"),
        ((0, -1, 1, 80), "pitch"),
        ((0, 128, 1, 80), "pitch"),
        ((0, 60, 0, 80), "duration"),
        ((0, 60, -4, 80), "duration"),
        ((0, 60, 1, 0), "velocity"),
        ((0, 60, 1, 128), "velocity"),
    ],
)
def test_a_value_out_of_range_is_named(row: Row, name: str) -> None:
    with pytest.raises(CadenzaError, match=f"A note's {name} lies outside"):
        table([(0, 60, 1, 80), row])


def test_a_note_that_ends_beyond_the_clock_is_refused() -> None:
    with pytest.raises(CadenzaError, match="ends"):
        table([(2**31 - 1, 60, 1, 80)])
    assert table([(2**31 - 2, 60, 1, 80)]).end == 2**31 - 1


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(CadenzaError, match="different lengths"):
        Notes.of([0, 1], [60], [1, 1], [80, 80])


@given(SEVERAL)
def test_end_is_where_the_last_note_stops(notes: list[Row]) -> None:
    assert table(notes).end == max((onset + duration for onset, _, duration, _ in notes), default=0)


@given(SEVERAL, st.integers(0, 50))
def test_shifting_moves_onsets_and_downbeat_and_nothing_else(notes: list[Row], steps: int) -> None:
    moved = shift_time(table(notes, Header(downbeat=3)), steps)
    assert rows(moved) == sorted(
        (onset + steps, pitch, duration, velocity) for onset, pitch, duration, velocity in notes
    )
    assert moved.header.downbeat == 3 + steps
    assert same_notes(shift_time(moved, -steps), table(notes))


def test_shifting_before_the_start_is_refused() -> None:
    with pytest.raises(CadenzaError, match="onset"):
        shift_time(table([(3, 60, 1, 80)]), -4)


@given(SEVERAL)
def test_without_its_silence_a_piece_begins_at_once(notes: list[Row]) -> None:
    made = from_first_onset(table(notes))
    assert len(made) == len(notes)
    assert made.onset[:1].tolist() == [0][: len(notes)]
    assert np.diff(made.onset).tolist() == np.diff(sorted(onset for onset, *_ in notes)).tolist()


@given(SEVERAL, SEVERAL)
def test_concatenated_pieces_hold_all_their_notes(first: list[Row], second: list[Row]) -> None:
    joined = concatenate([table(first, Header("first")), table(second, Header("second"))])
    assert rows(joined) == sorted(first + second)
    assert joined.header.name == "first"


def no_overlaps(notes: list[Row]) -> list[Row]:
    """Slow reference: merge what begins together, then cut what goes on too long."""
    merged: dict[tuple[int, int], tuple[int, int]] = {}
    for onset, pitch, duration, velocity in notes:
        length, loudness = merged.get((pitch, onset), (0, 0))
        merged[pitch, onset] = max(length, duration), max(loudness, velocity)
    made = []
    for (pitch, onset), (duration, velocity) in merged.items():
        later = [other for same, other in merged if same == pitch and other > onset]
        made.append((onset, pitch, min([duration, *(other - onset for other in later)]), velocity))
    return sorted(made)


@given(SEVERAL)
def test_one_at_a_time_agrees_with_a_slow_reference(notes: list[Row]) -> None:
    assert rows(one_at_a_time(table(notes))) == no_overlaps(notes)


@given(SEVERAL)
def test_one_at_a_time_twice_is_one_at_a_time(notes: list[Row]) -> None:
    once = one_at_a_time(table(notes))
    assert same_notes(one_at_a_time(once), once)


@given(SEVERAL)
def test_after_one_at_a_time_no_pitch_sounds_twice(notes: list[Row]) -> None:
    sounding: set[tuple[int, int]] = set()
    for onset, pitch, duration, _ in rows(one_at_a_time(table(notes))):
        steps = {(pitch, step) for step in range(onset, onset + duration)}
        assert not steps & sounding
        sounding |= steps


@given(SEVERAL)
def test_simultaneous_agrees_with_counting_every_step(notes: list[Row]) -> None:
    counts = [sum(onset <= step < onset + duration for onset, _, duration, _ in notes) for step in range(45)]
    assert simultaneous(table(notes)) == max(counts)


@given(SEVERAL, st.integers(0, 25), st.integers(0, 25))
def test_a_slice_is_the_rows_of_the_slice(notes: list[Row], first: int, last: int) -> None:
    whole = table(notes, Header("name"))
    assert rows(whole[first:last]) == sorted(notes)[first:last]
    assert whole[first:last].header == whole.header


@pytest.mark.parametrize(
    ("header", "step_seconds"),
    [
        (Header(time_base=TimeBase("seconds", 100)), 0.01),
        (Header(time_base=TimeBase("seconds", 100), tempo=60, meter=(4, 4)), 0.01),
        (Header(time_base=TimeBase("beats", 24), tempo=60, meter=(4, 4)), 1 / 24),
        (Header(time_base=TimeBase("beats", 24), tempo=120, meter=(6, 8)), 1 / 48),
        (Header(time_base=TimeBase("beats", 12), tempo=120), 1 / 24),
    ],
)
def test_the_header_gives_steps_their_length(header: Header, step_seconds: float) -> None:
    assert header.step_seconds == pytest.approx(step_seconds)
    assert table([(0, 60, 48, 80)], header).length_seconds == pytest.approx(48 * step_seconds)


def test_a_piece_may_be_empty() -> None:
    empty = table([])
    assert (len(empty), empty.end, empty.length_seconds, simultaneous(empty)) == (0, 0, 0.0, 0)
    assert len(one_at_a_time(empty)) == len(from_first_onset(empty)) == 0
