"""Model files and the pieces they make: prompts kept, seeds repeated, bad files named."""

from __future__ import annotations

import json
import pickle
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import save

from cadenza import CadenzaError, load, midi
from cadenza.checkpoint import FORMAT, Facts, fresh_model, model_bytes, with_sampling
from cadenza.hearing import places
from cadenza.improviser import Improviser, Plan, load_improviser
from cadenza.notes import Header, Notes, TimeBase, shift_time
from cadenza.records import Said, outcome
from cadenza.runs import generation
from cadenza.settings import MidiSettings, ModelSettings, SampleSettings, Settings, TokenSettings
from cadenza.tokens import representation
from conftest import Cadenza, same_notes

ALL_EVENTS = representation("study", TimeBase("seconds", 100)).vocabulary
FACTS = {
    "seconds": Facts("études", "seconds", 100, 40, 120.0, None, 55, 90),
    "beats": Facts("tunes", "beats", 24, 40, 90.0, (6, 8), 55, 90),
    "study": Facts("study", "seconds", 100, 40, 120.0, None, 55, 90, ALL_EVENTS, (), "It loses much."),
}
SMALL = ModelSettings(layers=1, width=32)
TOKENS = {kind: TokenSettings(representation="study" if kind == "study" else "notes") for kind in FACTS}
MODEL_SETTINGS = {
    kind: ModelSettings(trunk="study", layers=1, width=32, window=20) if kind == "study" else SMALL for kind in FACTS
}
every_kind = pytest.mark.parametrize("kind", sorted(FACTS))


def saved(folder: Path, kind: str = "seconds", **facts: Any) -> Path:
    """A model file with fresh weights; `facts` change those of its kind."""
    known = replace(FACTS[kind], **facts)
    tokens = representation(TOKENS[kind].representation, known.base, known.vocabulary)
    model = fresh_model(MODEL_SETTINGS[kind], tokens, seed=3)
    folder.mkdir(exist_ok=True)
    path = folder / "model.safetensors"
    reading = MidiSettings(time_base=known.base.unit)
    path.write_bytes(model_bytes(model.state_dict(), MODEL_SETTINGS[kind], TOKENS[kind], reading, known, "ab" * 32, 17))
    return path


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return saved(tmp_path)


def prompt(kind: str) -> Notes:
    header = Header(time_base=FACTS[kind].base, tempo=FACTS[kind].tempo)
    return Notes.of([37, 37, 91, 500, 923], [60, 67, 71, 40, 100], [200, 13, 5, 40, 77], [1, 99, 127, 64, 77], header)


@every_kind
def test_saving_and_loading_give_the_same_bits(tmp_path: Path, kind: str) -> None:
    loaded = load_improviser(saved(tmp_path, kind, opening=((0,) * (1 if kind == "study" else 4),) * 3))
    fresh = fresh_model(MODEL_SETTINGS[kind], loaded.representation, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), fresh.parameters(), strict=True))
    assert replace(loaded.facts, opening=()) == FACTS[kind]
    assert loaded.opening.tolist() == [[0] * len(loaded.representation.sizes)] * 3
    assert (loaded.settings, loaded.tokens) == (MODEL_SETTINGS[kind], TOKENS[kind])
    assert loaded.model.window == (20 if kind == "study" else 0)
    assert loaded.representation.vocabulary == FACTS[kind].vocabulary
    assert (loaded.step, loaded.manifest_sha256) == (17, "ab" * 32)


def test_a_file_from_before_vocabularies_and_openings_still_loads(model_file: Path) -> None:
    facts = {
        key: value for key, value in asdict(FACTS["seconds"]).items() if key not in ("vocabulary", "opening", "losses")
    }
    with_header(model_file, facts=facts)
    assert load_improviser(model_file).facts == FACTS["seconds"]
    assert len(load(model_file).generate(seconds=5)[0])


@every_kind
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path, kind: str) -> None:
    model = load(saved(tmp_path, kind))
    one, again, other = (midi.to_bytes(model.generate(seconds=20, seed=seed)[0]) for seed in (7, 7, 8))
    assert one == again != other


