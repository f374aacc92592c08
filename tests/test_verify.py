"""An altered manifest, overlapping parts and changed files are refused by training and by evaluation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cadenza import CadenzaError
from cadenza.corpus.scan import Entry
from cadenza.corpus.store import STORE
from cadenza.presets import build
from cadenza.records import Record, Said
from cadenza.runs.chain import seal
from cadenza.runs.folder import Run, open_run
from cadenza.runs.manifest import Manifest
from cadenza.runs.prepare import prepare
from cadenza.runs.stages import evaluate, train
from cadenza.runs.verification import check_parts, verify
from conftest import Cadenza, Midi

SETTINGS = build(
    "tiny",
    corpus={"folds": 0},
    model={"layers": 1, "width": 32},
    train={"steps": 4, "evaluations": 2, "threads": 1},
)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory, smf: Midi) -> Path:
    folder = tmp_path_factory.mktemp("music") / "music"
    folder.mkdir()
    for seed in range(6):
        (folder / f"piece-{seed}.mid").write_bytes(smf.piece(seed))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, music: Path) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "run"
    list(train(str(music), SETTINGS, folder))
    return open_run(folder)


@pytest.fixture
def copy(trained: Run, music: Path, tmp_path: Path) -> Run:
    """The run and its music, both free to be spoiled."""
    shutil.copytree(music, tmp_path / "music")
    run = Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
    origin = run.origin() | {"found_at": str(tmp_path / "music")}
    run.write("corpus/origin.json", json.dumps(origin).encode())
    seal(run, "corpus")
    return run


def texts(records: list[Record]) -> list[str]:
    return [record.text for record in records if isinstance(record, Said)]


def test_an_unchanged_run_passes_without_a_word(copy: Run) -> None:
    assert list(verify(copy)) == []


def rewritten(run: Run, change: Callable[[Entry], Entry]) -> None:
    lines = (json.dumps(asdict(change(entry))) for entry in run.entries())
    run.write("manifest.jsonl", "".join(f"{line}\n" for line in lines).encode())


def go_on(run: Run) -> list[Record]:
    """Training taken up again before its end."""
    (run.folder / "model.safetensors").unlink()
    return list(train("anywhere", SETTINGS, run.folder, resume=True))


STAGES: dict[str, Callable[[Run], list[Record]]] = {
    "training": go_on,
    "evaluation": lambda run: list(evaluate(run)),
}


@pytest.mark.parametrize("stage", STAGES)
def test_parts_that_overlap_are_refused(copy: Run, stage: str) -> None:
    works = [entry.work for entry in copy.kept() if entry.split == "train"][:1]
    rewritten(copy, lambda entry: replace(entry, work=works[0]) if entry.split == "test" else entry)
    with pytest.raises(CadenzaError, match=r"are the same work, so held-out figures would flatter"):
        STAGES[stage](copy)


@pytest.mark.parametrize("stage", STAGES)
def test_an_altered_manifest_is_refused(copy: Run, stage: str) -> None:
    rewritten(copy, lambda entry: replace(entry, notes=entry.notes + 1))
    with pytest.raises(CadenzaError, match=r"manifest\.jsonl: altered since it was written"):
        STAGES[stage](copy)


@pytest.mark.parametrize("stage", STAGES)
def test_altered_tables_are_refused(copy: Run, stage: str) -> None:
    path = copy.folder / "corpus/rows.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CadenzaError, match=r"rows\.npy: altered since"):
        STAGES[stage](copy)


@pytest.mark.parametrize("stage", STAGES)
def test_a_file_that_changed_is_refused_by_name(copy: Run, tmp_path: Path, smf: Midi, stage: str) -> None:
    (tmp_path / "music/piece-3.mid").write_bytes(smf.piece(99))
    with pytest.raises(CadenzaError, match=r"piece-3\.mid has changed since the run was prepared"):
        STAGES[stage](copy)


def test_a_file_that_is_gone_is_refused_by_name(copy: Run, tmp_path: Path) -> None:
    (tmp_path / "music/piece-2.mid").unlink()
    with pytest.raises(CadenzaError, match=r"piece-2\.mid is gone"):
        list(verify(copy))


def test_new_files_beside_those_of_the_run_do_not_matter(copy: Run, tmp_path: Path, smf: Midi) -> None:
    (tmp_path / "music/piece-9.mid").write_bytes(smf.piece(9))
    assert list(verify(copy)) == []


def test_a_source_that_is_not_here_is_said(copy: Run, tmp_path: Path) -> None:
    (tmp_path / "music").rename(tmp_path / "elsewhere")
    copy.write("corpus/origin.json", json.dumps(copy.origin() | {"source": "music"}).encode())
    seal(copy, "corpus")
    assert texts(list(verify(copy))) == [
        f"{tmp_path / 'music'} is not here, so its files could not be compared with the manifest."
    ]


def test_a_scan_is_no_music_to_compare_with(copy: Run, tmp_path: Path) -> None:
    (tmp_path / "music").rename(tmp_path / "elsewhere")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / STORE).write_bytes(b"a scan")
    copy.write("corpus/origin.json", json.dumps(copy.origin() | {"source": str(tmp_path / "kept")}).encode())
    seal(copy, "corpus")
    assert texts(list(verify(copy))) == [
        f"{tmp_path / 'music'} is not here, so its files could not be compared with the manifest."
    ]


@pytest.mark.parametrize("content", ["[]", '""', "7"])
def test_a_chain_of_another_form_is_refused(copy: Run, cadenza: Cadenza, content: str) -> None:
    copy.write("chain.json", f"{content}\n".encode())
    code, _, said = cadenza("verify", copy.folder)
    assert (code, "chain.json: altered" in said) == (2, True)


def test_a_work_in_two_folds_is_refused(tmp_path: Path) -> None:
    entries = [Entry("a.mid", work=1, split="train", fold=0), Entry("b.mid", work=1, split="train", fold=1)]
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in entries))
    with pytest.raises(CadenzaError, match=r"a\.mid \(train fold 1\) and b\.mid \(train fold 2\) are the same work"):
        check_parts(Manifest.read(path))


def test_the_tunes_of_an_abc_file_are_checked_by_their_file(tmp_path: Path) -> None:
    tune = "T:tune {0}\nM:4/4\nL:1/8\nK:C\n" + "CDEF GABc|" * 4 + "{1}\n"
    folder = tmp_path / "abc"
    folder.mkdir()
    (folder / "tunes.abc").write_text("".join(f"X:{k}\n" + tune.format(k, "CEGc " * k + "|") for k in (1, 2)))
    run = Run(tmp_path / "run")
    list(prepare(run, str(folder), SETTINGS, None))
    assert [entry.name for entry in run.kept()] == ["tunes.abc#1", "tunes.abc#2"]
    assert list(verify(run)) == []
    with (folder / "tunes.abc").open("a") as file:
        file.write("%\n")
    with pytest.raises(CadenzaError, match=r"tunes\.abc has changed"):
        list(verify(run))


def test_the_command_says_it_in_one_sentence_with_code_2(copy: Run, cadenza: Cadenza) -> None:
    rewritten(copy, lambda entry: replace(entry, notes=entry.notes + 1))
    code, _, err = cadenza("evaluate", copy.folder)
    assert code == 2
    assert err.startswith(f"cadenza: {copy.folder / 'manifest.jsonl'}: altered")
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["evaluate", "tune"])
def test_a_run_that_is_not_finished_is_not_judged(copy: Run, cadenza: Cadenza, command: str) -> None:
    (copy.folder / "model.safetensors").unlink()
    code, _, err = cadenza(command, copy.folder)
    assert code == 2
    assert "its training is not finished" in err
    assert len(err.strip().splitlines()) == 1


def test_figures_of_an_earlier_state_go_when_training_goes_on(copy: Run) -> None:
    copy.write_json("metrics.json", {"of": "an earlier state"})
    go_on(copy)
    assert not (copy.folder / "metrics.json").exists()


@pytest.mark.parametrize("command", ["report", "evaluate", "tune"])
def test_an_altered_manifest_makes_every_figure_worthless(copy: Run, cadenza: Cadenza, command: str) -> None:
    list(evaluate(copy))
    rewritten(copy, lambda entry: replace(entry, notes=entry.notes + 1))
    code, _, err = cadenza(command, copy.folder)
    assert code == 2
    assert "altered since it was written" in err


@pytest.mark.parametrize("content", [b"[train\n", b"\xff\xfe\0", b"a = " + b"[" * 5000])
def test_settings_of_a_run_that_are_damaged_are_to_be_copied_back(copy: Run, cadenza: Cadenza, content: bytes) -> None:
    copy.write("config.toml", content)
    code, _, said = cadenza("evaluate", copy.folder)
    assert (code, "config.toml: missing or damaged (" in said, "copy it back" in said) == (2, True, True)
