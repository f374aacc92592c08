"""What instruments can play: as a measure of notes, as a mask while sampling, and what is said of both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cadenza import CadenzaError, load, midi
from cadenza.checkpoint import Facts, fresh_model, model_bytes
from cadenza.improviser import Improviser
from cadenza.instruments import INSTRUMENTS
from cadenza.notes import Header, Notes, TimeBase, one_at_a_time
from cadenza.playability import FINE, RANGE, REPEATED, STRINGS, TOO_MANY, Past, Player, judge
from cadenza.settings import PLAYED, MidiSettings, ModelSettings, SampleSettings, TokenSettings, validate
from cadenza.tokens import representation
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


def test_the_settings_know_every_instrument() -> None:
    assert set(PLAYED) == {"any", *INSTRUMENTS}


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


# The mask

EVENTS = representation("study", SECONDS).vocabulary
FACTS = {
    "seconds": Facts("études", "seconds", 100, 40, 120.0, None, 30, 110),
    "beats": Facts("tunes", "beats", 24, 40, 90.0, (6, 8), 30, 110),
    "study": Facts("study", "seconds", 100, 40, 120.0, None, 30, 110, EVENTS),
}
every_kind = pytest.mark.parametrize("kind", sorted(FACTS))


def improviser(folder: Path, kind: str, **facts: Any) -> Improviser:
    """An untrained model with a will of its own, that would rather not end."""
    known, study = replace(FACTS[kind], **facts), kind == "study"
    tokens = representation("study" if study else "notes", known.base, known.vocabulary)
    settings = ModelSettings(trunk="lstm", layers=1, width=32)
    model = fresh_model(settings, tokens, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
        if not study:
            model.get_parameter("heads.leave.0.bias")[-1] -= 6
    reading, chosen = MidiSettings(time_base=known.base.unit), TokenSettings(representation=tokens.name)
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(
        model_bytes(model.state_dict(), settings, chosen, reading, known, "ab" * 32, 1)
    )
    return load(folder / "model.safetensors")


@every_kind
@every_instrument
def test_every_improvised_note_can_be_played_and_nothing_gets_stuck(tmp_path: Path, kind: str, name: str) -> None:
    model = improviser(tmp_path, kind)
    pieces = model.generate(count=16, seconds=600, rows=300, temperature=2, instrument=name)
    assert sum(map(len, pieces)) > 16 * 30
    for piece in pieces:
        assert not judge(piece, INSTRUMENTS[name]).any()
    if kind != "study" and name != "flute":
        assert any((np.diff(piece.onset) == 0).any() for piece in pieces)
    without = model.generate(count=16, seconds=600, rows=300, temperature=2)
    assert any(judge(piece, INSTRUMENTS[name]).any() for piece in without)


@every_kind
def test_what_is_for_any_instrument_is_as_it_was(tmp_path: Path, kind: str) -> None:
    model = improviser(tmp_path, kind)
    one, other = model.generate(seconds=10)[0], model.generate(seconds=10, instrument="any")[0]
    assert midi.to_bytes(one) == midi.to_bytes(other)


@every_kind
def test_a_narrow_range_leaves_something_to_play(tmp_path: Path, kind: str) -> None:
    for lowest, highest in [(40, 55), (103, 110), (60, 61)]:
        model = improviser(tmp_path, kind, lowest=lowest, highest=highest)
        for piece in model.generate(count=8, rows=100, seconds=600, temperature=2, instrument="violin"):
            assert not judge(piece, VIOLIN).any()


@every_kind
@every_instrument
def test_a_prompt_that_cannot_be_played_is_gone_on_from(tmp_path: Path, kind: str, name: str) -> None:
    model = improviser(tmp_path, kind)
    given = played(*((onset, pitch, 300) for onset in (0, 3, 40, 90) for pitch in range(62, 78)), base=FACTS[kind].base)
    given = one_at_a_time(given)
    for piece in model.generate(count=8, seconds=60, rows=400, prompt=given, instrument=name):
        assert len(piece) > len(given)


@every_kind
def test_pieces_of_an_instrument_are_the_same_whatever_is_made_beside_them(tmp_path: Path, kind: str) -> None:
    model = improviser(tmp_path, kind)
    many, few = (model.generate(count=count, seconds=20, instrument="viola") for count in (5, 2))
    assert [midi.to_bytes(piece) for piece in many[:2]] == [midi.to_bytes(piece) for piece in few]


def test_a_model_of_other_pitches_is_refused(tmp_path: Path) -> None:
    model = improviser(tmp_path, "seconds", lowest=30, highest=50)
    with pytest.raises(CadenzaError, match=r"The flute plays B3 to D7, this model F♯1 to D3; choose another"):
        model.generate(seconds=5, instrument="flute")


def test_a_prompt_out_of_range_is_refused(tmp_path: Path) -> None:
    model = improviser(tmp_path, "seconds")
    with pytest.raises(CadenzaError, match=r"has F♯3 at 0\.9 s, and the violin plays G3 to G7; transpose it"):
        model.generate(seconds=20, prompt=played((0, 60, 50), (90, 54, 50)), instrument="violin")


def test_a_model_that_begins_out_of_range_is_refused(tmp_path: Path) -> None:
    tokens = representation("notes", SECONDS)
    opening = tuple(map(tuple, tokens.encode(played((0, 54, 50)), end=False).tolist()))
    model = improviser(tmp_path, "seconds", opening=opening)
    with pytest.raises(CadenzaError, match=r"has F♯3 at 0\.0 s, and the violin plays"):
        model.generate(seconds=20, instrument="violin")


def test_an_instrument_without_masks_is_refused() -> None:
    with pytest.raises(CadenzaError, match="sample: music for an instrument needs masks"):
        validate({"sample": {"instrument": "violin", "masks": False}})
    assert SampleSettings(masks=False).instrument == "any"


# The command line


def test_an_unknown_instrument_names_the_nearest(cadenza: Cadenza, tmp_path: Path) -> None:
    improviser(tmp_path, "seconds")
    code, _, complained = cadenza("generate", tmp_path / "model.safetensors", "--instrument", "violine")
    assert code == 2
    assert complained.startswith(
        "cadenza: sample: there is no instrument 'violine' to play (did you mean 'violin'?); use any, violin"
    )


def test_pieces_are_written_for_their_instrument(cadenza: Cadenza, tmp_path: Path) -> None:
    improviser(tmp_path, "seconds")
    command = ("generate", tmp_path / "model.safetensors", "--seconds", 9, "--seed", 1, "--formats", "mid")
    code, said, _ = cadenza(*command, "--instrument", "flute", "--out", tmp_path / "out")
    assert code == 0
    assert "for the flute (given)" in said
    [path] = (tmp_path / "out").glob("*.mid")
    assert midi.open_score(path.read_bytes(), "piece").tracks[0].program == 73


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
