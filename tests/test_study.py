"""The study preset from end to end on small pieces, and what it finds in the real files of its stand-in."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from cadenza import CadenzaError
from cadenza.batches import batches_in_epoch
from cadenza.checkpoint import FORMAT
from cadenza.cli import gather
from cadenza.evaluate.variety import variety
from cadenza.notes import Header, Notes, TimeBase
from cadenza.planning import MEASURED_STEPS
from cadenza.presets import PRESETS, build
from cadenza.records import Evaluation, Record, Said, Step, Stopped, outcome
from cadenza.runs.folder import WATCHED_PIECES, Run, open_run
from cadenza.runs.prepare import prepare
from cadenza.runs.rules import broken_rules
from cadenza.runs.stages import carry_out, train
from cadenza.settings import Settings
from cadenza.tokens import representation
from conftest import Midi, touched

SECONDS = TimeBase("seconds", 100)
SMALL: dict[str, dict[str, Any]] = {
    "corpus": {"workers": 1},
    "model": {"layers": 1, "width": 32},
    "train": {"steps": 6, "evaluations": 3, "threads": 1},
    "sample": {"rows": 40, "sweep": [0.5, 1.5], "seconds": 30},
}


def study(**sections: dict[str, Any]) -> Settings:
    """The study's settings with a small network and little of everything."""
    return build("study", None, (), **{name: SMALL.get(name, {}) | sections.get(name, {}) for name in SMALL | sections})


def finish(folder: Path, source: Path, settings: Settings, **options: Any) -> tuple[Run, list[Record]]:
    records = list(carry_out(str(source), settings, folder, **options))
    return open_run(folder), records


def texts(records: list[Record]) -> list[str]:
    return [record.text for record in records if isinstance(record, Said)]


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory, smf: Midi) -> Path:
    """Twelve pieces, one of them too long and one too short for the study's bounds of a test."""
    folder = tmp_path_factory.mktemp("music") / "études"
    folder.mkdir()
    for seed in range(12):
        (folder / f"piece-{seed:02d}.mid").write_bytes(smf.file(smf.program(40) + smf.melody(seed, 60, grid=1)))
    (folder / "long.mid").write_bytes(smf.file(smf.program(40) + smf.melody(20, 200, grid=1)))
    (folder / "short.mid").write_bytes(smf.file(smf.program(40) + smf.melody(21, 20, grid=1)))
    return folder


BOUNDS = {"tokens": {"min_rows": 150, "max_rows": 600}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, music: Path) -> tuple[Run, list[Record]]:
    return finish(tmp_path_factory.mktemp("runs") / "study", music, study(**BOUNDS))


Finished = tuple[Run, list[Record]]


# Rules


def test_the_defaults_break_no_rule() -> None:
    assert list(broken_rules(Settings())) == []
    assert list(broken_rules(build("tiny"))) == []


BREAKERS: list[tuple[dict[str, dict[str, Any]], str]] = [
    ({"tokens": {"representation": "study"}}, "The vocabulary is taken from all files"),
    ({"corpus": {"split_by": "file"}}, "The split is by file"),
    ({"corpus": {"validation": 0}}, "Nothing is held out for validation"),
    ({"model": {"trunk": "lstm", "window": 50}}, "Every 50 rows the memory is blank"),
    ({"sample": {"opening": 10}}, "Pieces begin with the first 10 rows of a training piece"),
    ({"sample": {"masks": False}}, "Sampling is not masked"),
]


@pytest.mark.parametrize(("changes", "words"), BREAKERS)
def test_each_broken_rule_is_one_sentence(changes: dict[str, dict[str, Any]], words: str) -> None:
    [sentence] = broken_rules(build("small", None, (), **changes))
    assert sentence.startswith(words)
    assert sentence.endswith(".")


def test_the_study_breaks_them_all() -> None:
    found = list(broken_rules(build("study")))
    assert len(found) == len(BREAKERS)
    assert all(sentence.startswith(words) for sentence, (_, words) in zip(found, BREAKERS, strict=True))


