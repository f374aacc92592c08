"""`cadenza render`: the loudness that was asked for, and for each file that cannot be rendered one sentence and no harm to the others."""

import re
import zipfile
from pathlib import Path

import mido
import numpy as np
import pretty_midi
import pyloudnorm
import pytest
import soundfile
import symusic

from cadenza import audio, midi
from cadenza.errors import CadenzaError
from cadenza.records import Progress, Said
from cadenza.runs.sound import render_files
from cadenza.settings import AudioSettings, Settings
from cadenza.synthesizer import RATE, Samples
from conftest import Cadenza, Midi

TOO_LONG = "lasts 180 minutes, over audio.max_minutes = 60; pass --set audio.max_minutes=181, or cut it."


def lufs(samples: Samples) -> float:
    return float(pyloudnorm.Meter(RATE).integrated_loudness(samples.astype(float)))


@pytest.fixture
def song(tmp_path: Path, smf: Midi) -> Path:
    path = tmp_path / "song.mid"
    path.write_bytes(smf.file(smf.program(40) + smf.melody(1, count=12)))
    return path


@pytest.fixture
def three_hours(tmp_path: Path, smf: Midi) -> Path:
    path = tmp_path / "long.mid"
    path.write_bytes(smf.file(smf.note(60, 0, 480) + smf.note(60, 180 * 60 * 960, 180 * 60 * 960 + 480)))
    return path


def refused(result: tuple[int, str, str]) -> str:
    code, said, complained = result
    assert (code, said) == (2, ""), complained
    [line] = complained.strip().splitlines()
    return line.removeprefix("cadenza: ")


# Loudness


@pytest.mark.parametrize("target", [-21, -25])
@pytest.mark.parametrize("kind", sorted(audio.FORMATS))
def test_a_real_performance_has_the_loudness_that_is_asked_for(
    data: Path, tmp_path: Path, kind: str, target: float
) -> None:
    with zipfile.ZipFile(data / "vienna4x22-midi.zip") as archive:
        (tmp_path / "real.mid").write_bytes(archive.read("Mozart_K331_1st-mov_p01.mid"))
    settings = Settings(audio=AudioSettings(loudness=target))
    list(render_files([tmp_path / "real.mid"], settings, kind, None, keep=True))
    samples, rate = soundfile.read(tmp_path / f"real.{kind}")
    assert rate == RATE
    assert pyloudnorm.Meter(rate).integrated_loudness(samples) == pytest.approx(target, abs=0.5)
    assert np.abs(samples).max() < 1


def test_loudness_and_other_settings_are_options(cadenza: Cadenza, song: Path) -> None:
    code, _, complained = cadenza(
        "render", song, "--loudness", "-23", "--set", "audio.max_minutes=1", "--formats", "wav"
    )
    assert (code, complained) == (0, "")
    samples, rate = soundfile.read(song.with_suffix(".wav"))
    assert rate == RATE
    assert pyloudnorm.Meter(rate).integrated_loudness(samples) == pytest.approx(-23, abs=0.1)


def noise(count: int, amplitude: float) -> Samples:
    return (amplitude * np.random.default_rng(0).standard_normal((count, 2))).astype(np.float32)


