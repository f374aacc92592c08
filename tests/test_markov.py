"""The Markov model counts as dictionaries would, its probabilities are some, and it chooses without the test."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from cadenza.evaluate import markov
from cadenza.evaluate.baselines import unigram
from cadenza.evaluate.markov import MarkovModel, fit
from cadenza.evaluate.views import LAGS, Columns, Symbol, View
from cadenza.notes import Header, Notes, TimeBase
from cadenza.records import Progress
from cadenza.tokens import REPRESENTATIONS, Representation, Rows, representation

TABLES = {
    "notes in seconds": ("notes", TimeBase("seconds", 100)),
    "notes in beats": ("notes", TimeBase("beats", 24)),
    "study": ("study", TimeBase("seconds", 100)),
}
every_table = pytest.mark.parametrize("kind", sorted(TABLES))


def test_no_representation_is_missing_here() -> None:
    assert {name for name, _ in TABLES.values()} == set(REPRESENTATIONS)


def tune(seed: int, length: int, base: TimeBase) -> Notes:
    """Notes with habits: few values, each often followed by the same one."""
    rng = np.random.default_rng(seed)
    pitch = 60 + np.cumsum(rng.choice([-2, 2, 2, 1, -1], length)) % 12
    duration = np.where(pitch % 2 == 0, 6, 12)
    onset = np.cumsum(np.append(0, duration[:-1] * rng.choice([1, 1, 2, 60], length - 1)))
    return Notes.of(onset, pitch, duration, rng.choice([64, 80, 100], length), Header(time_base=base))


def tables(kind: str, lengths: Sequence[int] = (60, 90, 40, 70)) -> tuple[Representation, list[Rows]]:
    name, base = TABLES[kind]
    tunes = [tune(seed, length, base) for seed, length in enumerate(lengths)]
    plain = representation(name, base)
    tokens = representation(name, base, plain.observed(np.concatenate([plain.encode(each) for each in tunes])))
    return tokens, [tokens.encode(each) for each in tunes]


def context(piece: Rows, t: int, f: int, view: View) -> tuple[int, ...]:
    """What a view sees at row `t` of a piece that has `LAGS` + 1 start rows before it."""
    seen = []
    for lag, field in view.symbols:
        seen.append(int(piece[t - lag, field]))
        if view.steps and field == f:
            seen[-1] -= int(piece[t - lag - 1, field])
    return tuple(seen)


def with_starts(tokens: Representation, piece: Rows) -> Rows:
    return np.concatenate([np.tile(tokens.start_row, (LAGS + 1, 1)), piece])


def plain_nats(model: MarkovModel, tokens: Representation, training: list[Rows], pieces: list[Rows]) -> np.ndarray:
    """The same model, one id at a time, with dictionaries."""
    nats = np.zeros((len(pieces), len(tokens.fields)))
    for f, size in enumerate(tokens.sizes):
        ladder = model.by_field[f].ladder
        followed: list[dict[tuple[int, ...], Counter[int]]] = [defaultdict(Counter) for _ in ladder]
        for rows in training:
            piece = with_starts(tokens, rows)
            for t in range(LAGS + 1, len(piece)):
                if tokens.scored(piece[t : t + 1])[0, f]:
                    for table, (tally, _) in zip(followed, ladder, strict=True):
                        base = int(piece[t - 1, f]) if tally.view.steps else 0
                        table[context(piece, t, f, tally.view)][int(piece[t, f]) - base] += 1
        for place, rows in enumerate(pieces):
            piece = with_starts(tokens, rows)
            for t in range(LAGS + 1, len(piece)):
                if not tokens.scored(piece[t : t + 1])[0, f]:
                    continue
                probability = 1 / size
                for table, (tally, weights) in zip(followed, ladder, strict=True):
                    base = int(piece[t - 1, f]) if tally.view.steps else 0
                    counter = table.get(context(piece, t, f, tally.view), Counter())
                    possible = {step: count for step, count in counter.items() if 0 <= base + step < size}
                    n, kinds = sum(possible.values()), len(possible)
                    if n:
                        ratio = min(math.floor(2 * math.log2(n / kinds)), markov.RATIO_CLASSES - 1)
                        group = 1 + ratio * markov.KIND_CLASSES + min(kinds.bit_length() - 1, markov.KIND_CLASSES - 1)
                        share = possible.get(int(piece[t, f]) - base, 0) / n
                        probability = weights[group] * share + (1 - weights[group]) * probability
                nats[place, f] -= math.log(probability)
    return nats


def many_views(_: Columns, held: Columns) -> list[View]:
    """Both kinds of view, near and as far as they go, with fields before and after the view's own."""
    f, last = held.f, held.rows.shape[1] - 1
    sets = [(), (Symbol(1, f),), (Symbol(1, f), Symbol(1, last), *(Symbol(0, g) for g in range(f))), (Symbol(LAGS, f),)]
    return [View(steps, symbols) for steps in (False, True) for symbols in sets]


