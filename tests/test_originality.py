from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cadenza.corpus.split import TEST, TRAIN, VALIDATION
from cadenza.evaluate.alignment import Line, Seeds
from cadenza.evaluate.draws import excerpts_by_notes
from cadenza.evaluate.matching import SuffixArray
from cadenza.evaluate.originality import (
    MEASURES,
    PATTERNS,
    SHORTEST,
    Likeness,
    Passage,
    TrainingIndex,
    Yardstick,
    fresh,
    line,
    verdict,
    yardstick,
)
from cadenza.notes import Notes, TimeBase, concatenate, from_first_onset, shift_time
from cadenza.settings import CorpusSettings
from cadenza.tokens import representation
from conftest import split_pieces
from test_works import melody, real_corpus, stretched, transposed

KINDS = ("verbatim", "transposed", "stretched", "changed")
ROWS = representation("notes", TimeBase())


def again(piece: Notes) -> Notes:
    """A piece as its rows give it back."""
    return ROWS.decode(ROWS.encode(piece), piece.header)


def disguised(passage: Notes, kind: str) -> Notes:
    if kind == "transposed":
        return transposed(passage, 5)
    if kind == "stretched":
        return stretched(passage, 1.1)
    if kind == "changed":
        higher = np.zeros(len(passage), dtype=int)
        higher[9::10] = 1
        return Notes.of(passage.onset, passage.pitch + higher, *passage.columns[2:], header=passage.header)
    return passage


def planted(host: Notes, at: int, passage: Notes) -> Notes:
    """The host with a passage before its note `at`."""
    before, after = host[slice(0, at)], from_first_onset(host[slice(at, None)])
    start = int(before.onset[-1]) + 30
    passage = from_first_onset(passage)
    return again(concatenate([before, shift_time(passage, start), shift_time(after, start + passage.end + 30)]))


def measured(index: TrainingIndex, piece: Notes) -> Likeness:
    (likeness,) = index.likeness([piece])
    return likeness


def accuses(said_of: Likeness, by: Yardstick, at: int, size: int = 32) -> bool:
    """Whether the verdict is a copy, for a passage that overlaps what was planted."""
    said = verdict(said_of, by)
    if not said.copied or said.measure is None:
        return False
    passage = said_of.passages[said.measure]
    return passage.own_start < at + size and passage.own_stop > at


@pytest.fixture(scope="module")
def training() -> list[Notes]:
    return [again(melody(seed, 300)) for seed in range(30)]


@pytest.fixture(scope="module")
def index(training: list[Notes]) -> TrainingIndex:
    return TrainingIndex.of(training)


@pytest.fixture(scope="module")
def human(index: TrainingIndex) -> Yardstick:
    return yardstick(list(index.likeness([again(melody(seed, 300)) for seed in range(100, 120)])))


# Copies


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_copy_is_found(index: TrainingIndex, training: list[Notes], human: Yardstick, kind: str) -> None:
    for seed in range(10):
        passage = disguised(training[seed][slice(50, 82)], kind)
        found = measured(index, planted(melody(200 + seed), 40, passage))
        assert accuses(found, human, 40)
        nearest = found.nearest
        assert nearest is not None
        assert (nearest.piece, nearest.semitones) == (seed, 5 * (kind == "transposed"))
        assert abs(nearest.start - 50) <= 3 and abs(nearest.own_start - 40) <= 3


def test_other_pieces_are_not_accused(index: TrainingIndex, human: Yardstick) -> None:
    others = [again(melody(seed, 300)) for seed in range(300, 340)]
    assert not any(verdict(one, human).copied for one in index.likeness(others))


@pytest.mark.parametrize("semitones", [-12, -1, 7])
def test_the_key_makes_no_difference_but_to_the_measures_of_pitch(
    index: TrainingIndex, training: list[Notes], semitones: int
) -> None:
    piece = planted(melody(400), 60, training[3][slice(100, 130)])
    before, after = measured(index, piece), measured(index, transposed(piece, semitones))
    for measure in ("transposed", "near"):
        assert after.longest[measure] == before.longest[measure]
        assert after.passages[measure].semitones == before.passages[measure].semitones + semitones
    assert after.shares == before.shares
    assert before.longest["verbatim"] == 30 > after.longest["verbatim"]


