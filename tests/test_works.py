import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cadenza.corpus.grams import interval_grams
from cadenza.corpus.scan import Corpus, Entry, scan
from cadenza.corpus.sketch import KEPT, seen, sketch_of
from cadenza.corpus.sources import open_source
from cadenza.corpus.split import TEST, TRAIN, VALIDATION
from cadenza.corpus.works import NEXT, InMemory, candidates, group_works, join, roots
from cadenza.errors import CadenzaError
from cadenza.notes import Header, Notes, TimeBase
from cadenza.presets import build
from cadenza.records import outcome
from cadenza.settings import CorpusSettings
from conftest import split_pieces


def melody(seed: int, count: int = 120, step: int = 1) -> Notes:
    """Random steps of up to a fourth, never standing still."""
    rng = np.random.default_rng(seed)
    moves = rng.integers(1, 6, count) * rng.choice([-1, 1], count)
    pitch = [72]
    for move in moves.tolist():
        pitch.append(pitch[-1] + (move if 50 <= pitch[-1] + move <= 100 else -move))
    duration = rng.integers(10, 60, len(pitch)) * step
    return Notes.of(np.cumsum(duration) - duration, pitch, duration, rng.integers(30, 120, len(pitch)))


def transposed(notes: Notes, semitones: int) -> Notes:
    return Notes.of(notes.onset, notes.pitch + semitones, notes.duration, notes.velocity, notes.header)


def stretched(notes: Notes, ratio: float) -> Notes:
    onset, end = (np.rint(values * ratio).astype(int) for values in (notes.onset, notes.onset + notes.duration))
    return Notes.of(onset, notes.pitch, np.maximum(end - onset, 1), notes.velocity, notes.header)


def played_again(notes: Notes, seed: int) -> Notes:
    """Another performance: other times and velocities, one note in twenty wrong or missing."""
    rng = np.random.default_rng(seed)
    kept = notes[rng.random(len(notes)) > 0.03]
    pitch = kept.pitch + rng.integers(-2, 3, len(kept)) * (rng.random(len(kept)) < 0.02)
    shift = np.cumsum(rng.integers(0, 4, len(kept)))
    return Notes.of(kept.onset + shift, pitch, kept.duration, rng.integers(30, 120, len(kept)), notes.header)


# Grouping


@pytest.mark.parametrize("semitones", [-7, 1, 12])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.37])
def test_a_transposed_and_stretched_copy_is_the_same_work(semitones: int, ratio: float) -> None:
    one, other = melody(1), melody(2)
    copy = stretched(transposed(one, semitones), ratio)
    assert group_works([one, other, copy]).tolist() == [0, 1, 0]


def test_performances_of_one_piece_are_one_work() -> None:
    pieces = [played_again(melody(piece), 10 * piece + player) for piece in range(6) for player in range(4)]
    assert group_works(pieces).tolist() == [piece for piece in range(6) for _ in range(4)]


def test_an_excerpt_belongs_to_its_piece() -> None:
    whole = melody(1, 300)
    assert group_works([whole, whole[100:180], melody(2)]).tolist() == [0, 0, 1]


def test_the_time_base_makes_no_difference() -> None:
    one = melody(1)
    beats = Notes.of(*one.columns, header=Header(time_base=TimeBase("beats", 24)))
    assert group_works([one, beats]).tolist() == [0, 0]


def test_chords_are_one_work_in_whatever_order_their_notes_are_struck() -> None:
    top = melody(3)
    low = transposed(top, -12)
    early, late = (
        Notes.of(
            np.concatenate([top.onset + 10, low.onset + 10 + shift]),
            np.concatenate([top.pitch, low.pitch]),
            np.concatenate([top.duration, low.duration]),
            np.concatenate([top.velocity, low.velocity]),
        )
        for shift in (-2, 2)
    )
    assert group_works([early, late, top]).tolist() == [0, 0, 0]


def test_unrelated_melodies_are_works_of_their_own() -> None:
    assert group_works([melody(seed) for seed in range(200)]).tolist() == list(range(200))


def test_groups_do_not_depend_on_the_order_of_the_pieces() -> None:
    pieces = [played_again(melody(number % 9), number) for number in range(30)]
    order = np.random.default_rng(4).permutation(30)
    forward, shuffled = group_works(pieces), group_works([pieces[number] for number in order])
    for one in range(30):
        for other in range(30):
            assert (forward[order[one]] == forward[order[other]]) == (shuffled[one] == shuffled[other])


