"""Sound is steady, unclipped and faded; pictures draw what they are given."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile

from cadenza import audio, export, midi, synthesizer
from cadenza.errors import CadenzaError
from cadenza.notes import Header, Notes
from cadenza.settings import AudioSettings


def melody(count: int = 40, velocity: int = 80, start: int = 0) -> Notes:
    onset = start + 25 * np.arange(count)
    return Notes.of(onset, 60 + np.arange(count) % 20, [24] * count, [velocity] * count, Header("melody"))


@pytest.mark.parametrize("program", [0, 40, 73])
@pytest.mark.parametrize("velocity", [10, 80, 127])
def test_sound_has_the_asked_loudness_or_the_highest_peak(program: int, velocity: int) -> None:
    settings = AudioSettings()
    samples = audio.render(midi.to_symusic(melody(velocity=velocity), program), settings)
    loudness = pyloudnorm.Meter(settings.sample_rate).integrated_loudness(samples.astype(float))
    peak = np.abs(samples).max()
    assert peak <= audio.PEAK + 1e-6
    assert loudness == pytest.approx(settings.loudness, abs=0.2) or peak == pytest.approx(audio.PEAK, rel=1e-4)


def test_sound_starts_at_once_and_fades_out() -> None:
    samples = audio.render(midi.to_symusic(melody(start=1000), 40), AudioSettings())
    loud = np.abs(samples).max(axis=1) > np.abs(samples).max() / 100
    assert loud.argmax() < 0.2 * 44_100
    assert 10 < len(samples) / 44_100 < 12.5
    assert np.abs(samples[-100:]).max() < 1e-3


@pytest.mark.parametrize("kind", sorted(audio.FORMATS))
def test_every_sound_format_can_be_read_again(kind: str) -> None:
    settings = AudioSettings()
    samples = audio.render(midi.to_symusic(melody(), 40), settings)
    back, rate = soundfile.read(io.BytesIO(audio.encode(samples, kind, settings)))
    assert rate == settings.sample_rate
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


def test_a_note_that_hangs_the_synthesizer_sounds_an_octave_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesizer, "LIMIT_SECONDS", 3.0)
    score = midi.to_symusic(Notes.of([0, 50, 100], [60, 103, 64], [50] * 3, [80] * 3), 40)
    samples = audio.render(score, AudioSettings())
    assert 2 < len(samples) / 44_100 < 4
    assert [note.pitch for note in score.tracks[0].notes] == [60, 103, 64]


def test_music_that_is_too_long_is_refused_before_it_is_rendered() -> None:
    far = midi.to_symusic(Notes.of([0, 100 * 3700], [60, 60], [10, 10], [80, 80]), 0)
    with pytest.raises(CadenzaError, match=r"audio\.max_minutes"):
        audio.render(far, AudioSettings())


def test_every_format_of_a_piece_is_written_whole(tmp_path: Path) -> None:
    paths = list(export.piece(melody(), tmp_path / "a b" / "piece", export.FORMATS, 40, AudioSettings()))
    assert [path.suffix[1:] for path in paths] == list(export.FORMATS)
    assert all(path.stat().st_size > 200 for path in paths)
    assert not list(tmp_path.rglob("*.part"))
