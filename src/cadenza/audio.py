"""Notes to sound: a steady loudness, a fade, and audio files as bytes.

In: a symusic score. Out: float32 samples of shape (S, 2) in [-1, 1] at `RATE`. The sound begins with the first
note. Loudness is integrated loudness in LUFS (ITU-R BS.1770-4), held back where peaks would clip.
"""

from __future__ import annotations

import importlib.util
import io
import math
import warnings
from pathlib import Path

import numpy as np
import soundfile
import symusic

from cadenza.errors import CadenzaError
from cadenza.settings import AudioSettings
from cadenza.synthesizer import RATE, Samples, synthesize

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
        raise CadenzaError(f"{path}: there is no such soundfont; give the path of an SF2 file.")
    try:
        with open(path, "rb") as file:
            begins = file.read(12)
    except OSError as error:
        raise CadenzaError(f"{path}: this soundfont cannot be read ({error.strerror}); give another.") from None
    if (begins[:4], begins[8:]) != (b"RIFF", b"sfbk"):
        raise CadenzaError(f"{path}: not a soundfont; give an SF2 file.")
    return path


def render(score: symusic.Score, settings: AudioSettings, name: str = "the piece") -> Samples:
    """The sound of a score with its release and a fade-out; what cannot be rendered raises `CadenzaError`.

    `name` is what messages call the score.
    """
    if not score.note_num():
        raise CadenzaError(f"{name}: there are no notes to render; give a piece with at least one.")
    path = soundfont(settings)
    qpm = last_tempo(score, settings, name)
    score = score.copy()
    tail = round(TAIL_SECONDS * score.ticks_per_quarter * qpm / 60)
    score.tracks[0].notes.append(symusic.Note(score.end() + tail, 1, 0, 0))  # silent: keeps the release
    try:
        samples = synthesize(score, path)
    except CadenzaError as error:
        raise CadenzaError(f"{name}: {error}") from None
    return level(from_first_sound(samples), settings)


def last_tempo(score: symusic.Score, settings: AudioSettings, name: str) -> float:
    """Quarter notes per minute at the end; music that is too long, or whose tempo is damaged, raises `CadenzaError`."""
    tempos = [tempo.qpm for tempo in score.tempos]
    if not all(math.isfinite(qpm) and qpm > 0 for qpm in tempos):
        raise CadenzaError(f"{name}: its tempo is damaged; mend it before rendering.")
    minutes = score.to("second").end() / 60
    if not minutes <= settings.max_minutes:
        raise CadenzaError(
            f"{name}: lasts {minutes:,.0f} minutes, over audio.max_minutes = {settings.max_minutes:g}; "
            f"pass --set audio.max_minutes={math.ceil(minutes)}, or cut it."
        )
    return tempos[-1] if tempos else 120.0


def from_first_sound(samples: Samples) -> Samples:
    """Drop what is quieter than a thousandth of the peak before the first sound."""
    threshold = peak(samples) / 1000
    blocks = (samples[first : first + BLOCK] for first in range(0, len(samples), BLOCK))
    for number, block in enumerate(blocks):
        loud = np.abs(block).max(axis=1) > threshold
        if loud.any():
            return samples[number * BLOCK + int(loud.argmax()) :]
    return samples


def level(samples: Samples, settings: AudioSettings) -> Samples:
    """Fade the tail out, then bring samples, in place, to the loudness or to the highest peak, whichever is lower.

    They are measured at that peak, since the meter takes music that is very quiet for silence.
    """
    fade = min(len(samples), round(TAIL_SECONDS * RATE))
    samples[len(samples) - fade :] *= np.cos(np.linspace(0, np.pi / 2, fade, dtype=np.float32))[:, None] ** 2
    if loudest := peak(samples):
        samples /= np.float32(loudest)
        samples *= np.float32(PEAK)
        samples *= np.float32(min(1.0, 10 ** ((settings.loudness - loudness(samples)) / 20)))
    return samples


def peak(samples: Samples) -> float:
    return max(float(samples.max()), -float(samples.min())) if len(samples) else 0.0


def loudness(samples: Samples) -> float:
    """Integrated loudness in LUFS; sound shorter than the meter's block is measured with silence behind it."""
    import pyloudnorm

    meter = pyloudnorm.Meter(RATE)
    missing = math.ceil(meter.block_size * RATE) - len(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(meter.integrated_loudness(np.pad(samples, ((0, missing), (0, 0))) if missing > 0 else samples))


def encode(samples: Samples, kind: str) -> bytes:
    """Samples as a file of one of `FORMATS`; written in blocks, since a long OGG in one call crashes."""
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", RATE, 2, format=FORMATS[kind]) as file:
        for first in range(0, len(samples), BLOCK):
            file.write(samples[first : first + BLOCK])
    return out.getvalue()
