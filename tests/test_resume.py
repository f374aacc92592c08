"""A run that is cut off anywhere goes on to the same end; a full disk, a moved folder and a clock that jumps do no harm."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cadenza import CadenzaError, export
from cadenza.lock import RUN_LOCK, held
from cadenza.presets import build
from cadenza.records import Progress, Record, Said
from cadenza.runs import fit, proof
from cadenza.runs.chain import CHAIN
from cadenza.runs.folder import PLOTS, TIMINGS, Run, open_run
from cadenza.runs.prepare import prepare
from cadenza.runs.stages import carry_out, evaluate, report
from conftest import ROOT, Cadenza, Midi

SETTINGS = build(
    "tiny",
    corpus={"folds": 0},
    model={"layers": 1, "width": 32},
    batches={"rows": 32, "size": 4},
    train={"steps": 4, "evaluations": 2, "threads": 1},
    sample={"seconds": 2, "count": 1},
)
TINY = [
    f"--set={section}.{key}={value}"
    for section, values in SETTINGS.model_dump(exclude_unset=True).items()
    for key, value in values.items()
    if section in ("corpus", "model", "batches", "train", "sample") and not isinstance(value, dict | list | tuple)
]
OWN = {TIMINGS, CHAIN, RUN_LOCK}
"""Files that a clock or a process number makes different."""


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory, smf: Midi) -> Path:
    folder = tmp_path_factory.mktemp("music") / "music"
    folder.mkdir()
    for seed in range(4):
        (folder / f"piece-{seed}.mid").write_bytes(smf.piece(seed))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every run is made: its pieces' records say where their model is."""
    return tmp_path_factory.mktemp("runs") / "run"


@pytest.fixture(scope="module")
def whole(place: Path, music: Path) -> Path:
    """A run that was never cut off, put aside."""
    list(carry_out(str(music), SETTINGS, place))
    return place.rename(place.with_name("whole"))


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in OWN)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


class Killed(BaseException):
    """Nothing in the program catches it."""