def test_a_study_run_says_every_rule_that_it_breaks(finished: Finished) -> None:
    run, records = finished
    rules = list(broken_rules(run.settings()))
    assert [text for text in texts(records) if text.startswith("Rule broken: ")] == [
        f"Rule broken: {rule}" for rule in rules
    ]
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert all(rule.split(":")[0] in page for rule in rules)


# Preparation


def test_pieces_outside_the_bounds_are_left_out_with_the_reason(finished: Finished) -> None:
    run, records = finished
    reasons = {entry.name: entry.reason for entry in run.entries() if entry.reason}
    assert set(reasons) == {"long.mid", "short.mid"}
    assert "over tokens.max_rows = 600; raise that, or leave it out." in reasons["long.mid"]
    assert "under tokens.min_rows = 150; lower that, or leave it out." in reasons["short.mid"]
    assert sum(text.startswith("Left out 1: ") for text in texts(records)) == 2
    assert [entry.work for entry in run.entries() if entry.reason] == [-1, -1]
    assert len(run.tables()) == len(run.kept()) == 12


def test_the_split_is_by_file_without_validation(finished: Finished) -> None:
    run, records = finished
    parts = [entry.split for entry in run.kept()]
    assert (parts.count("train"), parts.count("validation"), parts.count("test")) == (10, 0, 2)
    assert any(
        text == "Split by file: 10 pieces for training, 0 for validation, 2 for the test." for text in texts(records)
    )


def test_the_vocabulary_is_that_of_every_kept_file(finished: Finished) -> None:
    run, records = finished
    tables, tokens = run.tables(), run.representation()
    assert set(np.unique(tables.rows)) == set(range(len(tokens.vocabulary)))
    assert list(tokens.vocabulary) == sorted(tokens.vocabulary)
    assert any(
        text.startswith(f"Vocabulary: {len(tokens.vocabulary)} events. The study's events") for text in texts(records)
    )


def test_the_silence_before_the_first_note_is_kept(tmp_path: Path, smf: Midi) -> None:
    for seed in range(3):
        late = [(tick + 480, message) for tick, message in smf.melody(seed, 60, grid=1)]
        (tmp_path / f"{seed}.mid").write_bytes(smf.file(smf.program(40) + late))
    for silence, first in (("keep", "TIME_SHIFT_50"), ("drop", "NOTE_ON")):
        run = prepared(tmp_path / silence, tmp_path, study(midi={"opening_silence": silence}))
        tokens, tables = run.representation(), run.tables()
        names = [
            [tokens.vocabulary[row[0]] for row in tables.piece(index)[:2].tolist()] for index in range(len(tables))
        ]
        assert all(opening == "VELOCITY_100" and second.startswith(first) for opening, second in names)


def prepared(folder: Path, source: Path | str, settings: Settings) -> Run:
    run = Run(folder)
    list(prepare(run, str(source), settings, None))
    return run


def test_the_bounds_are_those_of_pieces_that_are_kept(finished: Finished, music: Path, tmp_path: Path) -> None:
    tables = finished[0].tables()
    lengths = sorted(len(tables.piece(index)) for index in range(len(tables)))
    least, most = lengths[2], lengths[-3]
    run = prepared(tmp_path / "run", music, study(tokens={"min_rows": least, "max_rows": most}))
    kept = run.tables()
    assert sorted(len(kept.piece(index)) for index in range(len(kept))) == [
        length for length in lengths if least <= length <= most
    ]


@pytest.mark.parametrize("midi", [{"time_base": "beats"}, {"steps_per_second": 50}])
def test_another_time_base_is_refused(music: Path, tmp_path: Path, midi: dict[str, Any]) -> None:
    with pytest.raises(CadenzaError, match=r"steps of 10 ms; set midi\.time_base=seconds"):
        prepared(tmp_path / "run", music, study(midi=midi))
    assert not Run(tmp_path / "run").prepared