@every_kind
def test_the_notes_of_a_prompt_come_back_untouched(tmp_path: Path, kind: str) -> None:
    model, given = load(saved(tmp_path, kind)), prompt(kind)
    for piece in model.generate(count=3, seconds=40, prompt=given):
        for column, first in zip(piece.columns, given.columns, strict=True):
            assert np.array_equal(column[: len(given)], first)
        assert len(piece) > len(given)
        assert (piece.onset[len(given) :] >= given.onset[-1]).all()
        back = midi.parse(midi.to_bytes(piece), "piece", model.reading).notes(model.reading, FACTS[kind].unit)
        kept = set(zip(*(column.tolist() for column in back.columns), strict=True))
        assert set(zip(*(column.tolist() for column in given.columns), strict=True)) <= kept


@every_kind
def test_no_piece_is_longer_than_asked(tmp_path: Path, kind: str) -> None:
    for piece in load(saved(tmp_path, kind)).generate(count=4, seconds=7.5, temperature=1.3):
        assert 0 < piece.length_seconds <= 7.5 + piece.header.step_seconds


@every_kind
@pytest.mark.parametrize("masks", [True, False])
def test_a_piece_comes_with_the_rows_it_was_read_from(tmp_path: Path, kind: str, masks: bool) -> None:
    model = load(saved(tmp_path, kind))
    settings = SampleSettings(seconds=1000, rows=30, masks=masks)
    for _, notes, rows, *_ in outcome(model.stream(settings, range(3), seed=2)):
        assert rows.shape[1] == len(model.representation.sizes)
        assert len(rows) <= 30
        if masks and kind == "study":
            assert len(rows) == 30  # it has no end of its own
        read = model.representation.decode(rows)
        assert set(np.unique(notes.pitch)) == set(np.unique(read.pitch))


# What a model was tuned to

TUNED = SampleSettings(temperature=0.8, by_field={"pitch": 1.1, "shift": 0.7}, top_p=0.9)


def test_a_way_of_sampling_goes_into_the_header_and_the_weights_stay_byte_for_byte(model_file: Path) -> None:
    before = model_file.read_bytes()
    for sampling in (TUNED, SampleSettings(temperature=1)):
        model_file.write_bytes(with_sampling(model_file.read_bytes(), sampling))
        loaded = load_improviser(model_file)
        assert loaded.sampling == sampling
        assert loaded.sampling.model_fields_set == sampling.model_fields_set
        assert (loaded.facts, loaded.step) == (FACTS["seconds"], 17)
    after = model_file.read_bytes()
    weights = [data[8 + int.from_bytes(data[:8], "little") :] for data in (before, after)]
    assert weights[0] == weights[1]
    assert int.from_bytes(after[:8], "little") % 8 == 0


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"temperature": 0.8, "by_field": {"pitch": 1.1, "shift": 0.7}, "top_p": 0.9}),
        ({"temperature": 1.2}, {"temperature": 1.2, "by_field": {}, "top_p": 0.9}),
        ({"by_field": {"pitch": 1.0}}, {"temperature": 0.8, "by_field": {"pitch": 1.0, "shift": 0.7}, "top_p": 0.9}),
        ({"temperature": 1, "by_field": {"velocity": 2}}, {"temperature": 1, "by_field": {"velocity": 2}, "top_p": 0.9}),
        ({"top_p": 1.0}, {"temperature": 0.8, "by_field": {"pitch": 1.1, "shift": 0.7}, "top_p": 1.0}),
        ({"seconds": 5}, {"temperature": 0.8, "seconds": 5}),
    ],
)  # fmt: skip
def test_what_is_given_goes_before_what_a_model_was_tuned_to(
    model_file: Path, given: dict[str, Any], wanted: dict[str, Any]
) -> None:
    model_file.write_bytes(with_sampling(model_file.read_bytes(), TUNED))
    model = load_improviser(model_file)
    settled = model.settled(SampleSettings(**given))
    assert {key: getattr(settled, key) for key in wanted} == wanted
    by_hand = load(saved(model_file.parent / "untuned")).generate(**(TUNED.model_dump(exclude_unset=True) | wanted | {"seconds": 4}))  # fmt: skip
    assert midi.to_bytes(model.generate(**(given | {"seconds": 4}))[0]) == midi.to_bytes(by_hand[0])