@pytest.mark.parametrize("count", [1, 2, 7])
def test_pieces_of_very_few_notes_can_be_grouped(count: int) -> None:
    short = [
        Notes.of(range(count), range(60 + start, 60 + start + count), [1] * count, [80] * count) for start in (0, 3)
    ]
    assert group_works([*short, melody(1)]).tolist() == [0, 0, 1]


def test_a_run_of_one_pitch_is_no_bridge_between_works() -> None:
    def with_run(seed: int) -> Notes:
        notes = melody(seed)
        run = range(notes.end, notes.end + 400, 10)
        columns = (
            [*notes.onset, *run],
            [*notes.pitch, *[60] * 40],
            [*notes.duration, *[9] * 40],
            [*notes.velocity, *[80] * 40],
        )
        return Notes.of(*columns)

    assert group_works([with_run(seed) for seed in range(5)]).tolist() == [0, 1, 2, 3, 4]


@given(st.integers(1, 25), st.data())
def test_what_is_joined_agrees_with_a_slow_reference(size: int, draw: st.DataObject) -> None:
    node = st.integers(0, size - 1)
    pairs = np.array(draw.draw(st.lists(st.tuples(node, node), max_size=30)), np.int64).reshape(-1, 2)
    label = list(range(size))
    for _ in range(size):
        for left, right in pairs.tolist():
            label[left] = label[right] = min(label[left], label[right])
    first_seen = {old: new for new, old in enumerate(dict.fromkeys(label))}
    parent = np.arange(size)
    join(parent, pairs[:, 0], pairs[:, 1])
    group = np.unique(roots(parent, np.arange(size)), return_inverse=True)[1]
    assert group.tolist() == [first_seen[old] for old in label]


def joined(one: Notes, other: Notes) -> Notes:
    """One after the other."""
    onset, pitch, duration, velocity = (np.concatenate(both) for both in zip(one.columns, other.columns, strict=True))
    onset[len(one) :] += one.end
    return Notes.of(onset, pitch, duration, velocity)


def test_a_chain_of_short_loans_joins_no_works() -> None:
    pieces = [joined(melody(seed), melody(seed + 1)[:30]) for seed in range(40)]
    assert group_works(pieces).tolist() == list(range(40))


def test_a_short_piece_is_no_part_of_a_long_one_for_a_scale() -> None:
    scale = Notes.of(range(0, 300, 10), [*range(60, 75), *range(75, 60, -1)], [9] * 30, [80] * 30)
    short, long = joined(melody(1, 40), scale), joined(melody(2, 1500), scale)
    assert group_works([short, long]).tolist() == [0, 1]


@pytest.mark.parametrize("step", [5, 8, 12])
def test_a_fast_run_is_heard_note_by_note(step: int) -> None:
    """Notes up to 120 ms apart may be either."""
    fast = Notes.of(np.arange(121) * step, melody(1).pitch, [step] * 121, [80] * 121)
    assert group_works([fast, stretched(fast, 5), melody(2)]).tolist() == [0, 0, 1]


@pytest.mark.parametrize("late", [2, 6, 10])
def test_a_broken_chord_is_the_chord(late: int) -> None:
    top = stretched(melody(5), 2)
    low = transposed(top, -12)
    upward, downward = (
        Notes.of(
            np.concatenate([top.onset, low.onset + 10 + shift]),
            np.concatenate([top.pitch, low.pitch]),
            np.concatenate([top.duration, low.duration]),
            np.concatenate([top.velocity, low.velocity]),
        )
        for shift in (-10, late - 10)
    )
    assert group_works([upward, downward]).tolist() == [0, 0]


def test_the_order_makes_no_difference_where_a_work_has_more_copies_than_are_compared() -> None:
    pieces = [played_again(melody(number % 3), number) for number in range(9 * NEXT)]
    order = np.random.default_rng(4).permutation(len(pieces))
    forward, shuffled = group_works(pieces), group_works([pieces[number] for number in order])
    assert forward.tolist() == [number % 3 for number in range(len(pieces))]
    assert len(set(zip(forward[order].tolist(), shuffled.tolist(), strict=True))) == 3


def test_comparisons_grow_with_the_number_of_copies_not_with_its_square() -> None:
    def comparisons(copies: int) -> int:
        pieces = [played_again(melody(number % 4), number) for number in range(4 * copies)]
        sets = InMemory([interval_grams(piece) for piece in pieces])
        return sum(int(common.sum()) for _, (_, _, common) in candidates(sets.outline(), sets))

    few, many = comparisons(100), comparisons(400)
    assert few > 0
    assert many < 4.8 * few


VIOLIN, VIENNA = "violin-etudes.tar.gz", "vienna4x22-midi.zip"


