"""The figures of a run: one table for all models, a line per piece, and one sentence for what cannot be scored."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cadenza import CadenzaError, terminal
from cadenza.checkpoint import model_bytes
from cadenza.corpus.split import PARTS
from cadenza.evaluate.verdict import NETWORK, first_line
from cadenza.improviser import Improviser
from cadenza.likelihood import Score
from cadenza.presets import build
from cadenza.records import Progress, Said, outcome
from cadenza.runs.chain import seal
from cadenza.runs.figures import part_table, score_parts
from cadenza.runs.folder import Run
from cadenza.runs.stages import train
from cadenza.runs.verification import digests
from cadenza.settings import Settings

TINY: dict[str, Any] = {
    "corpus": {"folds": 0},
    "model": {"layers": 1, "width": 32},
    "batches": {"rows": 32, "size": 4},
    "train": {"steps": 3, "evaluations": 1, "threads": 1},
}
MODELS = {"markov", "unigram", "uniform"}


def trained(folder: Path, source: Path, settings: Settings) -> Run:
    return outcome(train(str(source), settings, folder))


def music(folder: Path, smf: Any, count: int) -> Path:
    folder.mkdir()
    for seed in range(count):
        (folder / f"{seed}.mid").write_bytes(smf.piece(seed))
    return folder


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, smf: Any) -> tuple[Run, list[Any]]:
    """A trained and scored run on twelve pieces, and what was said meanwhile."""
    folder = tmp_path_factory.mktemp("figures")
    run = trained(folder / "run", music(folder / "music", smf, 12), build("tiny", **TINY))
    return run, list(score_parts(run))


def copy(run: Run, to: Path) -> Run:
    return Run(Path(shutil.copytree(run.folder, to)))


def with_model(run: Run, improviser: Improviser) -> Run:
    """The run with another model in its place."""
    weights = improviser.model.state_dict()
    parts = improviser.settings, improviser.tokens, improviser.reading, improviser.facts
    run.write("model.safetensors", model_bytes(weights, *parts, improviser.manifest_sha256, improviser.step))
    return run


def test_every_part_holds_every_model_with_the_same_figures(scored: tuple[Run, list[Any]]) -> None:
    metrics = scored[0].metrics()
    assert metrics["resolution"] == "1/24 beat"
    assert set(metrics["markov_orders"]) == {"shift", "pitch", "duration", "velocity"}
    for part in PARTS:
        row = metrics[part]
        assert set(row["baselines"]) == MODELS
        own = {key for key in row if key not in ("pieces", "works", "notes", "tokens", "versus_markov", "baselines")}
        for model in row["baselines"].values():
            assert set(model) == own
        for model in (row, *row["baselines"].values()):
            assert set(model["by_field"]) == {"shift", "pitch", "duration", "velocity"}
            assert sum(model["bits_per_note_by_field"].values()) == pytest.approx(model["bits_per_note"])
            assert model["perplexity_per_token"] == pytest.approx(math.exp(model["nats_per_token"]))
            assert model["nats_per_token"] * row["tokens"] == pytest.approx(model["bits_per_note"] * row["notes"] * math.log(2))  # fmt: skip
            assert model["bits_per_note_on_grid"] >= model["bits_per_note"]
        versus = row["versus_markov"]
        assert versus["difference"] == pytest.approx(row["bits_per_note"] - row["baselines"]["markov"]["bits_per_note"])
        if row["works"] > 1:
            assert versus["interval"][0] <= versus["difference"] <= versus["interval"][1]
        grid = [model["bits_per_note_on_grid"] - model["bits_per_note"] for model in (row, *row["baselines"].values())]
        assert grid == pytest.approx([grid[0]] * 4)


def test_each_held_out_piece_has_a_line_that_gives_the_table_again(scored: tuple[Run, list[Any]]) -> None:
    run = scored[0]
    lines = [json.loads(line) for line in run.read("scores.jsonl").splitlines()]
    metrics = run.metrics()
    kept = {entry.name: entry for entry in run.kept()}
    for part in PARTS:
        mine = [line for line in lines if line["part"] == part]
        if part == "train":
            assert not mine
            continue
        assert [line["name"] for line in mine] == [name for name, entry in kept.items() if entry.split == part]
        assert all(line["seconds"] == kept[line["name"]].length_seconds for line in mine)
        columns = [[[*line[key].values()] for line in mine] for key in ("tokens", "grid_bits")]
        notes, seconds = ([line[key] for line in mine] for key in ("notes", "seconds"))
        scores = {
            name: Score(
                tuple(mine[0]["tokens"]),
                *map(np.array, ([[*line["nats"][name].values()] for line in mine], *columns, notes, seconds)),
            )
            for name in mine[0]["nats"]
        }
        assert set(scores) == {NETWORK, *MODELS}
        table = part_table(scores, np.array([line["work"] for line in mine]))
        assert json.loads(json.dumps(table)) == metrics[part]


def test_scoring_says_how_far_it_is(scored: tuple[Run, list[Any]]) -> None:
    progress = [record for record in scored[1] if isinstance(record, Progress)]
    doing = list(dict.fromkeys(record.doing for record in progress))
    assert doing[-3:] == ["scoring train", "scoring validation", "scoring test"]
    for each in doing[-3:]:
        steps = [record for record in progress if record.doing == each]
        assert steps[-1].done == steps[-1].total
        assert steps[0].done == 0


def test_evaluating_again_gives_the_same_bytes(scored: tuple[Run, list[Any]]) -> None:
    run = scored[0]
    before = [run.read(name) for name in ("metrics.json", "scores.jsonl")]
    list(score_parts(run))
    assert [run.read(name) for name in ("metrics.json", "scores.jsonl")] == before


def test_a_model_that_loses_to_counting_is_named_so(scored: tuple[Run, list[Any]]) -> None:
    metrics = scored[0].metrics()
    held = metrics[metrics["held_out"]]
    assert held["bits_per_note"] > held["baselines"]["markov"]["bits_per_note"]  # after three steps
    assert first_line(metrics, None).alarm


def test_the_table_in_the_terminal_shows_every_model_and_part(
    scored: tuple[Run, list[Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    metrics = scored[0].metrics()
    terminal.show_metrics(metrics)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    assert all(part in shown.splitlines()[0] for part in PARTS)
    for part in PARTS:
        for row in (metrics[part], *metrics[part]["baselines"].values()):
            assert f"{row['bits_per_note']:.3f}" in shown
            assert f"{row['perplexity_per_token']:.2f}" in shown
    terminal.show_metrics(metrics | {"lossy": "The rows lose something."})
    lossy = capsys.readouterr().out
    assert "bits" not in lossy
    assert "The rows lose something." in lossy


def test_without_held_out_works_nothing_is_claimed(tmp_path: Path, smf: Any) -> None:
    run = trained(tmp_path / "run", music(tmp_path / "music", smf, 1), build("tiny", **TINY))
    said = [record.text for record in score_parts(run) if isinstance(record, Said)]
    metrics = run.metrics()
    assert metrics["validation"] is None
    assert metrics["test"] is None
    assert metrics["train"]["interval"] is None
    assert metrics["train"]["versus_markov"]["interval"] is None
    assert run.read("scores.jsonl") == b""
    assert not [text for text in said if "validation" in text or "test" in text]
    terminal.show_metrics(metrics)


@pytest.mark.parametrize("window", [7, 4096])
def test_pieces_shorter_and_longer_than_the_window_are_scored_whole(tmp_path: Path, smf: Any, window: int) -> None:
    chosen = build("tiny", **{**TINY, "model": TINY["model"] | {"window": window}})
    run = trained(tmp_path / "run", music(tmp_path / "music", smf, 3), chosen)
    list(score_parts(run))
    for part in PARTS:
        row = run.metrics()[part]
        assert math.isfinite(row["bits_per_note"])
        assert row["tokens"] == 4 * row["notes"] + row["pieces"]  # every note's four fields, and one END each


def test_weights_that_are_not_numbers_are_refused(scored: tuple[Run, list[Any]], tmp_path: Path) -> None:
    improviser = scored[0].improviser()
    for parameter in improviser.model.parameters():
        parameter.data.fill_(math.nan)
    broken = with_model(copy(scored[0], tmp_path / "run"), improviser)
    with pytest.raises(CadenzaError, match="weights are not numbers"):
        list(score_parts(broken))


def test_a_model_of_another_vocabulary_is_refused(scored: tuple[Run, list[Any]], tmp_path: Path) -> None:
    run = copy(scored[0], tmp_path / "run")
    facts = run.facts()
    run.write("corpus/facts.json", json.dumps(asdict(replace(facts, unit="seconds", steps=100))).encode())
    with pytest.raises(CadenzaError, match="another vocabulary"):
        list(score_parts(run))


def test_rows_that_no_id_stands_for_are_refused(scored: tuple[Run, list[Any]], tmp_path: Path, cadenza: Any) -> None:
    run = copy(scored[0], tmp_path / "run")
    rows = np.load(run.folder / "corpus/rows.npy").astype(np.uint16)
    rows[:, 1] = 999
    np.save(run.folder / "corpus/rows.npy", rows)
    run.write("corpus/origin.json", json.dumps(run.origin() | digests(run)).encode())
    seal(run, "corpus")
    code, _, err = cadenza("evaluate", run.folder)
    assert code == 2
    assert "use the corpus and the representation it was made for" in err
    assert len(err.strip().splitlines()) == 1
