"""Whole runs on small folders: every part of the way, stopped and resumed, with little or bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cadenza
from cadenza import CadenzaError, midi
from cadenza.presets import build
from cadenza.records import Evaluation, Said, Step, Stopped
from cadenza.runs.chain import seal
from cadenza.runs.folder import Run, open_run
from cadenza.runs.settling import against_overfitting, measures
from cadenza.runs.stages import carry_out, evaluate, train
from cadenza.settings import Settings
from conftest import touched

TINY: dict[str, Any] = {
    "corpus": {"folds": 0},
    "model": {"layers": 1, "width": 32},
    "batches": {"rows": 32, "size": 4},
    "train": {"steps": 12, "evaluations": 3, "threads": 1},
    "sample": {"seconds": 6, "count": 2},
}


def tiny(**train: Any) -> Settings:
    return build("tiny", **{**TINY, "train": TINY["train"] | train})


def done(folder: Path, source: Path, settings: Settings, **options: Any) -> tuple[Run, list[str]]:
    said = [record.text for record in carry_out(str(source), settings, folder, **options) if isinstance(record, Said)]
    return open_run(folder), said


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, smf: Any) -> tuple[Run, list[str]]:
    """One finished run on six pieces and some rubbish."""
    folder = tmp_path_factory.mktemp("music")
    for seed in range(6):
        (folder / f"piece {seed} 🎻.mid").write_bytes(smf.piece(seed))
    (folder / "rubbish.mid").write_text("these are words")
    return done(tmp_path_factory.mktemp("runs") / "one", folder, tiny())


def test_a_run_leaves_everything_in_its_folder(finished: tuple[Run, list[str]]) -> None:
    run, _ = finished
    for name in (
        "config.toml", "manifest.jsonl", "model.safetensors", "state.safetensors", "log.jsonl", "metrics.json", "report.html",
        "plots/learning_curve.svg", "plots/learning_curve.png", "samples/01.mid", "samples/02.mp3",
    ):  # fmt: skip
        assert (run.folder / name).stat().st_size > 0
    assert not list(run.folder.rglob("*.part"))


def test_a_run_says_what_it_derived_and_what_it_left_out(finished: tuple[Run, list[str]]) -> None:
    run, said = finished
    text = "\n".join(said)
    assert "Kept 6 pieces" in text
    assert "Left out 1: not a MIDI file" in text
    assert "4 pieces for training, 1 for validation, 1 for the test" in text
    assert next(entry.reason for entry in run.entries() if entry.reason).startswith("rubbish.mid: not a MIDI file")


def test_a_finished_run_is_reused_whole(finished: tuple[Run, list[str]]) -> None:
    run, _ = finished
    before = touched(run)
    _, said = done(run.folder, Path("nowhere"), tiny(), resume=True)
    assert touched(run) == before
    assert said[-1].startswith("Report: ")


def test_a_run_is_not_overwritten(finished: tuple[Run, list[str]]) -> None:
    run, _ = finished
    with pytest.raises(CadenzaError, match="--resume"):
        done(run.folder, run.folder, tiny())


def test_every_step_is_logged_without_a_clock(finished: tuple[Run, list[str]]) -> None:
    log = finished[0].log()
    assert [line["step"] for line in log if line["kind"] == "step"] == list(range(1, 13))
    assert [line["step"] for line in log if line["kind"] == "evaluation"] == [4, 8, 12]
    assert not {key for line in log for key in line} & {"time", "seconds", "date"}


def test_the_model_says_which_manifest_it_learned_from_and_an_altered_one_is_refused(
    finished: tuple[Run, list[str]], tmp_path: Path
) -> None:
    import shutil

    run = finished[0]
    assert run.improviser().manifest_sha256 == run.manifest_sha256()
    copy = Run(Path(shutil.copytree(run.folder, tmp_path / "copy")))
    with (copy.folder / "manifest.jsonl").open("a") as manifest:
        manifest.write(json.dumps({"name": "more.mid", "reason": "added"}) + "\n")
    with pytest.raises(CadenzaError, match="manifest"):
        list(evaluate(copy))


def test_metrics_hold_every_part_with_baselines(finished: tuple[Run, list[str]]) -> None:
    metrics = finished[0].metrics()
    for part in ("train", "validation", "test"):
        row = metrics[part]
        for model in (row, *row["baselines"].values()):
            if row["works"] > 1:
                low, high = model["interval"]
                assert low - 1e-9 < model["bits_per_note"] < high + 1e-9  # a blind guess differs by the ends alone
            else:
                assert model["interval"] is None
            assert sum(model["bits_per_note_by_field"].values()) == pytest.approx(model["bits_per_note"])
        assert row["baselines"]["unigram"]["bits_per_note"] < row["baselines"]["uniform"]["bits_per_note"]


def test_the_python_interface_does_the_same(pieces: Path, tmp_path: Path, finished: tuple[Run, list[str]]) -> None:
    run = cadenza.run(pieces, tmp_path / "run", preset="tiny", **TINY)
    piece = cadenza.load(run.folder).generate(seconds=5, seed=1)[0]
    assert len(piece)
    assert piece.length_seconds <= 5.1


def interrupted(folder: Path, source: Path, at: int) -> None:
    """Run until step `at`, then as if Ctrl-C had been pressed."""

    def records() -> None:
        for record in carry_out(str(source), tiny(), folder):
            if isinstance(record, Step) and record.step == at:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match="--resume"):
        records()


@pytest.mark.parametrize("at", [1, 4, 9, 12])
def test_a_run_stopped_and_resumed_ends_like_one_never_stopped(pieces: Path, tmp_path: Path, at: int) -> None:
    whole, _ = done(tmp_path / "whole", pieces, tiny())
    interrupted(tmp_path / "halves", pieces, at)
    halves, _ = done(tmp_path / "halves", pieces, tiny(), resume=True)
    for name in ("model.safetensors", "log.jsonl", "metrics.json", "manifest.jsonl", "samples/01.mid"):
        assert (halves.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def works(folder: Path, smf: Any, count: int, first: int = 0) -> Path:
    folder.mkdir()
    for seed in range(first, first + count):
        (folder / f"{seed}.mid").write_bytes(smf.piece(seed))
    return folder


def test_one_work_is_trained_on_with_a_warning_and_no_claim(tmp_path: Path, smf: Any) -> None:
    run, said = done(tmp_path / "run", works(tmp_path / "music", smf, 1), tiny())
    metrics = run.metrics()
    assert metrics["test"] is None
    assert metrics["validation"] is None
    assert any("no held-out figure can be claimed" in line for line in said)
    assert "No held-out figure" in (run.folder / "report.html").read_text()
    assert run.improviser().step == 12


def test_two_works_give_a_test_but_no_validation(tmp_path: Path, smf: Any) -> None:
    run, said = done(tmp_path / "run", works(tmp_path / "music", smf, 2), tiny())
    assert run.metrics()["test"]["works"] == 1
    assert run.metrics()["validation"] is None
    assert any("the last state is kept" in line for line in said)


def test_fine_tuning_starts_from_the_given_model(finished: tuple[Run, list[str]], tmp_path: Path, smf: Any) -> None:
    parent = finished[0]
    settings = tiny(steps=1, learning_rate=1e-9)
    child, _ = done(
        tmp_path / "child", works(tmp_path / "music", smf, 3), settings, init=parent.folder / "model.safetensors"
    )
    before, after = parent.improviser(), child.improviser()
    for one, other in zip(before.model.parameters(), after.model.parameters(), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), atol=1e-6)
    assert child.settings().model.width == parent.settings().model.width
    assert after.facts.base == before.facts.base


def test_fine_tuning_takes_the_time_grid_of_the_parent(
    finished: tuple[Run, list[str]], tmp_path: Path, smf: Any
) -> None:
    parent = finished[0]
    settings = build("tiny", **{**TINY, "midi": {"steps_per_beat": 12, "time_base": "seconds"}})
    child, said = done(
        tmp_path / "child",
        works(tmp_path / "music", smf, 3, first=21),
        settings,
        init=parent.folder / "model.safetensors",
    )
    assert child.facts().base == parent.facts().base
    assert any("0 pieces of works that it has seen train" in line for line in said)
    assert "Fine-tuned." not in (child.folder / "report.html").read_text()


def test_what_the_parent_has_seen_is_never_held_out_from_the_child(
    finished: tuple[Run, list[str]], tmp_path: Path, smf: Any
) -> None:
    music = works(tmp_path / "music", smf, 3, first=21)
    for seed in range(6):
        (music / f"known-{seed}.mid").write_bytes(smf.piece(seed))
    child, said = done(tmp_path / "child", music, tiny(), init=finished[0].folder / "model.safetensors")
    split = {entry.name: entry.split for entry in child.kept()}
    seen = [entry.name for entry in finished[0].kept() if entry.split != "test"]
    assert len(seen) == 5
    assert {split[f"known-{name.split()[1][0]}.mid"] for name in seen} == {"train"}
    assert {"validation", "test"} <= set(split.values())
    assert any("5 pieces of works that it has seen train" in line for line in said)
    own, parents = child.improviser().seen, finished[0].improviser().seen
    assert own is not None and parents is not None
    assert len(own) > len(parents)


def test_a_parent_that_does_not_say_what_it_has_seen_is_pointed_out(
    finished: tuple[Run, list[str]], tmp_path: Path, smf: Any
) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(finished[0].folder / "model.safetensors", "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys() if name != "cadenza.seen"}  # noqa: SIM118
        save_file(weights, tmp_path / "old.safetensors", file.metadata())
    child, said = done(
        tmp_path / "child", works(tmp_path / "music", smf, 3, first=21), tiny(), init=tmp_path / "old.safetensors"
    )
    assert any("held out from this run only" in line for line in said)
    assert child.metrics()["fine_tuned"]
    assert "Fine-tuned." in (child.folder / "report.html").read_text()


def test_a_model_left_by_an_unfinished_preparation_is_not_taken_up(
    finished: tuple[Run, list[str]], pieces: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/init.safetensors").write_bytes(b"of another time")
    run, _ = done(tmp_path / "run", pieces, tiny())
    assert not run.metrics()["fine_tuned"]


def test_samples_cut_off_are_made_again(finished: tuple[Run, list[str]], tmp_path: Path) -> None:
    import shutil

    copy = Run(Path(shutil.copytree(finished[0].folder, tmp_path / "copy")))
    for name in ("samples/samples.json", "samples/02.mp3", "samples/02.svg", "report.html"):
        (copy.folder / name).unlink()
    done(copy.folder, Path("nowhere"), tiny(), resume=True)
    assert (copy.folder / "samples/02.svg").exists()
    assert (copy.folder / "report.html").exists()


def test_drums_can_be_learned_and_shown(tmp_path: Path, smf: Any) -> None:
    folder = tmp_path / "drums"
    folder.mkdir()
    for seed in range(3):
        (folder / f"{seed}.mid").write_bytes(smf.file(smf.melody(seed, channel=9)))
    run, _ = done(tmp_path / "run", folder, build("tiny", **{**TINY, "midi": {"drums": "keep"}}))
    assert (run.folder / "report.html").exists()
    assert run.facts().program == -1


def test_damaged_files_of_a_run_are_named(finished: tuple[Run, list[str]], tmp_path: Path, cadenza: Any) -> None:
    import shutil

    for name in ("corpus/rows.npy", "corpus/facts.json", "manifest.jsonl", "state.safetensors"):
        copy = Path(shutil.copytree(finished[0].folder, tmp_path / name.replace("/", "-")))
        (copy / name).write_bytes(b"{ cut")
        code, _, err = (
            cadenza("train", "nowhere", "--out", copy, "--resume") if "state" in name else cadenza("evaluate", copy)
        )
        assert code == 2, (name, err)
        assert "Traceback" not in err
        assert len(err.strip().splitlines()) == 1


def test_other_files_are_replaced_only_when_told(finished: tuple[Run, list[str]], tmp_path: Path, cadenza: Any) -> None:
    sample = finished[0].folder / "samples/01.mid"
    (tmp_path / "01.mp3").write_bytes(b"a recording of mine")
    code, _, err = cadenza("render", sample, "--out", tmp_path)
    assert code == 2
    assert "--force" in err
    assert (tmp_path / "01.mp3").read_bytes() == b"a recording of mine"
    assert cadenza("render", sample, "--out", tmp_path, "--force")[0] == 0
    assert (tmp_path / "01.mp3").read_bytes() != b"a recording of mine"


def test_samples_open_in_another_reader_and_carry_the_program(finished: tuple[Run, list[str]]) -> None:
    import mido

    for path in sorted((finished[0].folder / "samples").glob("*.mid")):
        messages = [message for track in mido.MidiFile(path).tracks for message in track]
        assert {message.program for message in messages if message.type == "program_change"} == {40}
        assert {"set_tempo", "time_signature"} <= {message.type for message in messages}
        assert any(message.type == "note_on" for message in messages)


def test_commands_work_on_a_finished_run(finished: tuple[Run, list[str]], tmp_path: Path, cadenza: Any) -> None:
    folder = finished[0].folder
    generate = ("generate", folder, "-n", 2, "--seconds", 5, "--seed", 7, "--formats")
    assert cadenza(*generate, "mid,wav,png", "--out", "a")[0] == 0
    assert cadenza(*generate, "mid", "--out", "b")[0] == 0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        f"seed7-0{k}.{kind}" for k in (1, 2) for kind in ("json", "mid", "png", "wav")
    ]
    assert (tmp_path / "a/seed7-01.mid").read_bytes() == (tmp_path / "b/seed7-01.mid").read_bytes()
    assert cadenza("render", "a/seed7-01.mid", "a/seed7-02.mid", "--formats", "flac", "--out", "sound")[0] == 0
    assert len(list((tmp_path / "sound").glob("*.flac"))) == 2
    assert cadenza("plot", "a/seed7-01.mid", "--out", "pictures")[0] == 0
    assert len(list((tmp_path / "pictures").iterdir())) == 2
    code, out, _ = cadenza("evaluate", folder)
    assert code == 0
    assert "bits per note" in out
    code, out, _ = cadenza("report", folder)
    assert code == 0
    assert "report.html" in out
    code, _, err = cadenza(
        "generate", folder, "--prompt", "a/seed7-01.mid", "--seconds", 12, "--formats", "mid", "--seed", 0, "--out", "c"
    )
    assert (code, err) == (0, "")
    given, made = (midi.read(tmp_path / name) for name in ("a/seed7-01.mid", "c/seed0-01.mid"))
    assert np.array_equal(made.pitch[: len(given)], given.pitch)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--temperature", "-1"), "sample.temperature"),
        (("--top-p", "0"), "sample.top_p"),
        (("--seconds", "-3"), "sample.seconds"),
        (("--formats", "mid,doc"), "doc"),
        (("--prompt", "missing.mid"), "missing.mid"),
        (("--prompt", "words.mid"), "not a MIDI file"),
        (("--soundfont", "none.sf2"), "none.sf2"),
        (("--device", "abacus"), "abacus"),
    ],
)
def test_wrong_options_of_generate_are_one_sentence_and_code_2(
    finished: tuple[Run, list[str]], tmp_path: Path, cadenza: Any, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "words.mid").write_text("words")
    code, _, err = cadenza("generate", finished[0].folder, "--seconds", 2, *arguments)
    assert code == 2
    assert words in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_greedy_generation_works_from_the_command_line(
    finished: tuple[Run, list[str]], tmp_path: Path, cadenza: Any
) -> None:
    code, _, err = cadenza(
        "generate",
        finished[0].folder,
        "--temperature",
        0,
        "--seed",
        0,
        "--seconds",
        3,
        "--formats",
        "mid",
        "--out",
        "greedy",
    )
    assert (code, err) == (0, "")
    assert (tmp_path / "greedy/seed0-01.mid").exists()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path, cadenza: Any) -> None:
    for command in ("evaluate", "report", "plot", "generate"):
        code, _, err = cadenza(command, tmp_path)
        assert code == 2
        assert str(tmp_path) in err
        assert "Traceback" not in err


@pytest.mark.slow
def test_a_real_interrupt_says_how_to_resume_and_resuming_finishes(pieces: Path, tmp_path: Path, cadenza: Any) -> None:
    arguments = [
        "run",
        str(pieces),
        "--out",
        "run",
        "--preset",
        "tiny",
        "--set",
        "train.steps=4000",
        "--set",
        "corpus.folds=0",
        "--set",
        "sample.seconds=3",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "cadenza", *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    limit = time.monotonic() + 120
    while not (tmp_path / "run/state.safetensors").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in err
    assert "Traceback" not in err
    step = open_run(tmp_path / "run").log()[-1]["step"]
    assert 0 < step < 4000
    config = tmp_path / "run/config.toml"
    config.write_text(config.read_text().replace("steps = 4000", f"steps = {step + 5}"))
    seal(open_run(tmp_path / "run"), "corpus")
    code, _, err = cadenza(*arguments, "--resume")
    assert code == 0, err
    assert open_run(tmp_path / "run").log()[-1]["step"] == step + 5


def small_disk(folder: Path, kilobytes: int) -> None:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs more rights than this test has")


def test_a_full_disk_is_one_sentence_and_nothing_written_is_lost(pieces: Path, tmp_path: Path, cadenza: Any) -> None:
    disk = tmp_path / "disk"
    small_disk(disk, 400)
    try:
        code, _, err = cadenza(
            "run",
            pieces,
            "--out",
            disk / "run",
            "--preset",
            "tiny",
            "--set",
            "train.steps=8",
            "--set",
            "model.width=64",
        )
        assert code == 2
        assert "full" in err or "No space left" in err
        assert "free space" in err
        assert "Traceback" not in err
        assert not list(disk.rglob("*.part"))
        for path in disk.rglob("*.jsonl"):
            assert all(json.loads(line) for line in path.read_text().splitlines())
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("opening", [10, 100])
def test_an_opening_longer_than_its_piece_can_still_be_gone_on_from(pieces: Path, tmp_path: Path, opening: int) -> None:
    run = Run(tmp_path / "run")
    settings = build("tiny", None, (), **{**TINY, "sample": {"opening": opening, "seconds": 3600}})
    list(train(str(pieces), settings, run.folder))
    improviser = run.improviser()
    grammar = improviser.representation.grammar()
    assert len(improviser.opening) == min(opening, 60)
    assert not any(grammar.ends(row) for row in improviser.opening)


def test_evaluations_are_records_of_the_validation_works(pieces: Path, tmp_path: Path) -> None:
    records = list(carry_out(str(pieces), tiny(), tmp_path / "run"))
    last = [record for record in records if isinstance(record, Evaluation)][-1]
    assert last.step == 12
    evaluations = [record for record in records if isinstance(record, Evaluation)]
    assert {frozenset(one.bits_per_note) for one in evaluations} == {frozenset({"validation", "train"})}
    assert min(one.bits_per_note["validation"] for one in evaluations) == pytest.approx(
        open_run(tmp_path / "run").metrics()["validation"]["bits_per_note"], rel=1e-5
    )


def test_windows_longer_than_every_piece_are_said_and_do_no_harm(pieces: Path, tmp_path: Path) -> None:
    settings = build("tiny", **{**TINY, "batches": {"rows": 4000, "size": 4}})
    run, said = done(tmp_path / "run", pieces, settings)
    longest = int(run.data().tables.lengths(run.data().training).max())
    assert [text for text in said if text.startswith(f"No training piece is longer than {longest} rows")]
    assert run.trained


def test_a_model_of_another_trunk_is_refused_as_a_beginning(
    finished: tuple[Run, list[str]], pieces: Path, tmp_path: Path
) -> None:
    settings = build("tiny", **{**TINY, "model": {"trunk": "lstm"}})
    parent = finished[0].folder / "model.safetensors"
    with pytest.raises(CadenzaError, match=r"is a transformer, this run asks for model.trunk = lstm; leave that out"):
        list(carry_out(str(pieces), settings, tmp_path / "child", init=parent))


def test_a_gpu_where_there_is_none_is_one_sentence(pieces: Path, tmp_path: Path) -> None:
    import torch

    absent = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(CadenzaError, match=f"There is no device '{absent}' here; devices: .*cpu"):
        list(carry_out(str(pieces), tiny(device=absent), tmp_path / "run"))


def test_what_was_set_against_overfitting_stays_and_the_rest_follows_from_the_reads() -> None:
    few, many, most = (against_overfitting(Settings(), reads) for reads in (0.5, 96, 1e6))
    assert (few.model.dropout, few.augment.invert, few.augment.blank) == (0.1, 0, 0)
    assert (many.model.dropout, many.augment.invert, many.augment.blank) == (0.2, 0.3, 0.15)
    assert (most.model.dropout, most.augment.invert, most.augment.blank) == (0.25, 0.3, 0.15)
    asked = build(model={"dropout": 0.7}, augment={"blank": 0.01})
    found = against_overfitting(asked, 96)
    assert (found.model.dropout, found.augment.invert, found.augment.blank) == (0.7, 0.3, 0.01)


def test_measures_against_overfitting_that_were_set_are_said_to_be() -> None:
    plain = build(model={"dropout": 0.7}, train={"ramp": False})
    settled = against_overfitting(plain, 96)
    assert measures(plain, settled, 96, varied=True) == (
        "Each work is read about 96 times: 70% of the activations dropped (as set), 15% of the ids hidden, 30% of the windows upside down."
    )
    assert measures(Settings(), against_overfitting(Settings(), 0.2), 0.2, varied=False) == (
        "Each work is read less than once: 10% of the activations dropped by the end."
    )


def test_a_model_too_large_for_the_gpu_is_one_sentence(pieces: Path, tmp_path: Path, monkeypatch: Any) -> None:
    import torch

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr("cadenza.planning.measure_speed", full)
    with pytest.raises(CadenzaError, match=r"^The GPU has too little memory .* batches.size \(now 16\)"):
        list(carry_out(str(pieces), build("small", train={"minutes": 1}), tmp_path / "run"))


def test_a_model_too_large_for_the_machine_is_one_sentence(pieces: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("cadenza.runs.settling.memory_here", lambda: 23.0 * 2**30)
    with pytest.raises(
        CadenzaError, match=r"need about \d+ GiB of memory, and this machine has 23; lower batches.size"
    ):
        list(carry_out(str(pieces), build("large", train={"minutes": 1, "device": "cpu"}), tmp_path / "run"))


def test_every_setting_in_force_is_written_down(finished: tuple[Run, list[str]]) -> None:
    run, said = finished
    settings = run.settings()
    assert settings.train.precision in ("float32", "bfloat16")
    [line] = [text for text in said if text.startswith("Each work is read about")]
    assert f"{settings.model.dropout:.0%} of the activations" in line
    assert run.improviser().settings == settings.model
