import io
import os
import random
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadenza.corpus.isolate import Casualty, isolated_map
from cadenza.errors import CadenzaError
from cadenza.instruments import DRUMS, program_name, program_number
from cadenza.midi import parse, read, read_bytes, to_bytes
from cadenza.notes import Header, Notes, TimeBase, one_at_a_time
from cadenza.settings import MidiSettings
from conftest import Midi

DEFAULT = MidiSettings()


def rows(notes: Notes) -> list[tuple[int, int, int, int]]:
    return list(zip(*(column.tolist() for column in notes.columns), strict=True))


def beats(data: bytes, reading: MidiSettings = DEFAULT) -> list[tuple[int, int, int, int]]:
    """Onset, pitch, duration and velocity in 24ths of a beat; 480 ticks a beat are 20 ticks a step."""
    return rows(parse(data, "x.mid", reading).notes(reading, "beats"))


# Sustain pedal


def test_a_key_released_under_the_pedal_sounds_until_the_pedal_is_lifted(smf: Midi) -> None:
    data = smf.file(smf.pedal(0, 127) + smf.note(60, 0, 100) + smf.pedal(480, 0))
    assert beats(data) == [(0, 60, 24, 80)]


def test_a_key_held_past_the_pedal_ends_with_its_release(smf: Midi) -> None:
    data = smf.file(smf.pedal(0, 127) + smf.note(60, 0, 600) + smf.pedal(480, 0))
    assert beats(data) == [(0, 60, 30, 80)]


def test_a_key_released_before_the_pedal_goes_down_is_not_lengthened(smf: Midi) -> None:
    data = smf.file(smf.note(60, 0, 100) + smf.pedal(200, 127) + smf.pedal(480, 0))
    assert beats(data) == [(0, 60, 5, 80)]


@pytest.mark.parametrize("value", [1, 40, 63])
def test_a_pedal_below_64_is_up(smf: Midi, value: int) -> None:
    assert beats(smf.file(smf.pedal(0, value) + smf.note(60, 0, 100) + smf.pedal(480, 0))) == [(0, 60, 5, 80)]


def test_a_pedal_at_64_is_down_and_at_63_lifted(smf: Midi) -> None:
    data = smf.file(smf.pedal(0, 64) + smf.note(60, 0, 100) + smf.pedal(240, 63) + smf.pedal(480, 0))
    assert beats(data) == [(0, 60, 12, 80)]


def test_pressing_a_pedal_that_is_down_changes_nothing(smf: Midi) -> None:
    data = smf.file(smf.pedal(0, 127) + smf.note(60, 0, 100) + smf.pedal(240, 100) + smf.pedal(480, 0))
    assert beats(data) == [(0, 60, 24, 80)]


def test_a_pedal_never_lifted_holds_to_the_last_event_of_its_track(smf: Midi) -> None:
    data = smf.file(smf.pedal(0, 127) + smf.note(60, 0, 100) + smf.note(62, 700, 900))
    assert beats(data) == [(0, 60, 45, 80), (35, 62, 10, 80)]


def test_the_pedal_of_one_track_holds_no_other(smf: Midi) -> None:
    pedalled = smf.pedal(0, 127) + smf.note(60, 0, 100) + smf.pedal(480, 0)
    data = smf.file(pedalled, smf.note(64, 0, 100, channel=1))
    assert beats(data) == [(0, 60, 24, 80), (0, 64, 5, 80)]


def test_the_pedal_is_ignored_on_request(smf: Midi) -> None:
    data = smf.file(smf.pedal(0, 127) + smf.note(60, 0, 100) + smf.pedal(480, 0))
    assert beats(data, MidiSettings(pedal="ignore")) == [(0, 60, 5, 80)]


def test_other_controllers_hold_nothing(smf: Midi) -> None:
    sostenuto = [(0, mido.Message("control_change", control=66, value=127))]
    assert beats(smf.file(sostenuto + smf.note(60, 0, 100) + smf.note(62, 480, 580))) == [
        (0, 60, 5, 80),
        (24, 62, 5, 80),
    ]


