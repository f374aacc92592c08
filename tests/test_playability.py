"""What instruments can play: as a measure of notes, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadenza.instruments import INSTRUMENTS
from cadenza.notes import Header, Notes, TimeBase, one_at_a_time
from cadenza.playability import FINE, RANGE, REPEATED, STRINGS, TOO_MANY, Past, Player, judge
from conftest import Cadenza, Midi

VIOLIN, CELLO, FLUTE = (INSTRUMENTS[name] for name in ("violin", "cello", "flute"))
SECONDS, BEATS = TimeBase("seconds", 100), TimeBase("beats", 24)
every_instrument = pytest.mark.parametrize("name", sorted(INSTRUMENTS))


def played(*notes: tuple[int, int, int], base: TimeBase = SECONDS) -> Notes:
    """Notes of (onset, pitch, duration)."""
    onset, pitch, duration = zip(*notes, strict=True)
    return Notes.of(onset, pitch, duration, [80] * len(notes), Header(time_base=base))


def codes(instrument: Any, *notes: tuple[int, int, int]) -> list[int]:
    return judge(played(*notes), instrument).tolist()


# The measure


@every_instrument
def test_a_scale_over_the_whole_range_is_playable_and_nothing_beyond_it(name: str) -> None:
    instrument = INSTRUMENTS[name]
    scale = [(20 * step, pitch, 18) for step, pitch in enumerate(range(instrument.lowest - 1, instrument.highest + 2))]
    assert codes(instrument, *scale) == [RANGE] + [FINE] * (instrument.highest - instrument.lowest + 1) + [RANGE]


@pytest.mark.parametrize(
    ("instrument", "pitches", "wanted"),
    [
        (VIOLIN, (55, 62, 69, 76), FINE),  # open strings
        (VIOLIN, (55, 62, 71, 79), FINE),
        (VIOLIN, (55, 57), STRINGS),  # both on the lowest string
        (VIOLIN, (57, 73), FINE),  # a tenth from a tone above the open strings
        (VIOLIN, (57, 75), STRINGS),  # a twelfth from there is too far
        (VIOLIN, (55, 86), FINE),  # however far from an open string
        (VIOLIN, (55, 62, 64), STRINGS),  # three notes for two strings
        (VIOLIN, (57, 64, 69), FINE),
        (VIOLIN, (57, 62, 69, 76, 88), TOO_MANY),
        (VIOLIN, (69, 81), FINE),  # an octave
        (CELLO, (38, 50), STRINGS),  # no octave without the thumb
        (CELLO, (38, 47), FINE),
        (FLUTE, (72, 76), TOO_MANY),
    ],
)
def test_what_sounds_together_needs_strings_and_a_hand(instrument: Any, pitches: tuple[int, ...], wanted: int) -> None:
    found = codes(instrument, *((0, pitch, 50) for pitch in pitches))
    assert found == [FINE] * (len(pitches) - 1) + [wanted]


def test_a_little_overlap_is_no_double_stop() -> None:
    assert codes(FLUTE, (0, 72, 30), (22, 74, 30), (47, 76, 30)) == [FINE] * 3
    assert codes(FLUTE, (0, 72, 4), (2, 74, 4)) == [FINE] * 2
    assert codes(FLUTE, (0, 72, 30), (20, 74, 30)) == [FINE, TOO_MANY]
    assert codes(FLUTE, (0, 72, 4), (1, 74, 4)) == [FINE, TOO_MANY]


def test_a_note_that_cannot_be_played_spoils_no_other() -> None:
    assert codes(FLUTE, (0, 72, 200), (50, 74, 500), (210, 76, 50)) == [FINE, TOO_MANY, FINE]
    assert codes(VIOLIN, (0, 55, 200), (50, 57, 500), (210, 58, 50)) == [FINE, STRINGS, FINE]


def test_a_bow_breaks_chords_and_holds_two_notes() -> None:
    chord = [(0, 55, 100), (0, 62, 100), (0, 71, 100)]
    assert codes(VIOLIN, *chord, (110, 79, 50)) == [FINE] * 4
    assert codes(VIOLIN, *chord, (50, 79, 50)) == [FINE] * 3 + [TOO_MANY]
    short_top = [*chord[:2], (0, 71, 40)]
    assert codes(VIOLIN, *short_top, (50, 72, 50)) == [FINE] * 4  # the lowest is let go, the middle one held
    broken = [(0, 55, 100), (5, 62, 100), (10, 71, 100), (14, 79, 100)]
    assert codes(VIOLIN, *broken) == [FINE] * 4
    assert codes(VIOLIN, *broken[:2], (20, 71, 100)) == [FINE, FINE, TOO_MANY]


def test_strings_that_a_bow_holds_are_neighbours_and_those_of_a_broken_chord_need_not_be() -> None:
    assert codes(VIOLIN, (0, 55, 200), (50, 86, 50)) == [FINE, FINE]  # high on the next string
    assert codes(VIOLIN, (0, 57, 200), (50, 88, 50)) == [FINE, STRINGS]
    assert codes(VIOLIN, (0, 57, 200), (10, 80, 50)) == [FINE, FINE]
    assert codes(VIOLIN, (0, 57, 200), (50, 80, 50)) == [FINE, STRINGS]


@pytest.mark.parametrize(("instrument", "fastest"), [(VIOLIN, 6), (FLUTE, 7)])
def test_a_pitch_is_not_repeated_faster_than_it_can_be(instrument: Any, fastest: int) -> None:
    assert codes(instrument, (0, 72, 2), (fastest, 72, 2), (2 * fastest - 1, 72, 2)) == [FINE, FINE, REPEATED]
    assert codes(instrument, (0, 72, 200), (fastest, 72, 20)) == [FINE, FINE]  # which ends the first
    assert codes(instrument, (0, 72, 1), (2, 74, 1), (4, 72, 1)) == [FINE, FINE, REPEATED]


@pytest.mark.parametrize("header", [Header(time_base=TimeBase("seconds", 200)), Header("", TimeBase("beats", 50), 240)])
def test_the_rules_are_in_seconds_whatever_the_step(header: Header) -> None:
    notes = [(0, 72, 30), (22, 74, 30), (27, 74, 30)]
    onset, pitch, duration = np.array(notes).T
    half_steps = Notes.of(2 * onset, pitch, 2 * duration, [80] * 3, header)
    assert judge(half_steps, FLUTE).tolist() == codes(FLUTE, *notes) == [FINE, FINE, REPEATED]


NOTES = st.lists(
    st.tuples(st.integers(0, 300), st.integers(50, 105), st.integers(1, 120)), min_size=1, max_size=60
)  # fmt: skip


@every_instrument
@given(notes=NOTES, shorter=st.floats(0, 1))
def test_what_is_left_of_any_notes_is_playable_and_stays_so_when_shortened(
    name: str, notes: list[tuple[int, int, int]], shorter: float
) -> None:
    piece = played(*notes)
    left = piece[judge(piece, INSTRUMENTS[name]) == FINE]
    assert not judge(left, INSTRUMENTS[name]).any()
    for fewer in (one_at_a_time(left), replace(left, duration=np.maximum(1, left.duration * shorter).astype(np.int32))):
        assert not judge(fewer, INSTRUMENTS[name]).any()


@every_instrument
@given(notes=NOTES)
def test_what_can_be_played_changes_only_at_the_moments_named(name: str, notes: list[tuple[int, int, int]]) -> None:
    player, past = Player(INSTRUMENTS[name], 0.01), Past()
    piece = one_at_a_time(played(*notes))
    for onset, pitch, duration, _ in zip(*(column.tolist() for column in piece.columns), strict=True):
        past = player.play(past, pitch, onset, duration)
    moments = player.moments(past, onset)
    assert moments[0] == onset
    before = player.objections(past, onset)
    for step in range(onset + 1, onset + 200):
        now = player.objections(past, step)
        assert step in moments or np.array_equal(now, before)
        before = now
    assert not (before[INSTRUMENTS[name].lowest : INSTRUMENTS[name].highest + 1]).any()


# The command line


def test_inspect_says_what_share_of_a_corpus_is_playable(cadenza: Cadenza, tmp_path: Path, smf: Midi) -> None:
    violin = smf.program(40)
    for number in range(4):
        (tmp_path / f"fine{number}.mid").write_bytes(smf.file(violin + smf.melody(number)))
    both = smf.note(55, 48_000, 48_960) + smf.note(57, 48_000, 48_960)
    (tmp_path / "low.mid").write_bytes(smf.file(violin + smf.melody(9) + both))
    code, said, _ = cadenza("inspect", tmp_path, "--json")
    assert code == 0
    found = json.loads(said)["playable"]
    assert found == {
        "instrument": "violin",
        "share_of_notes": round(1 - 1 / 302, 5),
        "pieces_in_full": 4,
        "objections": [{"reason": "no string for it", "notes": 1, "piece": "low.mid", "seconds": 50.0, "pitch": "A3"}],
    }
    _, said, _ = cadenza("inspect", tmp_path)
    assert "Playable on the violin: 99.67% of the notes; in full, 4 of 5 pieces." in said
    assert "  1 no string for it, for example A3 at 50.0 s of low.mid" in said


def test_inspect_says_nothing_of_instruments_it_does_not_know(cadenza: Cadenza, tmp_path: Path, smf: Midi) -> None:
    (tmp_path / "piano.mid").write_bytes(smf.file(smf.program(0) + smf.melody(1)))
    code, said, _ = cadenza("inspect", tmp_path, "--json")
    assert code == 0
    assert "playable" not in json.loads(said)
