"""Improvised pieces are judged beside unseen human ones; what cannot be judged is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cadenza.improviser import Improviser, Piece
from cadenza.notes import Notes
from cadenza.presets import build
from cadenza.records import Said
from cadenza.runs.folder import Run, open_run
from cadenza.runs.judging import JUDGED, judge, partitions
from cadenza.runs.stages import carry_out
from conftest import Midi

SETTINGS: dict[str, Any] = {
    "corpus": {"folds": 0},
    "model": {"layers": 1, "width": 32},
    "train": {"steps": 4, "evaluations": 2, "threads": 1},
    "sample": {"seconds": 6, "count": 2},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, smf: Midi) -> Run:
    music = tmp_path_factory.mktemp("music") / "music"
    music.mkdir()
    for seed in range(8):
        (music / f"piece-{seed}.mid").write_bytes(smf.piece(seed))
    folder = tmp_path_factory.mktemp("runs") / "run"
    list(carry_out(str(music), build("tiny", **SETTINGS), folder))
    return open_run(folder)


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Run:
    """The run, free to be judged otherwise."""
    return Run(Path(shutil.copytree(run.folder, tmp_path / "copy")))


def with_pieces(monkeypatch: pytest.MonkeyPatch, pieces: list[Notes]) -> None:
    """Let every model improvise these pieces, whatever it has learned, and as many as there are of those asked for."""

    def stream(_: object, __: object, items: Sequence[int], *___: object) -> Any:
        yield from ()
        nothing = np.zeros((0, 4), np.int16)
        return [Piece(item, pieces[item], nothing, 0, 0.0, 0.0, {}) for item in items if item < len(pieces)]

    monkeypatch.setattr(Improviser, "stream", stream)


def texts(run: Run) -> list[str]:
    return [record.text for record in judge(run) if isinstance(record, Said)]


def test_a_judgement_is_json_that_any_reader_takes(run: Run) -> None:
    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is no JSON")

    found = json.loads(run.read("judgement.json"), parse_constant=refuse)
    assert found["pieces"] == JUDGED
    assert [one["name"] for one in found["originality"]["samples"]] == ["01", "02"]
    assert len(found["fidelity"]["features"]) == 15
    assert found["sampling"]["temperature"] == run.settings().sample.temperature


def test_judging_again_gives_the_same_bytes(run: Run) -> None:
    before = run.read("judgement.json")
    texts(run)
    assert run.read("judgement.json") == before


def test_training_pieces_passed_off_as_improvised_are_named(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [piece for piece, _ in copy.pieces("train")]
    with_pieces(monkeypatch, [*known[:2], *known])  # the first two stand for the run's own samples
    assert any(text.startswith(f"{len(known)} of {len(known) + 2} improvised pieces repeat") for text in texts(copy))


def test_unseen_human_pieces_passed_off_as_improvised_are_not_accused(
    copy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseen = [piece for piece, _ in copy.pieces("test")]
    with_pieces(monkeypatch, [*unseen[:1], *unseen[:1], *unseen])
    assert any(text.startswith("None of 3 improvised pieces repeats") for text in texts(copy))


def test_pieces_without_notes_are_left_out(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    silence = copy.pieces("test")[0][0][:0]
    with_pieces(monkeypatch, [silence] * 8)
    assert any("of 2 improvised pieces" in text for text in texts(copy))  # the two that were written as files


def test_a_run_that_improvised_nothing_says_so_and_keeps_no_old_judgement(
    copy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy.write_json("samples/samples.json", [])
    with_pieces(monkeypatch, [])
    assert texts(copy) == ["There is no improvised piece to judge."]
    assert copy.judgement() is None


def test_folds_and_splits_part_what_trained_from_what_did_not(run: Run) -> None:
    kept = run.kept()
    [(training, unseen)] = partitions(kept)
    assert (~training).tolist() == unseen.tolist()
    assert unseen.tolist() == [entry.split != "train" for entry in kept]


def test_only_the_notes_that_are_shared_are_marked(run: Run) -> None:
    from cadenza.evaluate.originality import TrainingIndex
    from cadenza.runs.judging import AROUND, agreeing, both_passages

    known = [piece for piece, _ in run.pieces("train")]
    hosts = [piece for piece, _ in run.pieces("test")]
    likeness = next(TrainingIndex.of(known).likeness(hosts))
    nearest = likeness.nearest
    assert nearest is not None
    own, other = both_passages(hosts[0], known[nearest.piece], nearest)
    agree = agreeing(own, other, nearest)
    size = nearest.own_stop - nearest.own_start
    assert own.pitch[0] == hosts[0].pitch[nearest.own_start]
    assert len(own) <= size + AROUND
    assert agree[:size].any()
    assert not agree[size:].any()