@pytest.mark.parametrize(("bounds", "words"), [({"max_rows": 20}, "over tokens.max_rows"), ({"min_rows": 9999}, "under tokens.min_rows")])  # fmt: skip
@pytest.mark.parametrize("preset", ["small", "study"])
def test_nothing_left_within_the_bounds_is_named(
    music: Path, tmp_path: Path, bounds: dict[str, Any], words: str, preset: str
) -> None:
    with pytest.raises(CadenzaError) as caught:
        prepared(tmp_path / "run", music, build(preset, tokens=bounds, train={"steps": 1}))
    assert str(caught.value).startswith(f"{music}: none of its 14 files can be used (")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_was_derived_is_saved(finished: Finished) -> None:
    run, records = finished
    derived, said = run.derived(), texts(records)
    assert derived == said[: len(derived)]
    for words in ("music files", "Kept 12 pieces", "Left out", "Vocabulary: ", "Split by file"):
        assert any(words in text for text in derived)
    assert json.loads((run.folder / "corpus/derived.json").read_text()) == derived


def test_the_opening_is_that_of_a_training_piece_and_lies_in_the_header(finished: Finished) -> None:
    run, _ = finished
    data, improviser = run.data(), run.improviser()
    first = data.tables.piece(int(data.training[0]))[:10]
    assert np.array_equal(improviser.opening, first)
    with safe_open(run.folder / "model.safetensors", "np") as file:
        facts = json.loads(file.metadata()[FORMAT])["facts"]
    assert facts["opening"] == first.tolist()
    assert tuple(facts["vocabulary"]) == improviser.representation.vocabulary
    assert facts["losses"] == run.facts().losses != ""
    assert improviser.model.window == 50


# Training


def test_every_evaluation_scores_training_and_test_pieces_and_the_last_state_is_kept(finished: Finished) -> None:
    run, records = finished
    evaluations = [record for record in records if isinstance(record, Evaluation)]
    assert [record.step for record in evaluations] == [2, 4, 6]
    assert all(record.best for record in evaluations)
    assert {frozenset(record.perplexity_per_token) for record in evaluations} == {frozenset({"train", "test"})}
    assert run.improviser().step == 6
    watched = run.data().watched
    assert len(watched["train"]) == min(WATCHED_PIECES, 2)
    assert set(watched["train"]) <= set(run.data().training)


def test_the_rate_is_constant_and_the_stride_is_kept(finished: Finished) -> None:
    run, records = finished
    assert {record.learning_rate for record in records if isinstance(record, Step)} == {1e-3}
    assert run.settings().batches.stride == 1


def test_a_stopped_study_resumed_ends_like_one_never_stopped(finished: Finished, music: Path, tmp_path: Path) -> None:
    def stop() -> None:
        for record in carry_out(str(music), study(**BOUNDS), tmp_path / "halves"):
            if isinstance(record, Step) and record.step == 3:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match="--resume"):
        stop()
    halves, _ = finish(tmp_path / "halves", music, study(**BOUNDS), resume=True)
    for name in ("model.safetensors", "log.jsonl", "metrics.json", "manifest.jsonl", "corpus/derived.json",
                 "samples/samples.json", "samples/temperature-1.5-2.mid"):  # fmt: skip
        assert (halves.folder / name).read_bytes() == (finished[0].folder / name).read_bytes()


def test_the_minutes_widen_the_stride_and_it_is_said(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "cadenza.planning.measure_speed", lambda *_: (MEASURED_STEPS / 100, MEASURED_STEPS * 16 * 50)
    )  # 100 steps a second
    chosen = study(train={"steps": 0, "minutes": 0.1}, **BOUNDS)
    records = list(prepare(Run(tmp_path / "run"), str(music), chosen, None))
    run = open_run(tmp_path / "run")
    settings, data = run.settings(), run.data()
    assert settings.batches.stride == 1 < settings.batches.stride_in_force < 50
    lengths = data.tables.lengths(data.training)
    assert settings.train.steps == 10 * batches_in_epoch(lengths, settings.batches)
    [said] = [text for text in texts(records) if "million row-steps" in text]
    assert said.startswith("10 epochs at stride 1 are ")
    assert f"Cut to fit: stride {settings.batches.stride_in_force}, 10.0 epochs, " in said
    assert said in run.derived()
    again = list(prepare(Run(tmp_path / "again"), str(music), settings, None))
    assert said in texts(again)
    assert open_run(tmp_path / "again").settings() == settings
    given = gather("small", tmp_path / "run" / "config.toml", None, None, minutes=60.0)
    assert (given.train.steps, given.batches.stride, given.batches.stride_in_force) == (0, 1, 0)
    longer = list(
        prepare(Run(tmp_path / "longer"), str(music), study(train={"steps": 0, "minutes": 60}, **BOUNDS), None)
    )
    assert any(text.endswith(", and this run makes them all.") for text in texts(longer))
    settings = open_run(tmp_path / "longer").settings()
    assert (settings.batches.stride, settings.batches.stride_in_force) == (1, 0)
    assert settings.train.steps == 10 * batches_in_epoch(lengths, settings.batches)


