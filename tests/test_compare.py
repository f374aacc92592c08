"""Runs on one split are compared by pairs; others are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cadenza import CadenzaError
from cadenza.presets import build
from cadenza.runs.comparison import compare
from cadenza.runs.folder import Run, open_run
from cadenza.runs.stages import carry_out, train
from conftest import Cadenza, Midi


def trained(music: Path, folder: Path, steps: int, seed: int = 0) -> Run:
    settings = build(
        "tiny",
        corpus={"folds": 0, "test": 0.4},
        model={"layers": 1, "width": 32},
        train={"steps": steps, "evaluations": 2, "threads": 1, "seed": seed},
        sample={"seconds": 3, "count": 1},
    )
    list(carry_out(str(music), settings, folder))
    return open_run(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, smf: Midi) -> list[Run]:
    """A run of few steps and one of many, on one split."""
    music = tmp_path_factory.mktemp("music") / "music"
    music.mkdir()
    for seed in range(10):
        (music / f"piece-{seed}.mid").write_bytes(smf.piece(seed))
    folder = tmp_path_factory.mktemp("runs")
    return [trained(music, folder / "few", 2), trained(music, folder / "many", 60)]


def test_more_training_is_better_and_the_difference_has_an_interval(runs: list[Run]) -> None:
    found = compare(runs)
    few, many = found["runs"]
    assert (found["part"], found["works"]) == ("test", 4)
    assert few["difference"] == 0
    assert few["verdict"] == "the same"
    assert many["verdict"] == "better"
    assert many["difference"] == pytest.approx(many["bits"] - few["bits"])
    low, high = many["difference_interval"]
    assert low <= many["difference"] <= high < 0
    assert few["bits"] == pytest.approx(runs[0].metrics()["test"]["bits_per_note_on_grid"])


def test_the_order_of_the_runs_turns_the_difference_round(runs: list[Run]) -> None:
    one, other = compare(runs)["runs"][1], compare(runs[::-1])["runs"][1]
    assert one["difference"] == pytest.approx(-other["difference"])
    assert one["difference_interval"] == pytest.approx([-end for end in other["difference_interval"][::-1]])
    assert other["verdict"] == "worse"


def test_the_command_shows_a_table_or_json(runs: list[Run], cadenza: Cadenza) -> None:
    code, out, err = cadenza("compare", *(run.folder for run in runs))
    assert (code, err) == (0, "")
    assert "better" in out
    code, out, _ = cadenza("compare", *(run.folder for run in runs), "--json")
    assert code == 0
    assert json.loads(out)["runs"][1]["verdict"] == "better"


def test_another_split_is_refused(runs: list[Run], tmp_path: Path) -> None:
    other = trained(Path(runs[0].origin()["found_at"]), tmp_path / "other", 2, seed=5)
    with pytest.raises(CadenzaError, match="examined on other music"):
        compare([runs[0], other])


def test_one_run_and_a_run_without_figures_are_refused(runs: list[Run], tmp_path: Path, cadenza: Cadenza) -> None:
    with pytest.raises(CadenzaError, match="give two or more"):
        compare(runs[:1])
    list(train(runs[0].origin()["found_at"], runs[0].settings(), tmp_path / "bare"))
    code, _, err = cadenza("compare", runs[0].folder, tmp_path / "bare")
    assert code == 2
    assert "metrics.json is missing" in err


def test_damaged_scores_are_named(runs: list[Run], tmp_path: Path) -> None:
    import shutil

    copy = Run(Path(shutil.copytree(runs[0].folder, tmp_path / "copy")))
    copy.write("scores.jsonl", b'{"part": "te')
    with pytest.raises(CadenzaError, match=r"scores\.jsonl: missing or damaged"):
        compare([copy, runs[1]])