@every_table
@pytest.mark.parametrize("validated", [False, True])
def test_the_sorted_counts_give_the_nats_of_plain_dictionaries(
    kind: str, validated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markov, "choose_views", many_views)
    tokens, rows = tables(kind)
    model = fit(tokens, rows[:2], rows[2:3] if validated else [])
    asked = [rows[3], rows[0], rows[3][:1]]
    np.testing.assert_allclose(model.nats(asked), plain_nats(model, tokens, rows[:2], asked), rtol=1e-9)
    assert not validated or set(model.orders.values()) == {LAGS + 1}


@every_table
@budget(max_examples=25, deadline=None)
@given(st.data())
def test_the_probabilities_of_all_ids_sum_to_one_and_none_is_zero(kind: str, data: st.DataObject) -> None:
    tokens, rows = tables(kind)
    model = fit(tokens, rows[:2], rows[2:3] if data.draw(st.booleans()) else [])
    if data.draw(st.booleans()):  # what never was in training
        ids = [st.integers(0, size) for size in tokens.sizes]
        rows[3] = np.array(data.draw(st.lists(st.tuples(*ids), min_size=1, max_size=12)), dtype=np.int16)
    for f, size in enumerate(tokens.sizes):
        columns = Columns(tokens, rows[3:], f)
        each = [model.by_field[f].probabilities(columns, np.full(len(columns), number)) for number in range(size)]
        assert min(p.min(initial=1) for p in each) > 0
        np.testing.assert_allclose(np.sum(each, axis=0), 1, rtol=1e-9)


@every_table
def test_unseen_contexts_fall_back_to_the_frequencies(kind: str) -> None:
    name, base = TABLES[kind]
    tokens = representation(name, base)
    rows = [tokens.encode(tune(0, 60, base))]
    model = fit(tokens, rows)
    unseen = [next(number for number in range(1, size) if number not in rows[0][:, f]) for f, size in enumerate(tokens.sizes)]  # fmt: skip
    piece = np.concatenate([[unseen] * 3, rows[0][1:2]]).astype(np.int16)
    for f in range(len(tokens.fields)):
        columns = Columns(tokens, [piece], f)
        tally, weights = model.by_field[f].ladder[0]
        alone = markov.mix(tally.ask(columns), np.full(len(columns), 1 / tokens.sizes[f]), weights)
        assert model.by_field[f].probabilities(columns)[-1] == pytest.approx(alone[-1])
        assert len(model.by_field[f].ladder) > 2


def test_no_piece_sees_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markov, "LEAST_GAIN", 1.0)
    tokens, rows = tables("notes in seconds")
    model = fit(tokens, rows[:2], rows[2:3])
    together = model.nats(rows)
    for place, piece in enumerate(rows):
        np.testing.assert_allclose(model.nats([piece])[0], together[place], rtol=1e-12)
    assert model.nats([]).shape == (0, 4)


