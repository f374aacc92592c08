"""Features agree with what other programs compute, and improvised music is judged beside unseen human music."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from cadenza.corpus.scan import scan
from cadenza.corpus.sources import open_source
from cadenza.corpus.split import TEST, TRAIN, VALIDATION
from cadenza.errors import CadenzaError
from cadenza.evaluate.draws import DRAWS, draw_sets, excerpt, excerpts
from cadenza.evaluate.features import RUN, bar_steps, features, histograms, measure, repetition
from cadenza.evaluate.fidelity import FeatureFigures, Fidelity, compare_with_corpus, distance, mean_rows, set_distances
from cadenza.evaluate.overlap import distances_between, distances_within, overlap_of
from cadenza.notes import Header, Notes, TimeBase
from cadenza.presets import build
from cadenza.records import outcome
from cadenza.settings import CorpusSettings
from conftest import split_pieces

SECONDS, BEATS = TimeBase("seconds", 100), TimeBase("beats", 24)
NOBODY = Notes.of([], [], [], [])
KINDS = {kind.key: kind for kind in features(SECONDS)}


def melody(seed: int, count: int = 200, base: TimeBase = SECONDS, velocity: int | None = None) -> Notes:
    """A random walk with rests and overlaps, now and then a chord."""
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.choice([0, 6, 12, 24, 48], count, p=[0.05, 0.15, 0.5, 0.2, 0.1]))
    pitch = 66 + np.cumsum(rng.integers(-3, 4, count)) % 24
    loud = rng.integers(40, 110, count) if velocity is None else np.full(count, velocity)
    return Notes.of(onset, pitch, rng.integers(3, 40, count), loud, Header(time_base=base, meter=(3, 4)))


def with_columns(notes: Notes, **columns: np.ndarray | list[int]) -> Notes:
    return Notes.of(**{name: getattr(notes, name) for name in ("onset", "pitch", "duration", "velocity")} | columns, header=notes.header)  # fmt: skip


def values(found: Fidelity, key: str) -> FeatureFigures:
    [one] = [feature for feature in found.features if feature.key == key]
    return one


def has_words_only(found: Fidelity) -> bool:
    return bool(found.text) and "nan" not in found.text.lower() and "inf" not in found.text.split()


@pytest.fixture(scope="module")
def violin(data: Path) -> dict[str, tuple[list[Notes], list[int]]]:
    """Pieces and their works, for each part of the project's own split of the violin corpus."""
    with open_source(str(data / "violin-etudes.tar.gz"), build()) as source:
        corpus = outcome(scan(source, build()))
    kept = [entry for entry in split_pieces(corpus.entries, CorpusSettings(), 0) if not entry.reason]
    return {
        part: (
            [piece for piece, entry in zip(corpus.pieces, kept, strict=True) if entry.split == part],
            [entry.work for entry in kept if entry.split == part],
        )
        for part in (TRAIN, VALIDATION, TEST)
    }


# Features


@pytest.mark.parametrize("base", [SECONDS, BEATS])
def test_every_feature_has_a_name_a_grid_and_values_and_needs_no_other_music(base: TimeBase) -> None:
    kinds = features(base)
    assert len({kind.key for kind in kinds}) == len({kind.title for kind in kinds}) == len(kinds)
    assert set(measure(melody(1, base=base))) == {kind.key for kind in kinds}
    tables = histograms([melody(1, base=base), NOBODY], kinds)
    for kind in kinds:
        assert len(kind.edges) == kind.bins + 1 == len(kind.centres) + 1
        assert (np.diff(kind.edges) > 0).all()
        assert tables[kind.key].sum(axis=1) == pytest.approx([1, 0])


def test_values_beyond_a_grid_count_in_its_end_bins() -> None:
    for kind in KINDS.values():
        ends = kind.edges[[0, -1]] * (np.array([0.5, 2]) if kind.logarithmic else 1) + ([0, 0] if kind.logarithmic else [-1, 1])  # fmt: skip
        assert np.flatnonzero(kind.shares(ends)).tolist() == [0, kind.bins - 1]


def test_grid_values_fall_into_the_bin_that_they_begin() -> None:
    for kind in KINDS.values():
        assert [int(kind.shares(edge[None]).argmax()) for edge in kind.edges[:-1]] == list(range(kind.bins))