@pytest.mark.parametrize("ratio", [0.8, 1.1, 1.25, 1.4])
def test_a_copy_at_another_tempo_is_near(index: TrainingIndex, training: list[Notes], ratio: float) -> None:
    found = measured(index, planted(melody(400), 60, stretched(training[3][slice(100, 132)], ratio)))
    assert 28 <= found.longest["near"] <= 34
    assert found.passages["near"].piece == 3


def test_at_twice_the_tempo_only_the_pitches_are_the_same(index: TrainingIndex, training: list[Notes]) -> None:
    found = measured(index, stretched(training[3][slice(100, 132)], 2))
    assert found.longest["near"] < 10
    assert found.longest["pitches"] > 25


def test_a_whole_training_piece_is_its_own_copy(index: TrainingIndex, training: list[Notes]) -> None:
    found = measured(index, training[7])
    whole = len(training[7])
    assert found.longest["verbatim"] == found.longest["transposed"] == whole
    assert found.shares == dict.fromkeys(PATTERNS, 1.0)
    assert found.nearest == Passage(7, 0, whole, 0, whole, 0, "verbatim", whole)


def test_no_run_goes_on_from_one_training_piece_into_the_next() -> None:
    whole = again(melody(1, 60))
    halves = TrainingIndex.of([whole[slice(0, 30)], whole[slice(30, None)]])
    assert {measured(halves, whole).longest[measure] for measure in ("verbatim", "transposed")} == {31}
    assert measured(halves, whole).longest["near"] <= 31


def test_a_trill_copies_nobody() -> None:
    def trill(low: int, step: int) -> Notes:
        return Notes.of(np.arange(60) * step, [low, low + 2] * 30, [step] * 60, [80] * 60)

    found = measured(TrainingIndex.of([trill(60, 7)]), trill(60, 8))
    assert found.longest["pitches"] < 10 and found.longest["near"] <= 20


# The same as a slow reference


def steps(piece: Notes, measure: str, at: int) -> tuple[int, ...]:
    """What a measure sees from a note to the next."""
    low, high = int(piece.pitch[at]), int(piece.pitch[at + 1])
    gap = int(piece.onset[at + 1] - piece.onset[at])
    return {"verbatim": (low, high, gap), "transposed": (high - low, gap), "pitches": (low, high)}[measure]


def brings_new(piece: Notes) -> list[bool]:
    pitch = piece.pitch.tolist()
    interval = [high - low for low, high in pairwise(pitch)]
    new = [not at or piece.onset[at] > piece.onset[at - 1] for at in range(len(piece))]
    for at in range(4, len(piece)):
        for back in range(1, 5):
            if at - back >= 3 and interval[at - 3 : at] == interval[at - 3 - back : at - back]:
                new[at] = False
    return new


def slow_likeness(training: Sequence[Notes], piece: Notes) -> tuple[dict[str, int], dict[int, float]]:
    longest = dict.fromkeys(MEASURES[:3], 0)
    new, run_at = brings_new(piece), [1] * len(piece)
    for other in training:
        for measure in longest:
            for start in range(len(piece) - 1):
                for there in range(len(other) - 1):
                    size = 0
                    while (
                        max(start, size + start) < len(piece) - 1
                        and there + size < len(other) - 1
                        and steps(piece, measure, start + size) == steps(other, measure, there + size)
                    ):
                        size += 1
                    if size:
                        counted = sum(new[start : start + size + 1]) if measure == "pitches" else size + 1
                        longest[measure] = max(longest[measure], counted)
                        if measure == "transposed":
                            run_at[start] = max(run_at[start], size + 1)
    shares = {}
    for size in PATTERNS:
        patterns = len(piece) - size + 1
        shares[size] = sum(run >= size for run in run_at) / patterns if patterns > 0 else 0.0
    return longest, shares


