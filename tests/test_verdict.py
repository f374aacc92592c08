"""The first line and the five answers say what the figures say, and no more where figures are missing."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cadenza.evaluate import verdict

LOSSY = "Onsets are lost, so bits per note would not compare with anything."


def part(bits: float, markov: float = 9.5, unigram: float = 10.75) -> dict[str, Any]:
    """A part of 4 tokens a note, of which every figure follows from bits per note."""

    def model(value: float) -> dict[str, float]:
        return {
            "bits_per_note": value,
            "nats_per_token": value * math.log(2) / 4,
            "perplexity_per_token": 2 ** (value / 4),
        }

    return model(bits) | {"baselines": {"markov": model(markov), "unigram": model(unigram), "uniform": model(24)}}


def metrics(
    train: float = 7.5, test: float = 8.25, versus_markov: list[float] | None = None, works: int = 5, **changes: Any
) -> dict[str, Any]:
    whole = {"fine_tuned": False, "held_out": "test", "lossy": "", "unit": "token", "folds": 0}
    held = part(test) | {"works": works, "versus_markov": {"interval": versus_markov}}
    return whole | {"train": part(train), "validation": part(test), "test": held} | changes


def feature(generated: float | None, floor_high: float | None) -> dict[str, Any]:
    inside = generated is not None and floor_high is not None and generated <= floor_high
    return {"generated": generated, "floor_high": floor_high, "inside": inside}


def judgement(copied: int = 0, yardstick: bool = True, near: float = 0.1) -> dict[str, Any]:
    features = [feature(0.1, 0.2), feature(near, 0.2), feature(None, None)]
    return {
        "pieces": 32,
        "originality": {"copied": copied, "text": "Original.", "yardstick": {} if not yardstick else {"highest": {}}},
        "fidelity": {"text": "Near.", "features": features},
    }


def text(*arguments: Any) -> str:
    return verdict.first_line(*arguments).text


def test_a_good_run_is_praised_with_its_own_figures() -> None:
    line = verdict.first_line(metrics(), judgement())
    assert not line.alarm
    assert line.text == (
        "On music it has not seen it needs 8.25 bits per note, 1.25 fewer than a Markov model. "
        "Of what it knows about its training pieces, 77\u00a0% holds there too. "
        "Beside unseen human music, none of 32 improvised pieces copies."
    )
    assert "perplexity per event of 4.18, where a Markov model has 5.19" in text(
        metrics(lossy=LOSSY, unit="event"), None
    )


@pytest.mark.parametrize("lossy", ["", LOSSY])
@pytest.mark.parametrize(
    ("train", "test", "share"),
    [(1.0, 8.0, "only 28\u00a0% holds"), (1.0, 13.0, "nothing holds"), (1.0, 10.74, "nothing holds")],
)
def test_an_overfitted_run_is_named_first(lossy: str, train: float, test: float, share: str) -> None:
    line = verdict.first_line(metrics(train, test, lossy=lossy), judgement(copied=2))
    assert line.alarm
    assert line.text.startswith(f"Overfitted: of what it has learned about its training pieces, {share}")
    assert line.text.endswith(
        "It copies: 2 of 32 improvised pieces repeat more of a training piece than any unseen human piece does."
    )
    assert verdict.remembered(metrics(train, test, lossy=lossy)).short == "Hardly."


@pytest.mark.parametrize("lossy", ["", LOSSY])
@pytest.mark.parametrize(
    ("test", "said"), [(9.5, "does not beat the Markov model"), (10.75, "no better than the bare frequencies")]
)
def test_a_network_that_is_no_better_than_a_simple_model_is_said_to_be(test: float, said: str, lossy: str) -> None:
    assert said in text(metrics(test, test, lossy=lossy), None)
    answer = verdict.beats(metrics(test, test, lossy=lossy))
    assert (answer.good, answer.short) == (False, "No.")
    assert "more minutes" in answer.text
    assert "more minutes" not in verdict.beats(metrics(1.0, test, lossy=lossy)).text


def test_a_lead_that_the_choice_of_works_explains_is_no_lead() -> None:
    unclear = metrics(test=8.25, versus_markov=[-3.0, 0.5])
    assert "does not clearly beat the Markov model" in text(unclear, None)
    assert verdict.beats(unclear).short == "Not clearly."
    clear = metrics(test=8.25, versus_markov=[-1.5, -1.0])
    assert not verdict.first_line(clear, None).alarm
    assert "between 1.00 and 1.50" in verdict.beats(clear).text


def test_nothing_held_out_is_an_alarm_and_every_figure_may_be_missing() -> None:
    assert verdict.first_line(metrics(test=8.0) | {"test": None}, None).alarm
    bare = metrics(train=7.0) | {"train": None, "test": {"bits_per_note": None, "perplexity_per_token": 4.0}}
    assert not verdict.first_line(bare, None).alarm
    old = metrics() | {name: {"bits_per_note": 8.0, "perplexity_per_token": 4.0} for name in ("train", "test")}
    for table in (bare, old):
        lines = [verdict.first_line(table, None).text, *(answer.text for answer in answers(table, None))]
        assert not [line for line in lines if "None" in line]
    assert "nan" not in verdict.first_line(old, None).text + verdict.remembered(old).text + verdict.beats(old).text


def answers(table: dict[str, Any], judged: dict[str, Any] | None) -> list[verdict.Answer]:
    return [
        verdict.fairly_tested(table, True), verdict.remembered(table), verdict.beats(table), verdict.copies(judged), verdict.sounds(judged),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "by_work", "short", "said"),
    [
        ({}, True, "Yes.", "scored once"),
        ({"validation": None}, True, "Yes.", "last step"),
        ({"folds": 5}, True, "Yes.", "5 models"),
        ({}, False, "Only in part.", "by file"),
        ({"fine_tuned": True}, True, "Only in part.", "began from"),
        ({"held_out": "validation"}, True, "Only in part.", "flatters"),
        ({"test": None}, True, "No.", "Nothing"),
    ],
)
def test_the_test_is_described_as_it_was(changes: dict[str, Any], by_work: bool, short: str, said: str) -> None:
    answer = verdict.fairly_tested(metrics() | changes, by_work)
    assert answer.short == short
    assert said in answer.text


def test_the_gap_is_explained_only_where_there_is_one() -> None:
    assert "7.50 bits per note instead of 8.25" in verdict.gap_in_words(metrics())
    assert "77\u00a0% of its lead over the bare frequencies of notes is left" in verdict.gap_in_words(metrics())
    assert "no gap to explain" in verdict.gap_in_words(metrics(8.25, 8.25))
    assert "nothing of its lead" in verdict.gap_in_words(metrics(1.0, 20.0))
    assert "bits" not in verdict.gap_in_words(metrics(lossy=LOSSY, unit="event"))
    assert verdict.gap_in_words(metrics(train=8.0) | {"train": None}) == ""


def test_copying_is_accused_only_beside_a_yardstick_and_closeness_only_beside_a_floor() -> None:
    assert [verdict.copies(one).short for one in (None, judgement(), judgement(3))] == ["Not measured.", "No.", "Yes."]
    assert verdict.copies(judgement(yardstick=False)).short == "Not known."
    assert [verdict.sounds(judgement(near=near)).short for near in (0.2, 0.3)] == ["Yes.", "Mostly."]
    assert verdict.sounds(judgement(near=math.nan)).short == "Yes."
    assert verdict.sounds(None).good is None
    far = judgement()
    far["fidelity"]["features"] = [feature(1.0, 0.2), feature(1.0, None)]
    assert verdict.sounds(far).short == "Not yet."
    far["fidelity"]["features"].pop(0)
    assert verdict.sounds(far).short == "Not known."


def test_a_single_held_out_work_proves_nothing() -> None:
    alone = metrics(works=1)
    assert "rests on a single work" in text(alone, None)
    assert verdict.first_line(alone, None).alarm
    assert (verdict.beats(alone).good, verdict.beats(alone).short) == (None, "Not known.")


def test_unseen_music_that_is_easier_leaves_no_gap_and_harder_music_never_does() -> None:
    assert "no gap to explain" in verdict.gap_in_words(metrics(10.0, 9.5))
    harder = metrics(8.0, 10.0)
    harder["test"]["baselines"]["unigram"]["bits_per_note"] = 20.0
    assert "no gap" not in verdict.gap_in_words(harder)
    assert "100\u00a0% of its lead" in verdict.gap_in_words(harder)


def test_a_network_that_learned_nothing_of_its_training_pieces_is_not_called_more_than_memory() -> None:
    assert verdict.remembered(metrics(30.0, 31.0)).good is None


def test_a_child_of_a_parent_unknown_is_tested_only_in_part_even_in_folds() -> None:
    assert verdict.fairly_tested(metrics(folds=5, fine_tuned=True), by_work=True).good is None
    assert verdict.fairly_tested(metrics(folds=5), by_work=True).good is True


def test_a_model_that_learned_next_to_nothing_is_not_called_overfitted() -> None:
    hardly = metrics(10.2, 10.7)  # where frequencies alone need 10.75
    assert not verdict.overfitted(hardly)


def test_few_held_out_works_are_pointed_out() -> None:
    assert "Only 2 works were held out" in verdict.fairly_tested(metrics(works=2), by_work=True).text
    assert "Only" not in verdict.fairly_tested(metrics(works=5), by_work=True).text