def test_chords_have_one_melody_note_and_no_interval_within() -> None:
    chord = Notes.of([0, 0, 50, 150], [60, 67, 64, 65], [50, 25, 50, 10], [80] * 4)
    found = measure(chord)
    assert found["interval"].tolist() == [-3, 1]
    assert found["onset_interval"].tolist() == [0.5, 1.0]
    assert found["articulation"].tolist() == [1.0, 0.5, 0.5]
    assert found["simultaneity"] == pytest.approx([135 / 110])


def test_a_bar_follows_the_metre_and_is_two_seconds_without_one() -> None:
    assert bar_steps(Header(time_base=BEATS, meter=(6, 8))) == 72
    assert bar_steps(Header(time_base=BEATS)) == 96
    assert bar_steps(Header(time_base=SECONDS, meter=(3, 4))) == 200


def test_bars_begin_at_the_downbeat() -> None:
    notes = Notes.of(
        [0, 24, 48, 72, 96], [60, 62, 64, 65, 67], [24] * 5, [80] * 5, Header(time_base=BEATS, downbeat=24)
    )
    assert measure(notes)["entropy_1"] == pytest.approx([0, 2])
    later = replace(notes, header=replace(notes.header, downbeat=24 - 96))
    assert measure(later)["entropy_1"] == pytest.approx([0, 2])


@given(st.integers(0, 10_000), st.integers(0, 120), st.sampled_from([10, 100, 350]))
@hypothesis_settings(max_examples=40)
def test_repetition_agrees_with_a_plain_loop(seed: int, count: int, far: int) -> None:
    rng = np.random.default_rng(seed)
    onset, pitch = np.cumsum(rng.integers(1, 20, count)), rng.integers(60, 62, count)
    runs = [tuple(pitch[k : k + RUN].tolist()) for k in range(count - RUN + 1)]
    near, last = far / 2, onset[len(runs) - 1] if runs else 0
    asked = [k for k in range(len(runs)) if onset[k] + far <= last]
    again = [any(runs[k] == runs[j] and near < onset[j] - onset[k] <= far for j in range(len(runs))) for k in asked]
    assert repetition(onset, pitch, near, far).tolist() == ([np.mean(again)] if asked else [])


def test_a_bar_played_again_and_again_repeats_at_every_lag() -> None:
    bar = [60, 62, 64, 65, 67, 69, 71, 72]
    for base, step in ((SECONDS, 25), (BEATS, 12)):
        notes = Notes.of(np.arange(200) * step, bar * 25, [step] * 200, [80] * 200, Header(time_base=base))
        assert [measure(notes)[f"repetition_{lag}"].tolist() for lag in (1, 2, 4, 8)] == [[1.0]] * 4


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_very_short_pieces_have_the_features_they_can_have(count: int) -> None:
    found = measure(melody(1)[:count])
    assert all(np.isfinite(value).all() for value in found.values())
    assert [len(found[key]) for key in ("pitch", "range", "simultaneity", "repetition_1")] == [
        count,
        *[min(count, 1)] * 2,
        0,
    ]


# Equality with other programs, on real pieces


@pytest.mark.slow
def test_pitch_features_are_those_of_pretty_midi_and_scipy(violin: dict[str, tuple[list[Notes], list[int]]]) -> None:
    for notes in violin[TEST][0][:20]:
        midi, found = pretty_midi.PrettyMIDI(), measure(notes)
        midi.instruments = [pretty_midi.Instrument(40)]
        midi.instruments[0].notes = [
            pretty_midi.Note(velocity, pitch, onset / 100, (onset + duration) / 100)
            for onset, pitch, duration, velocity in zip(*(column.tolist() for column in notes.columns), strict=True)
        ]
        expected = midi.get_pitch_class_histogram(normalize=True)
        assert KINDS["pitch_class"].shares(found["pitch_class"]) == pytest.approx(expected)
        held = np.zeros(notes.end + 1, dtype=int)
        np.add.at(held, notes.onset, 1)
        np.add.at(held, notes.onset + notes.duration, -1)
        held = np.cumsum(held)
        assert found["simultaneity"] == pytest.approx([held[held > 0].mean()])
        assert found["range"] == [np.ptp(notes.pitch)]
        bars = (notes.onset - notes.onset[0]) // 200
        for wide in (1, 4):
            windows = [notes.pitch[(bars >= k) & (bars < k + wide)] % 12 for k in range(bars[-1] - wide + 2)]
            entropies = [scipy.stats.entropy(np.bincount(window), base=2) for window in windows if len(window)]
            assert found[f"entropy_{wide}"] == pytest.approx(entropies)