NOTE = st.tuples(st.integers(0, 2), st.integers(60, 63))
PIECE = st.lists(NOTE, max_size=24).map(
    lambda notes: Notes.of(
        np.cumsum([gap for gap, _ in notes]) if notes else [],
        [pitch for _, pitch in notes],
        [1] * len(notes),
        [80] * len(notes),
    )
)


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.lists(PIECE, max_size=4), PIECE)
def test_runs_and_shares_are_those_of_a_slow_reference(training: list[Notes], piece: Notes) -> None:
    found = measured(TrainingIndex.of(training), piece)
    longest, shares = slow_likeness(training, piece)
    assert {measure: found.longest[measure] for measure in longest} == longest
    assert found.shares == pytest.approx(shares)


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.lists(PIECE, max_size=4), PIECE)
def test_every_passage_holds_what_it_claims(training: list[Notes], piece: Notes) -> None:
    for measure, passage in measured(TrainingIndex.of(training), piece).passages.items():
        own = piece[slice(passage.own_start, passage.own_stop)]
        other = training[passage.piece][slice(passage.start, passage.stop)]
        assert len(own) == len(other) == passage.own_stop - passage.own_start >= passage.notes
        same = own.pitch == other.pitch + passage.semitones
        assert same.sum() >= passage.notes
        if measure != "near":
            assert same.all()
        if measure in ("verbatim", "pitches"):
            assert passage.semitones == 0


@hypothesis_settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 3), max_size=40), max_size=4), st.lists(st.integers(1, 3), max_size=40))
def test_the_longest_matches_are_those_of_a_slow_search(texts: list[list[int]], asked: list[int]) -> None:
    body = np.array([symbol for text in texts for symbol in [*text, 0]], dtype=np.int64)
    matched, where = SuffixArray.of(body).longest(np.array(asked, dtype=np.int64))
    for at, size in enumerate(matched.tolist()):
        assert body[where[at] : where[at] + size].tolist() == asked[at : at + size]
        longer = asked[at : at + size + 1]
        if len(longer) > size:
            assert not any(text[i : i + size + 1] == longer for text in texts for i in range(len(text)))


@given(st.lists(st.integers(1, 3), max_size=60))
def test_suffixes_come_in_order(text: list[int]) -> None:
    body = np.array([*text, 0], dtype=np.int64)
    assert SuffixArray.of(body).order.tolist() == sorted(range(len(body)), key=lambda at: body[at:].tolist())


@given(PIECE)
def test_the_notes_that_bring_something_new_are_those_of_a_slow_reference(piece: Notes) -> None:
    assert fresh(line([piece], TimeBase())[0]).tolist() == brings_new(piece)


def test_seeds_found_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch, index: TrainingIndex) -> None:
    piece = again(melody(5, 300))
    whole = measured(index, piece)
    monkeypatch.setattr("cadenza.evaluate.alignment.HITS", 3)
    monkeypatch.setattr("cadenza.evaluate.alignment.CELLS", 1)
    assert measured(index, piece) == whole


# Very little music


@pytest.mark.parametrize("count", range(8))
def test_few_notes_can_be_measured(index: TrainingIndex, training: list[Notes], human: Yardstick, count: int) -> None:
    found = measured(index, training[0][slice(0, count)])
    assert found.notes == count
    assert found.longest["verbatim"] == (count if count > 1 else 0)
    assert found.shares == {size: float(count >= size) for size in PATTERNS}
    assert not verdict(found, human).copied


@pytest.mark.parametrize("pieces", [[], [melody(1)[slice(0, 0)]], [melody(1)[slice(0, 1)]]])
def test_where_nothing_was_trained_on_nothing_is_alike(pieces: list[Notes]) -> None:
    found = measured(TrainingIndex.of(pieces), melody(2))
    assert found.longest == dict.fromkeys(MEASURES, 0)
    assert found.shares == dict.fromkeys(PATTERNS, 0.0)
    assert found.nearest is None
    assert not verdict(found, None).copied


def test_empty_training_pieces_keep_their_number() -> None:
    nothing = melody(1)[slice(0, 0)]
    found = measured(TrainingIndex.of([nothing, melody(1), nothing, melody(2)]), melody(2))
    assert found.nearest is not None and found.nearest.piece == 3