def test_a_run_cut_off_around_every_write_ends_like_one_never_cut_off(
    whole: Path, place: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is cut off once before it takes its name and once after it; training saves after every step.

    Of the pictures, which are made anew all together, one stands for the others.
    """
    plain, cut = export.write, set()

    def write(path: Path, data: bytes, keep: bool = False) -> Path:
        name = path.relative_to(place).as_posix()
        name = PLOTS if name.startswith(PLOTS) else name
        if (name, "before") not in cut:
            cut.add((name, "before"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f"{path.name}.part").write_bytes(data[: len(data) // 2])
            raise Killed
        written = plain(path, data, keep)
        if (name, "after") not in cut:
            cut.add((name, "after"))
            raise Killed
        return written

    monkeypatch.setattr(export, "write", write)
    monkeypatch.setattr(fit, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(fit, "SAVE_SHARE", 1e9)
    kills = 0
    while True:
        try:
            list(carry_out(str(music), SETTINGS, place, resume=True))
            break
        except Killed:
            kills += 1
    assert kills == len(cut) > 35
    assert files_of(place) == files_of(whole)
    assert not list(place.rglob("*.part"))
    assert states(open_run(place)) == {"ok"}
    shutil.rmtree(place)


def states(run: Run) -> set[str]:
    return {finding.state for finding in proof.findings(run)}


def test_the_chain_of_a_finished_run_is_whole(whole: Path) -> None:
    found = {finding.link: finding.state for finding in proof.findings(open_run(whole))}
    assert found == dict.fromkeys(
        ("source", "corpus", "model", "pieces", "figures", "judgement", "pictures", "report"), "ok"
    )


def complaint(run: Run) -> str:
    """What `verify` says at the end, if it is not content."""
    try:
        list(proof.prove(run))
    except CadenzaError as error:
        return str(error)
    return ""


def test_one_altered_bit_of_any_file_is_found(whole: Path, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(whole, tmp_path / "run")))
    names = sorted({*files_of(run.folder), CHAIN, TIMINGS})
    assert len(names) > 30
    for number, name in enumerate(names):
        path, data = run.folder / name, (run.folder / name).read_bytes()
        at = [0, len(data) // 3, len(data) - 1][number % 3]
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert complaint(run), (name, at)
        path.write_bytes(data)
    assert not complaint(run)


def test_a_file_that_is_gone_or_strange_is_named(whole: Path, tmp_path: Path, cadenza: Cadenza) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    (folder / "samples/01.mid").unlink()
    (folder / "plots/mine.svg").write_bytes(b"mine")
    code, out, err = cadenza("verify", folder)
    assert code == 2
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert (
        lines["pieces"]
        == "pieces    missing    samples/01.mid; restore it, or make it anew with cadenza run and --resume."
    )
    assert "not listed plots/mine.svg: not written by the program" in lines["pictures"]
    assert err.startswith(f"cadenza: {folder}: not as it was written (pieces, pictures)")
    assert len(err.strip().splitlines()) == 1


def test_altered_music_is_found(whole: Path, music: Path, smf: Midi) -> None:
    try:
        (music / "piece-1.mid").write_bytes(smf.piece(77))
        assert "(source)" in complaint(open_run(whole))
    finally:
        (music / "piece-1.mid").write_bytes(smf.piece(1))
    assert not complaint(open_run(whole))


def test_a_link_that_speaks_of_another_model_is_found(whole: Path, tmp_path: Path) -> None:
    """Files that were changed together with their digests, but not with what others say of them."""
    from cadenza.runs.chain import seal

    run = Run(Path(shutil.copytree(whole, tmp_path / "run")))
    metrics = run.metrics()
    run.write_json("metrics.json", metrics | {"model_sha256": "0" * 64})
    seal(run, "figures")
    assert "metrics.json is of another model" in "".join(finding.text for finding in proof.findings(run))
    run.write_json("metrics.json", metrics | {"step": 1})
    seal(run, "figures")
    assert "report.html is of another metrics.json" in "".join(finding.text for finding in proof.findings(run))


def test_what_was_altered_after_the_model_is_made_anew(whole: Path, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(whole, tmp_path / "run")))
    (run.folder / "metrics.json").write_bytes(b"{}")
    with pytest.raises(CadenzaError, match=r"metrics\.json: altered since it was written.* cadenza run and --resume"):
        list(report(run))
    said = texts(carry_out("nowhere", SETTINGS, run.folder, resume=True))
    assert f"{run.folder / 'metrics.json'}: altered since it was written; it is made anew." in said
    assert (run.folder / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()
    assert not complaint(run)


def test_an_altered_model_is_refused(whole: Path, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(whole, tmp_path / "run")))
    data = bytearray((run.folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (run.folder / "model.safetensors").write_bytes(data)
    for stage in (evaluate(run), carry_out("nowhere", SETTINGS, run.folder, resume=True)):
        with pytest.raises(CadenzaError, match=r"model\.safetensors: altered since it was written"):
            list(stage)


def texts(records: Iterator[Record]) -> list[str]:
    return [record.text for record in records if isinstance(record, Said)]


def test_a_second_process_on_one_folder_is_refused(whole: Path, tmp_path: Path, cadenza: Cadenza) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    with held(folder / RUN_LOCK):
        for arguments in (("run", "nowhere", "--out", folder, "--resume"), ("report", folder), ("tune", folder)):
            code, _, err = cadenza(*arguments)
            assert code == 2
            last = err.splitlines()[-1]  # matplotlib may speak of its font cache first
            assert last.startswith(f"cadenza: {folder}: another process (number {os.getpid()}) works here; wait")


def test_a_run_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CadenzaError, match="There is no folder"):
        list(carry_out("nowhere", SETTINGS, tmp_path / "run"))
    assert not list(tmp_path.iterdir())


def test_a_trained_folder_without_its_settings_is_not_begun_anew(whole: Path, music: Path, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(whole, tmp_path / "run")))
    (run.folder / "config.toml").unlink()
    before = files_of(run.folder)
    with pytest.raises(CadenzaError, match=r"its config\.toml is missing; copy it back"):
        list(carry_out(str(music), SETTINGS, run.folder))
    assert files_of(run.folder) == before


def test_a_log_that_lacks_steps_is_said(whole: Path, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(whole, tmp_path / "run")))
    (run.folder / CHAIN).unlink()
    run.write("log.jsonl", b"".join(run.read("log.jsonl").splitlines(keepends=True)[1:]))
    with pytest.raises(CadenzaError, match=r"log\.jsonl: it does not hold the 4 steps"):
        list(carry_out("nowhere", SETTINGS, run.folder, resume=True))


def test_a_folder_moved_with_its_music_goes_on(place: Path, music: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The source was given from where the command was called, and is found from there again."""
    home = tmp_path / "home"
    shutil.copytree(music, home / "music")
    monkeypatch.chdir(home)
    for record in carry_out("music", SETTINGS, Path("run")):
        if type(record).__name__ == "Evaluation":
            break
    (tmp_path / "home").rename(tmp_path / "away")
    monkeypatch.chdir(tmp_path / "away")
    said = texts(carry_out("music", SETTINGS, Path("run"), resume=True))
    assert not [text for text in said if "not here" in text]
    assert states(open_run(Path("run"))) == {"ok"}


def limited(bytes_: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


@pytest.mark.parametrize("limit", [200, 20_000, 300_000])
def test_a_full_disk_is_said_in_one_sentence_and_the_run_goes_on_afterwards(
    whole: Path, place: Path, music: Path, limit: int
) -> None:
    """No file can grow beyond so many bytes: settings, the model, the report are over it."""
    command = [sys.executable, "-m", "cadenza", "run", str(music), "--out", str(place), "--preset", "tiny", *TINY]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=lambda: limited(limit))
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "cannot write it (" in done.stderr and "free space" in done.stderr
    list(carry_out(str(music), SETTINGS, place, resume=True))
    assert files_of(place) == files_of(whole)
    shutil.rmtree(place)


JUMPING = """
import itertools, time
plain, turns = time.time, itertools.cycle((0, 1e6, -1e8, 4e8))
time.time = lambda: plain() + next(turns)
"""


def test_a_clock_that_jumps_changes_nothing(whole: Path, place: Path, music: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(JUMPING)
    path = os.pathsep.join(map(str, (tmp_path, ROOT / "src")))
    command = [sys.executable, "-m", "cadenza", "run", str(music), "--out", str(place), "--preset", "tiny", *TINY]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert (done.returncode, done.stderr) == (0, "")
    assert files_of(place) == files_of(whole)
    shutil.rmtree(place)


@pytest.mark.slow
def test_runs_killed_at_random_end_like_one_never_killed() -> None:
    """The benchmark, shortened."""
    import json

    pytest.importorskip("music21")
    script = ROOT / "benchmarks/resume.py"
    done = subprocess.run([sys.executable, script, "--kills", "3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] == found["identical"] == 3
    assert 0 <= found["lost_steps_max"] <= 20


def test_a_preparation_that_was_cut_off_comes_to_the_same(pieces: Path, tmp_path: Path) -> None:
    settings = build("tiny", train={"steps": 8})
    whole, cut = Run(tmp_path / "whole"), Run(tmp_path / "cut")
    list(prepare(whole, str(pieces), settings, None))
    records = prepare(cut, str(pieces), settings, None)
    for record in records:
        if isinstance(record, Progress) and record.doing == "grouping":
            break
    records.close()  # type: ignore[attr-defined]
    list(prepare(cut, str(pieces), settings, None))
    assert cut.derived() == whole.derived()
    assert cut.manifest_sha256() == whole.manifest_sha256()