@pytest.mark.parametrize("sampling", [{"temperature": -1}, {"by_field": {"tempo": 1.0}}, {"heat": 1}, [1]])
def test_an_impossible_way_of_sampling_is_named(model_file: Path, sampling: Any) -> None:
    with_header(model_file, sampling=sampling)
    with pytest.raises(CadenzaError, match="do not fit"):
        load(model_file)


# Openings


def opening_rows(kind: str, notes: Notes) -> tuple[tuple[int, ...], ...]:
    tokens = representation(TOKENS[kind].representation, FACTS[kind].base, FACTS[kind].vocabulary)
    return tuple(tuple(row) for row in tokens.encode(notes, end=False).tolist())


@every_kind
def test_every_piece_begins_with_the_opening_of_the_model(tmp_path: Path, kind: str) -> None:
    header = Header(time_base=FACTS[kind].base)
    first = Notes.of([0, 10, 20], [61, 63, 66], [10, 10, 10], [82, 82, 82], header)
    opening = opening_rows(kind, first)
    model = load(saved(tmp_path, kind, opening=opening))
    pieces = outcome(model.stream(SampleSettings(seconds=30, rows=len(opening) + 40), range(3), seed=1))
    for _, notes, rows, *_ in pieces:
        assert [tuple(row) for row in rows[: len(opening)].tolist()] == list(opening)
        assert len(rows) > len(opening)
        assert notes.pitch[:3].tolist() == [61, 63, 66]
        assert notes.onset[:3].tolist() == [0, 10, 20]
    assert len({piece.rows.tobytes() for piece in pieces}) == 3
    [alone] = outcome(model.stream(SampleSettings(seconds=30, rows=len(opening)), range(1), seed=1))
    assert len(alone.rows) == len(opening)
    assert np.array_equal(alone.notes.pitch, first.pitch)


@every_kind
def test_a_prompt_takes_the_place_of_the_opening(tmp_path: Path, kind: str) -> None:
    header = Header(time_base=FACTS[kind].base)
    opening = opening_rows(kind, Notes.of([0, 10], [61, 63], [10, 10], [82, 82], header))
    with_opening = load(saved(tmp_path, kind, opening=opening)).generate(seconds=30, prompt=prompt(kind))
    without = load(saved(tmp_path, kind)).generate(seconds=30, prompt=prompt(kind))
    assert midi.to_bytes(with_opening[0]) == midi.to_bytes(without[0])


@pytest.mark.parametrize("opening", [((9999, 1, 1, 1),), ((99_999_999, 1, 1, 1),), ((1, 2),), ((-1, 1, 1, 1),)])
def test_an_opening_of_impossible_rows_is_named(tmp_path: Path, opening: tuple[tuple[int, ...], ...]) -> None:
    path = saved(tmp_path, "seconds", opening=opening)
    with pytest.raises(CadenzaError, match="do not fit"):
        load(path).generate(seconds=3)


@pytest.mark.parametrize(
    "vocabulary", [["NOTE_ON_60"], ["words"], ["NOTE_ON_200"], ["VELOCITY_50"], [*ALL_EVENTS, "TIME_SHIFT_301"]]
)
def test_a_vocabulary_that_does_not_fit_is_named(tmp_path: Path, vocabulary: list[str]) -> None:
    path = saved(tmp_path, "study")
    with_header(path, facts=asdict(FACTS["study"]) | {"vocabulary": vocabulary})
    with pytest.raises(CadenzaError, match="do not fit"):
        load(path)


