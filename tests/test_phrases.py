"""No loops, no plagiarism: the rules on phrases against slow references, and on a model that was overfitted on purpose."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cadenza
from cadenza import CadenzaError
from cadenza.evaluate.originality import SHORTEST, TrainingIndex
from cadenza.improviser import Improviser
from cadenza.notes import Notes, TimeBase
from cadenza.phrases.loops import MEMORY, Loops
from cadenza.phrases.novelty import Novelty
from cadenza.presets import build
from cadenza.records import Said, outcome
from cadenza.runs import generation
from cadenza.runs.folder import Run, open_run
from cadenza.runs.stages import train
from cadenza.settings import INNOCENT, SampleSettings, Settings, validate
from cadenza.tokens import REPRESENTATIONS, Representation, Rows, Rule, Ruled, representation
from conftest import Cadenza, Midi, same_notes

SECONDS, BEATS = TimeBase("seconds", 100), TimeBase("beats", 24)
TABLES = {
    "notes in seconds": representation("notes", SECONDS),
    "notes in beats": representation("notes", BEATS),
    "study": representation("study", SECONDS),
}
every_table = pytest.mark.parametrize("kind", sorted(TABLES))
LOWEST, HIGHEST = 50, 90
seeds = st.integers(0, 10_000)


def test_no_representation_is_missing_here() -> None:
    assert {tokens.name for tokens in TABLES.values()} == set(REPRESENTATIONS)


def piece(tokens: Representation, gaps: Sequence[int], pitches: Sequence[int]) -> Notes:
    """Notes that begin so many steps apart, as their rows say."""
    onset = np.cumsum(gaps) - gaps[0]
    notes = Notes.of(onset, pitches, np.full(len(onset), 5), np.full(len(onset), 80))
    return tokens.decode(tokens.encode(notes))


def melody(tokens: Representation, seed: int, count: int, pitches: int, gaps: Sequence[int]) -> Notes:
    """Random notes from so many pitches."""
    rng = np.random.default_rng(seed)
    return piece(tokens, rng.choice(gaps, count).tolist(), (60 + rng.integers(pitches, size=count)).tolist())


def refusals(tokens: Representation, rule: Rule, rows: Rows, lanes: int = 1) -> Iterator[tuple[int, set[int]]]:
    """The number of each note of these rows, and the pitches that the rule refused when it began."""
    field, pitches_V = tokens.beginnings()
    place, number = rule.begin(lanes), 0
    for row in rows:
        rows_LF = np.tile(row, (lanes, 1))
        if row[field] < len(pitches_V) and pitches_V[row[field]] >= 0:
            open_LF = rows_LF.copy()
            open_LF[:, field:] = tokens.start_row[field:]
            allowed_LV = rule.allowed(place, field, open_LF)
            refused_LV = np.zeros((lanes, len(pitches_V)), dtype=bool) if allowed_LV is None else ~allowed_LV
            assert (refused_LV == refused_LV[0]).all()
            yield number, set(pitches_V[refused_LV[0]].tolist())
            number += 1
        place = rule.advance(place, rows_LF)


# The rules, one note at a time


def symbols(onset: list[int], pitch: list[int]) -> list[tuple[int, str]]:
    """From each note to the next, the interval, and the gap in words beside the last one that was not 0."""
    found, last = [], 0
    for i in range(1, len(onset)):
        gap = onset[i] - onset[i - 1]
        word = "together" if gap == 0 else "shorter" if gap < last / 1.5 else "longer" if gap > last * 1.5 else "alike"
        found.append((pitch[i] - pitch[i - 1], word))
        last = gap or last
    return found


def phrases(notes: Notes, size: int) -> list[tuple[tuple[int, str], ...]]:
    """Every phrase of so many notes."""
    found = symbols(notes.onset.tolist(), notes.pitch.tolist())
    return [tuple(found[start : start + size - 1]) for start in range(len(found) - size + 2)]


def repeated_by_hand(notes: Notes, i: int, size: int, repeats: int) -> set[int]:
    """The pitches with which note i would complete what has been heard again `repeats` times."""
    if i < size - 1:
        return set()
    *earlier, now = phrases(notes[: i + 1], size)
    heard, last, (_, rhythm) = Counter(earlier), int(notes.pitch[i - 1]), now[-1]
    return {other for other in range(128) if heard[(*now[:-1], (other - last, rhythm))] > repeats}


def run_of(notes: Notes, start: int, stop: int) -> tuple[tuple[int, ...], ...]:
    """The intervals and the rhythm of notes [start, stop)."""
    return tuple(tuple(np.diff(column[start:stop]).tolist()) for column in (notes.pitch, notes.onset))


def copied_by_hand(notes: Notes, i: int, training: Sequence[Notes], size: int) -> set[int]:
    """The pitches with which note i would complete a run of `size` + 1 notes of training."""
    if i < size:
        return set()
    known = {run_of(one, start, start + size + 1) for one in training for start in range(len(one) - size)}
    intervals, gaps = run_of(notes, i - size, i + 1)
    last = int(notes.pitch[i - 1])
    return {other for other in range(128) if ((*intervals[:-1], other - last), gaps) in known}


@every_table
@given(seeds, st.integers(2, 6), st.integers(1, 3), st.sampled_from([(10,), (0, 10, 12), (10, 20, 30, 900)]))
@hypothesis.settings(deadline=None, max_examples=10)  # the first call compiles
def test_loops_agrees_with_a_slow_reference(kind: str, seed: int, size: int, repeats: int, gaps: list[int]) -> None:
    tokens = TABLES[kind]
    notes = melody(tokens, seed, 60, 3, gaps)
    for i, refused in refusals(tokens, Loops(tokens, size, repeats), tokens.encode(notes), lanes=3):
        assert refused == repeated_by_hand(notes, i, size, repeats)


@every_table
@given(seeds, st.integers(2, 5), st.sampled_from([(10,), (0, 10, 12), (10, 20, 900)]))
@hypothesis.settings(deadline=None, max_examples=10)
def test_novelty_agrees_with_a_slow_reference(kind: str, seed: int, size: int, gaps: list[int]) -> None:
    tokens = TABLES[kind]
    training = [melody(tokens, seed + k, 50, 3, gaps) for k in range(1, 4)]
    notes = melody(tokens, seed, 60, 3, gaps)
    for i, refused in refusals(tokens, Novelty(tokens, training, size), tokens.encode(notes), lanes=3):
        assert refused == copied_by_hand(notes, i, training, size)


# Properties


def followed(
    tokens: Representation, wanted: Notes, wishes: Sequence[Rule], lowest: int = LOWEST, highest: int = HIGHEST
) -> Notes:
    """The notes of one who goes on as `wanted` does wherever the rules let him, and otherwise at random."""
    rng = np.random.default_rng(0)
    grammar = Ruled(tokens.grammar(lowest, highest), wishes=wishes)
    place, made = grammar.begin(1), []
    for row in tokens.encode(wanted, end=False):
        new = tokens.start_row[None].copy()
        for field in range(len(row)):
            allowed = grammar.allowed(place, field, new)[0]
            assert allowed.any()
            new[0, field] = row[field] if allowed[row[field]] else rng.choice(np.flatnonzero(allowed))
            if grammar.last_field(new)[0]:
                break
        place = grammar.advance(place, new)
        made.append(new[0])
    return tokens.decode(np.stack(made))


@every_table
@pytest.mark.parametrize("semitones", [0, -3])
@pytest.mark.parametrize("limit", [2, 5, 16])
def test_who_copies_a_training_piece_has_no_longer_run_than_the_limit(kind: str, semitones: int, limit: int) -> None:
    tokens = TABLES[kind]
    training = [melody(tokens, seed, 120, 12, [10, 15, 40, 900]) for seed in range(3)]
    wanted = piece(tokens, np.diff(training[1].onset, prepend=0).tolist(), (training[1].pitch + semitones).tolist())
    index, measure = TrainingIndex.of(training), "transposed" if semitones else "verbatim"
    [before, after] = index.likeness([wanted, followed(tokens, wanted, [Novelty(tokens, training, limit)])])
    assert before.longest[measure] == 120
    assert after.longest["verbatim"] <= after.longest["transposed"] <= limit


@every_table
@pytest.mark.parametrize("rising", [0, 1])
def test_a_loop_is_left_in_whatever_key_it_comes_back(kind: str, rising: int) -> None:
    tokens = TABLES[kind]
    period, times, repeats = 6, 12, 2
    pitches = [58 + k + rising * time for time in range(times) for k in (0, 4, 7, 2, 9, 5)]
    loop = piece(tokens, [20] * (period * times), pitches)
    left = followed(tokens, loop, [Loops(tokens, 8, repeats)])
    assert left.pitch[: period * repeats].tolist() == loop.pitch[: period * repeats].tolist()
    assert left.pitch.tolist() != loop.pitch.tolist()
    assert max(Counter(phrases(left, 8)).values()) <= 1 + repeats


def test_a_loop_that_is_played_freely_is_left() -> None:
    tokens = TABLES["notes in seconds"]
    rng = np.random.default_rng(0)
    gaps = np.rint(25 * np.exp(rng.normal(0, 0.08, 240))).astype(int).tolist()
    loop = piece(tokens, gaps, [60, 64, 67, 62, 69, 65] * 40)
    left = followed(tokens, loop, [Loops(tokens, 16, 4)])
    heard = 16 + 4 * 6  # the phrase, and four times more
    assert np.flatnonzero(left.pitch != loop.pitch)[0] in range(heard, heard + 12)


def test_what_was_heard_long_ago_may_be_heard_again() -> None:
    tokens = TABLES["notes in seconds"]
    theme, rng = [60, 75, 61, 74], np.random.default_rng(0)
    between = (60 + rng.integers(4, size=MEMORY)).tolist()
    near, far = (theme * 3 + between[:gap] + theme for gap in (MEMORY - 20, MEMORY))
    for pitches, wanted in ((near, {74}), (far, set())):
        rows = tokens.encode(piece(tokens, [10] * len(pitches), pitches), end=False)
        assert list(refusals(tokens, Loops(tokens, 4, 1), rows))[-1][1] == wanted


@every_table
def test_where_the_grammar_leaves_one_pitch_nobody_gets_stuck(kind: str) -> None:
    tokens = TABLES[kind]
    wanted = piece(tokens, [20] * 50, [60] * 50)
    rules: list[Rule] = [Loops(tokens, 4, 1), Novelty(tokens, [wanted], 4)]
    assert set(followed(tokens, wanted, rules, lowest=60, highest=60).pitch.tolist()) == {60}


@pytest.mark.parametrize("training", [[], [0], [1, 3]])
def test_training_pieces_shorter_than_the_limit_forbid_nothing(training: list[int]) -> None:
    tokens = TABLES["notes in seconds"]
    wanted = melody(tokens, 0, 30, 5, [10])
    known = [wanted[:size] for size in training]
    assert all(not refused for _, refused in refusals(tokens, Novelty(tokens, known, 3), tokens.encode(wanted)))


# A model that was overfitted on purpose

OVERFITTED: dict[str, Any] = {
    "model": {"layers": 1, "width": 64, "dropout": 0, "window": 16},
    "corpus": {"validation": 0, "test": 0, "folds": 0},
    "batches": {"rows": 32, "size": 8},
    "augment": {"transpose": 0, "invert": 0, "stretch": 0, "velocity": 0, "blank": 0},
    "train": {"steps": 150, "evaluations": 1, "threads": 1, "learning_rate": 0.01, "weight_decay": 0},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, smf: Midi) -> Run:
    folder = tmp_path_factory.mktemp("overfitted")
    (folder / "music").mkdir()
    for seed in range(3):
        (folder / f"music/{seed}.mid").write_bytes(smf.piece(seed))
    list(train(str(folder / "music"), build("tiny", **OVERFITTED), folder / "run"))
    return open_run(folder / "run")


def improvised(improviser: Improviser, count: int = 6, **sampling: Any) -> list[Notes]:
    settings = improviser.settled(SampleSettings(seconds=40, temperature=0.7, **sampling))
    return [piece.notes for piece in outcome(improviser.stream(settings, range(count), 0))]


def longest(run: Run, pieces: list[Notes]) -> list[dict[str, int]]:
    index = TrainingIndex.of([piece for piece, _ in run.pieces("train")])
    return [likeness.longest for likeness in index.likeness(pieces)]


@pytest.mark.parametrize("limit", [3, 8, 16])
def test_a_model_that_copies_is_kept_from_it(run: Run, limit: int) -> None:
    improviser = run.improviser()
    copies, novel = (longest(run, improvised(improviser, **sampling)) for sampling in ({}, {"novel": limit}))
    assert min(one["verbatim"] for one in copies) > 20
    assert max(one["transposed"] for one in novel) == limit
    assert max(one["verbatim"] for one in novel) <= limit


@pytest.mark.parametrize(
    "sampling", [{"novel": 5}, {"repeats": 1, "phrase": 2}, {"novel": 4, "repeats": 2, "phrase": 5}]
)
def test_piece_k_is_the_same_whatever_is_made_beside_it(run: Run, sampling: dict[str, int]) -> None:
    improviser = run.improviser()
    [alone], many, again = (improvised(improviser, count, **sampling) for count in (1, 9, 9))
    assert same_notes(alone, many[0])
    assert all(same_notes(one, other) for one, other in zip(many, again, strict=True))
    assert not same_notes(alone, improvised(improviser, 1)[0])


def test_the_python_interface_takes_both_from_a_run_folder(run: Run) -> None:
    [novel] = cadenza.load(run.folder).generate(seconds=40, temperature=0.7, novel=5)
    assert same_notes(novel, improvised(run.improviser(), 1, novel=5)[0])
    assert len(cadenza.load(run.folder / "model.safetensors").generate(seconds=5, repeats=1)[0])


def test_a_model_file_alone_says_that_the_run_is_needed(run: Run, tmp_path: Path) -> None:
    shutil.copy(run.folder / "model.safetensors", tmp_path)
    alone = "does not hold the training pieces that --novel compares with; give the run folder"
    with pytest.raises(CadenzaError, match=alone):
        cadenza.load(tmp_path / "model.safetensors").generate(novel=5)
    with pytest.raises(CadenzaError, match="not a run folder"):
        cadenza.load(tmp_path).generate(novel=5)


def test_training_pieces_of_another_model_are_refused(run: Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run.folder, tmp_path / "copy"))
    manifest = copy / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(CadenzaError, match="the manifest is not the one the model was trained on"):
        cadenza.load(copy).generate(novel=5)


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        ({"novel": 1}, "sample: every note is in some training piece; set sample.novel to 2 notes or more."),
        ({"novel": -3}, "sample.novel = -3: "),
        ({"phrase": 1}, "sample.phrase = 1: input should be greater than or equal to 2."),
        ({"repeats": -1}, "sample.repeats = -1: "),
    ],
)
def test_an_impossible_control_is_one_sentence(sampling: dict[str, int], words: str) -> None:
    with pytest.raises(CadenzaError) as caught:
        validate({"sample": sampling})
    assert str(caught.value).startswith(words)


def test_what_is_in_force_is_said(run: Run, tmp_path: Path) -> None:
    settings = Settings(sample=SampleSettings(count=1, seconds=5, repeats=3, novel=8))
    place = generation.Place(tmp_path, "mid", True, settings.audio)
    records = generation.generate(generation.Asked(run.improviser(), run.folder, settings, 0, None), place, best_of=1)
    first = next(record.text for record in records if isinstance(record, Said))
    assert "phrases of 16 notes heard again 3 times at most (given)" in first
    assert "8 notes on end of a training piece at most (given)" in first


def test_the_command_line_takes_both(cadenza: Cadenza, run: Run, tmp_path: Path) -> None:
    common = ("--formats", "mid", "--seconds", "5", "--seed", "0")
    code, said, complained = cadenza("generate", run.folder, "--novel", "--repeats", "4", *common)
    assert code == 0, complained
    assert f"{INNOCENT} notes on end of a training piece at most (given)" in said
    code, _, complained = cadenza("generate", run.folder / "model.safetensors", "--novel-notes", "9", *common)
    assert code == 2
    assert complained.strip().splitlines()[-1].endswith("give the run folder.")


def test_novel_pieces_are_never_called_copies() -> None:
    assert SHORTEST["verbatim"] == SHORTEST["transposed"] == INNOCENT