@every_table
def test_one_training_piece_and_pieces_of_one_row_are_enough(kind: str) -> None:
    tokens, rows = tables(kind)
    for training, validation in (
        (rows[:1], []),
        ([rows[0][:1]], [rows[1][:1]]),
        (rows[:1], [rows[1][:1]]),
        ([rows[0][:1]], rows[1:2]),
    ):
        nats = fit(tokens, training, validation).nats([rows[2], rows[2][-1:]])
        assert np.isfinite(nats).all()
        assert (nats >= 0).all()


def test_a_habit_is_found_in_the_field_where_it_lies() -> None:
    """Here a note's pitch follows from the duration before it, its velocity from its own pitch, the rest from nothing."""
    rng = np.random.default_rng(3)
    tokens = representation("notes", TimeBase())
    pieces = []
    for _ in range(12):
        rows = np.stack([rng.integers(0, 5, 150), rng.integers(40, 48, 150), rng.integers(0, 8, 150), rng.integers(0, 4, 150)], axis=1).astype(np.int16)  # fmt: skip
        rows[1:, 1] = 40 + rows[:-1, 2]
        rows[:, 3] = rows[:, 1] % 4
        pieces.append(rows)
    model = fit(tokens, pieces[:8], pieces[8:10])
    assert View(False, (Symbol(1, 2),)) in model.views["pitch"]
    assert View(False, (Symbol(0, 1),)) in model.views["velocity"]
    assert len(model.views["shift"]) == len(model.views["duration"]) == 1
    assert model.orders == {"shift": 0, "pitch": 1, "duration": 0, "velocity": 0}
    held = model.nats(pieces[10:]).sum(axis=0) / (2 * 150 * math.log(2))
    assert held[0] == pytest.approx(math.log2(5), abs=0.1)
    assert held[1] < 0.5
    assert held[3] < 0.2


def test_a_tune_is_known_again_in_another_key() -> None:
    tokens = representation("notes", TimeBase())
    motif = 60 + np.tile([0, 2, 4, 5, 7, 5, 4, 9], 20)
    pieces = [
        tokens.encode(Notes.of(10 * np.arange(160), motif + key, [10] * 160, [80] * 160)) for key in (0, 3, 7, 12, 9, 5)
    ]
    model = fit(tokens, pieces[:4], pieces[4:5])
    assert any(view.steps for view in model.views["pitch"])
    assert model.nats(pieces[5:])[0, 1] < 0.3 * unigram(tokens, pieces[:4], pieces[5:])[0, 1]


def test_what_is_chosen_on_validation_is_no_worse_there_than_the_frequencies_and_says_how_far_it_is() -> None:
    tokens, rows = tables("notes in seconds", (200, 200, 200, 200))
    records = markov.fitting(tokens, rows[:2], rows[2:3])
    seen = []
    while True:
        try:
            seen.append(next(records))
        except StopIteration as done:
            model: MarkovModel = done.value
            break
    assert all(isinstance(record, Progress) for record in seen)
    assert [record.done for record in seen] == [0, 1, 2, 3, 4]
    for pieces in (rows[2:3], rows[3:]):
        assert model.nats(pieces).sum() < unigram(tokens, rows[:2], pieces).sum()


def test_a_large_corpus_is_searched_in_part_and_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, rows = tables("notes in seconds", (100,) * 8)
    monkeypatch.setattr(markov, "SEARCHED_ROWS", 250)
    searched = markov.sample_pieces(rows[:7])
    assert 250 <= sum(map(len, searched)) < 250 + max(map(len, rows))
    model = fit(tokens, rows[:7], rows[7:])
    counted = model.by_field[0].ladder[0][0].before[-1]
    assert counted == sum(map(len, rows[:7]))
    assert searched == markov.sample_pieces(rows[:7])
