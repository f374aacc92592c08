"""Few works: each fold is held out from a training of its own, and the delivered model learns from all."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadenza.corpus.scan import Entry
from cadenza.corpus.split import TEST, TRAIN
from cadenza.improviser import load_improviser
from cadenza.likelihood import score
from cadenza.presets import build
from cadenza.records import Evaluation, Record, Said, Step, Stopped
from cadenza.runs.folder import Run, open_run
from cadenza.runs.folds import bits_of, choose, evaluations, held_out_score, mean_log, place
from cadenza.runs.stages import carry_out
from cadenza.settings import CorpusSettings, Settings
from conftest import Cadenza, Midi, split_pieces, touched

SMALL: dict[str, Any] = {
    "model": {"layers": 1, "width": 32},
    "batches": {"rows": 32, "size": 4},
    "train": {"steps": 12, "evaluations": 4, "threads": 1},
    "sample": {"seconds": 4, "count": 1},
}


def small(**sections: Any) -> Settings:
    return build("tiny", **{name: SMALL.get(name, {}) | sections.get(name, {}) for name in SMALL | sections})


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory, smf: Midi) -> Path:
    folder = tmp_path_factory.mktemp("music") / "five"
    folder.mkdir()
    for seed in range(5):
        (folder / f"piece-{seed}.mid").write_bytes(smf.piece(seed))
    return folder


Finished = tuple[Run, list[Record]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, five: Path) -> Finished:
    folder = tmp_path_factory.mktemp("runs") / "five"
    records = list(carry_out(str(five), small(), folder))
    return open_run(folder), records


# Dealing


def kept(sizes: list[int]) -> list[Entry]:
    return [Entry(f"{work}-{number}.mid", work=work) for work, size in enumerate(sizes) for number in range(size)]


@given(st.lists(st.integers(1, 30), min_size=2, max_size=9), st.integers(0, 99), st.integers(2, 20))
def test_few_works_are_dealt_into_folds_that_keep_works_whole(sizes: list[int], seed: int, most: int) -> None:
    entries = split_pieces(kept(sizes), CorpusSettings(folds=most), seed)
    assert {entry.split for entry in entries} == {TRAIN}
    fold_of = {entry.work: entry.fold for entry in entries}
    assert all(entry.fold == fold_of[entry.work] for entry in entries)
    assert sorted(set(fold_of.values())) == list(range(min(most, len(sizes))))


@pytest.mark.parametrize(
    ("works", "settings"),
    [
        (1, CorpusSettings()),
        (10, CorpusSettings()),
        (9, CorpusSettings(folds=0)),
        (9, CorpusSettings(folds=1)),
        (9, CorpusSettings(split_by="file")),
        (9, CorpusSettings(validation=0)),
        (9, CorpusSettings(test=0)),
        (5, CorpusSettings(test=0.2)),
    ],
)
def test_where_a_split_works_or_is_asked_for_there_are_no_folds(works: int, settings: CorpusSettings) -> None:
    assert {entry.fold for entry in split_pieces(kept([1] * works), settings, 0)} == {-1}


def test_a_file_left_out_is_in_no_fold() -> None:
    entries = split_pieces([Entry("bad.mid", reason="bad.mid: damaged."), *kept([1, 1])], CorpusSettings(), 0)
    assert next((entry.split, entry.fold) for entry in entries) == ("", -1)


# Choosing


@given(st.integers(2, 5), st.integers(1, 6), st.integers(0, 99))
def test_no_fold_has_a_say_in_the_step_at_which_it_is_read(folds: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.random((folds, steps))
    best, by_fold = choose(bits)
    assert bits.sum(axis=0)[best] == bits.sum(axis=0).min()
    for fold in range(folds):
        changed = bits.copy()
        changed[fold] = rng.random(steps)
        assert choose(changed)[1][fold] == by_fold[fold]


# A run


def test_every_piece_is_held_out_once_from_a_model_that_never_saw_it(finished: Finished) -> None:
    run, _ = finished
    assert run.folds() == 5
    pieces: list[int] = []
    for fold in range(5):
        data = run.fold_data(fold)
        assert not set(data.training) & set(data.validation)
        assert len(data.training) + len(data.validation) == 5
        pieces += data.validation.tolist()
    assert sorted(pieces) == list(range(5))


def test_a_fold_s_figure_is_that_of_its_own_model(finished: Finished) -> None:
    run, _ = finished
    for fold in range(5):
        data, last = run.fold_data(fold), evaluations(run, fold)[-1]
        if not last["best"]:
            continue
        model = load_improviser(run.folder / place(fold) / "model.safetensors").model
        expected = score(model, data.tables, data.schema, data.validation)
        assert bits_of(last) == pytest.approx(expected.nats_PF.sum() / np.log(2), rel=1e-5)


def test_the_delivered_model_learns_from_all_pieces_up_to_the_chosen_step(finished: Finished) -> None:
    run, records = finished
    chosen = run.choice()
    assert run.trained
    assert {entry.split for entry in run.kept()} == {TRAIN}
    assert len(run.data().training) == 5
    assert run.improviser().step == chosen["step"] == run.log()[-1]["step"]
    assert chosen["step"] in {record.step for record in records if isinstance(record, Evaluation)}
    assert any("learns from all pieces" in record.text for record in records if isinstance(record, Said))


def test_the_pooled_figure_of_the_folds_is_the_held_out_one(finished: Finished) -> None:
    run, _ = finished
    metrics = run.metrics()
    scores = [held_out_score(run, fold) for fold in range(5)]
    bits = sum(one.nats_PF.sum() for one in scores) / np.log(2) / sum(one.notes_P.sum() for one in scores)
    assert metrics["folds"] == 5
    assert metrics["validation"] is None
    assert metrics["held_out"] == TEST
    assert metrics[TEST]["bits_per_note"] == pytest.approx(bits)
    assert (metrics[TEST]["pieces"], metrics[TEST]["works"]) == (5, 5)
    low, high = metrics[TEST]["interval"]
    assert low <= metrics[TEST]["bits_per_note"] <= high


def test_the_curve_is_the_mean_of_the_folds_and_marks_the_choice(finished: Finished) -> None:
    run, _ = finished
    lines = mean_log(run)
    assert [line["step"] for line in lines] == [3, 6, 9, 12]
    assert [line["step"] for line in lines if line["best"]] == [run.choice()["step"]]
    each = [evaluations(run, fold)[0]["bits_per_note"]["validation"] for fold in range(5)]
    assert lines[0]["bits_per_note"]["validation"] == pytest.approx(np.mean(each))
    assert (run.folder / "plots/learning_curve.svg").exists()


def test_the_minutes_are_shared_by_all_trainings(five: Path, tmp_path: Path) -> None:
    from cadenza.runs.prepare import prepare

    said = []
    for folds in (0, 5):
        settings = small(corpus={"folds": folds}, train={"steps": 0, "minutes": 0.2})
        said += [
            one.text for one in prepare(Run(tmp_path / f"{folds}"), str(five), settings, None) if isinstance(one, Said)
        ]
    assert any("about 0.2 minutes" in text for text in said)
    assert any("about 0.0333 minutes for each of 6 trainings" in text for text in said)


@pytest.mark.parametrize("at", [2, 17, 50])
def test_folds_stopped_and_resumed_end_like_those_never_stopped(
    finished: Finished, five: Path, tmp_path: Path, at: int
) -> None:
    def until_stopped() -> None:
        steps = 0
        for record in carry_out(str(five), small(), tmp_path / "halves"):
            steps += isinstance(record, Step)
            if isinstance(record, Step) and steps == at:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match="--resume"):
        until_stopped()
    list(carry_out(str(five), small(), tmp_path / "halves", resume=True))
    whole, halves = finished[0], open_run(tmp_path / "halves")
    for name in ("model.safetensors", "folds/choice.json", "folds/3/log.jsonl", "metrics.json"):
        assert (whole.folder / name).read_bytes() == (halves.folder / name).read_bytes()


def test_a_resumed_fold_run_that_is_finished_is_reused_whole(finished: Finished) -> None:
    run, _ = finished
    before = touched(run)
    list(carry_out("nowhere", small(), run.folder, resume=True))
    assert touched(run) == before


def test_folds_leave_no_validation_works_to_tune_by(finished: Finished, cadenza: Cadenza) -> None:
    code, _, err = cadenza("tune", finished[0].folder)
    assert code == 2
    assert "its works were dealt into folds" in err
    assert "corpus.folds=0" in err
