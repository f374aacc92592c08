"""A score to raw samples by a SoundFont synthesizer (rustysynth, through midirenderer), in a process of its own.

The samples come in 16 bits, and the sum of many loud instruments would be cut off at the highest. So each track is
rendered by itself, and the tracks are added here. It drops the softest notes, so these are a little louder here.
A soundfont can hold anything: the process has a time limit.
"""

from __future__ import annotations

import io
from pathlib import Path

import midirenderer
import numpy as np
import numpy.typing as npt
import soundfile
import symusic

from cadenza.corpus.isolate import Casualty, run_alone
from cadenza.errors import CadenzaError

Samples = npt.NDArray[np.float32]
Task = tuple[symusic.Score, str]

RATE = 48_000
"""Samples per second."""
SOFTEST = 16
"""Velocity below which some instruments are silent."""
LIMIT_SECONDS, LIMIT_SHARE = 10.0, 0.5
"""What rendering may take: so long for each track, and this share of its length."""


def synthesize(score: symusic.Score, soundfont: Path) -> Samples:
    """Samples of shape (S, 2) at `RATE`; what is no soundfont or cannot be rendered raises `CadenzaError`."""
    seconds = len(score.tracks) * (LIMIT_SECONDS + LIMIT_SHARE * score.to("second").end())
    result = run_alone(play, (score, str(soundfont)), seconds, spare=None)
    if isinstance(result, Casualty):
        raise CadenzaError(f"The synthesizer did not finish within {seconds:.0f} s; try another --soundfont.")
    if isinstance(result, str):
        raise CadenzaError(result)
    return result


def play(task: Task) -> Samples | str:
    """Worker: the sum of the tracks, or what is wrong."""
    score, path = task
    soundfont = Path(path).read_bytes()
    mixed = np.zeros((0, 2), dtype=np.float32)
    for number in range(len(score.tracks)):
        try:
            sound = wave(soundfont, alone(score, number))
        except RuntimeError as error:
            if "SoundFont" in str(error):
                return f"{path}: not a soundfont; give an SF2 file."
            return f"the synthesizer cannot read this music ({error})."
        played, _ = soundfile.read(io.BytesIO(sound), dtype="float32", always_2d=True)
        if len(played) > len(mixed):
            mixed, played = played, mixed
        mixed[: len(played)] += played
    return mixed


def wave(soundfont: bytes, score: symusic.Score) -> bytes:
    """The sound of a score from its tick 0 on as the bytes of a WAV file, at a gain that never varies.

    What cannot be rendered raises `RuntimeError`.
    """
    return bytes(midirenderer.render_wave_from(soundfont, score.dumps_midi()))


def alone(score: symusic.Score, number: int) -> symusic.Score:
    """The score with one of its tracks, as long as the whole."""
    track = score.tracks[number].copy()
    notes = track.notes.numpy()
    notes["velocity"] = np.where(notes["velocity"], notes["velocity"].clip(min=SOFTEST), 0)
    track.notes = symusic.Note.from_numpy(**notes)
    track.notes.append(symusic.Note(score.end() - 1, 1, 0, 0))
    one = score.copy()
    one.tracks = [track]
    return one