def test_a_note_under_the_pedal_is_cut_where_the_next_of_its_pitch_begins(smf: Midi) -> None:
    data = smf.file(smf.pedal(0, 127) + smf.note(60, 0, 100) + smf.note(60, 240, 340) + smf.pedal(480, 0))
    assert beats(data) == [(0, 60, 12, 80), (12, 60, 12, 80)]


# Notes


def test_overlapping_equal_pitches_match_first_in_first_out_and_are_cut(smf: Midi) -> None:
    data = smf.file(smf.note(60, 0, 200, 50) + smf.note(60, 100, 300, 90))
    part = parse(data, "x.mid", DEFAULT).parts[0]
    assert (part.start.tolist(), part.end.tolist()) == ([0, 100], [200, 300])
    assert beats(data) == [(0, 60, 5, 50), (5, 60, 10, 90)]


def test_strikes_of_one_pitch_at_one_onset_are_one_note(smf: Midi) -> None:
    data = smf.file(smf.note(60, 0, 100, 50), smf.note(60, 0, 240, 70))
    assert beats(data) == [(0, 60, 12, 70)]


@pytest.mark.parametrize("unit", ["seconds", "beats"])
def test_a_note_of_no_length_lasts_one_step(smf: Midi, unit: str) -> None:
    made = parse(smf.file(smf.note(60, 0, 0) + smf.note(62, 480, 960)), "x.mid", DEFAULT).notes(DEFAULT, unit)
    assert made.duration.tolist()[0] == 1
    assert made.pitch.tolist() == [60, 62]


def test_unreleased_notes_are_left_out(smf: Midi) -> None:
    hanging = [(0, mido.Message("note_on", note=60, velocity=80))]
    assert beats(smf.file(hanging + smf.note(62, 480, 960))) == [(24, 62, 24, 80)]


def test_a_strike_of_velocity_zero_is_a_release(smf: Midi) -> None:
    events = [
        (0, mido.Message("note_on", note=60, velocity=80)),
        (240, mido.Message("note_on", note=60, velocity=0)),
    ]
    assert beats(smf.file(events)) == [(0, 60, 12, 80)]


# Time


def test_seconds_follow_the_whole_tempo_map(smf: Midi) -> None:
    tempos = smf.tempo(60) + smf.tempo(120, 480) + smf.tempo(240, 960)
    notes = [event for k in range(4) for event in smf.note(60 + k, 480 * k, 480 * k + 480)]
    made = parse(smf.file(tempos, notes), "x.mid", DEFAULT).notes(DEFAULT, "seconds")
    assert made.onset.tolist() == [0, 100, 150, 175]
    assert made.duration.tolist() == [100, 50, 25, 25]


def test_seconds_agree_with_mido_on_a_random_tempo_map(smf: Midi) -> None:
    rng = np.random.default_rng(5)
    ticks = np.sort(rng.choice(20_000, 40, replace=False)).tolist()
    tempos = [event for tick in ticks for event in smf.tempo(float(rng.uniform(20, 300)), tick)]
    data = smf.file(tempos, smf.melody(1, grid=1))
    clock, expected = 0.0, []
    for message in mido.MidiFile(file=io.BytesIO(data)):
        clock += message.time
        if message.type == "note_on" and message.velocity:
            expected.append(clock)
    made = parse(data, "x.mid", DEFAULT).notes(MidiSettings(steps_per_second=200), "seconds")
    assert np.abs(made.onset / 200 - np.array(expected)).max() <= 0.00251


def test_without_a_tempo_a_beat_lasts_half_a_second(smf: Midi) -> None:
    assert parse(smf.file(smf.note(60, 480, 960)), "x", DEFAULT).notes(DEFAULT, "seconds").onset.tolist() == [50]


def test_the_last_of_several_tempos_at_one_tick_counts(smf: Midi) -> None:
    data = smf.file(smf.tempo(60) + smf.tempo(120), smf.note(60, 480, 960))
    assert parse(data, "x.mid", DEFAULT).notes(DEFAULT, "seconds").onset.tolist() == [50]


def test_beats_ignore_the_tempo_map_and_keep_its_mean(smf: Midi) -> None:
    tempos = smf.tempo(60) + smf.tempo(120, 480)
    notes = smf.note(60, 0, 480) + smf.note(62, 480, 960)
    made = parse(smf.file(tempos, notes), "x.mid", DEFAULT).notes(DEFAULT, "beats")
    assert rows(made) == [(0, 60, 24, 80), (24, 62, 24, 80)]
    assert made.header.tempo == pytest.approx(80)  # two beats in a second and a half
    assert made.length_seconds == pytest.approx(1.5)


