"""Notes to sound: a steady loudness, a fade, and audio files as bytes.

In: a symusic score. Out: float32 samples of shape (S, 2) in [-1, 1] at `sample_rate`. The sound begins with the first
note. Loudness is integrated loudness in LUFS (ITU-R BS.1770-4), held back where peaks would clip.
"""

from __future__ import annotations

import importlib.util
import io
import math
import warnings
from pathlib import Path

import numpy as np
import pyloudnorm
import soundfile
import symusic

from cadenza.errors import CadenzaError
from cadenza.settings import AudioSettings
from cadenza.synthesizer import Samples, synthesize

FORMATS = {"mp3": "MP3", "wav": "WAV", "flac": "FLAC", "ogg": "OGG"}
TAIL_SECONDS = 1.5
PEAK = 10 ** (-1 / 20)
BLOCK = 1 << 16


def soundfont(settings: AudioSettings) -> Path:
    """The soundfont in force; a missing one raises `CadenzaError`."""
    if settings.soundfont:
        path = Path(settings.soundfont)
    else:
        found = importlib.util.find_spec("pretty_midi")
        assert found is not None and found.submodule_search_locations
        path = Path(found.submodule_search_locations[0]) / "TimGM6mb.sf2"
    if not path.is_file():
        raise CadenzaError(f"{path}: there is no such soundfont; give the path of an SF2 or SF3 file.")
    return path


def render(score: symusic.Score, settings: AudioSettings) -> Samples:
    """The sound of a score with its release and a fade-out; one without notes raises `CadenzaError`."""
    if not score.note_num():
        raise CadenzaError("There are no notes to render; give a piece with at least one.")
    path = soundfont(settings)
    qpm = check_length(score, settings)
    score = score.copy()
    tail = round(TAIL_SECONDS * score.ticks_per_quarter * qpm / 60)
    score.tracks[0].notes.append(symusic.Note(score.end() + tail, 1, 0, 0))  # silent: keeps the release
    return level(from_first_sound(synthesize(score, path, settings.sample_rate)), settings)


def check_length(score: symusic.Score, settings: AudioSettings) -> float:
    """The last tempo; music that is too long, or whose tempo is damaged, raises `CadenzaError`."""
    tempos = [tempo.qpm for tempo in score.tempos]
    if not all(math.isfinite(qpm) and qpm > 0 for qpm in tempos):
        raise CadenzaError("The file's tempo is damaged; mend it before rendering.")
    minutes = score.to("second").end() / 60
    if not minutes <= settings.max_minutes:
        raise CadenzaError(
            f"The music lasts {minutes:,.0f} minutes, over audio.max_minutes = {settings.max_minutes:g}; cut it before rendering."
        )
    return tempos[-1] if tempos else 120.0


def from_first_sound(samples: Samples) -> Samples:
    """Drop what is quieter than a thousandth of the peak before the first sound."""
    loud = np.abs(samples).max(axis=1)
    return samples[int((loud > loud.max() / 1000).argmax()) :] if len(loud) else samples


def level(samples: Samples, settings: AudioSettings) -> Samples:
    """Bring samples to the loudness, below the peak, and fade the tail out."""
    fade = min(len(samples), round(TAIL_SECONDS * settings.sample_rate))
    samples[-fade:] *= np.cos(np.linspace(0, np.pi / 2, fade, dtype=np.float32))[:, None] ** 2
    peak = float(np.abs(samples).max())
    if peak == 0:
        return samples
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        padded = np.pad(samples, ((0, max(0, settings.sample_rate // 2 - len(samples))), (0, 0)))
        loudness = pyloudnorm.Meter(settings.sample_rate).integrated_loudness(padded.astype(np.float64))
    gain = 10 ** ((settings.loudness - loudness) / 20) if np.isfinite(loudness) else np.inf
    return (samples * min(gain, PEAK / peak)).astype(np.float32)


def encode(samples: Samples, kind: str, settings: AudioSettings) -> bytes:
    """Samples as a file of one of `FORMATS`; written in blocks, since a long OGG in one call crashes."""
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", settings.sample_rate, 2, format=FORMATS[kind]) as file:
        for first in range(0, len(samples), BLOCK):
            file.write(samples[first : first + BLOCK])
    return out.getvalue()
