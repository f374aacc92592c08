"""Sound is steady, unclipped and faded; pictures draw what they are given."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
import symusic

from cadenza import audio, export, midi
from cadenza.errors import CadenzaError
from cadenza.notes import Header, Notes
from cadenza.settings import AudioSettings
from cadenza.synthesizer import RATE, synthesize


def melody(count: int = 40, velocity: int = 80, start: int = 0) -> Notes:
    onset = start + 25 * np.arange(count)
    return Notes.of(onset, 60 + np.arange(count) % 20, [24] * count, [velocity] * count, Header("melody"))


@pytest.mark.parametrize("program", [0, 40, 73])
@pytest.mark.parametrize("velocity", [10, 80, 127])
def test_sound_has_the_asked_loudness_or_the_highest_peak(program: int, velocity: int) -> None:
    settings = AudioSettings()
    samples = audio.render(midi.to_symusic(melody(velocity=velocity), program), settings)
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(samples.astype(float))
    peak = np.abs(samples).max()
    assert peak <= audio.PEAK + 1e-6
    assert loudness == pytest.approx(settings.loudness, abs=0.2) or peak == pytest.approx(audio.PEAK, rel=1e-4)


def test_sound_starts_at_once_and_fades_out() -> None:
    samples = audio.render(midi.to_symusic(melody(start=1000), 40), AudioSettings())
    loud = np.abs(samples).max(axis=1) > np.abs(samples).max() / 100
    assert loud.argmax() < 0.2 * RATE
    assert 10 < len(samples) / RATE < 12.5
    assert np.abs(samples[-100:]).max() < 1e-3


@pytest.mark.parametrize("kind", sorted(audio.FORMATS))
def test_every_sound_format_can_be_read_again(kind: str) -> None:
    samples = audio.render(midi.to_symusic(melody(), 40), AudioSettings())
    back, rate = soundfile.read(io.BytesIO(audio.encode(samples, kind)))
    assert rate == RATE
    assert abs(len(back) - len(samples)) < 5000
    assert np.sqrt((back**2).mean()) == pytest.approx(float(np.sqrt((samples.astype(float) ** 2).mean())), rel=0.05)


def test_nothing_to_render_and_bad_soundfonts_are_named(tmp_path: Path) -> None:
    empty = midi.to_symusic(Notes.of([], [], [], []), 0)
    with pytest.raises(CadenzaError, match="no notes"):
        audio.render(empty, AudioSettings())
    wrong = tmp_path / "words.sf2"
    wrong.write_text("words")
    for settings in (AudioSettings(soundfont=str(tmp_path / "none.sf2")), AudioSettings(soundfont=str(wrong))):
        with pytest.raises(CadenzaError, match="soundfont"):
            audio.render(midi.to_symusic(melody(), 0), settings)


@pytest.mark.parametrize("pitch", [48, 60, 69, 81, 88])
@pytest.mark.parametrize(
    "program", [0, 24, 40, 42, 56, 65, 73], ids=["piano", "guitar", "violin", "cello", "trumpet", "saxophone", "flute"]
)
def test_notes_sound_at_their_pitch(program: int, pitch: int) -> None:
    """Nearly all that is heard is in the harmonics of the pitch, each a third of a semitone wide, the first among them."""
    samples = audio.render(midi.to_symusic(Notes.of([0], [pitch], [200], [80]), program), AudioSettings())
    held = samples[RATE // 4 : 7 * RATE // 4].mean(axis=1)
    energy = np.abs(np.fft.rfft(held * np.hanning(len(held)), 4 * len(held))) ** 2
    harmonic = np.fft.rfftfreq(4 * len(held), 1 / RATE) / (440 * 2 ** ((pitch - 69) / 12))
    heard, near = harmonic > 0.1, np.abs(harmonic - harmonic.round()) < 0.02 * harmonic
    assert energy[heard & near].sum() > 0.95 * energy[heard].sum()
    assert energy[near & (harmonic.round() == 1)].sum() > 0.002 * energy[heard].sum()


def test_music_that_is_too_long_is_refused_before_it_is_rendered() -> None:
    far = midi.to_symusic(Notes.of([0, 100 * 3700], [60, 60], [10, 10], [80, 80]), 0)
    with pytest.raises(CadenzaError, match=r"audio\.max_minutes"):
        audio.render(far, AudioSettings())


def test_every_format_of_a_piece_is_written_whole(tmp_path: Path) -> None:
    paths = list(export.piece(melody(), tmp_path / "a b" / "piece", export.FORMATS, 40, AudioSettings()))
    assert [path.suffix[1:] for path in paths] == list(export.FORMATS)
    assert all(path.stat().st_size > 200 for path in paths)
    assert not list(tmp_path.rglob("*.part"))


def test_a_loud_orchestra_is_not_cut_off() -> None:
    score = symusic.Score(480)
    for program in range(40, 52):
        track = symusic.Track(program=program)
        track.notes.extend(symusic.Note(0, 960, 48 + 4 * step, 127) for step in range(4))
        score.tracks.append(track)
    assert audio.peak(synthesize(score, audio.soundfont(AudioSettings()))) > 1