@pytest.mark.parametrize("amplitude", [1e-30, 1e-7, 1e-3, 1, 30])
@pytest.mark.parametrize("count", [RATE * 2 // 5, RATE * 9 // 20, RATE // 2, 3 * RATE])
def test_short_and_nearly_silent_sound_is_levelled_like_any_other(count: int, amplitude: float) -> None:
    made = audio.level(noise(count, amplitude), AudioSettings())
    assert lufs(made) == pytest.approx(-18, abs=0.01)
    assert np.abs(made).max() <= audio.PEAK + 1e-6


@pytest.mark.parametrize("count", [0, 1, 2, 100, RATE // 10])
@pytest.mark.parametrize("amplitude", [0, 1e-30, 1])
def test_sound_shorter_than_the_meters_block_stays_below_the_peak(count: int, amplitude: float) -> None:
    made = audio.level(noise(count, amplitude), AudioSettings())
    assert made.shape == (count, 2)
    assert np.isfinite(made).all()
    assert np.abs(made).max(initial=0) <= audio.PEAK + 1e-6
    assert made.any() == (count > 0 and amplitude > 0)


# Files that cannot be rendered


@pytest.mark.parametrize("command", ["render", "plot"])
def test_a_file_without_notes_is_named(cadenza: Cadenza, tmp_path: Path, smf: Midi, command: str) -> None:
    (tmp_path / "empty.mid").write_bytes(smf.file(smf.tempo(90)))
    assert refused(cadenza(command, tmp_path / "empty.mid")).startswith(
        f"{tmp_path / 'empty.mid'}: there are no notes "
    )


def test_three_hours_are_refused_at_once(cadenza: Cadenza, three_hours: Path) -> None:
    assert refused(cadenza("render", three_hours, seconds=60)) == f"{three_hours}: {TOO_LONG}"
    assert not three_hours.with_suffix(".mp3").exists()


@pytest.mark.parametrize("loudness", ["-3", "nan"])
def test_a_loudness_out_of_range_is_named(cadenza: Cadenza, song: Path, loudness: str) -> None:
    assert refused(cadenza("render", song, "--loudness", loudness)).startswith("audio.loudness = ")


@pytest.mark.parametrize("beat", [0, 1])
def test_a_tempo_that_is_no_tempo_is_refused(tmp_path: Path, smf: Midi, beat: int) -> None:
    """A beat of no time at all, at the start or within."""
    tempo = [(480 * beat, mido.MetaMessage("set_tempo", tempo=0))]
    (tmp_path / "a.mid").write_bytes(smf.file(tempo + smf.note(60, 0, 960)))
    with pytest.raises(CadenzaError, match=r"a\.mid: its tempo is damaged"):
        list(render_files([tmp_path / "a.mid"], Settings(), "wav", None, keep=True))


@pytest.mark.parametrize("qpm", [float("nan"), float("inf"), -60.0])
def test_a_score_whose_tempo_is_not_a_number_is_refused(song: Path, qpm: float) -> None:
    score = midi.open_score(song.read_bytes(), "song.mid")
    score.tempos.append(symusic.Tempo(0, qpm))
    with pytest.raises(CadenzaError, match=r"^song\.mid: its tempo is damaged"):
        audio.render(score, AudioSettings(), "song.mid")


def whole_soundfont() -> bytes:
    return (Path(pretty_midi.__file__).parent / "TimGM6mb.sf2").read_bytes()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not a soundfont"),
        (b"Dear reader, this is a letter.", "not a soundfont"),
        (whole_soundfont()[:1000], "not a soundfont"),
        (whole_soundfont()[:-1000], "not a soundfont"),
        (None, "there is no such soundfont"),
    ],
    ids=["empty", "text", "beginning", "cut off", "folder"],
)
def test_what_is_no_soundfont_is_named(song: Path, tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "font.sf2"
    path.mkdir() if content is None else path.write_bytes(content)
    settings = Settings(audio=AudioSettings(soundfont=str(path)))
    with pytest.raises(CadenzaError, match=re.escape(f"{path}: {fault}; give ")):
        list(render_files([song], settings, "wav", None, keep=True))


def test_a_wrong_soundfont_is_said_once_for_all_files(cadenza: Cadenza, song: Path, three_hours: Path) -> None:
    said = refused(cadenza("render", song, three_hours, "--soundfont", song))
    assert said == f"{song}: not a soundfont; give an SF2 file."


# Several files


def test_a_bad_file_does_not_stop_the_others(cadenza: Cadenza, song: Path, three_hours: Path, tmp_path: Path) -> None:
    letter = tmp_path / "letter.mid"
    letter.write_text("Dear reader")
    other = tmp_path / "other.mid"
    other.write_bytes(song.read_bytes())
    code, said, complained = cadenza("render", letter, song, three_hours, other, "--formats", "ogg")
    assert code == 2
    assert [line.split(" (")[0] for line in said.strip().splitlines()] == [
        f"Wrote {song.with_suffix('.ogg')}",
        f"Wrote {other.with_suffix('.ogg')}",
    ]
    assert complained.splitlines() == [
        f"cadenza: {letter}: not a MIDI file (it begins with 'Dear', not 'MThd'); leave it out.",
        f"cadenza: {three_hours}: {TOO_LONG}",
        "cadenza: 2 of 4 files could not be rendered.",
    ]


def test_several_files_show_how_far_they_have_come(song: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mid"
    other.write_bytes(song.read_bytes())
    records = list(render_files([song, other], Settings(), "wav", None, keep=True))
    assert [record for record in records if isinstance(record, Progress)] == [
        Progress("rendering", done, 2) for done in range(3)
    ]
    assert sum(isinstance(record, Said) for record in records) == 2
    alone = list(render_files([song], Settings(), "wav", None, keep=True))
    assert not any(isinstance(record, Progress) for record in alone)


@pytest.mark.parametrize("names", [("a/x.mid", "b/x.mid"), ("x.mid", "x.midi"), ("x.mid", "a/../x.mid")])
def test_two_files_for_one_place_are_refused_before_anything_is_rendered(
    tmp_path: Path, song: Path, names: tuple[str, str]
) -> None:
    one, other = (tmp_path / name for name in names)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for path in (one, other):
        path.write_bytes(song.read_bytes())
    with pytest.raises(CadenzaError, match="would be written to the same file") as caught:
        list(render_files([song, one, other], Settings(), "wav", tmp_path / "out", keep=True))
    assert str(caught.value).startswith(f"{one} and {other} ")
    assert not (tmp_path / "out").exists()