# Results


def test_metrics_hold_perplexities_of_training_and_test_and_nothing_of_validation(finished: Finished) -> None:
    run, records = finished
    metrics = run.metrics()
    assert metrics["validation"] is None
    assert metrics["unit"] == "event"
    assert metrics["lossy"] == run.facts().losses
    data = run.data()
    for part, pieces in (("train", data.training), ("test", data.watched["test"])):
        row = metrics[part]
        assert row["pieces"] == len(pieces)
        assert 1 < row["perplexity_per_token"] < row["baselines"]["uniform"]["perplexity_per_token"] * 1.1
        assert row["baselines"]["unigram"]["perplexity_per_token"] < row["baselines"]["uniform"]["perplexity_per_token"]
        assert row["baselines"]["uniform"]["perplexity_per_token"] == pytest.approx(
            len(run.representation().vocabulary)
        )
        scored = sum(int(data.schema.scored(data.tables.piece(int(index))).sum()) for index in pieces)
        assert row["tokens"] == scored
    said = [text for text in texts(records) if text.startswith(("train: ", "test: "))]
    assert len(said) == 2
    assert all("perplexity per event" in text and "bits per note" not in text for text in said)


def test_the_figure_of_the_curve_is_that_of_the_metrics(finished: Finished) -> None:
    run, records = finished
    last = [record for record in records if isinstance(record, Evaluation)][-1]
    assert last.perplexity_per_token["test"] == pytest.approx(run.metrics()["test"]["perplexity_per_token"])


NAMES = [f"temperature-{temperature}-{number}" for temperature in ("0.5", "1.5") for number in (1, 2)]


def test_samples_are_named_by_their_temperature_and_listed_with_their_variety(finished: Finished) -> None:
    run, _ = finished
    samples = run.samples()
    assert [sample["name"] for sample in samples] == NAMES
    assert [sample["temperature"] for sample in samples] == [0.5, 0.5, 1.5, 1.5]
    for sample in samples:
        assert set(sample) == {"name", "title", "temperature", "notes", "rows", "seconds", "unique", "repetition", "pitches", "shift_variance"}  # fmt: skip
        assert sample["title"] == f"Temperature {sample['temperature']:g}, piece {sample['name'][-1]}"
        assert sample["rows"] <= 40
        assert 0 < sample["unique"] <= sample["rows"]
        assert 0 <= sample["repetition"] < 1
        assert 0 < sample["pitches"] <= sample["notes"]
        assert sample["shift_variance"] >= 0
        for kind in ("mid", "mp3", "svg"):
            assert (run.folder / f"samples/{sample['name']}.{kind}").stat().st_size > 0
    assert max(sample["rows"] for sample in samples) == 40


def test_the_listed_figures_are_those_of_the_piece_made_again(finished: Finished) -> None:
    run, _ = finished
    settings, improviser = run.settings(), run.improviser()
    chosen = settings.sample.model_copy(update={"temperature": 1.5})
    pieces = outcome(improviser.stream(chosen, range(2), settings.train.seed))
    for sample, (_, notes, rows, *_) in zip(run.samples()[2:], pieces, strict=True):
        assert (sample["notes"], sample["rows"]) == (len(notes), len(rows))
        assert variety(improviser.representation, rows, notes).items() <= sample.items()
        assert np.array_equal(rows[:10], improviser.opening)