def test_a_study_model_on_another_time_base_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, "study")
    with_header(path, facts=asdict(FACTS["study"]) | {"steps": 50})
    with pytest.raises(CadenzaError, match="steps of 10 ms"):
        load(path)


# Prompts of a vocabulary that lacks some of their events

FEW_EVENTS = ("NOTE_OFF_60", "NOTE_OFF_62", "NOTE_ON_60", "NOTE_ON_62", "TIME_SHIFT_10", "TIME_SHIFT_50", "VELOCITY_100", "VELOCITY_80")  # fmt: skip


@pytest.fixture
def few_file(tmp_path: Path) -> Path:
    return saved(tmp_path, "study", vocabulary=FEW_EVENTS, lowest=60, highest=62)


@pytest.fixture
def few(few_file: Path) -> Improviser:
    return load_improviser(few_file)


def test_a_prompt_that_is_known_in_part_is_gone_on_from_and_comes_back_whole(few: Improviser) -> None:
    given = Notes.of([0, 51, 150, 200], [60, 61, 62, 60], [50, 99, 50, 50], [80, 75, 80, 80])
    assert few.representation.unknown(given) == {
        "TIME_SHIFT_1": 1, "NOTE_ON_61": 1, "NOTE_OFF_61": 1, "TIME_SHIFT_99": 1, "VELOCITY_75": 1,
    }  # fmt: skip
    for piece in few.generate(count=3, seconds=10, prompt=given):
        for column, first in zip(piece.columns, given.columns, strict=True):
            assert np.array_equal(column[: len(given)], first)
        assert len(piece) > len(given)
        assert set(piece.pitch[len(given) :].tolist()) <= {60, 62}


@pytest.mark.parametrize("pitches", [[61, 63], [0], [127, 59, 64]])
def test_a_prompt_none_of_whose_notes_is_known_is_refused(few: Improviser, pitches: list[int]) -> None:
    given = Notes.of(range(0, 50 * len(pitches), 50), pitches, [50] * len(pitches), [80] * len(pitches))
    with pytest.raises(CadenzaError, match=r"vocabulary lacks every note of the prompt; give another\."):
        few.generate(seconds=10, prompt=given)


def said_by_generate(model: Path, prompt: Path, out: Path) -> list[str]:
    settings = Settings(sample=SampleSettings(count=1, seconds=10))
    place = generation.Place(out, "mid", True, settings.audio)
    records = generation.generate(generation.Asked(load(model), model, settings, 0, prompt), place, best_of=1)
    return [record.text for record in records if isinstance(record, Said)]