@pytest.mark.slow
def test_distances_are_those_of_scipy(violin: dict[str, tuple[list[Notes], list[int]]]) -> None:
    kinds = tuple(KINDS.values())
    one, other = histograms(violin[TEST][0][:20], kinds), histograms(violin[TRAIN][0][:60], kinds)
    for key, kind in KINDS.items():
        made, known = mean_rows(one[key]), mean_rows(other[key])[0]
        spread = math.sqrt(np.cov(kind.centres, aweights=known, ddof=0))
        expected = (
            scipy.stats.wasserstein_distance(kind.centres, kind.centres, made[0], known) / max(spread, kind.width)
            if kind.ordered
            else np.abs(made[0] - known).sum() / 2
        )
        assert set_distances(kind, made, known) == pytest.approx([expected])


@pytest.mark.slow
def test_overlap_and_divergence_are_those_of_scipy_on_one_grid(
    violin: dict[str, tuple[list[Notes], list[int]]],
) -> None:
    kinds = tuple(KINDS.values())
    one, other = histograms(violin[TEST][0][::5], kinds), histograms(violin[TRAIN][0][::40], kinds)
    for key, kind in KINDS.items():
        made, known = one[key], other[key]
        if kind.figure:
            made, known = (made @ kind.centres)[:, None], (known @ kind.centres)[:, None]
        within = cdist(known, known)[~np.eye(len(known), dtype=bool)]
        between = cdist(made, known).ravel()
        assert distances_within(known) == pytest.approx(within, abs=1e-12)
        assert distances_between(made, known) == pytest.approx(between, abs=1e-12)
        grid = np.linspace(-within.max(), 2 * max(within.max(), between.max()), 10_001)
        inner, outer = (scipy.stats.gaussian_kde(values).logpdf(grid) for values in (within, between))
        area = np.trapezoid(np.exp(np.minimum(inner, outer)), grid)
        divergence = np.trapezoid(np.exp(inner) * (inner - outer), grid)
        assert overlap_of(within, between) == pytest.approx((area, divergence), rel=1e-3, abs=1e-3)


# What distances do


@pytest.mark.parametrize("base", [SECONDS, BEATS])
def test_a_set_is_at_no_distance_from_itself(base: TimeBase) -> None:
    pieces = [melody(1, base=base), melody(1, base=base), *[melody(seed, base=base) for seed in range(2, 9)]]
    alike = [excerpt(piece, 2000, np.random.default_rng(0)) for piece in pieces]
    alike = [with_columns(piece[:-1], duration=[*piece.duration[:-2].tolist(), 2000 - int(piece.onset[-2])]) for piece in alike]  # fmt: skip
    assert distance(alike, alike) == 0
    found = compare_with_corpus(alike, alike, [])
    assert [one.generated for one in found.features] == pytest.approx([0] * len(found.features), abs=1e-12)


def test_the_overlapped_area_is_symmetric_and_no_larger_than_one() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random(40), 0.5 + rng.random(60)
    assert overlap_of(one, other)[0] == pytest.approx(overlap_of(other, one)[0])
    assert overlap_of(one, one) == pytest.approx((1, 0))
    assert 0 < overlap_of(one, other)[0] < 1 < 1 + overlap_of(one, other)[1]
    assert overlap_of(one, other + 1e6)[0] == pytest.approx(0, abs=1e-9)


def test_distances_of_equal_spreads_are_symmetric_and_grow_with_the_shift() -> None:
    kind = KINDS["pitch"]
    low, middle, high = (kind.shares(np.array([60, 64, 67]) + shift) for shift in (0, 2, 12))
    near, far = set_distances(kind, np.array([middle, high]), low)
    assert set_distances(kind, low[None], high)[0] == pytest.approx(far)
    assert (near, far) == pytest.approx((2 / np.std([60, 64, 67]), 12 / np.std([60, 64, 67])))


