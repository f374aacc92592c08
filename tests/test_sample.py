"""Choosing ids and improvising rows, against slow references and on untrained models."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadenza.errors import CadenzaError
from cadenza.models import MODELS, build
from cadenza.notes import TimeBase
from cadenza.sample import choose, sample
from cadenza.settings import ModelSettings, SampleSettings
from cadenza.tokens import Rows, representation
from cadenza.tokens.grammar import Place

BASES = [TimeBase("seconds", 100), TimeBase("beats", 24)]
every_base = pytest.mark.parametrize("base", BASES, ids=lambda base: base.unit)
every_model = pytest.mark.parametrize("trunk", sorted(MODELS))


def slow_choice(logits: list[float], allowed: list[bool], draw: float, settings: SampleSettings) -> int:
    """The rules of `choose`, one id at a time."""
    ids = sorted((i for i in range(len(logits)) if allowed[i]), key=lambda i: (-logits[i], i))
    if settings.temperature == 0:
        return ids[0]
    weights = [math.exp((logits[i] - logits[ids[0]]) / settings.temperature) for i in ids]
    total, kept, before = sum(weights), [], 0.0
    for rank, weight in enumerate(weights):
        cut = before >= settings.top_p or weight < settings.min_p or (settings.top_k and rank >= settings.top_k)
        if rank == 0 or (not cut and weight > 0):
            kept.append(rank)
        before += weight / total
    threshold = draw * sum(weights[rank] for rank in kept)
    running = 0.0
    for rank in kept:
        running += weights[rank]
        if running > threshold:
            return ids[rank]
    return ids[kept[-1]]


@given(
    st.integers(0, 10_000), st.sampled_from([0.0, 0.05, 0.7, 1.0, 2.0, 10.0]), st.integers(0, 6),
    st.sampled_from([0.1, 0.5, 0.9, 1.0]), st.sampled_from([0.0, 0.05, 0.3]),
)  # fmt: skip
def test_choosing_agrees_with_a_slow_reference(
    seed: int, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    rng = np.random.default_rng(seed)
    settings = SampleSettings(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    logits = rng.normal(0, 8, (5, 12))
    allowed = rng.random((5, 12)) < 0.6
    allowed[:, 3] = True
    draws = rng.random(5)
    chosen = choose(logits, allowed, draws, settings)
    wanted = [slow_choice(logits[k].tolist(), allowed[k].tolist(), draws[k], settings) for k in range(5)]
    assert chosen.tolist() == wanted
    assert allowed[np.arange(5), chosen].all()


def test_frequencies_follow_the_probabilities() -> None:
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    draws = (np.arange(20_000) + 0.5) / 20_000
    logits = np.tile(np.log(probabilities), (len(draws), 1))
    chosen = choose(logits, np.ones_like(logits, dtype=bool), draws, SampleSettings(temperature=1))
    np.testing.assert_allclose(np.bincount(chosen) / len(draws), probabilities, atol=1e-3)


def test_logits_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(CadenzaError, match="not a number"):
        choose(np.array([[0.0, np.nan]]), np.ones((1, 2), dtype=bool), np.zeros(1), SampleSettings())


def improvised(
    trunk: str, base: TimeBase, count: int, temperature: float = 2.0, seed: int = 0, prompt: Rows | None = None
) -> list[Rows]:
    tokens = representation("notes", base)
    settings = ModelSettings.model_validate({"trunk": trunk, "layers": 1, "width": 16})
    model = build(settings, tokens.sizes, tokens.context_width)
    pieces: list[list[np.ndarray]] = [[] for _ in range(count)]
    start = np.empty((0, 4), np.int16) if prompt is None else prompt
    for item, row in sample(
        model, tokens, tokens.grammar(50, 90), SampleSettings(temperature=temperature),
        count=count, seed=seed, steps=3000, prompt=start,
    ):  # fmt: skip
        pieces[item].append(row)
    return [np.stack(piece) if piece else start for piece in pieces]


@every_model
@every_base
def test_untrained_models_make_only_valid_rows(trunk: str, base: TimeBase) -> None:
    tokens = representation("notes", base)
    grammar = tokens.grammar(50, 90)
    for piece in improvised(trunk, base, 16):
        place = Place()
        for row in piece:
            fields = 1 if grammar.last_field(row) else 4
            assert all(grammar.allowed(place, field, row)[row[field]] for field in range(fields))
            place = grammar.advance(place, row)
        notes = tokens.decode(piece)
        assert len(notes) == tokens.note_count(piece)
        assert ((notes.pitch >= 50) & (notes.pitch <= 90)).all()


@every_model
@every_base
def test_item_k_does_not_depend_on_the_number_of_items(trunk: str, base: TimeBase) -> None:
    few, many = improvised(trunk, base, 3), improvised(trunk, base, 11)
    assert all(np.array_equal(a, b) for a, b in zip(few, many[:3], strict=True))
    assert len({piece.tobytes() for piece in many}) == 11


@every_model
def test_a_seed_repeats_and_another_differs(trunk: str) -> None:
    one, again, other = (improvised(trunk, BASES[0], 2, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0], other[0])


@every_model
def test_greedy_pieces_of_one_prompt_are_all_the_same(trunk: str) -> None:
    prompt = np.array([[0, 60, 20, 20], [10, 64, 20, 20]], dtype=np.int16)
    first, second = improvised(trunk, BASES[0], 2, temperature=0.0, prompt=prompt)
    assert np.array_equal(first, second)


@every_model
def test_no_note_begins_at_or_after_the_limit(trunk: str) -> None:
    tokens = representation("notes", BASES[0])
    assert all(tokens.steps(piece).sum() < 3000 for piece in improvised(trunk, BASES[0], 8))