def test_the_command_says_what_of_a_prompt_is_not_in_the_vocabulary(
    few: Improviser, few_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "prompt.mid"
    path.write_bytes(midi.to_bytes(Notes.of([0, 60, 110], [60, 61, 62], [50, 50, 50], [80, 80, 80])))
    said = said_by_generate(few_file, path, tmp_path / "out")
    assert said[0] == "Temperature 0.95 (the default)."
    assert said[1].startswith(f"{path}: Not in the model's vocabulary and left out: 2 events, ")
    assert "NOTE_ON_61 (1×)" in said[1]
    assert "NOTE_OFF_61 (1×)" in said[1]
    assert said[-1].startswith("Wrote ")
    assert midi.read(tmp_path / "out/seed0-01.mid", few.reading).pitch[:3].tolist() == [60, 61, 62]
    path.write_bytes(midi.to_bytes(Notes.of([0, 60], [60, 62], [50, 50], [80, 80])))
    assert all(line.startswith("Wrote ") for line in said_by_generate(few_file, path, tmp_path / "known")[1:])


def test_a_note_at_the_onset_of_the_last_one_of_a_prompt_is_not_lost(few: Improviser) -> None:
    """The vocabulary lacks the duration of the prompt's last note, so what comes next begins with it."""
    given = Notes.of([0, 50], [60, 62], [50, 37], [80, 80])
    tokens = few.representation
    events = "NOTE_ON_60 TIME_SHIFT_50 NOTE_OFF_60 NOTE_ON_62 TIME_SHIFT_10 NOTE_OFF_62".split()  # noqa: SIM905
    more = np.array([[tokens.vocabulary.index(name)] for name in events], dtype=np.int16)
    known = tokens.encode(given, end=False)
    plan = few.plan(SampleSettings(seconds=10), 0, given)
    piece = plan.frame(tokens).notes(np.concatenate([known, more]))
    assert sorted(piece.pitch.tolist()) == [60, 60, 62, 62]


def test_without_masks_a_piece_still_stops_at_its_end(tmp_path: Path) -> None:
    model = load(saved(tmp_path, "seconds"))
    end = model.representation.sizes[0] - 1
    for _, _, rows, *_ in outcome(model.stream(SampleSettings(seconds=600, rows=400, masks=False), range(8), seed=0)):
        assert end not in rows[:-1, 0]


def test_a_chord_in_a_prompt_does_not_take_the_time_of_its_continuation(tmp_path: Path) -> None:
    """The study writes chords one note after the other, which the prompt itself does not last."""
    model = load_improviser(saved(tmp_path, "study"))
    chords = Notes.of([0] * 3 + [50] * 3 + [100] * 3, [60, 64, 67] * 3, [50] * 9, [80] * 9)
    assert all(len(piece) > 9 for piece in model.generate(count=8, seconds=8, prompt=chords))


def test_generated_notes_stay_in_the_trained_range(model_file: Path) -> None:
    piece = load(model_file).generate(seconds=60, temperature=3)[0]
    assert ((piece.pitch >= 55) & (piece.pitch <= 90)).all()


@pytest.mark.parametrize(
    ("notes", "seconds", "words"),
    [
        (Notes.of([], [], [], []), 10, "no notes"),
        (Notes.of([2000], [60], [10], [80]), 10, "larger --seconds"),
        (
            Notes.of([0, 360_000], [60, 62], [10, 10], [80, 80]),
            3600,
            r"no piece is longer than 3,600 s; give a shorter",
        ),
        (Notes.of([0], [60], [10], [80], Header(time_base=TimeBase("beats", 24))), 10, "time base"),
    ],
)
def test_an_unusable_prompt_is_named(model_file: Path, notes: Notes, seconds: float, words: str) -> None:
    with pytest.raises(CadenzaError, match=words):
        load(model_file).generate(seconds=seconds, prompt=notes)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seed": -1}, r"^seed = -1: a seed is a whole number, 0 or more\.$"),
        ({"seed": "7"}, "seed = '7': a seed is a whole number"),
        ({"seed": True}, "seed = True: a seed is a whole number"),
        (
            {"temperature": {"pitch": 1.5}},
            r"sample\.temperature = .* \(sample\.by_field takes those of single fields\)\.",
        ),
        ({"novel": True}, r"^sample: novel takes a number, and True is none\.$"),
        ({"temperature": True}, "temperature takes a number, and True is none"),
        ({"best_of": 3}, "use cadenza generate --best-of"),
        ({"prompt": 3}, "A prompt is notes or the path of a MIDI file, not int"),
        ({"prompt": "missing.mid"}, r"^missing\.mid: cannot be read"),
    ],
)
def test_what_python_cannot_ask_for_is_one_sentence(model_file: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(CadenzaError, match=words):
        load(model_file).generate(seconds=5, **({"seed": 1} | given))


@pytest.mark.parametrize("kind", [str, Path])
def test_a_prompt_may_be_the_path_of_a_file(model_file: Path, kind: type[Any], tmp_path: Path) -> None:
    given, path = prompt("seconds"), tmp_path / "prompt.mid"
    path.write_bytes(midi.to_bytes(given))
    by_path = load(model_file).generate(seconds=20, prompt=kind(path))
    assert same_notes(by_path[0], load(model_file).generate(seconds=20, prompt=given)[0])


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
    elif kind == "midi":
        path.write_bytes(midi.to_bytes(Notes.of([0], [60], [5], [80])))
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
        with_header(path, model=ModelSettings(layers=2, width=32).model_dump())
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
        ("truncated", "damaged"), ("empty", "damaged"), ("text", "damaged"), ("midi", "a MIDI file, where a model is wanted"), ("pickle", "pickle"), ("torch", "pickle"),
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
    assert aside == "took violin: 60 notes; set aside acoustic grand piano: 9 notes"


@pytest.mark.parametrize(
    ("reading", "instrument", "count", "words"),
    [
        ("auto", "any", 9, "took violin: 9 notes; set aside acoustic grand piano: 60 notes"),
        ("flute", "any", 60, "there is no flute; took acoustic grand piano: 60 notes; set aside violin: 9 notes"),
        ("acoustic grand piano", "violin", 9, "took violin: 9 notes; set aside acoustic grand piano: 60 notes"),
        ("violin", "viola", 9, "took violin: 9 notes; set aside acoustic grand piano: 60 notes"),
        ("all", "any", 69, ""),
        ("all", "violin", 9, "took violin: 9 notes; set aside acoustic grand piano: 60 notes"),
    ],
)
def test_of_several_instruments_the_wanted_one_is_gone_on_from(
    model_file: Path, tmp_path: Path, smf: Any, reading: str, instrument: str, count: int, words: str
) -> None:
    model = replace(load_improviser(model_file), reading=MidiSettings(instrument=reading))
    path = tmp_path / "two.mid"
    low = [event for k in range(9) for event in smf.note(57, 240 * k, 240 * k + 100, channel=1)]
    path.write_bytes(smf.file(smf.program(0) + smf.melody(1), smf.program(40, channel=1) + low))
    notes, taken = model.read_prompt(path, instrument)
    assert (len(notes), taken) == (count, words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"the file is empty \(0 bytes\); give another MIDI file to go on from\."),
        (b"Dear all", r"not a MIDI file .*; give another MIDI file to go on from\."),
        ("drums", r"no notes left after removing drums; give another MIDI file to go on from\."),
        ("silence", r"there are no notes in it; give another MIDI file to go on from\."),
    ],
)
def test_a_file_that_is_no_prompt_comes_with_advice_on_prompts(
    model_file: Path, tmp_path: Path, smf: Any, data: bytes | str, words: str
) -> None:
    tracks = {"drums": smf.note(40, 0, 100, channel=9), "silence": smf.tempo(90)}
    path = tmp_path / "prompt.mid"
    path.write_bytes(smf.file(tracks[data]) if isinstance(data, str) else data)
    with pytest.raises(CadenzaError, match=words):
        load(model_file).read_prompt(path)