def test_a_seed_needs_its_notes_in_one_piece() -> None:
    whole = melody(1, 7)
    row = Line.of(whole.onset.astype(np.int64), whole.pitch.astype(np.int64), np.array([0, 4]), TimeBase())
    assert len(Seeds.of(row, np.array([0, 4])).place) == 0


# The yardstick and the verdict


def likeness(notes: int, measure: str = "verbatim", semitones: int = 0) -> Likeness:
    passage = Passage(1, 0, notes, 4, 4 + notes, semitones, measure, notes)
    return Likeness(
        300, {one: notes * (one == measure) for one in MEASURES}, dict.fromkeys(PATTERNS, 0.1), {measure: passage}
    )


@pytest.mark.parametrize("measure", MEASURES)
def test_only_what_passes_human_pieces_by_a_margin_is_accused(measure: str) -> None:
    human = yardstick([likeness(notes, measure) for notes in (7, 24, 12)])
    assert human.highest[measure] == 24 and human.pieces == 3
    assert [verdict(likeness(notes, measure), human).copied for notes in (20, 24, 30, 31)] == [
        False,
        False,
        False,
        True,
    ]


def test_a_short_passage_is_never_a_copy() -> None:
    human = yardstick([likeness(3)])
    for measure, notes in SHORTEST.items():
        assert not verdict(likeness(notes, measure), human).copied
        assert verdict(likeness(notes + 1, measure), human).copied


def test_a_verdict_says_what_it_rests_on() -> None:
    human = yardstick([likeness(14, "transposed")])
    said = verdict(likeness(23, "transposed", 5), human, ["Reel", "Jig"])
    assert said.text == "Copies 23 notes of Jig (transposed up 5 semitones); unseen human pieces share at most 14."
    assert (said.measure, said.notes) == ("transposed", 23)
    assert verdict(likeness(9), human).text == "As original as unseen human pieces."


def test_without_a_held_out_piece_nobody_is_accused() -> None:
    for none in (None, yardstick([])):
        said = verdict(likeness(200), none, ["Reel", "Jig"])
        assert not said.copied
        assert "200 notes of Jig" in said.text and "no human piece was held out" in said.text


@pytest.mark.parametrize("lengths", [[50], [20, 90, 300], [0, 1], []])
def test_excerpts_are_as_long_as_asked(lengths: list[int]) -> None:
    pieces = [melody(seed, 130) for seed in range(5)] + [melody(9)[slice(0, 0)]]
    cut = excerpts_by_notes(pieces, lengths, np.random.default_rng(0))
    assert len(cut) >= len(pieces)
    assert {len(one) for one in cut} <= {max(1, length) for length in lengths} | {len(piece) for piece in pieces}
    assert all(one.onset[0] == 0 for one in cut if len(one))


# Real music


@pytest.mark.slow
def test_copies_are_found_in_real_music_and_unseen_works_are_not_accused(data: Path) -> None:
    corpus = real_corpus(data / "violin-etudes.tar.gz")
    entries = split_pieces(corpus.entries, CorpusSettings(), 0)
    parts = [entry.split for entry in entries if not entry.reason]
    pieces = {
        part: [again(piece) for piece, where in zip(corpus.pieces, parts, strict=True) if where == part]
        for part in (TRAIN, VALIDATION, TEST)
    }
    rng = np.random.default_rng(0)
    index = TrainingIndex.of(pieces[TRAIN])
    human = yardstick(list(index.likeness(excerpts_by_notes(pieces[VALIDATION], [300], rng))))
    hosts = excerpts_by_notes(pieces[TEST], [300], rng)
    assert not any(verdict(one, human).copied for one in index.likeness(hosts))
    for kind in KINDS:
        for number in range(8):
            piece = pieces[TRAIN][100 * number]
            passage = disguised(piece[slice(20, 52)], kind)
            assert accuses(measured(index, planted(hosts[10 * number], 40, passage)), human, 40), (kind, number)
