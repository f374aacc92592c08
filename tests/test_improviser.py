"""Model files and the pieces they make: prompts kept, seeds repeated, bad files named."""

from __future__ import annotations

import json
import pickle
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from cadenza import CadenzaError, load, midi
from cadenza.improviser import FORMAT, Facts, Improviser, fresh_model, load_improviser, model_bytes
from cadenza.notes import Header, Notes, TimeBase
from cadenza.settings import MidiSettings, ModelSettings, TokenSettings
from cadenza.tokens import representation

FACTS = {
    "seconds": Facts("études", "seconds", 100, 40, 120.0, None, 55, 90),
    "beats": Facts("tunes", "beats", 24, 40, 90.0, (6, 8), 55, 90),
}
SMALL = ModelSettings(layers=1, width=16)
every_unit = pytest.mark.parametrize("unit", sorted(FACTS))


def saved(folder: Path, unit: str = "seconds") -> Path:
    facts = FACTS[unit]
    model = fresh_model(SMALL, representation("notes", facts.base), seed=3)
    path = folder / "model.safetensors"
    path.write_bytes(model_bytes(model.state_dict(), SMALL, TokenSettings(), MidiSettings(), facts, "ab" * 32, 17))
    return path


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return saved(tmp_path)


def prompt(unit: str) -> Notes:
    header = Header(time_base=FACTS[unit].base, tempo=FACTS[unit].tempo)
    return Notes.of([37, 37, 91, 500, 923], [60, 67, 71, 40, 100], [200, 13, 5, 40, 77], [1, 99, 127, 64, 77], header)


def test_saving_and_loading_give_the_same_bits(model_file: Path) -> None:
    loaded = load_improviser(model_file)
    fresh = fresh_model(SMALL, loaded.representation, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), fresh.parameters(), strict=True))
    assert loaded.facts == FACTS["seconds"]
    assert (loaded.step, loaded.manifest_sha256) == (17, "ab" * 32)


@every_unit
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path, unit: str) -> None:
    model = load(saved(tmp_path, unit))
    one, again, other = (midi.to_bytes(model.generate(seconds=20, seed=seed)[0]) for seed in (7, 7, 8))
    assert one == again != other


@every_unit
def test_the_notes_of_a_prompt_come_back_untouched(tmp_path: Path, unit: str) -> None:
    model, given = load(saved(tmp_path, unit)), prompt(unit)
    for piece in model.generate(count=3, seconds=40, prompt=given):
        for column, first in zip(piece.columns, given.columns, strict=True):
            assert np.array_equal(column[: len(given)], first)
        assert len(piece) > len(given)
        assert (piece.onset[len(given) :] >= given.onset[-1]).all()
        back = midi.parse(midi.to_bytes(piece), "piece", model.reading).notes(model.reading, unit)
        kept = set(zip(*(column.tolist() for column in back.columns), strict=True))
        assert set(zip(*(column.tolist() for column in given.columns), strict=True)) <= kept


@every_unit
def test_no_piece_is_longer_than_asked(tmp_path: Path, unit: str) -> None:
    for piece in load(saved(tmp_path, unit)).generate(count=4, seconds=7.5, temperature=1.3):
        assert 0 < piece.length_seconds <= 7.5 + piece.header.step_seconds


def test_generated_notes_stay_in_the_trained_range(model_file: Path) -> None:
    piece = load(model_file).generate(seconds=60, temperature=3)[0]
    assert ((piece.pitch >= 55) & (piece.pitch <= 90)).all()


@pytest.mark.parametrize(
    ("notes", "seconds", "words"),
    [
        (Notes.of([], [], [], []), 10, "no notes"),
        (Notes.of([2000], [60], [10], [80]), 10, "larger --seconds"),
        (Notes.of([0], [60], [10], [80], Header(time_base=TimeBase("beats", 24))), 10, "time base"),
    ],
)
def test_an_unusable_prompt_is_named(model_file: Path, notes: Notes, seconds: float, words: str) -> None:
    with pytest.raises(CadenzaError, match=words):
        load(model_file).generate(seconds=seconds, prompt=notes)


def test_an_unknown_sampling_setting_names_the_nearest(model_file: Path) -> None:
    with pytest.raises(CadenzaError, match="temperature"):
        load(model_file).generate(temprature=1)


def test_a_sampling_setting_out_of_range_is_refused(model_file: Path) -> None:
    with pytest.raises(CadenzaError, match=r"sample\.temperature"):
        load(model_file).generate(temperature=-1)


def with_header(path: Path, **changes: object) -> None:
    """Rewrite the header of a model file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = {FORMAT: json.dumps(json.loads(header["__metadata__"][FORMAT]) | changes)}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def damage(kind: str, path: Path) -> None:
    data = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a model at all, only words")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    elif kind == "torch":
        torch.save({"weights": torch.zeros(3)}, path)
    elif kind == "version":
        with_header(path, version=99)
    elif kind == "foreign":
        path.write_bytes(save({"weight": torch.zeros(3)}, {"format": "pt"}))
    elif kind == "mismatch":
        with_header(path, model=ModelSettings(layers=2, width=16).model_dump())
    elif kind == "facts":
        with_header(path, facts=asdict(FACTS["seconds"]) | {"steps": 10**9})
    elif kind == "huge":
        with_header(path, model=ModelSettings(layers=64, width=8192).model_dump())
    elif kind == "no json":
        path.write_bytes(save({"weight": torch.zeros(3)}, {FORMAT: "[1, 2"}))
    elif kind == "missing":
        path.unlink()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "damaged"), ("empty", "damaged"), ("text", "damaged"), ("pickle", "pickle"), ("torch", "pickle"),
        ("version", "format 99"), ("foreign", "not a Cadenza model"), ("mismatch", "do not fit"), ("facts", "do not fit"), ("huge", "do not fit"), ("no json", "header is damaged"), ("missing", "cannot read"),
    ],
)  # fmt: skip
def test_a_bad_model_file_is_named_in_one_sentence(model_file: Path, kind: str, words: str) -> None:
    damage(kind, model_file)
    with pytest.raises(CadenzaError, match=words) as caught:
        load(model_file)
    assert str(model_file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_whose_weights_are_not_numbers_is_named(tmp_path: Path) -> None:
    facts = FACTS["seconds"]
    model = fresh_model(SMALL, representation("notes", facts.base), seed=3)
    broken = {name: torch.full_like(tensor, float("nan")) for name, tensor in model.state_dict().items()}
    path = tmp_path / "model.safetensors"
    path.write_bytes(model_bytes(broken, SMALL, TokenSettings(), MidiSettings(), facts, "", 1))
    with pytest.raises(CadenzaError, match="not a number"):
        load(path).generate()


def test_loading_a_pickle_never_runs_it(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CadenzaError):
        load(path)
    assert not (tmp_path / "ran").exists()


def test_a_loaded_model_is_ready_to_improvise(model_file: Path) -> None:
    model = load(model_file)
    assert isinstance(model, Improviser)
    assert not model.model.training


def test_a_prompt_is_read_like_the_corpus_and_says_what_was_set_aside(
    model_file: Path, tmp_path: Path, smf: Any
) -> None:
    model = load_improviser(model_file)
    path = tmp_path / "two.mid"
    path.write_bytes(
        smf.file(smf.program(40) + smf.melody(1), smf.program(0, channel=1) + smf.melody(2, count=9, channel=1))
    )
    notes, aside = model.read_prompt(path)
    assert len(notes) == 60
    assert notes.header.name == ""
    assert aside == "acoustic grand piano: 9 notes"
