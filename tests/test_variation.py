"""Variations of training windows: still music of the same kind, and nothing of it where nothing is asked."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cadenza.batches import Tables, augmentation, collate, training_batches
from cadenza.notes import Notes, TimeBase
from cadenza.settings import AugmentSettings, BatchSettings
from cadenza.tokens import Rows
from cadenza.tokens.note_rows import NoteRows
from cadenza.tokens.variation import DURATION, PITCH, SHIFT, VELOCITY

SECONDS, BEATS = NoteRows(TimeBase("seconds", 100)), NoteRows(TimeBase("beats", 24))
NOTHING: dict[str, Any] = {"transpose": 0, "invert": 0, "stretch": 0, "velocity": 0, "blank": 0}
ALL: dict[str, Any] = {"transpose": 12, "invert": 0.5, "stretch": 0.5, "velocity": 40, "blank": 0}

seeds = st.integers(0, 10_000)
each_base = pytest.mark.parametrize("tokens", [SECONDS, BEATS], ids=["seconds", "beats"])


def music(seed: int = 0, length: int = 60, velocity: tuple[int, int] = (30, 110)) -> Notes:
    """A melody with chords of up to three notes, and a rest in the middle."""
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.integers(1, 60, length))
    onset[length // 2 :] += 900
    thirds = [np.array([0]), np.array([0, 4]), np.array([0, 3, 7])]
    notes = [(at, pitch + up) for at, pitch in zip(onset, rng.integers(55, 80, length), strict=True) for up in thirds[rng.integers(3)]]  # fmt: skip
    at, pitch = np.array(notes).T
    return Notes.of(at - at[0], pitch, rng.integers(1, 90, len(at)), rng.integers(*velocity, len(at)))


def windows(tokens: NoteRows, seed: int = 0) -> Rows:
    """Four windows of one piece, its start and its end among them."""
    rows = np.concatenate([tokens.start_row[None], tokens.encode(music(seed))])
    firsts = np.linspace(0, len(rows) - 40, 4).astype(int)
    return np.stack([rows[first : first + 40] for first in firsts])


def varied(tokens: NoteRows, seed: int, **settings: Any) -> tuple[Rows, Rows]:
    before = windows(tokens, seed)
    vary = tokens.variation([tokens.encode(music(seed))], AugmentSettings(**NOTHING | settings))
    return before, vary(before, np.random.default_rng(seed))


def sounding(rows: Rows) -> np.ndarray:
    return rows[..., PITCH] < 128


@each_base
@given(seed=seeds)
def test_variations_keep_what_is_no_note_and_what_is_together(tokens: NoteRows, seed: int) -> None:
    before, after = varied(tokens, seed, **ALL)
    silent = ~sounding(before)
    assert silent.any()
    assert np.array_equal(before[silent], after[silent])
    assert np.array_equal(sounding(before), sounding(after))
    assert np.array_equal(before[..., SHIFT] == 0, after[..., SHIFT] == 0)
    for field, size in enumerate(tokens.sizes):
        assert (after[sounding(after)][:, field] < size).all()
        assert (after[..., field] >= 0).all()


@each_base
@given(seed=seeds)
def test_variations_are_written_by_the_rules(tokens: NoteRows, seed: int) -> None:
    _, after = varied(tokens, seed, **ALL)
    grammar = tokens.grammar()
    place = grammar.begin(1)
    for row in after[0, 1:]:
        for field in range(4):
            assert grammar.allowed(place, field, row[None])[0, row[field]]
            if row[SHIFT] >= tokens.rest:
                break
        place = grammar.advance(place, row[None])


@given(seed=seeds)
def test_a_transposed_window_is_the_same_in_another_key_and_inside_the_range(seed: int) -> None:
    before, after = varied(SECONDS, seed, transpose=5)
    pitches = music(seed).pitch
    for one, other in zip(before, after, strict=True):
        moved = (other[..., PITCH] - one[..., PITCH])[sounding(one)]
        assert len(set(moved.tolist())) == 1
        assert abs(moved[0]) <= 5
        assert (
            pitches.min()
            <= other[sounding(one)][:, PITCH].min()
            <= other[sounding(one)][:, PITCH].max()
            <= pitches.max()
        )
    others = [SHIFT, DURATION, VELOCITY]
    assert np.array_equal(before[..., others], after[..., others])


@given(seed=seeds)
def test_an_inverted_window_has_every_interval_the_other_way(seed: int) -> None:
    before, after = varied(SECONDS, seed, invert=1)
    melody = NoteRows.encode(SECONDS, Notes.of(range(0, 400, 10), np.random.default_rng(seed).integers(55, 90, 40), [5] * 40, [80] * 40))[None, :-1]  # fmt: skip
    vary = SECONDS.variation([melody[0]], AugmentSettings(**NOTHING | {"invert": 1}))
    turned = vary(melody, np.random.default_rng(seed))
    assert np.array_equal(np.diff(turned[0, :, PITCH]), -np.diff(melody[0, :, PITCH]))
    for one, other in zip(before, after, strict=True):
        assert sorted(np.diff(np.unique(one[sounding(one)][:, PITCH]))) == sorted(np.diff(np.unique(other[sounding(one)][:, PITCH])))  # fmt: skip


def test_a_stretched_window_lasts_as_much_longer_on_the_average() -> None:
    vary = SECONDS.variation([SECONDS.encode(music())], AugmentSettings(**NOTHING | {"stretch": 0.25}))
    before = windows(SECONDS)
    ratios = []
    for seed in range(400):
        after = vary(before, np.random.default_rng(seed))
        ratios.append(SECONDS.steps(after[0]).sum() / SECONDS.steps(before[0]).sum())
    assert 0.78 < min(ratios) < 0.83
    assert 1.2 < max(ratios) < 1.28
    assert np.exp(np.mean(np.log(ratios))) == pytest.approx(1, abs=0.02)


def test_what_is_written_in_beats_keeps_its_tempo_and_its_dynamics() -> None:
    before, after = varied(BEATS, 3, stretch=0.5, velocity=60)
    assert np.array_equal(before, after)


@given(seed=seeds)
def test_a_louder_window_is_louder_by_the_same_for_every_note_or_as_loud_as_can_be(seed: int) -> None:
    before, after = varied(SECONDS, seed, velocity=20)
    for one, other in zip(before, after, strict=True):
        more = (other[..., VELOCITY] - one[..., VELOCITY])[sounding(one)]
        stopped = np.isin(other[sounding(one)][:, VELOCITY], [0, 31])
        assert len(set(more[~stopped].tolist())) <= 1
        assert np.abs(more).max() <= 20 / 4


@each_base
def test_nothing_asked_nothing_changed(tokens: NoteRows) -> None:
    before, after = varied(tokens, 1)
    assert np.array_equal(before, after)


def test_hidden_ids_are_hidden_from_what_is_read_and_still_predicted() -> None:
    rows = [SECONDS.encode(music(seed)) for seed in range(6)]
    tables, pieces = Tables.of(rows), np.arange(6)
    windows = [(index, 0, len(rows[index])) for index in range(6)]
    change = augmentation(tables, SECONDS, pieces, AugmentSettings(**NOTHING | {"blank": 0.3}))
    plain = collate(tables, SECONDS, windows)
    hidden = collate(tables, SECONDS, windows, lambda rows: change.varied(rows, np.random.default_rng(0)))
    assert np.array_equal(plain.targets_BTF, hidden.targets_BTF)
    assert np.array_equal(plain.scored_BTF, hidden.scored_BTF)
    differs = (plain.ids_BTF != hidden.ids_BTF).numpy()
    start = np.broadcast_to(SECONDS.start_row, differs.shape)
    assert np.array_equal(hidden.ids_BTF.numpy()[differs], start[differs])
    known = plain.ids_BTF.numpy() != start
    assert differs[known].mean() == pytest.approx(0.3, abs=0.04)


def test_hidden_ids_grow_from_none_to_their_share_over_the_ramp() -> None:
    tables, shape = Tables.of([SECONDS.encode(music(seed)) for seed in range(6)]), BatchSettings(rows=4096, size=6)
    augment = AugmentSettings(**NOTHING | {"blank": 0.6})
    stream = training_batches(tables, SECONDS, np.arange(6), shape, augment, seed=0, ramp=4)
    hidden = [
        (batch.ids_BTF[:, 1:] == torch.from_numpy(SECONDS.start_row)).float().mean() for batch in islice(stream, 6)
    ]
    padding = hidden[0]
    shares = [float((share - padding) / (1 - padding)) for share in hidden]
    assert shares == pytest.approx([0, 0.15, 0.3, 0.45, 0.6, 0.6], abs=0.05)


def test_what_the_network_is_told_is_hidden_row_by_row_and_grows_likewise() -> None:
    tables, shape = Tables.of([BEATS.encode(music(seed)) for seed in range(6)]), BatchSettings(rows=4096, size=6)
    told, some = (
        training_batches(tables, BEATS, np.arange(6), shape, AugmentSettings(**NOTHING | {"unheard": share}), 0, ramp=4)
        for share in (0, 0.6)
    )
    shares = []
    for plain, batch in islice(zip(told, some, strict=True), 6):
        assert torch.equal(plain.ids_BTF, batch.ids_BTF)
        assert torch.equal(plain.targets_BTF, batch.targets_BTF)
        known = plain.context_BTC.any(-1)
        hidden = known & ~batch.context_BTC.any(-1)
        assert torch.equal(plain.context_BTC[~hidden], batch.context_BTC[~hidden])
        shares.append(float(hidden.sum() / known.sum()))
    assert shares == pytest.approx([0, 0.15, 0.3, 0.45, 0.6, 0.6], abs=0.05)


def test_training_windows_differ_each_time_and_the_tables_never_do() -> None:
    tables = Tables.of([SECONDS.encode(music(seed)) for seed in range(3)])
    kept = tables.rows.copy()
    stream = training_batches(tables, SECONDS, np.arange(3), BatchSettings(rows=4096, size=3), AugmentSettings(), 0)
    first, second = next(stream), next(stream)
    assert not np.array_equal(
        np.sort(first.targets_BTF[..., PITCH].sum(1)), np.sort(second.targets_BTF[..., PITCH].sum(1))
    )
    assert np.array_equal(tables.rows, kept)