def test_two_streams_of_one_model_do_not_disturb_each_other(tmp_path: Path) -> None:
    facts = FACTS["seconds"]
    model = fresh_model(SMALL, representation("notes", facts.base), seed=3)
    path = tmp_path / "model.safetensors"
    path.write_bytes(model_bytes(model.state_dict(), SMALL, TokenSettings(), MidiSettings(), facts, "", 1))
    loaded = load(path)
    alone = loaded.generate(2, seed=5, rows=20)
    first, second = (loaded.stream(SampleSettings(rows=20), range(count), 5) for count in (2, 1))
    for _ in range(9):
        next(first), next(second)
    for made, wanted in ((outcome(first), alone), (outcome(second), alone[:1])):
        for piece, notes in zip(made, wanted, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(piece.notes.columns, notes.columns, strict=True))


def as_made_from_the_whole(model: Improviser, plan: Plan, item: int) -> list[Notes]:
    """Each row's new notes, found by reading the whole piece again."""
    rows, frame = list(plan.begun), plan.frame(model.representation)
    known = plan.prompt or frame.notes(plan.begun)[:0]
    found = []
    for step in model.improvise(plan, [item]):
        rows.append(step.row)
        piece = frame.notes(np.stack(rows))
        new = piece[~np.isin(places(piece), places(known))]
        if len(new):
            known = piece
            found.append(new)
    return found