def test_the_grid_is_a_setting(smf: Midi) -> None:
    score = parse(smf.file(smf.note(60, 480, 960)), "x.mid", DEFAULT)
    fine = MidiSettings(steps_per_second=200, steps_per_beat=48)
    assert score.notes(fine, "seconds").onset.tolist() == [100]
    assert score.notes(fine, "beats").onset.tolist() == [48]
    assert score.notes(fine, "beats").header.time_base == TimeBase("beats", 48)


def test_the_first_time_signature_is_the_meter(smf: Midi) -> None:
    signature = [(0, mido.MetaMessage("time_signature", numerator=6, denominator=8))]
    assert parse(smf.file(signature + smf.note(60, 0, 100)), "x", DEFAULT).meter == (6, 8)
    assert parse(smf.file(smf.note(60, 0, 100)), "x", DEFAULT).meter is None


def test_a_score_lies_on_the_beat_grid_and_a_performance_does_not(smf: Midi) -> None:
    on, total = parse(smf.piece(0, grid=40), "x.mid", DEFAULT).on_grid()
    assert (on, total) == (60, 60)
    on, total = parse(smf.piece(0, grid=1), "x.mid", DEFAULT).on_grid()
    assert total == 60
    assert on / total < 0.5


def test_triplets_lie_on_the_grid_whatever_the_ticks_per_beat(smf: Midi) -> None:
    notes = [event for k in range(12) for event in smf.note(60, 32 * k, 32 * k + 30)]
    assert parse(smf.file(notes, ticks_per_beat=96), "x.mid", DEFAULT).on_grid() == (12, 12)


# Instruments


def violin_and_piano(smf: Midi) -> bytes:
    violin = smf.program(40) + smf.note(76, 0, 240) + smf.note(77, 480, 720) + smf.note(79, 960, 1200)
    piano = smf.program(0, channel=1) + smf.note(48, 0, 480, channel=1)
    drums = [event for k in range(5) for event in smf.note(38, 480 * k, 480 * k + 10, channel=9)]
    return smf.file(violin, piano, drums)


@pytest.mark.parametrize(
    ("instrument", "drums", "pitches"),
    [
        ("auto", "drop", {76, 77, 79}),
        ("auto", "keep", {76, 77, 79}),
        ("all", "drop", {48, 76, 77, 79}),
        ("all", "keep", {38, 48, 76, 77, 79}),
        ("violin", "drop", {76, 77, 79}),
        ("Acoustic Grand Piano", "drop", {48}),
        ("0", "drop", {48}),
    ],
)
def test_the_chosen_instruments_are_read(smf: Midi, instrument: str, drums: str, pitches: set[int]) -> None:
    reading = MidiSettings.model_validate({"instrument": instrument, "drums": drums})
    assert {pitch for _, pitch, _, _ in beats(violin_and_piano(smf), reading)} == pitches


def test_all_tracks_of_one_program_are_one_part(smf: Midi) -> None:
    tracks = [smf.program(40, k) + smf.note(60 + k, 480 * k, 480 * k + 240, channel=k) for k in range(8)]
    score = parse(smf.file(*tracks), "x.mid", DEFAULT)
    assert list(score.parts) == [40]
    assert [pitch for _, pitch, _, _ in rows(score.notes(DEFAULT, "beats"))] == list(range(60, 68))


def test_channels_of_a_file_of_type_0_keep_their_programs(smf: Midi) -> None:
    events = smf.program(40) + smf.program(0, 1) + smf.note(76, 0, 240) + smf.note(48, 0, 240, channel=1)
    assert sorted(parse(smf.file(events, type=0), "x.mid", DEFAULT).parts) == [0, 40]


def test_drums_alone_are_read_only_on_request(smf: Midi) -> None:
    data = smf.file(smf.note(38, 0, 480, channel=9))
    with pytest.raises(CadenzaError, match=r"x\.mid: no notes left after removing drums; pass --set midi\.drums=keep"):
        beats(data)
    assert beats(data, MidiSettings(drums="keep")) == [(0, 38, 24, 80)]


