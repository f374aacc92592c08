"""A run repeated from its saved settings gives the same figures, and says which do not match."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cadenza import CadenzaError
from cadenza.presets import build
from cadenza.records import Said
from cadenza.runs.folder import Run, open_run
from cadenza.runs.reproduction import numbers, reproduce
from cadenza.runs.stages import carry_out, train
from cadenza.settings import Settings
from conftest import Cadenza, Midi


def settings(folds: int) -> Settings:
    return build(
        "tiny",
        corpus={"folds": folds},
        model={"layers": 1, "width": 32},
        batches={"rows": 32, "size": 4},
        train={"steps": 8, "evaluations": 2, "threads": 1},
        sample={"seconds": 4, "count": 2},
    )


@pytest.fixture(scope="module", params=[0, 5], ids=["split", "folds"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, smf: Midi) -> Run:
    music = tmp_path_factory.mktemp("music") / "music"
    music.mkdir()
    for seed in range(5):
        (music / f"piece-{seed}.mid").write_bytes(smf.piece(seed))
    folder = tmp_path_factory.mktemp("runs") / "run"
    list(carry_out(str(music), settings(request.param), folder))
    return open_run(folder)


def texts(run: Run, out: Path) -> list[str]:
    return [record.text for record in reproduce(run, out) if isinstance(record, Said)]


def test_every_figure_and_every_byte_of_model_and_samples_comes_out_the_same(finished: Run, tmp_path: Path) -> None:
    said = texts(finished, tmp_path / "again")
    assert "model.safetensors: the same bytes." in said
    assert "samples/01.mid: the same bytes." in said
    count = len(dict(numbers({"metrics": finished.metrics(), "judgement": finished.judgement()})))
    assert count > 100
    assert said[-1] == f"Of {count:,} figures, {count:,} match exactly, 0 to a thousandth, 0 do not."


def test_a_figure_that_was_doctored_is_named(finished: Run, tmp_path: Path) -> None:
    copy = Run(Path(shutil.copytree(finished.folder, tmp_path / "copy")))
    metrics = copy.metrics()
    honest = metrics["test"]["bits_per_note"]
    metrics["test"]["bits_per_note"] = 1.3
    copy.write("metrics.json", json.dumps(metrics).encode())
    said = texts(copy, tmp_path / "again")
    assert said[-1] == f"  metrics.test.bits_per_note: 1.3 before, {honest} now"
    assert ", 1 do not." in said[-2]


def test_other_music_is_refused(finished: Run, tmp_path: Path, smf: Midi) -> None:
    copy = Run(Path(shutil.copytree(finished.folder, tmp_path / "copy")))
    music = Path(shutil.copytree(copy.origin()["found_at"], tmp_path / "music"))
    (music / "piece-0.mid").write_bytes(smf.piece(77))
    copy.write("corpus/origin.json", json.dumps(copy.origin() | {"found_at": str(music)}).encode())
    with pytest.raises(CadenzaError, match="the music or the way it is read has changed"):
        list(reproduce(copy, tmp_path / "again"))


def test_an_unfinished_run_cannot_be_reproduced(finished: Run, tmp_path: Path, cadenza: Cadenza) -> None:
    list(train(finished.origin()["found_at"], settings(0), tmp_path / "half"))
    code, _, err = cadenza("reproduce", tmp_path / "half")
    assert code == 2
    assert "not a finished run" in err


def test_a_run_is_not_reproduced_in_its_own_folder(finished: Run) -> None:
    with pytest.raises(CadenzaError, match="cannot be reproduced in its own folder"):
        list(reproduce(finished, finished.folder))