def true_works(corpus: Corpus, data: Path) -> list[str]:
    """The work of each piece by the table of the violin corpus, or by the names of the piano performances."""
    paths = [entry.name.split("/") for entry in corpus.kept]
    if len(paths) == 112:
        return ["_".join(path[-1].split("_")[:2]) for path in paths]  # opus 38 comes in two lengths
    with open(data / "split_by_piece.csv", encoding="utf-8", newline="") as table:
        piece = {row["file"]: f"{row['book']} {row['piece']}" for row in csv.DictReader(table)}
    assert len(corpus.pieces) == len(piece) == 1021
    return [piece["/".join(path[-2:])] for path in paths]


@pytest.mark.slow
@pytest.mark.parametrize("archive", [VIOLIN, VIENNA])
def test_performances_of_the_real_corpora_are_found_without_reading_their_names(data: Path, archive: str) -> None:
    corpus = real_corpus(data / archive)
    truth = true_works(corpus, data)
    found = [entry.work for entry in corpus.kept]

    def pairs(*labels: list[str] | list[int]) -> int:
        return sum(count * (count - 1) // 2 for count in Counter(zip(*labels, strict=True)).values())

    both = pairs(truth, found)
    assert both / pairs(truth) >= 0.995  # recall: performances of one piece that are in one work
    assert both / pairs(found) >= 0.99  # precision


def real_corpus(archive: Path) -> Corpus:
    with open_source(str(archive), build()) as source:
        return outcome(scan(source, build()))


# Sketches


def test_other_performances_are_seen_and_other_works_are_not() -> None:
    grams = [interval_grams(played_again(melody(seed, 400), seed)) for seed in range(40)]
    again = [interval_grams(transposed(played_again(melody(seed, 400), 100 + seed), 3)) for seed in range(40)]
    trained = sketch_of(grams[:20])
    assert seen(again, trained).tolist() == [True] * 20 + [False] * 20


def test_a_sketch_holds_the_share_of_n_grams_that_it_says() -> None:
    grams = [interval_grams(melody(seed, 1000)) for seed in range(20)]
    held, whole = len(sketch_of(grams)), sum(len(one) for both in grams for one in both)
    assert held == pytest.approx(whole / KEPT, rel=0.1)
    assert (np.diff(sketch_of(grams).astype(object)) > 0).all()


def test_a_piece_that_leaves_no_trace_counts_as_seen() -> None:
    pieces = [Notes.of(range(0, 20, 10), [60, 60 + leap], [9, 9], [80, 80]) for leap in range(1, 12)]
    assert seen([interval_grams(piece) for piece in pieces], sketch_of([interval_grams(melody(1))])).any()


def test_nothing_but_what_leaves_no_trace_is_seen_in_an_empty_sketch() -> None:
    assert seen([interval_grams(melody(seed)) for seed in range(5)], sketch_of([])).tolist() == [False] * 5
    assert seen([], sketch_of([])).tolist() == []


@pytest.mark.slow
def test_a_sketch_knows_performances_of_the_works_it_was_made_of(data: Path) -> None:
    corpus = real_corpus(data / VIOLIN)
    truth = np.array(true_works(corpus, data))
    grams = [interval_grams(piece) for piece in corpus.pieces]
    rng = np.random.default_rng(0)
    half = rng.permutation(np.unique(truth))[::2]
    trained = np.isin(truth, half) & (rng.random(len(truth)) < 0.5)
    traces = sketch_of([gram for gram, chosen in zip(grams, trained, strict=True) if chosen])
    known = seen(grams, traces)
    assert known[trained].all()
    assert known[np.isin(truth, truth[trained])].mean() > 0.99
    assert known[~np.isin(truth, half)].mean() < 0.05
    assert traces.nbytes < 200_000


# Splitting


def entries(sizes: list[int]) -> list[Entry]:
    """As many kept entries of each work as its size says, and two files that were left out."""
    kept = [Entry(f"{work}-{number}.mid", work=work) for work, size in enumerate(sizes) for number in range(size)]
    return [Entry("bad.mid", reason="bad.mid: damaged."), *kept, Entry("worse.mid", reason="worse.mid: damaged.")]


def parts_of(sizes: list[int], seed: int = 0, settings: CorpusSettings | None = None) -> dict[int, str]:
    """The part of every work; two parts of one work are a fault."""
    before = entries(sizes)
    after = split_pieces(before, (settings or CorpusSettings()).model_copy(update={"folds": 0}), seed)
    assert [replace(entry, split="") for entry in after] == before
    assert [entry.split for entry in after if entry.reason] == ["", ""]
    parts: dict[int, str] = {}
    for entry in after:
        if not entry.reason:
            assert parts.setdefault(entry.work, entry.split) == entry.split
    return parts


SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@hypothesis_settings(deadline=None)
@given(SIZES, st.integers(0, 1000), st.sampled_from([0.01, 0.1, 0.3, 0.49]), st.sampled_from([0.01, 0.1, 0.3, 0.49]))
def test_every_work_is_in_one_part_and_every_part_is_filled(
    sizes: list[int], seed: int, validation: float, test: float
) -> None:
    parts = parts_of(sizes, seed, CorpusSettings(validation=validation, test=test))
    assert sorted(parts) == list(range(len(sizes)))
    match len(sizes):
        case 1:
            assert set(parts.values()) == {TRAIN}
        case 2:
            assert sorted(parts.values()) == [TEST, TRAIN]
        case _:
            assert set(parts.values()) == {TRAIN, VALIDATION, TEST}
    assert parts[sizes.index(max(sizes))] == TRAIN


@hypothesis_settings(deadline=None)
@given(SIZES, st.integers(0, 1000))
def test_a_seed_always_gives_the_same_split(sizes: list[int], seed: int) -> None:
    assert parts_of(sizes, seed) == parts_of(sizes, seed)


def test_other_seeds_give_other_splits() -> None:
    assert len({tuple(parts_of([1] * 30, seed).items()) for seed in range(20)}) > 15


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.2, 0.05), (0.3, 0.3)])
def test_parts_hold_their_share_of_the_pieces(validation: float, test: float) -> None:
    sizes = np.random.default_rng(1).integers(1, 10, 200).tolist()
    for seed in range(10):
        parts = parts_of(sizes, seed, CorpusSettings(validation=validation, test=test))
        for part, share in ((VALIDATION, validation), (TEST, test)):
            held = sum(sizes[work] for work in parts if parts[work] == part)
            assert share * sum(sizes) <= held < share * sum(sizes) + 10


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        (CorpusSettings(validation=0, test=0), {TRAIN}),
        (CorpusSettings(validation=0), {TRAIN, TEST}),
        (CorpusSettings(test=0), {TRAIN, VALIDATION}),
    ],
)
def test_a_share_of_zero_leaves_the_part_empty(settings: CorpusSettings, left: set[str]) -> None:
    assert set(parts_of([1] * 20, 0, settings).values()) == left