def test_every_piece_counts_alike_however_many_notes_it_has() -> None:
    low, high = Notes.of([0], [50], [9], [80]), Notes.of(range(99), [70] * 99, [9] * 99, [80] * 99)
    rows = histograms([low, high], tuple(KINDS.values()))["pitch"]
    assert mean_rows(rows)[0][[50, 70]].tolist() == [0.5, 0.5]
    assert mean_rows(rows, np.array([[0, 0], [0, 1]]))[:, 50].tolist() == [1, 0.5]


@given(st.integers(0, 99), st.integers(1, 5000))
@hypothesis_settings(max_examples=40)
def test_an_excerpt_lasts_as_long_as_asked_and_keeps_the_notes(seed: int, length: int) -> None:
    piece = melody(seed)
    cut = excerpt(piece, length, np.random.default_rng(seed))
    assert len(cut) > 0
    assert cut.onset[0] == 0
    assert cut.onset[-1] < max(length, 1)
    begin = cut.header.downbeat - piece.header.downbeat
    assert {*zip(*cut.columns, strict=True)} <= {
        (o + begin, p, d, v) for o, p, d, v in zip(*piece.columns, strict=True)
    }
    if length >= piece.end - piece.onset[0]:
        assert len(cut) == len(piece)


def test_excerpts_are_as_long_as_pieces_of_the_other_set() -> None:
    made, rng = [melody(1, 30), melody(2, 60)], np.random.default_rng(0)
    lengths = {piece.end - int(piece.onset[0]) for piece in made}
    found = excerpts([melody(seed, 400) for seed in range(9)], made, rng)
    assert all(any(abs(piece.end - length) < 100 for length in lengths) for piece in found)


# Judging


@pytest.mark.slow
def test_unseen_human_music_lies_within_the_floor_and_fakes_do_not(
    violin: dict[str, tuple[list[Notes], list[int]]],
) -> None:
    rng = np.random.default_rng(3)
    training, (held_out, works) = violin[TRAIN][0], violin[VALIDATION]

    def drawn(part: str) -> list[Notes]:
        pieces = violin[part][0]
        return [excerpt(pieces[k], 6000, rng) for k in rng.permutation(len(pieces))[:32]]

    unseen = compare_with_corpus(drawn(TEST), training, held_out, works=works)
    assert sum(one.inside for one in unseen.features) >= len(unseen.features) - 3
    known = drawn(TRAIN)
    seen = compare_with_corpus(known, training, held_out, works=works)
    assert seen.closeness < unseen.closeness < 1.6
    fakes = {
        "interval": [with_columns(piece, pitch=rng.permutation(piece.pitch)) for piece in known],
        "velocity": [with_columns(piece, velocity=[80] * len(piece)) for piece in known],
        "articulation": [with_columns(piece, duration=rng.permutation(piece.duration)) for piece in known],
    }
    for key, pieces in fakes.items():
        fake = compare_with_corpus(pieces, training, held_out, works=works)
        assert not values(fake, key).inside
        assert values(fake, key).title in fake.text
        assert values(fake, key).ratio > 2
        assert values(fake, key).overlap < values(seen, key).overlap
        assert distance(pieces, held_out) > distance(known, held_out) or key == "velocity"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures(violin: dict[str, tuple[list[Notes], list[int]]]) -> None:
    made, training, held_out = (violin[part][0][:12] for part in (TEST, TRAIN, VALIDATION))
    assert compare_with_corpus(made, training, held_out, 5) == compare_with_corpus(made, training, held_out, 5)
    assert compare_with_corpus(made, training, held_out, 5) != compare_with_corpus(made, training, held_out, 6)
    assert distance(made, held_out) == distance(made, held_out)


def test_sets_of_few_works_are_drawn_by_work() -> None:
    works = np.repeat([7, 3, 9], 20)
    draws = draw_sets(works, 16, np.random.default_rng(0))
    assert draws.shape == (DRAWS, 16)
    counts = [len(set(works[row].tolist())) for row in draws]
    assert {1, 2, 3} == set(counts)


def test_the_shift_is_no_larger_than_the_distance_and_says_which_way() -> None:
    training = [melody(seed) for seed in range(20)]
    found = compare_with_corpus([with_columns(piece, pitch=piece.pitch - 7) for piece in training], training, training)
    for one in found.features:
        assert abs(one.shift) <= one.generated + 1e-9
    pitch = values(found, "pitch")
    assert pitch.shift == pytest.approx(-pitch.generated)
    assert "pitch (lower)" in found.text
    assert (replace(pitch, shift=pitch.generated).direction, replace(pitch, shift=0.0).direction) == (" (higher)", "")