def test_all_pictures_of_the_study_are_drawn(finished: Finished) -> None:
    plots = finished[0].folder / "plots"
    stems = {"learning_curve", "frequencies", "types", "sequence_lengths", "pitches", "velocities", "temperatures"}
    stems |= {"models", "fidelity"}
    assert {path.stem for path in plots.iterdir()} == stems
    assert {path.suffix for path in plots.iterdir()} == {".svg", ".png"}
    assert len(list(plots.iterdir())) == 2 * len(stems)


def test_a_finished_study_is_reused_whole(finished: Finished) -> None:
    run, _ = finished
    before = touched(run)
    finish(run.folder, Path("nowhere"), study(), resume=True)
    assert touched(run) == before


# Variety


def test_variety_is_what_counting_by_hand_gives() -> None:
    tokens = representation("study", SECONDS)
    text = "VELOCITY_100 NOTE_ON_60 TIME_SHIFT_10 NOTE_OFF_60 NOTE_ON_60 TIME_SHIFT_10 NOTE_OFF_60 TIME_SHIFT_40 NOTE_ON_62 NOTE_OFF_62"
    rows = np.array([[tokens.vocabulary.index(name)] for name in text.split()], dtype=np.int16)
    found = variety(tokens, rows, tokens.decode(rows))
    # Ten events, seven of them different; of the seven runs of four none comes twice.
    assert found == {"unique": 7, "repetition": 0.0, "pitches": 2, "shift_variance": pytest.approx(0.02)}
    twice = np.concatenate([rows[1:4]] * 4)
    # Twelve events make nine runs of four, in turn three different ones: six have been heard before.
    found = variety(tokens, twice, tokens.decode(twice))
    assert found == {"unique": 3, "repetition": pytest.approx(6 / 9), "pitches": 1, "shift_variance": 0.0}


@pytest.mark.parametrize("length", [0, 1, 3, 4])
def test_variety_of_very_little_is_defined(length: int) -> None:
    tokens = representation("study", SECONDS)
    rows = np.arange(length, dtype=np.int16)[:, None]
    found = variety(tokens, rows, tokens.decode(rows))
    assert found == {"unique": length, "repetition": 0.0, "pitches": 0, "shift_variance": 0.0}


def test_variety_of_note_rows_counts_whole_rows() -> None:
    tokens = representation("notes", SECONDS)
    notes = Notes.of(range(0, 100, 10), [60, 62] * 5, [10] * 10, [80] * 10, Header(time_base=SECONDS))
    rows = tokens.encode(notes, end=False)
    found = variety(tokens, rows, notes)
    # The first shift is 0, so there are three different rows and, of seven runs of four, three different ones.
    assert found == {"unique": 3, "repetition": pytest.approx(4 / 7), "pitches": 2, "shift_variance": 0.0}


# Fine-tuning


def test_fine_tuning_keeps_the_vocabulary_and_counts_what_it_lacks(
    finished: Finished, tmp_path: Path, smf: Midi
) -> None:
    parent, _ = finished
    folder = tmp_path / "other"
    folder.mkdir()
    for seed in range(3):
        low = smf.note(40, 0, 960) + [(tick + 960, message) for tick, message in smf.melody(30 + seed, 60, grid=1)]
        (folder / f"{seed}.mid").write_bytes(smf.file(smf.program(40) + low))
    child, records = finish(tmp_path / "child", folder, study(), init=parent.folder / "model.safetensors")
    assert child.representation().vocabulary == parent.representation().vocabulary
    [said] = [text for text in texts(records) if text.startswith("Not in the model's vocabulary and left out: ")]
    assert "NOTE_ON_40 (3×)" in said
    assert "NOTE_OFF_40 (3×)" in said
    assert said in child.derived()
    unknown = sum(child.representation().note_count(child.tables().piece(index)) for index in range(3))
    assert unknown < sum(entry.notes for entry in child.kept()) == 3 * 61
    assert not child.metrics()["fine_tuned"]
    assert child.improviser().opening.shape == (10, 1)