def by_file(sizes: list[int], seed: int, settings: CorpusSettings) -> list[str]:
    """The part of every kept file, in their order."""
    before = entries(sizes)
    after = split_pieces(before, settings.model_copy(update={"split_by": "file"}), seed)
    assert [replace(entry, split="") for entry in after] == before
    assert [entry.split for entry in after if entry.reason] == ["", ""]
    return [entry.split for entry in after if not entry.reason]


@hypothesis_settings(deadline=None)
@given(SIZES, st.integers(0, 1000), st.sampled_from([0.01, 0.1, 0.3, 0.49]), st.sampled_from([0.01, 0.1, 0.3, 0.49]))
def test_by_file_each_file_is_split_as_a_work_of_its_own(
    sizes: list[int], seed: int, validation: float, test: float
) -> None:
    settings = CorpusSettings(validation=validation, test=test)
    parts = by_file(sizes, seed, settings)
    alone = parts_of([1] * sum(sizes), seed, settings)
    assert parts == [alone[number] for number in range(sum(sizes))]


def test_by_file_the_files_of_a_work_may_part_and_by_work_never() -> None:
    settings = CorpusSettings(validation=0.2, test=0.2)
    parts = [Counter(by_file([10, 10], seed, settings)[:10]) for seed in range(5)]
    assert all(len(part) > 1 for part in parts)


@pytest.mark.parametrize(("files", "held_out"), [(110, 11), (111, 12), (99, 10), (2, 1), (1, 0)])
def test_by_file_the_test_takes_its_share_of_the_files_rounded_up(files: int, held_out: int) -> None:
    for seed in range(5):
        parts = Counter(by_file([files], seed, CorpusSettings(validation=0, test=0.1)))
        assert parts == Counter({TRAIN: files - held_out, TEST: held_out})


def test_one_great_work_leaves_all_three_parts_something() -> None:
    assert sorted(parts_of([100, 1, 1]).values()) == [TEST, TRAIN, VALIDATION]


def test_nothing_kept_is_nothing_split() -> None:
    assert parts_of([]) == {}


def test_a_held_out_half_is_refused() -> None:
    with pytest.raises(CadenzaError, match=r"corpus\.test = 0\.5"):
        build(corpus={"test": 0.5})
