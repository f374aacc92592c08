"""What a run folder holds comes to the page: the models' figures, and the passages that are most alike."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cadenza.runs.folder import NEAREST, SAMPLES_LIST, Run
from cadenza.runs.page import LIKENESSES, estimate, likenesses, models


def near(notes: int, **changes: Any) -> dict[str, Any]:
    found = {"piece": 0, "name": "folder/b.mid", "start": 0, "stop": notes, "own_start": 0, "own_stop": notes, "semitones": 5, "measure": "near",
        "notes": notes, "own_at": 12.0, "at": 63.0, "own_seconds": 4.0, "seconds": 5.0}  # fmt: skip
    return found | changes


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Six samples with sounds and rolls of their nearest passages."""
    run = Run(tmp_path)
    run.write(SAMPLES_LIST, json.dumps([{"name": f"0{k}", "title": f"Piece {k}"} for k in range(6)]).encode())
    for k in range(6):
        for name in ("own.svg", "own.mp3", "training.svg", "training.mp3"):
            run.write(f"{NEAREST}/0{k}-{name}", f"{k} {name}".encode())
    return run


def judged(passages: list[dict[str, Any] | None], copied: int = -1) -> dict[str, Any]:
    samples = [{"name": f"0{k}", "copied": k == copied, "nearest": one} for k, one in enumerate(passages)]
    return {"originality": {"samples": samples}}


def test_copies_come_first_then_the_longest_passages(run: Run) -> None:
    found = list(likenesses(run, judged([near(k) for k in range(6)], copied=1)))
    assert [one.title for one in found] == ["Piece 1", "Piece 5", "Piece 4", "Piece 3"]
    assert len(found) == LIKENESSES
    first = found[0]
    assert (first.own.facts, first.training.title) == ("from 0:12", "b.mid")
    assert first.training.facts == "from 1:03, 5 semitones lower"
    assert (first.own.roll_svg, first.training.mp3) == (b"1 own.svg", b"1 training.mp3")
    assert (first.own.seconds, first.training.seconds, first.seconds) == (4.0, 5.0, 5.0)


def test_passages_that_are_not_there_are_left_out(run: Run) -> None:
    (run.folder / NEAREST / "01-own.mp3").unlink()
    old = {key: value for key, value in near(9).items() if key != "at"}
    assert [one.title for one in likenesses(run, judged([None, near(5), near(4), old]))] == ["Piece 2"]


def test_the_picture_of_the_models_needs_no_figure_but_the_network_s() -> None:
    part = {"bits_per_note": 8.0, "interval": None, "perplexity_per_token": 4.0}
    assert estimate(part | {"interval": [7.0, 9.0]}, "bits_per_note", "network") == (8.0, 7.0, 9.0)
    assert all(map(math.isnan, estimate(part, "bits_per_note", "markov")))
    for lossy in ("", "Onsets are lost."):
        assert models({"lossy": lossy, "train": part, "validation": None, "test": None}).figure.axes
