"""Representations: round trips, bins, the clock, the grammar. Each property holds for every time base."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadenza.notes import Header, Notes, TimeBase, from_first_onset
from cadenza.tokens import REPRESENTATIONS, Representation, Rows, representation
from cadenza.tokens.bins import bin_velocity, nearest_bin, time_values, velocity_bin
from cadenza.tokens.grammar import Place

BASES = [TimeBase("seconds", 100), TimeBase("beats", 24)]
EVERY = [representation(name, base) for name in REPRESENTATIONS for base in BASES]
every_representation = pytest.mark.parametrize("tokens", EVERY, ids=lambda tokens: f"{tokens.name}-{tokens.base.unit}")

GAPS = st.one_of(st.integers(0, 3), st.integers(0, 60), st.integers(0, 3000))
NOTES = st.lists(
    st.tuples(GAPS, st.integers(0, 127), st.integers(1, 900), st.integers(1, 127)), min_size=1, max_size=60
)


def piece(rows: list[tuple[int, int, int, int]], base: TimeBase) -> Notes:
    """Notes from (gap, pitch, duration, velocity), no pitch twice at one onset."""
    onset, kept, seen = 0, [], set()
    for gap, pitch, duration, velocity in rows:
        onset += gap
        if (onset, pitch) not in seen:
            seen.add((onset, pitch))
            kept.append((onset, pitch, duration, velocity))
    return Notes.of(*(list(column) for column in zip(*kept, strict=True)), header=Header(time_base=base))  # type: ignore[arg-type, misc]


def slow_onsets(notes: Notes, values: list[int]) -> list[int]:
    """The decoded clock, one onset after the other, without tables."""
    clock, true_before = 0, 0
    decoded: list[int] = []
    for true in notes.onset.tolist():
        if decoded and true == true_before:
            decoded.append(decoded[-1])
            continue
        wanted = true - clock
        while wanted > values[-1]:
            clock += values[-1]
            wanted -= values[-1]
        if wanted > 0:
            clock += min(values, key=lambda value: (abs(value - wanted), value))
        decoded.append(clock)
        true_before = true
    return decoded


@every_representation
@given(rows=NOTES)
def test_decoding_gives_the_notes_on_the_decoded_clock(
    tokens: Representation, rows: list[tuple[int, int, int, int]]
) -> None:
    notes = piece(rows, tokens.base)
    back = tokens.decode(tokens.encode(notes))
    onsets = slow_onsets(notes, tokens.shifts.tolist())
    durations = tokens.durations.tolist()
    longest = sorted(zip(onsets, notes.pitch.tolist(), notes.duration.tolist(), notes.velocity.tolist(), strict=True))
    wanted = {
        (onset, pitch): (min(durations, key=lambda value: (abs(value - duration), value)), velocity // 4 * 4 + 2)
        for onset, pitch, duration, velocity in longest
    }
    found = dict(
        zip(
            zip(back.onset.tolist(), back.pitch.tolist(), strict=True),
            zip(back.duration.tolist(), back.velocity.tolist(), strict=True),
            strict=True,
        )
    )
    assert found == wanted


@every_representation
@given(rows=NOTES)
def test_encoding_again_changes_nothing(tokens: Representation, rows: list[tuple[int, int, int, int]]) -> None:
    once = tokens.encode(piece(rows, tokens.base))
    assert np.array_equal(tokens.encode(tokens.decode(once)), once)


@every_representation
@given(rows=NOTES)
def test_the_clock_never_drifts(tokens: Representation, rows: list[tuple[int, int, int, int]]) -> None:
    notes = piece(rows, tokens.base)
    errors = np.abs(np.array(slow_onsets(notes, tokens.shifts.tolist())) - notes.onset)
    widest = int(np.diff(tokens.shifts).max())
    assert errors.max() <= widest / 2


@every_representation
@given(rows=NOTES)
def test_what_is_encoded_obeys_the_grammar(tokens: Representation, rows: list[tuple[int, int, int, int]]) -> None:
    grammar, place = tokens.grammar(), Place()
    table = tokens.encode(from_first_onset(piece(rows, tokens.base)))
    for row in table:
        fields = 1 if grammar.last_field(row) else len(tokens.fields)
        assert all(grammar.allowed(place, field, row)[row[field]] for field in range(fields))
        assert not grammar.ends(row) or row is table[-1] or np.array_equal(row, table[-1])
        place = grammar.advance(place, row)
    assert grammar.ends(table[-1])


@every_representation
@given(rows=NOTES)
def test_every_note_is_scored_in_every_field_and_rests_and_ends_in_one(
    tokens: Representation, rows: list[tuple[int, int, int, int]]
) -> None:
    notes = piece(rows, tokens.base)
    table = tokens.encode(notes)
    scored = tokens.scored(table)
    assert scored[:, 0].all()
    assert (scored[:, 1:].sum(axis=0) == tokens.note_count(table)).all()
    assert (table[scored] < np.broadcast_to(tokens.sizes, table.shape)[scored]).all()
    assert (table[~scored] == np.broadcast_to(tokens.sizes, table.shape)[~scored]).all()


@every_representation
def test_random_rows_that_obey_the_grammar_survive_a_round_trip(tokens: Representation) -> None:
    rng = np.random.default_rng(5)
    for _ in range(30):
        rows = random_walk(tokens, rng, 50)
        assert np.array_equal(tokens.encode(tokens.decode(rows)), rows)


def random_walk(tokens: Representation, rng: np.random.Generator, length: int) -> Rows:
    grammar, place = tokens.grammar(), Place()
    rows: list[Rows] = []
    while len(rows) < length or place.resting:
        row = tokens.start_row.copy()
        for field in range(len(tokens.fields)):
            allowed = grammar.allowed(place, field, row)
            if field == 0:
                allowed[grammar.end] = False
            row[field] = rng.choice(np.flatnonzero(allowed))
            if grammar.last_field(row):
                break
        place = grammar.advance(place, row)
        rows.append(row)
    end = tokens.start_row.copy()
    end[0] = grammar.end
    return np.stack([*rows, end])


@every_representation
def test_context_of_a_row_does_not_depend_on_later_rows(tokens: Representation) -> None:
    rows = random_walk(tokens, np.random.default_rng(1), 40)
    whole = tokens.context(rows)
    assert whole.shape == (len(rows), tokens.context_width)
    assert np.array_equal(tokens.context(rows[:17]), whole[:17])


def test_seconds_have_64_values_fine_to_200_ms_and_up_to_4_s() -> None:
    values = time_values(TimeBase("seconds", 100), first=0)
    assert len(values) == 64
    assert values[:21].tolist() == list(range(21))
    assert values[-1] == 400
    assert (np.diff(values) > 0).all()


def test_beats_have_every_common_length_exactly() -> None:
    values = set(time_values(TimeBase("beats", 24), first=1).tolist())
    for quarters in (
        1 / 24,
        1 / 12,
        1 / 8,
        1 / 6,
        1 / 4,
        1 / 3,
        1 / 2,
        2 / 3,
        3 / 4,
        1,
        4 / 3,
        1.5,
        2,
        8 / 3,
        3,
        3.5,
        4,
        6,
        8,
        12,
        16,
    ):
        assert round(quarters * 24) in values


@pytest.mark.parametrize("steps", [10, 100, 200])
def test_time_values_ascend_at_any_resolution(steps: int) -> None:
    for base in (TimeBase("seconds", steps), TimeBase("beats", min(steps, 96))):
        assert (np.diff(time_values(base, first=0)) > 0).all()


@given(st.integers(0, 400))
def test_the_nearest_bin_is_nearest(time: int) -> None:
    values = time_values(TimeBase("seconds", 100), first=0)
    chosen = values[nearest_bin(values)[time]]
    assert abs(chosen - time) == np.abs(values - time).min()


def test_velocities_move_by_two_at_most() -> None:
    velocities = np.arange(1, 128)
    assert np.abs(bin_velocity(velocity_bin(velocities)) - velocities).max() <= 2


def test_chords_stay_chords_after_a_coarse_rest() -> None:
    tokens = EVERY[0]
    notes = Notes.of([0, 377, 377, 377], [60, 55, 62, 71], [10] * 4, [80] * 4)
    assert len(set(tokens.decode(tokens.encode(notes)).onset.tolist())) == 2


def test_a_chord_at_the_top_of_the_range_forbids_a_further_note() -> None:
    grammar = EVERY[0].grammar(lowest=50, highest=70)
    place = Place(begun=True, resting=False, top=70)
    row = EVERY[0].start_row
    assert not grammar.allowed(place, 0, row)[0]
    assert grammar.allowed(place, 0, row)[1:].all()
    assert np.flatnonzero(grammar.in_range).tolist() == list(range(50, 71))