def test_the_sentence_names_what_is_furthest() -> None:
    training, held_out = [melody(seed) for seed in range(40)], [melody(seed) for seed in range(100, 140)]
    near = compare_with_corpus([melody(seed) for seed in range(200, 216)], training, held_out)
    assert near.pieces == 16
    assert sum(one.inside for one in near.features) >= 12
    far = compare_with_corpus([melody(seed, velocity=1) for seed in range(200, 216)], training, held_out)
    assert "velocity" in far.text.partition("furthest: ")[2]
    assert values(far, "velocity").generated > values(near, "velocity").generated
    same = compare_with_corpus(training, training, training)
    assert same.text == "In all 15 features it is as near to the training music as unseen human music is."
    assert same.closeness < 1


# Music that hardly is any


FEW = [melody(seed) for seed in range(5)]


@pytest.mark.parametrize("made", [[melody(9)], [NOBODY, melody(9)], [melody(9)[:1]], [melody(9)[:5]], [melody(9)] * 3])
@pytest.mark.parametrize("training", [FEW, FEW[:1], [FEW[0], NOBODY], [melody(1)[:1]]])
@pytest.mark.parametrize("held_out", [FEW, FEW[:1], [NOBODY], []])
def test_any_handful_of_pieces_can_be_compared(made: list[Notes], training: list[Notes], held_out: list[Notes]) -> None:
    found = compare_with_corpus(made, training, held_out)
    assert has_words_only(found)
    assert found.pieces == sum(len(piece) > 0 for piece in made)
    assert ("1 of 2 pieces has no notes" in found.text) == (NOBODY in made)
    for one in found.features:
        assert one.compared == (math.isfinite(one.generated) and math.isfinite(one.floor))
        assert math.isnan(one.ratio) != one.compared
    if not any(len(piece) for piece in held_out):
        assert math.isnan(found.closeness)
        assert "no unseen human music" in found.text
        assert math.isnan(values(found, "pitch").floor_high)


@pytest.mark.parametrize("made", [[], [NOBODY], [NOBODY, NOBODY]])
def test_pieces_without_notes_are_infinitely_far(made: list[Notes]) -> None:
    found = compare_with_corpus(made, FEW, FEW)
    assert found.text == "There are no improvised notes to compare."
    assert (found.pieces, math.isnan(found.closeness)) == (0, True)
    assert all(math.isnan(one.generated) and math.isnan(one.overlap) for one in found.features)
    assert distance(made, FEW) == distance(FEW, made) == math.inf


def test_without_training_music_the_sentence_says_so() -> None:
    for training in ([], [NOBODY]):
        assert compare_with_corpus(FEW, training, FEW).text == "There is no training music to compare with."


def test_one_velocity_for_all_is_as_near_as_can_be() -> None:
    flat = [melody(seed, velocity=64) for seed in range(12)]
    one = values(compare_with_corpus(flat[:4], flat[4:8], flat[8:]), "velocity")
    assert (one.generated, one.floor, one.floor_high, one.ratio, one.inside) == (0, 0, 0, 1, True)
    assert (one.overlap, one.divergence, one.held_overlap, one.held_divergence) == (1, 0, 1, 0)
    louder = compare_with_corpus([melody(1, velocity=66)], flat[4:8], flat[8:])
    assert values(louder, "velocity").generated == 2  # bins, where the training music has no spread
    assert values(louder, "velocity").ratio == math.inf
    assert has_words_only(louder)
    assert math.isfinite(louder.closeness)


def test_a_feature_that_only_one_set_has_counts_as_one_spread() -> None:
    whole, single = [melody(1)], [melody(1)[:1]]
    assert distance(single, [melody(1)[:1]]) == 0
    assert 0 < distance(single, whole) < math.inf


def test_pieces_on_different_time_bases_are_refused() -> None:
    with pytest.raises(CadenzaError, match=r"different time bases \(1/100 of seconds, 1/24 of beats\)"):
        compare_with_corpus([melody(1)], [melody(2, base=BEATS)], [])
    with pytest.raises(CadenzaError, match="different time bases"):
        distance([melody(1)], [melody(2, base=BEATS)])