def test_an_instrument_that_is_not_there_is_named(smf: Midi) -> None:
    with pytest.raises(CadenzaError, match=r"x\.mid: no notes for flute; pass --set midi\.instrument=auto"):
        beats(smf.file(smf.note(60, 0, 10)), MidiSettings(instrument="flute"))


def test_an_unknown_instrument_names_the_nearest() -> None:
    with pytest.raises(CadenzaError, match=r"no instrument 'violn' \(did you mean 'violin'\?\)"):
        program_number("violn")


@pytest.mark.parametrize("program", range(0, 128, 9))
def test_names_and_numbers_of_programs_agree(program: int) -> None:
    assert program_number(program_name(program)) == program_number(str(program)) == program


# Files that are no music


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"x\.mid: the file is empty \(0 bytes\)"),
        (b"words", r"x\.mid: not a MIDI file"),
        (b"\xff\xd8\xff\xe0" + bytes(100), r"x\.mid: not a MIDI file"),
        (b"MThd", r"x\.mid: damaged"),
        (b"MThd\0\0\0\6\0\1\0\1\0\0MTrk\0\0\0\0", r"x\.mid: damaged"),
        (b"RIFF\0\0\0\0RMIDdata", r"x\.mid: not a MIDI file"),
    ],
)
def test_what_is_no_midi_file_is_said_in_one_sentence(content: bytes, said: str) -> None:
    with pytest.raises(CadenzaError, match=said) as caught:
        parse(content, "x.mid", DEFAULT).notes(DEFAULT, "seconds")
    assert "\n" not in str(caught.value)


def test_a_file_without_notes_says_so(smf: Midi) -> None:
    with pytest.raises(CadenzaError, match=r"x\.mid: there are no notes in it"):
        beats(smf.file(smf.tempo(100)))


def test_a_file_over_the_size_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.mid"
    with open(path, "wb") as out:
        out.truncate(300_000_000)
    with pytest.raises(CadenzaError, match=r"big\.mid: 300 MB, over midi\.max_megabytes = 32"):
        read(path)


def test_what_is_not_a_regular_file_is_refused_unread(tmp_path: Path) -> None:
    for path in (Path(os.devnull), tmp_path):
        with pytest.raises(CadenzaError, match="endless: not a regular file"):
            read_bytes(path, DEFAULT, "endless")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CadenzaError, match=r"none\.mid: cannot be read \(No such file or directory\)"):
        read(tmp_path / "none.mid")


def outcome(data: bytes) -> str:
    """Worker: what becomes of damaged bytes."""
    try:
        score = parse(data, "damaged.mid", DEFAULT)
        score.on_grid()
        return f"{len(score.notes(DEFAULT, 'seconds'))} notes, {len(score.notes(DEFAULT, 'beats'))} notes"
    except CadenzaError as error:
        return str(error)
    except Exception as error:
        return f"escaped: {type(error).__name__}: {error}"


