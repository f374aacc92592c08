"""Scores of every model: figures that add up, one grid for all bins, intervals over works, paired differences."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cadenza.likelihood import TOTAL, Score, concatenate, paired_interval
from cadenza.notes import Header, Notes, TimeBase
from cadenza.tokens import REPRESENTATIONS, representation
from cadenza.tokens.bins import bin_widths, nearest_bin, time_values

FIELDS = ("shift", "pitch")
BASES = {
    "10 ms": TimeBase("seconds", 100),
    "20 ms": TimeBase("seconds", 50),
    "5 ms": TimeBase("seconds", 200),
    "a beat": TimeBase("beats", 24),
    "a coarse beat": TimeBase("beats", 4),
}
every_base = pytest.mark.parametrize("base", BASES.values(), ids=BASES)


def random_score(seed: int, count: int = 12) -> Score:
    """Pieces that differ from each other in every way."""
    rng = np.random.default_rng(seed)
    notes = np.random.default_rng(0).integers(20, 200, count)
    tokens = np.stack([notes + 1, notes], axis=1)
    nats = tokens * rng.gamma(20, 0.1, (count, 2))
    return Score(FIELDS, nats, tokens, notes[:, None] * [[0.4, 0.0]], notes, notes * rng.uniform(0.1, 0.5, count))


def test_the_fields_of_a_figure_add_up_to_its_total() -> None:
    score = random_score(1)
    figures = score.figures()
    for name in ("bits_per_note", "bits_per_note_on_grid", "bits_per_second"):
        assert sum(figures[name][field] for field in FIELDS) == pytest.approx(figures[name][TOTAL])
    bits = score.nats_PF.sum() / math.log(2)
    assert score.bits_per_note == pytest.approx(bits / score.notes_P.sum())
    assert figures["bits_per_second"][TOTAL] == pytest.approx(bits / score.seconds_P.sum())
    assert figures["bits_per_note_on_grid"][TOTAL] == pytest.approx(score.bits_per_note + 0.4)
    assert score.perplexity_per_token == pytest.approx(math.exp(score.nats_PF.sum() / score.tokens_PF.sum()))
    mean = score.nats_PF[:, 1].sum() / score.tokens_PF[:, 1].sum()
    assert figures["nats_per_token"]["pitch"] == pytest.approx(mean)
    assert figures["perplexity_per_token"]["pitch"] == pytest.approx(math.exp(mean))


def test_every_figure_lies_in_its_interval_and_one_work_has_none() -> None:
    score, works = random_score(1), np.repeat(np.arange(6), 2)
    figures, intervals = score.figures(), score.intervals(works)
    assert intervals is not None
    for name, values in figures.items():
        for field, value in values.items():
            low, high = intervals[name][field]
            assert low < value < high, (name, field)
    assert score.intervals(np.zeros(12, int)) is None
    assert paired_interval(score, score, np.zeros(12, int)) is None


def test_an_interval_is_that_of_drawing_works_one_by_one() -> None:
    score, works = random_score(2), np.array([7, 7, 7, 3, 3, 9, 1, 1, 4, 4, 4, 0])
    rng, names, means = np.random.default_rng(5), np.unique(works), []
    for _ in range(4000):
        chosen = np.concatenate([np.flatnonzero(works == work) for work in rng.choice(names, len(names))])
        means.append(score.nats_PF[chosen].sum() / math.log(2) / score.notes_P[chosen].sum())
    intervals = score.intervals(works)
    assert intervals is not None
    low, high = intervals["bits_per_note"][TOTAL]
    assert (low, high) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.1 * (high - low))


def test_pieces_of_one_work_do_not_count_as_evidence_of_their_own() -> None:
    score = random_score(3)
    many = concatenate([score] * 5)
    works = np.arange(12)
    widths = []
    for each, of in ((score, works), (many, np.tile(works, 5)), (many, np.arange(60))):
        intervals = each.intervals(of)
        assert intervals is not None
        low, high = intervals["bits_per_note"][TOTAL]
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0])
    assert widths[2] < 0.7 * widths[0]


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    one, works = random_score(4, 40), np.repeat(np.arange(20), 2)
    other = replace(one, nats_PF=one.nats_PF + 0.05 * one.tokens_PF)
    found, alone = paired_interval(one, other, works), one.intervals(works)
    assert found is not None
    assert alone is not None
    low, high = found
    assert low < one.bits_per_note - other.bits_per_note < high < 0
    assert alone["bits_per_note"][TOTAL][1] > other.bits_per_note  # the intervals overlap all the same
    assert paired_interval(other, one, works) == pytest.approx((-high, -low))
    assert paired_interval(one, one, works) == (0, 0)


def test_joined_scores_are_the_score_of_all_pieces() -> None:
    whole = random_score(6)
    names = ("nats_PF", "tokens_PF", "grid_bits_PF", "notes_P", "seconds_P")
    parts = [
        Score(FIELDS, **{name: getattr(whole, name)[chosen] for name in names})
        for chosen in (slice(0, 5), slice(5, 12))
    ]
    assert concatenate(parts).figures() == whole.figures()


@every_base
@pytest.mark.parametrize("first", [0, 1])
def test_a_bin_is_as_wide_as_the_times_that_fall_into_it(base: TimeBase, first: int) -> None:
    """So the probabilities of single grid steps, each an equal share of its bin's, sum to what the bins have."""
    values = time_values(base, first)
    widths = bin_widths(values)
    found = nearest_bin(values)[first:]
    assert widths[:-1].tolist() == [int((found == place).sum()) for place in range(len(values) - 1)]
    assert (widths >= 1).all()
    assert widths[-1] == 2 * int((found == len(values) - 1).sum()) - 1
    middles = (values[1:] + values[:-1]) / 2
    np.testing.assert_allclose(widths[1:-1], np.diff(middles), atol=1)