def low_pieces(folder: Path, smf: Midi) -> Path:
    """Three pieces of 30 notes, all lower than any of the others."""
    folder.mkdir()
    for seed in range(3):
        notes = [
            event
            for number in range(30)
            for event in smf.note(20 + (number * (seed + 2)) % 12, 480 * number, 480 * number + 400 + seed)
        ]
        (folder / f"{seed}.mid").write_bytes(smf.file(smf.program(40) + notes))
    return folder


def test_fine_tuning_on_notes_that_are_all_unknown_is_refused(music: Path, tmp_path: Path, smf: Midi) -> None:
    list(train(str(music), study(), tmp_path / "parent"))
    with pytest.raises(CadenzaError, match="vocabulary"):
        finish(
            tmp_path / "child", low_pieces(tmp_path / "low", smf), study(), init=tmp_path / "parent/model.safetensors"
        )


def test_the_study_and_the_notes_do_not_mix_in_fine_tuning(finished: Finished, music: Path, tmp_path: Path) -> None:
    """A child takes its parent's representation, whatever the preset says."""
    settings = build("tiny", corpus={"workers": 1}, train={"steps": 1, "threads": 1}, sample={"count": 1, "rows": 30})
    child, _ = finish(tmp_path / "child", music, settings, init=finished[0].folder / "model.safetensors")
    assert child.settings().tokens.representation == "study"
    assert (child.settings().model.trunk, child.settings().model.window) == ("study", 50)


def test_the_rules_that_a_child_breaks_through_its_parent_are_said(
    finished: Finished, music: Path, tmp_path: Path
) -> None:
    settings = build("tiny", corpus={"workers": 1}, train={"steps": 1, "threads": 1}, sample={"count": 1, "rows": 30})
    run = Run(tmp_path / "child")
    said = texts(list(prepare(run, str(music), settings, finished[0].folder / "model.safetensors")))
    rules = [f"Rule broken: {rule}" for rule in broken_rules(run.settings())]
    assert len(rules) == 2
    assert [text for text in said if text.startswith("Rule broken: ")] == rules


# The real files


@pytest.mark.slow
def test_the_stand_in_of_the_study_has_the_figures_that_are_known_of_it(data: Path, tmp_path: Path) -> None:
    chosen = build("study", corpus={"files": str(data / "violin116.txt")}, train={"steps": 1, "threads": 1})
    run = Run(tmp_path / "run")
    records = list(prepare(run, str(data / "violin-etudes.tar.gz"), chosen, None))
    entries, settings = run.entries(), run.settings()
    assert len(entries) == 116
    dropped = [entry for entry in entries if entry.reason]
    assert len(dropped) == 6
    assert all("over tokens.max_rows = 6,000" in entry.reason for entry in dropped)
    parts = [entry.split for entry in run.kept()]
    assert (parts.count("train"), parts.count("validation"), parts.count("test")) == (99, 0, 11)
    facts, tables = run.facts(), run.tables()
    assert len(tables) == 110
    assert len(facts.vocabulary) == 357
    assert "the onset of 9% of the notes" in facts.losses
    assert "the velocity of 36%" in facts.losses
    assert len(facts.opening) == 10
    listed = (data / "violin116.txt").read_text(encoding="utf-8").split()
    assert all(any(entry.name.endswith(name) for name in listed) for entry in entries)
    lengths = tables.lengths(run.data().training)
    event_steps = settings.train.epochs * batches_in_epoch(lengths, settings.batches) * 16 * 50
    assert 110e6 < event_steps < 120e6
    assert PRESETS["study"]["batches"] == {"rows": 50, "size": 16, "stride": 1}
    assert any("905 others of the source are no part of this run" in text for text in texts(records))
    with open(data / "split_by_piece.csv", encoding="utf-8", newline="") as table:
        pieces = {row["file"]: (row["book"], row["piece"]) for row in csv.DictReader(table)}
    played = [pieces["/".join(entry.name.split("/")[-2:])] for entry in entries]
    assert len(set(played)) == len(played)  # one performance of each piece
