"""Pieces on request: records beside them, the same bytes again, the best of many, notes as they come."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic
from pretty_midi import PrettyMIDI

from cadenza import midi
from cadenza.checkpoint import Facts, fresh_model, model_bytes
from cadenza.evaluate.ranking import best, ranks, scores
from cadenza.notes import Notes, TimeBase
from cadenza.settings import MidiSettings, ModelSettings, TokenSettings
from cadenza.tokens import representation
from conftest import Cadenza

SETTINGS = ModelSettings(layers=1, width=32)
FACTS = {
    "performances": Facts("études", "seconds", 100, 40, 120.0, None, 55, 90),
    "scores": Facts("tunes", "beats", 24, 40, 90.0, (6, 8), 55, 90),
}


def saved(folder: Path, kind: str, seed: int = 3) -> Path:
    facts, path = FACTS[kind], folder / f"{kind}{seed}.safetensors"
    model = fresh_model(SETTINGS, representation("notes", facts.base), seed)
    reading = MidiSettings(time_base=facts.unit)
    path.write_bytes(model_bytes(model.state_dict(), SETTINGS, TokenSettings(), reading, facts, "ab" * 32, 17))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(tmp_path, "performances")


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    path = tmp_path / "prompt.mid"
    path.write_bytes(midi.to_bytes(Notes.of([0, 60, 110, 110], [60, 61, 62, 69], [50, 50, 90, 90], [80] * 4)))
    return path


def text_events(path: Path) -> list[str]:
    file = PrettyMIDI(str(path))
    assert file.instruments
    return [event.text for event in file.text_events]


@pytest.mark.parametrize("prompted", [True, False])
@pytest.mark.parametrize("more", [["--best-of", "3"], ["--notes", "30", "--top-p", "0.9,pitch=0.8"]])
def test_a_record_makes_the_same_bytes_again(
    cadenza: Cadenza, model: Path, prompt: Path, tmp_path: Path, prompted: bool, more: list[str]
) -> None:
    begin = ["--prompt", str(prompt)] if prompted else []
    code, _, _ = cadenza(
        "generate", model, "-n", "2", "--seed", "5", "--formats", "mid", "--out", tmp_path / "one", *more, *begin
    )
    assert code == 0
    records = sorted((tmp_path / "one").glob("*.json"))
    assert len(records) == 2
    for record in records:
        code, out, _ = cadenza("generate", "--again", record, "--out", tmp_path / "two")
        assert code == 0, out
        for suffix in (".mid", ".json"):
            first, second = record.with_suffix(suffix), tmp_path / "two" / record.with_suffix(suffix).name
            assert first.read_bytes() == second.read_bytes()


def test_the_file_says_how_it_was_made_and_is_the_same_music(cadenza: Cadenza, model: Path, tmp_path: Path) -> None:
    cadenza(
        "generate", model, "--seed", "5", "--seconds", "20", "--min-p", "0.01", "--formats", "mid", "--out", tmp_path
    )
    path, record = tmp_path / "seed5-01.mid", json.loads((tmp_path / "seed5-01.json").read_text())
    [text] = text_events(path)
    assert json.loads(text) == record["origin"]
    assert record["origin"]["sample"]["min_p"] == 0.01
    assert (record["origin"]["seed"], record["origin"]["item"]) == (5, 0)
    assert len(midi.read(path)) == record["notes"] == symusic.Score(path).note_num()
    assert 0 < record["mass_removed"] < 1
    assert record["bits_per_note"] > 0


@pytest.mark.parametrize("length", [1, 127, 128, 16_383, 16_384, 70_000])
def test_a_text_of_any_length_is_read_back(tmp_path: Path, length: int) -> None:
    path, text = tmp_path / "piece.mid", "é" + "x" * (length - 1)
    path.write_bytes(midi.with_text(midi.to_bytes(Notes.of([0, 9], [60, 61], [5, 5], [80, 90])), text))
    assert text_events(path) == [text.replace("é", "\\xe9")]
    assert midi.read(path).pitch.tolist() == [60, 61]


def test_notes_are_streamed_as_the_file_has_them(cadenza: Cadenza, model: Path, prompt: Path, tmp_path: Path) -> None:
    asked = ["generate", model, "--seed", "5", "--seconds", "20", "--prompt", prompt]
    code, out, _ = cadenza(*asked, "--stream")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    cadenza(*asked, "--formats", "mid", "--out", tmp_path)
    written = midi.read(tmp_path / "seed5-01.mid")[4:]
    assert [line["pitch"] for line in lines] == written.pitch.tolist()
    assert [line["onset_seconds"] for line in lines] == pytest.approx((written.onset / 100).tolist())
    assert {line["piece"] for line in lines} == {1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--best-of", "0"], "best-of"),
        (["--seconds", "1", "--prompt", "PROMPT"], "leaves nothing of 1 s; pass a larger --seconds"),
        (["--notes", "4", "--prompt", "PROMPT"], "has 4 notes, which leaves nothing of 4; pass a larger --notes"),
        (["--bars", "4"], "no bars; give --seconds or --notes"),
        (["--notes", "-1"], "notes"),
        (["--ending", "soft"], "ending"),
        (["--top-k", "pitch=x"], "is no top-k; write a whole number"),
        (["--top-p", "tempo=0.5"], "There is no field 'tempo'"),
        (["--min-p", "1"], "min_p"),
        (["--again", "PROMPT"], "not the record of a piece"),
        (["--again", "missing.json"], "cannot read this record"),
        (["--again", "PROMPT", "--top-k", "pitch=3"], "leave out --top-k"),
        (["--stream", "--best-of", "3"], "leave out --best-of"),
        (["--stream", "--out", "pieces"], "--stream writes no file and chooses none; leave out --out."),
        (["--formats", ""], "No format is given; formats: mid, "),
        (["--device", "gpu"], "There is no device 'gpu' here; devices: cpu"),
        (["--again", "PROMPT", "--seed", "1", "-n", "2"], "leave out --count, --seed"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(
    cadenza: Cadenza, model: Path, prompt: Path, options: list[str], words: str
) -> None:
    code, _, error = cadenza("generate", model, *(str(prompt) if one == "PROMPT" else one for one in options))
    assert code == 2
    assert words in error
    assert "Traceback" not in error


def test_no_model_is_one_sentence(cadenza: Cadenza) -> None:
    code, _, error = cadenza("generate")
    assert code == 2
    assert "Which model is to improvise?" in error


@pytest.mark.parametrize("broken", ["[]", "{}", '{"origin": 3}', "NaN", "not json"])
def test_a_record_of_nothing_is_one_sentence(cadenza: Cadenza, tmp_path: Path, broken: str) -> None:
    path = tmp_path / "piece.json"
    path.write_text(broken)
    code, _, error = cadenza("generate", "--again", path)
    assert code == 2
    assert "not the record of a piece" in error
    assert len(error.strip().splitlines()) == 1


def test_a_record_of_another_model_is_one_sentence(cadenza: Cadenza, model: Path, tmp_path: Path) -> None:
    cadenza("generate", model, "--seed", "5", "--seconds", "5", "--formats", "mid", "--out", tmp_path)
    code, _, error = cadenza("generate", saved(tmp_path, "performances", seed=4), "--again", tmp_path / "seed5-01.json")
    assert code == 2
    assert "made by another model" in error


def test_a_model_that_has_moved_is_asked_for(cadenza: Cadenza, model: Path, tmp_path: Path) -> None:
    cadenza("generate", model, "--seed", "5", "--seconds", "5", "--formats", "mid", "--out", tmp_path)
    moved, record = model.rename(tmp_path / "moved.safetensors"), tmp_path / "seed5-01.json"
    code, _, error = cadenza("generate", "--again", record)
    assert code == 2
    assert error.strip() == (
        f"cadenza: {record}: its model is no longer at {model}; say where it is: cadenza generate MODEL --again {record}."
    )
    assert cadenza("generate", moved, "--again", record, "--out", tmp_path / "again")[0] == 0


@pytest.mark.parametrize("last", ["file", "folder"])
def test_a_name_that_is_taken_is_found_before_the_first_file(
    cadenza: Cadenza, model: Path, tmp_path: Path, last: str
) -> None:
    taken = tmp_path / "out" / "seed5-01.svg"
    taken.parent.mkdir()
    taken.write_text("mine") if last == "file" else taken.mkdir()
    asked = ["generate", model, "--seed", "5", "--seconds", "5", "--formats", "mid,svg", "--out", taken.parent]
    code, _, error = cadenza(*asked)
    assert code == 2
    assert "seed5-01.svg: there is another file of this name" in error
    assert list(taken.parent.iterdir()) == [taken]


def test_bars_are_those_of_the_usual_metre(cadenza: Cadenza, tmp_path: Path) -> None:
    scores_model = saved(tmp_path, "scores")
    assert (
        cadenza("generate", scores_model, "--bars", "8", "--seed", "1", "--formats", "mid", "--out", tmp_path)[0] == 0
    )
    written = midi.read(tmp_path / "seed1-01.mid", unit="beats")
    assert written.onset[-1] < 8 * 3 * 24  # eight bars of six quavers
    assert written.header.time_base == TimeBase("beats", 24)


def test_a_reader_of_the_stream_who_has_enough_ends_it_quietly(model: Path) -> None:
    command = [sys.executable, "-m", "cadenza", "generate", str(model), "--stream", "--seed", "1", "-n", "9"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "pitch" in json.loads(process.stdout.readline())
        process.stdout.close()
        said = process.stderr.read()
    assert "Temperature 0.95 (the default)" in said
    assert "cadenza:" not in said
    assert "Traceback" not in said
    assert process.returncode == 0


def test_a_format_given_twice_is_written_once(cadenza: Cadenza, model: Path, tmp_path: Path) -> None:
    asked = ["generate", model, "--seed", "1", "--seconds", "5", "--formats", "mid,MID,mid", "--out", tmp_path / "out"]
    code, out, _ = cadenza(*asked)
    assert code == 0
    assert out.count("Wrote ") == 1
    assert json.loads((tmp_path / "out/seed1-01.json").read_text())["formats"] == ["mid"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_notes_that_cannot_be_written_are_one_sentence(model: Path) -> None:
    command = [sys.executable, "-m", "cadenza", "generate", str(model), "--stream", "--seed", "1"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "The notes cannot be written (No space left on device)" in done.stderr
    assert "Traceback" not in done.stderr


# The best of many


def piece(seed: int, notes: int = 60) -> Notes:
    rng = np.random.default_rng(seed)
    return Notes.of(
        np.cumsum(rng.integers(5, 40, notes)), rng.integers(55, 90, notes), rng.integers(5, 40, notes), [80] * notes
    )


def test_a_copy_is_less_original_and_nearer_to_the_collection() -> None:
    training = [piece(seed) for seed in range(20)]
    strange = Notes.of(np.arange(60) * 3, [127] * 60, [1] * 60, [1] * 60)
    found = scores([training[0], piece(99), strange], [5.0, 6.0, 7.0], training)
    assert found["originality"][0] == 0
    assert found["originality"][1] > 0.9
    assert found["closeness"][2] < min(found["closeness"][:2])
    assert found["likelihood"].tolist() == [-5.0, -6.0, -7.0]
    assert all(np.isfinite(values).all() for values in found.values())


def test_the_score_is_the_mean_rank_and_the_best_come_first() -> None:
    found: dict[str, Any] = scores([piece(1), piece(2), piece(3)], [3.0, 1.0, 2.0], [])
    assert set(found) == {"likelihood", "score"}
    assert found["score"].tolist() == [0.0, 1.0, 0.5]
    assert best(found, 2) == [1, 2]
    assert ranks(np.array([4.0])).tolist() == [1.0]


# Prompts, lengths and records that were once got wrong


@pytest.mark.parametrize("kind", sorted(FACTS))
def test_a_long_prompt_is_gone_on_from(cadenza: Cadenza, tmp_path: Path, kind: str) -> None:
    """The last stretch is one of what remains, so no piece ends with the prompt."""
    prompt = tmp_path / "prompt.mid"
    prompt.write_bytes(midi.to_bytes(Notes.of(np.arange(90) * 30, [60, 64, 67] * 30, [25] * 90, [80] * 90)))
    asked = ["generate", saved(tmp_path, kind), "--prompt", prompt, "-n", "8", "--seed", "1", "--formats", "mid"]
    code, _, error = cadenza(*asked, "--notes", "110", "--out", tmp_path / "pieces")
    assert code == 0, error
    assert len(list((tmp_path / "pieces").glob("*.mid"))) == 8
    for path in (tmp_path / "pieces").glob("*.mid"):
        assert 90 < len(midi.read(path)) <= 110


def test_no_notes_and_no_bars_are_no_length(cadenza: Cadenza, model: Path, tmp_path: Path) -> None:
    lengths = ["--notes", "0", "--bars", "0"]
    assert cadenza("generate", model, *lengths, "--seed", "1", "--formats", "mid", "--out", tmp_path)[0] == 0
    assert midi.read(tmp_path / "seed1-01.mid").length_seconds <= 60


def test_a_record_of_another_piece_is_not_replaced_and_the_same_piece_adds_a_format(
    cadenza: Cadenza, model: Path, tmp_path: Path
) -> None:
    one = ["--seed", "5", "--seconds", "10", "--out", tmp_path / "out"]
    assert cadenza("generate", model, *one, "--formats", "mid")[0] == 0
    assert cadenza("generate", model, *one, "--formats", "svg")[0] == 0
    assert json.loads((tmp_path / "out/seed5-01.json").read_text())["formats"] == ["mid", "svg"]
    other = saved(tmp_path, "performances", seed=4)
    code, _, error = cadenza("generate", other, *one, "--formats", "png")
    assert code == 2
    assert "the record of another piece; pass --force" in error
    assert not (tmp_path / "out/seed5-01.png").exists()
    assert cadenza("generate", other, *one, "--formats", "png", "--force")[0] == 0


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("prompt", "tempo"), 0), (("prompt", "pitch"), None), (("prompt", "onset"), "abc"), (("prompt", "meter"), [4]),
        (("prompt",), [1]), (("origin", "seed"), 1.5), (("origin", "item"), -1), (("origin", "sample", "top_p"), 2),
        (("scores",), {"score": float("nan")}), (("formats",), ["doc"]), (("prompt", "pitch"), [60]),
        (("prompt", "velocity"), [80, 80, 80, 90]), (("origin", "seed"), 6), (("origin", "item"), 1), (("notes",), 3),
    ],
)  # fmt: skip
def test_an_altered_record_is_one_sentence(
    cadenza: Cadenza, model: Path, prompt: Path, tmp_path: Path, place: tuple[str, ...], value: object
) -> None:
    cadenza(
        "generate", model, "--seed", "5", "--seconds", "9", "--prompt", prompt, "--formats", "mid", "--out", tmp_path
    )
    path = tmp_path / "seed5-01.json"
    record = json.loads(path.read_text())
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(record))
    code, _, error = cadenza("generate", "--again", path, "--out", tmp_path / "again")
    assert code == 2, error
    assert len(error.strip().splitlines()) == 1
    assert "Traceback" not in error