@every_base
def test_only_times_have_a_width_and_it_counts_in_one_unit(base: TimeBase) -> None:
    tokens = representation("notes", base)
    assert tokens.resolution == ("10 ms" if base.unit == "seconds" else f"1/{base.steps} beat")
    unit = 100 / base.steps if base.unit == "seconds" else 1
    for f, field in enumerate(tokens.fields):
        widths = tokens.widths(f)
        assert widths.shape == (tokens.sizes[f],)
        if field in ("pitch", "velocity"):
            assert (widths == 1).all()
        else:
            assert widths[0] == widths[1] == unit
    shifts = tokens.widths(0)
    assert (shifts[-2:] == 1).all()  # REST and END
    assert shifts[-3] > unit


def test_each_representation_has_widths_and_exact_ones_cost_nothing() -> None:
    piece = Notes.of(
        [0, 0, 30, 190, 500], [60, 64, 62, 61, 60], [30, 12, 150, 90, 380], [80, 81, 82, 83, 100], Header()
    )
    for name in REPRESENTATIONS:
        tokens = representation(name, TimeBase())
        rows = tokens.encode(piece)
        score = Score.of(tokens, [rows, rows[:1]], np.ones((2, len(tokens.fields))), np.array([8.8, 0.1]))
        assert score.tokens_PF.sum(axis=1).tolist() == [int(tokens.scored(part).sum()) for part in (rows, rows[:1])]
        assert score.notes_P[0] == 5
        if name == "study":
            assert not score.grid_bits_PF.any()
        else:
            by_hand = [sum(math.log2(tokens.widths(f)[row[f]]) for row in rows if row[f] < tokens.sizes[f]) for f in range(4)]  # fmt: skip
            assert score.grid_bits_PF[0] == pytest.approx(by_hand)
            assert score.grid_bits_PF[0, 0] > 0
            assert score.grid_bits_PF[0, 2] > 0


def test_without_a_length_there_are_no_bits_per_second() -> None:
    tokens = representation("notes", TimeBase())
    rows = tokens.encode(Notes.of([0], [60], [30], [80]))
    figures = Score.of(tokens, [rows], np.ones((1, 4))).figures()
    assert math.isnan(figures["bits_per_second"][TOTAL])
    assert figures["bits_per_note"][TOTAL] == pytest.approx(4 / math.log(2))
