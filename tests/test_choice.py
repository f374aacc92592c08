"""Choosing ids against a slow reference, at any logits and any settings."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadenza.engine.choice import choose_ids
from cadenza.errors import CadenzaError
from cadenza.sample import check

TINY = 1e-6
"""The share of probability by which rounding may move a border."""

SMALLEST, LARGEST = float(np.finfo(np.float32).smallest_subnormal), float(np.finfo(np.float32).max)


class Controls(NamedTuple):
    """As `choose_ids` takes them."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


def kept_weights(logits: list[float], allowed: list[bool], controls: Controls) -> dict[int, float]:
    """The ids that may be drawn, in order, and their weights: the rules of `choose_ids`, one id at a time."""
    ids = sorted((i for i in range(len(logits)) if allowed[i]), key=lambda i: (-logits[i], i))
    temperature, top_k, top_p, min_p = controls
    if temperature == 0:
        return {ids[0]: 1.0}
    weights = {i: math.exp((logits[i] - logits[ids[0]]) / temperature) for i in ids}
    total, kept = math.fsum(weights.values()), {}
    for rank, i in enumerate(ids):
        before = math.fsum(weights[j] for j in ids[:rank]) / total
        cut = (top_p < 1 and before >= top_p) or weights[i] < min_p or (top_k and rank >= top_k)
        if rank == 0 or (not cut and weights[i] > 0):
            kept[i] = weights[i]
    return dict(sorted(kept.items()))


def may_choose(chosen: int, draw: float, weights: dict[int, float]) -> bool:
    """Whether the weights, added up in order of id, pass the draw at this id."""
    total = math.fsum(weights.values())
    before = math.fsum(weight for i, weight in weights.items() if i < chosen) / total
    return chosen in weights and before - TINY <= draw <= before + weights[chosen] / total + TINY


def possible(chosen: int, logits: list[float], allowed: list[bool], draw: float, controls: Controls) -> bool:
    """Whether the reference chooses this id, wherever rounding puts the borders of top-p and min-p."""
    moved = (1 - TINY, 1, 1 + TINY)
    return any(
        may_choose(chosen, draw, kept_weights(logits, allowed, controls._replace(top_p=p, min_p=m)))
        for p in {min(controls.top_p * by, 1) if controls.top_p < 1 else 1 for by in moved}
        for m in {controls.min_p * by for by in moved}
    )


def choose(logits: Any, allowed: Any, draws: Any, controls: Controls = Controls()) -> Any:  # noqa: B008
    return choose_ids(np.asarray(logits, dtype=np.float32), np.asarray(allowed), np.asarray(draws), *controls)


a_logit = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1e-20, SMALLEST, 88.0, -104.0, 1e17, -1e17, LARGEST, -LARGEST]),
    st.floats(-20, 20, width=32),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)
some_controls = st.builds(
    Controls,
    st.sampled_from([0.0, 5e-324, 1e-6, 0.05, 0.7, 1.0, 2.0, 10.0]) | st.floats(0, 10),
    st.integers(0, 14),
    st.sampled_from([TINY, 0.1, 0.5, 0.9, 1.0]) | st.floats(0, 1, exclude_min=True),
    st.sampled_from([0.0, 5e-324, 0.05, 0.3, 0.999]) | st.floats(0, 1, exclude_max=True),
)
a_draw = st.sampled_from([0.0, 0.5, 1 - 2**-53]) | st.floats(0, 1, exclude_max=True)


@given(st.data(), st.integers(1, 12), some_controls)
@hypothesis.settings(deadline=None, max_examples=500)  # the first call compiles
def test_choosing_agrees_with_a_slow_reference(data: st.DataObject, size: int, controls: Controls) -> None:
    lanes = 3
    logits = [[float(np.float32(data.draw(a_logit))) for _ in range(size)] for _ in range(lanes)]
    allowed = [[data.draw(st.booleans()) for _ in range(size)] for _ in range(lanes)]
    for mask in allowed:
        mask[data.draw(st.integers(0, size - 1))] = True
    draws = [data.draw(a_draw) for _ in range(lanes)]
    chosen = choose(logits, allowed, draws, controls)
    for lane, id in enumerate(chosen.ids.tolist()):  # noqa: A001
        assert possible(id, logits[lane], allowed[lane], draws[lane], controls)
        largest = max(logits[lane])
        shares = [math.exp(logit - largest) for logit in logits[lane]]
        nats = (largest - logits[lane][id]) + math.log(math.fsum(shares))
        removed = math.fsum(share for share, may in zip(shares, allowed[lane], strict=True) if not may)
        assert chosen.nats[lane] == pytest.approx(nats, rel=1e-6, abs=1e-6)
        assert chosen.removed[lane] == pytest.approx(removed / math.fsum(shares), abs=1e-6)


@given(st.lists(a_logit, min_size=1, max_size=12), a_draw, st.floats(0, 10))
@hypothesis.settings(deadline=None)
def test_the_likeliest_of_one_is_the_greedy_choice(logits: list[float], draw: float, temperature: float) -> None:
    allowed = [[True] * len(logits)]
    greedy = choose([logits], allowed, [draw], Controls(0.0)).ids.tolist()
    assert greedy == [int(np.argmax(np.array(logits, dtype=np.float32)))]
    for controls in (Controls(temperature, top_k=1), Controls(temperature, top_p=5e-324)):
        assert choose([logits], allowed, [draw], controls).ids.tolist() == greedy


def test_each_of_many_ids_is_chosen_as_often_as_it_is_likely() -> None:
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    draws = (np.arange(20_000) + 0.5) / 20_000
    logits = np.tile(np.log(probabilities), (len(draws), 1))
    chosen = choose(logits, np.ones_like(logits, dtype=bool), draws).ids
    np.testing.assert_allclose(np.bincount(chosen) / len(draws), probabilities, atol=1e-3)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_numbers_are_refused(wrong: float, temperature: float) -> None:
    chosen = choose([[0.0, wrong], [0.0, 1.0]], np.ones((2, 2), dtype=bool), np.zeros(2), Controls(temperature))
    with pytest.raises(CadenzaError, match="not a number"):
        check(chosen.ids.min())
    check(chosen.ids[1:].min())


def test_masks_that_leave_nothing_are_refused() -> None:
    chosen = choose(np.zeros((1, 2)), np.zeros((1, 2), dtype=bool), np.zeros(1))
    with pytest.raises(CadenzaError, match="leave nothing"):
        check(chosen.ids.min())