@every_kind
@pytest.mark.parametrize("begin", ["prompt", "opening", "blank"])
@pytest.mark.parametrize("ending", ["free", "never"])
def test_notes_as_they_are_made_are_those_of_the_whole_piece(
    tmp_path: Path, kind: str, begin: str, ending: Literal["free", "never"]
) -> None:
    opening = load(saved(tmp_path, kind)).representation.encode(prompt(kind), end=False)
    facts = {"opening": tuple(tuple(row) for row in opening.tolist())} if begin == "opening" else {}
    model = load(saved(tmp_path, kind, **facts))
    settings = SampleSettings(seconds=90, rows=200, ending=ending, temperature=1.2)
    plan = model.plan(settings, 4, prompt(kind) if begin == "prompt" else None)
    together = list(model.as_made(plan, [0, 1]))
    for item in (0, 1):
        wanted = as_made_from_the_whole(model, plan, item)
        found = [notes for number, notes in together if number == item]
        assert len(found) == len(wanted) > 2
        for one, other in zip(found, wanted, strict=True):
            assert same_notes(one, other)


@pytest.mark.parametrize("masks", [True, False])
def test_rows_of_events_are_settled_once_their_notes_are_over(tmp_path: Path, masks: bool) -> None:
    model = load(saved(tmp_path, "study"))
    tokens = model.representation
    settings = SampleSettings(seconds=600, rows=300, masks=masks)
    rows = np.stack([step.row for step in model.improvise(model.plan(settings, 1), [0])])
    for count in range(0, len(rows), 7):
        pending = tokens.pending(rows[:count])
        whole, later = tokens.decode(rows), tokens.decode(np.concatenate([pending, rows[count:]]))
        moved = int(tokens.steps(rows[:count]).sum() - tokens.steps(pending).sum())
        known = tokens.decode(rows[:count])
        new = whole[~np.isin(places(whole), places(known))]
        again = shift_time(later, moved)
        again = again[~np.isin(places(again), places(known))]
        assert same_notes(new, again)
        assert len(pending) <= (4 if masks else count + 1)


def test_weights_in_a_precision_that_numpy_lacks_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"a": torch.zeros(2, dtype=torch.bfloat16)}, {FORMAT: "{}"}))
    with pytest.raises(CadenzaError, match=r"damaged or cut off|do not fit"):
        load(path)


def test_a_model_plays_on_the_cpu_without_loading_what_only_others_need(cadenza: Cadenza, model_file: Path) -> None:
    asked = ("--seconds", "5", "--seed", "1", "--formats", "mid")
    code, _, imports = cadenza("generate", model_file, *asked, env={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in imports.splitlines()}
    assert code == 0
    assert {"numba", "symusic"} <= loaded
    assert loaded & {"torch", "matplotlib", "jinja2", "joblib", "pyloudnorm", "soundfile"} == set()


@every_kind
def test_a_piece_that_never_ends_is_the_beginning_of_a_longer_one(tmp_path: Path, kind: str) -> None:
    model = load(saved(tmp_path, kind))
    short, long = (
        outcome(model.stream(SampleSettings(seconds=3000, rows=2000, notes=notes, ending="never"), [3], 1))[0]
        for notes in (40, 120)
    )
    assert (len(short.notes), len(long.notes)) == (40, 120)
    assert np.array_equal(long.rows[: len(short.rows)], short.rows)


@pytest.mark.parametrize("kind", ["beats", "seconds"])
@pytest.mark.parametrize("pause", [0.013, 0.7, 9.0])
def test_nothing_that_follows_a_prompt_begins_before_its_entry(tmp_path: Path, kind: str, pause: float) -> None:
    model, given = load(saved(tmp_path, kind)), prompt(kind)
    entry = float(given.onset[-1] * given.header.step_seconds + pause)
    for piece in model.generate(4, prompt=given, entry=entry, seconds=60, ending="never"):
        onsets = piece.onset[len(given) :] * piece.header.step_seconds
        assert len(onsets) and onsets.min() >= entry - 1e-6
