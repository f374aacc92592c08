"""Representations: round trips, bins, the clock, the grammar.

Each property holds for every representation that can have it: the study's events lose onsets and
velocities, so what a round trip keeps of them is in `test_study_events.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadenza.errors import CadenzaError
from cadenza.notes import Header, Notes, TimeBase, from_first_onset
from cadenza.tokens import REPRESENTATIONS, Grammar, Representation, Rows, Ruled, Unmasked, representation
from cadenza.tokens.bins import bin_velocity, nearest_bin, time_values, velocity_bin
from cadenza.tokens.note_rows import NoteRows

SECONDS, BEATS = TimeBase("seconds", 100), TimeBase("beats", 24)
NOTE_ROWS = [NoteRows(base) for base in (SECONDS, BEATS)]
SOME_EVENTS = [
    *(f"{kind}_{pitch}" for kind in ("NOTE_ON", "NOTE_OFF") for pitch in range(0, 128, 3)),
    *(f"TIME_SHIFT_{steps}" for steps in range(1, 301, 7)),
    *(f"VELOCITY_{velocity}" for velocity in (60, 80, 99, 100)),
]
EVERY = [*NOTE_ROWS, representation("study", SECONDS), representation("study", SECONDS, SOME_EVENTS)]


def words(tokens: Representation) -> str:
    return f"{tokens.name}-{tokens.base.unit}-{tokens.sizes[0]}"


every_representation = pytest.mark.parametrize("tokens", EVERY, ids=words)
note_rows = pytest.mark.parametrize("tokens", NOTE_ROWS, ids=words)


def test_no_representation_is_missing_here() -> None:
    assert {tokens.name for tokens in EVERY} == set(REPRESENTATIONS)
    assert [tokens.name for tokens in NOTE_ROWS] == ["notes"] * 2


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


@note_rows
@given(rows=NOTES)
def test_decoding_gives_the_notes_on_the_decoded_clock(tokens: NoteRows, rows: list[tuple[int, int, int, int]]) -> None:
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


@note_rows
@given(rows=NOTES)
def test_encoding_again_changes_nothing(tokens: NoteRows, rows: list[tuple[int, int, int, int]]) -> None:
    once = tokens.encode(piece(rows, tokens.base))
    assert np.array_equal(tokens.encode(tokens.decode(once)), once)


@every_representation
@given(rows=NOTES)
def test_a_second_round_trip_keeps_what_the_first_has_left(
    tokens: Representation, rows: list[tuple[int, int, int, int]]
) -> None:
    notes = piece(rows, tokens.base)
    once = tokens.decode(tokens.encode(notes))
    again = tokens.decode(tokens.encode(once))
    if tokens.unknown(notes) or tokens.unknown(once):
        return
    keeps = 3 if tokens.name == "study" else 4  # a velocity moves on to the next note each time
    for one, other in zip(once.columns[:keeps], again.columns[:keeps], strict=True):
        assert np.array_equal(one, other)


@every_representation
@given(rows=NOTES)
def test_rows_write_as_many_notes_as_they_are_read_as_and_end_when_asked(
    tokens: Representation, rows: list[tuple[int, int, int, int]]
) -> None:
    notes = piece(rows, tokens.base)
    table, open_end = tokens.encode(notes), tokens.encode(notes, end=False)
    assert len(tokens.decode(table)) == tokens.note_count(table)
    assert np.array_equal(table[: len(open_end)], open_end)
    grammar, ends = tokens.grammar(), len(table) - len(open_end)
    assert [grammar.ends(row) for row in table] == [False] * len(open_end) + [True] * ends
    assert ends == (tokens.name == "notes")
    assert int(tokens.steps(table).sum()) >= int(tokens.decode(table).onset[-1]) if tokens.note_count(table) else True
    assert tokens.steps(tokens.start_row[None]).tolist() == [0]


@every_representation
@given(rows=NOTES)
def test_a_vocabulary_of_what_was_observed_writes_the_same_piece(
    tokens: Representation, rows: list[tuple[int, int, int, int]]
) -> None:
    notes = piece(rows, tokens.base)
    table = tokens.encode(notes)
    observed = tokens.observed(table)
    assert (observed == ()) == (tokens.vocabulary == ())
    small = representation(tokens.name, tokens.base, observed)
    written = small.encode(notes)
    assert [tokens.id_name(0, int(row[0])) for row in table] == [small.id_name(0, int(row[0])) for row in written]
    for one, other in zip(tokens.decode(table).columns, small.decode(written).columns, strict=True):
        assert np.array_equal(one, other)


@note_rows
@given(rows=NOTES)
def test_the_clock_never_drifts(tokens: NoteRows, rows: list[tuple[int, int, int, int]]) -> None:
    notes = piece(rows, tokens.base)
    errors = np.abs(np.array(slow_onsets(notes, tokens.shifts.tolist())) - notes.onset)
    widest = int(np.diff(tokens.shifts).max())
    assert errors.max() <= widest / 2


def assert_obeys(grammar: Grammar, table: Rows) -> Any:
    """Every row is one that the grammar allows there; the place after the last."""
    place = grammar.begin(1)
    for number, row in enumerate(table):
        fields = 1 if grammar.last_field(row) else len(grammar.sizes)
        for field in range(fields):
            allowed = grammar.allowed(place, field, row[None])
            assert allowed.shape == (1, grammar.sizes[field])
            assert allowed[0, row[field]], (number, field)
        assert not grammar.ends(row) or number == len(table) - 1
        place = grammar.advance(place, row[None])
    return place


@every_representation
@given(rows=NOTES)
def test_what_is_encoded_obeys_the_grammar(tokens: Representation, rows: list[tuple[int, int, int, int]]) -> None:
    notes = from_first_onset(piece(rows, tokens.base))
    table = tokens.encode(notes)
    if not tokens.unknown(notes):
        assert_obeys(tokens.grammar(), table)
        assert_obeys(tokens.grammar(int(notes.pitch.min()), int(notes.pitch.max())), table)


@every_representation
def test_without_masks_every_id_is_allowed_everywhere(tokens: Representation) -> None:
    grammar: Grammar = Unmasked(tokens.grammar())
    place = grammar.begin(1)
    for row in random_walk(tokens, np.random.default_rng(3), 20):
        masks = [grammar.allowed(place, field, row[None]) for field in range(len(tokens.sizes))]
        assert all(mask.all() for mask in masks)
        assert [mask.shape for mask in masks] == [(1, size) for size in tokens.sizes]
        place = grammar.advance(place, row[None])


@given(rows=NOTES)
def test_the_study_may_also_begin_with_silence(rows: list[tuple[int, int, int, int]]) -> None:
    tokens = EVERY[2]
    assert_obeys(tokens.grammar(), tokens.encode(piece(rows, SECONDS)))


@note_rows
@given(rows=NOTES)
def test_every_note_is_scored_in_every_field_and_rests_and_ends_in_one(
    tokens: NoteRows, rows: list[tuple[int, int, int, int]]
) -> None:
    notes = piece(rows, tokens.base)
    table = tokens.encode(notes)
    scored = tokens.scored(table)
    assert scored[:, 0].all()
    assert (scored[:, 1:].sum(axis=0) == tokens.note_count(table)).all()
    assert (table[scored] < np.broadcast_to(tokens.sizes, table.shape)[scored]).all()
    assert (table[~scored] == np.broadcast_to(tokens.sizes, table.shape)[~scored]).all()


@every_representation
@given(rows=NOTES)
def test_what_is_scored_is_an_id_of_its_field_and_no_start(
    tokens: Representation, rows: list[tuple[int, int, int, int]]
) -> None:
    table = tokens.encode(piece(rows, tokens.base))
    scored = tokens.scored(table)
    assert scored.shape == table.shape
    assert scored.dtype == bool
    assert ((table >= 0) & (table < np.array(tokens.sizes)))[scored].all()


def random_walk(
    tokens: Representation, rng: np.random.Generator, length: int, lowest: int = 0, highest: int = 127
) -> Rows:
    """At least `length` rows that the grammar allows, any of them as likely, up to where a piece may stop."""
    grammar = tokens.grammar(lowest, highest)
    place = grammar.begin(1)
    rows: list[Rows] = []
    while (
        len(rows) < length or np.any(getattr(place, "resting", False)) or np.any(getattr(place, "sounding", -1) != -1)
    ):
        row = tokens.start_row.copy()
        for field in range(len(tokens.fields)):
            allowed = grammar.allowed(place, field, row[None])[0]
            if field == 0 and tokens.name == "notes":
                allowed[-1] = False  # END, the last of the shifts
            row[field] = rng.choice(np.flatnonzero(allowed))
            if grammar.last_field(row):
                break
        place = grammar.advance(place, row[None])
        rows.append(row)
    if tokens.name == "study":
        return np.stack(rows)
    end = tokens.start_row.copy()
    end[0] = tokens.sizes[0] - 1
    assert grammar.ends(end)
    return np.stack([*rows, end])


@note_rows
def test_random_rows_that_obey_the_grammar_survive_a_round_trip(tokens: NoteRows) -> None:
    rng = np.random.default_rng(5)
    for _ in range(30):
        rows = random_walk(tokens, rng, 50)
        assert np.array_equal(tokens.encode(tokens.decode(rows)), rows)


@every_representation
@pytest.mark.parametrize(("lowest", "highest"), [(0, 127), (55, 90), (60, 60)])
def test_random_rows_that_obey_the_grammar_are_all_heard(tokens: Representation, lowest: int, highest: int) -> None:
    rng = np.random.default_rng(6)
    for length in (5, 50, 300):
        rows = random_walk(tokens, rng, length, lowest, highest)
        notes = tokens.decode(rows)
        assert len(notes) == tokens.note_count(rows) > 0
        assert ((notes.pitch >= lowest) & (notes.pitch <= highest)).all()
        assert_obeys(tokens.grammar(lowest, highest), rows)


def test_in_a_random_walk_of_the_study_every_note_is_released_at_its_time() -> None:
    for tokens in EVERY[2:]:
        rows = random_walk(tokens, np.random.default_rng(7), 400)
        clock, found = 0, []
        sounding: dict[int, int] = {}
        for name in (tokens.vocabulary[row] for row in rows[:, 0]):
            kind, _, number = name.rpartition("_")
            value = int(number)
            if kind == "TIME_SHIFT":
                clock += value
            elif kind == "NOTE_ON":
                assert not sounding  # one note after the other
                sounding[value] = clock
            elif kind == "NOTE_OFF":
                begun = sounding.pop(value)
                assert clock - begun <= 200
                found.append((begun, value, max(clock - begun, 1)))
        assert not sounding
        notes = tokens.decode(rows)
        assert sorted(found) == sorted(zip(*(column.tolist() for column in notes.columns[:3]), strict=True))


@every_representation
@pytest.mark.parametrize("seed", range(20))
def test_rows_in_any_order_are_read_without_an_error(tokens: Representation, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.integers(0, size, 500) for size in tokens.sizes], axis=1).astype(np.int16)
    notes = tokens.decode(rows)
    assert len(notes) <= tokens.note_count(rows)
    assert len(tokens.decode(rows[:0])) == 0
    assert tokens.steps(rows).min() >= 0


@every_representation
def test_every_id_has_a_name_of_its_own(tokens: Representation) -> None:
    for field, size in enumerate(tokens.sizes):
        names = [tokens.id_name(field, number) for number in range(size)]
        assert all(names)
        assert len(set(names)) == size


@pytest.mark.parametrize("base", [BEATS, TimeBase("seconds", 50), TimeBase("seconds", 200), TimeBase("beats", 96)])
def test_the_study_counts_in_steps_of_10_ms_only(base: TimeBase) -> None:
    with pytest.raises(
        CadenzaError, match=r"steps of 10 ms; set midi\.time_base=seconds and midi\.steps_per_second=100"
    ):
        representation("study", base)


@every_representation
def test_context_of_a_row_does_not_depend_on_later_rows(tokens: Representation) -> None:
    rows = random_walk(tokens, np.random.default_rng(1), 40)
    whole = tokens.context(rows)
    assert whole.shape == (len(rows), tokens.context_width)
    assert np.array_equal(tokens.context(rows[:17]), whole[:17])
    clock = int(tokens.steps(rows[:17]).sum())
    np.testing.assert_allclose(tokens.context(rows[17:], clock), whole[17:], atol=1e-6)


def test_notes_in_beats_are_told_where_the_beat_is() -> None:
    tokens = representation("notes", BEATS)
    beats = [0, 1, 3, 4, 12]  # 12 is a multiple of every period
    onset = [24 * beat for beat in beats]
    rows = tokens.encode(Notes.of(onset, [60] * 5, [12] * 5, [80] * 5, header=Header(time_base=BEATS)))
    sine, cosine = np.split(tokens.context(rows)[:5], 2, axis=1)
    turns = np.array(beats)[:, None] / np.array([0.5, 1, 1.5, 2, 3, 4])
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * turns), atol=1e-5)
    np.testing.assert_allclose(cosine, np.cos(2 * np.pi * turns), atol=1e-5)
    np.testing.assert_allclose(cosine[4], 1, atol=1e-5)


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
    tokens = NOTE_ROWS[0]
    notes = Notes.of([0, 377, 377, 377], [60, 55, 62, 71], [10] * 4, [80] * 4)
    assert len(set(tokens.decode(tokens.encode(notes)).onset.tolist())) == 2


def test_a_chord_at_the_top_of_the_range_forbids_a_further_note() -> None:
    grammar = NOTE_ROWS[0].grammar(lowest=50, highest=70)
    row = NOTE_ROWS[0].start_row[None]
    place = grammar.advance(grammar.begin(1), np.array([[0, 70, 0, 0]], dtype=np.int16))
    assert not grammar.allowed(place, 0, row)[0, 0]
    assert grammar.allowed(place, 0, row)[0, 1:].all()
    assert np.flatnonzero(grammar.allowed(grammar.begin(1), 1, row)[0]).tolist() == list(range(50, 71))


def test_a_piece_that_begins_with_a_rest_can_go_on() -> None:
    tokens = NOTE_ROWS[0]
    grammar, rest = tokens.grammar(), tokens.start_row[None].copy()
    rest[0, 0] = tokens.rest
    assert grammar.allowed(grammar.advance(grammar.begin(1), rest), 0, rest)[0].any()


class Only:
    """A rule that allows some ids of the first field and knows nothing of places."""

    field = 0

    def __init__(self, *ids: int) -> None:
        self.ids = ids

    def begin(self, lanes: int) -> np.ndarray:
        return np.zeros(lanes)

    def allowed(self, place: np.ndarray, field: int, rows_LF: Rows) -> np.ndarray:  # noqa: ARG002
        mask = np.full((len(place), EVERY[0].sizes[field]), field > 0)
        mask[:, list(self.ids)] = True
        return mask

    def advance(self, place: np.ndarray, rows_LF: Rows) -> np.ndarray:  # noqa: ARG002
        return place


def test_rules_take_away_and_wishes_give_way() -> None:
    tokens = EVERY[0]
    grammar = tokens.grammar()
    begun = tokens.encode(Notes.of([0], [60], [10], [80]), end=False)

    def left(ruled: Ruled) -> list[int]:
        place = ruled.advance(ruled.begin(1), begun)
        return np.flatnonzero(ruled.allowed(place, 0, begun)[0]).tolist()

    assert left(Ruled(grammar, [Only(3, 5, 7)])) == [3, 5, 7]
    assert left(Ruled(grammar, [Only(3, 5, 7)], [Only(5, 9)])) == [5]
    assert left(Ruled(grammar, [Only(3, 5, 7)], [Only(9), Only(7)])) == [7]
    assert left(Ruled(grammar, [Only(3), Only(5)])) == []