def damaged(original: bytes, count: int, seed: int) -> list[bytes]:
    """Cut, changed, doubled and missing bytes."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        data = bytearray(original)
        for _ in range(rng.choice([1, 1, 2, 5, 20])):
            place = rng.randrange(len(data) + 1)
            match rng.randrange(5):
                case 0:
                    data[place : place + 1] = bytes([rng.randrange(256)])
                case 1:
                    data[place : place + 1] = rng.choice([b"\0", b"\x7f", b"\x80", b"\xff"])
                case 2:
                    del data[place : place + rng.randrange(1, 9)]
                case 3:
                    data[place:place] = data[place : place + rng.randrange(1, 9)]
                case 4:
                    data = data[: max(8, place)]
        made.append(bytes(data))
    return made


def test_damaged_files_raise_nothing_but_our_own_error(smf: Midi) -> None:
    original = smf.file(
        smf.tempo(90) + smf.tempo(120, 960) + [(0, mido.MetaMessage("time_signature", numerator=3, denominator=4))],
        smf.program(40) + smf.pedal(0, 127) + smf.melody(3) + smf.pedal(2000, 0),
        smf.program(0, 1) + smf.melody(4, channel=1),
    )
    found = dict(isolated_map(outcome, damaged(original, 400, 11) + damaged(original[:90], 200, 12), 2, 5))
    assert len(found) == 600
    assert [result for result in found.values() if isinstance(result, Casualty) or result.startswith("escaped")] == []
    assert any("notes," in str(result) for result in found.values())
    assert any("damaged" in str(result) for result in found.values())


# Writing


@st.composite
def tables(draw: st.DrawFn) -> Notes:
    seconds = draw(st.booleans())
    note = st.tuples(st.integers(0, 5000), st.integers(0, 127), st.integers(1, 900), st.integers(1, 127))
    onset, pitch, duration, velocity = np.array(draw(st.lists(note, min_size=1, max_size=40))).T
    header = (
        Header("piece", TimeBase("seconds", draw(st.sampled_from([10, 50, 100, 200]))))
        if seconds
        else Header(
            "piece",
            TimeBase("beats", draw(st.sampled_from([4, 12, 24, 96]))),
            draw(st.sampled_from([30.0, 60.0, 97.0, 120.0, 200.5])),
            draw(st.sampled_from([(4, 4), (6, 8), (3, 4), (12, 8)])),
        )
    )
    return Notes.of(onset, pitch, duration, velocity, header)


@settings(deadline=None)
@given(notes=tables(), program=st.sampled_from([0, 40, 127, DRUMS]))
def test_what_is_written_reads_back_as_the_same_notes(notes: Notes, program: int) -> None:
    base = notes.header.time_base
    reading = MidiSettings.model_validate({"drums": "keep", f"steps_per_{base.unit[:-1]}": base.steps})
    score = parse(to_bytes(notes, program), "back.mid", reading)
    assert list(score.parts) == [program]
    back = score.notes(reading, base.unit)
    assert rows(back) == rows(one_at_a_time(notes))
    assert back.header.time_base == base
    assert back.header.meter == (notes.header.meter or (4, 4))
    if base.unit == "beats":
        assert back.header.tempo == pytest.approx(notes.header.tempo, rel=1e-4)


@settings(deadline=None)
@given(notes=tables())
def test_a_written_file_opens_in_another_reader(notes: Notes) -> None:
    other = mido.MidiFile(file=io.BytesIO(to_bytes(notes, 40)))
    base = notes.header.time_base
    events = [message for track in other.tracks for message in track]
    assert {message.program for message in events if message.type == "program_change"} == {40}
    [signature] = [message for message in events if message.type == "time_signature"]
    assert (signature.numerator, signature.denominator) == (notes.header.meter or (4, 4))
    [tempo] = [message.tempo for message in events if message.type == "set_tempo"]
    if base.unit == "seconds":
        assert tempo / other.ticks_per_beat == 1000  # microseconds a tick
        ticks_per_step = 1000 / base.steps
    else:
        assert 60e6 / tempo == pytest.approx(notes.header.tempo, rel=1e-4)
        ticks_per_step = other.ticks_per_beat / base.steps
    expected = {
        (round(onset * ticks_per_step), pitch, round((onset + duration) * ticks_per_step), velocity)
        for onset, pitch, duration, velocity in rows(one_at_a_time(notes))
    }
    found, sounding, now = set(), {}, 0
    for track in other.tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type == "note_on" and message.velocity:
                assert message.note not in sounding
                sounding[message.note] = now, message.velocity
            elif message.type in ("note_on", "note_off"):
                start, velocity = sounding.pop(message.note)
                found.add((start, message.note, now, velocity))
    assert found == expected
    assert sounding == {}


def test_drums_are_written_on_the_percussion_channel() -> None:
    other = mido.MidiFile(file=io.BytesIO(to_bytes(Notes.of([0], [38], [10], [80]), DRUMS)))
    assert {message.channel for track in other.tracks for message in track if message.type == "note_on"} == {9}


def test_read_gives_the_notes_of_a_file(tmp_path: Path, smf: Midi) -> None:
    path = tmp_path / "one.mid"
    path.write_bytes(smf.file(smf.note(60, 480, 960)))
    assert rows(read(path)) == [(50, 60, 50, 80)]
    assert rows(read(path, unit="beats")) == [(24, 60, 24, 80)]
