"""A score to raw samples by symusic's synthesizer, kept in a process of its own.

The synthesizer never returns from some high notes of some instruments (with TimGM6mb: pitches 102
and 103 of the violin, 106 to 108 of a square lead), where a sample's loop becomes shorter than one
frame. Rendering therefore runs in a worker with a time limit; where that is broken, the notes that
hang by themselves are found and sound an octave lower. It also plays every note equally loud, so
notes are rendered in classes of like velocity, each scaled by the square of its velocity, and then
added. Only the sound is touched, never the music.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import symusic

from cadenza.corpus.isolate import Casualty, isolated_map, run_alone
from cadenza.errors import CadenzaError

Samples = npt.NDArray[np.float32]
Task = tuple[symusic.Score, str, int]

MARK_SECONDS = 0.01
"""Cut from the end, where the mark would be heard."""
CLASS = 8
"""Velocities in a class."""
LIMIT_SECONDS, LIMIT_SHARE = 10.0, 0.5
PROBE_SECONDS = 2.0


def synthesize(score: symusic.Score, soundfont: Path, sample_rate: int) -> Samples:
    """Samples of shape (S, 2); a file that is no soundfont raises `CadenzaError`."""
    seconds = LIMIT_SECONDS + LIMIT_SHARE * score.to("second").end()
    result = run_alone(play, (score, str(soundfont), sample_rate), seconds)
    if isinstance(result, Casualty):
        lowered = lower_hanging(score, soundfont, sample_rate)
        result = run_alone(play, (lowered, str(soundfont), sample_rate), seconds)
    if isinstance(result, Casualty):
        raise CadenzaError(f"The synthesizer did not finish within {seconds:.0f} s; try another --soundfont.")
    if result is None:
        raise CadenzaError(f"{soundfont}: not a soundfont; give an SF2 or SF3 file.")
    return result


def play(task: Task) -> Samples | None:
    """Worker: the samples, or None where the soundfont is none."""
    score, soundfont, sample_rate = task
    try:
        synthesizer = symusic.core.Synthesizer(soundfont, sample_rate, 0)
    except RuntimeError:
        return None
    last = score.end()
    mixed = np.zeros((0, 2), dtype=np.float32)
    for loudness in sorted({note.velocity // CLASS for track in score.tracks for note in track.notes if note.velocity}):
        played = synthesizer.render(of_class(score, loudness, last), True).T * gain(loudness)
        if len(played) > len(mixed):
            mixed, played = np.ascontiguousarray(played, dtype=np.float32), mixed
        mixed[: len(played)] += played
    return mixed[: max(0, int((score.to("second").end() - MARK_SECONDS) * sample_rate))]


def gain(loudness: int) -> float:
    """Amplitude of a velocity class: the square of its middle velocity, 1 at 128."""
    return float(((CLASS * loudness + CLASS / 2) / 128) ** 2)


def of_class(score: symusic.Score, loudness: int, last: int) -> symusic.Score:
    """The score with the notes of one velocity class only; a last note marks the length of the whole."""
    score = score.copy()
    for track in score.tracks:
        notes = track.notes.numpy()
        chosen = (notes["velocity"] // CLASS == loudness) & (notes["velocity"] > 0)
        track.notes = symusic.Note.from_numpy(**{name: column[chosen] for name, column in notes.items()})
    score.tracks[0].notes.append(symusic.Note(last - 1, 1, 0, CLASS * loudness))
    return score


def lower_hanging(score: symusic.Score, soundfont: Path, sample_rate: int) -> symusic.Score:
    """The score with every note that hangs by itself an octave lower."""
    score = score.copy()
    sounds = sorted({(t.is_drum, t.program, n.pitch) for t in score.tracks for n in t.notes if n.velocity})
    tasks = [(one_note(*sound), str(soundfont), sample_rate) for sound in sounds]
    probes = isolated_map(play, tasks, seconds=PROBE_SECONDS)
    hanging = {sounds[number] for number, result in probes if isinstance(result, Casualty)}
    for track in score.tracks:
        for note in track.notes:
            if (track.is_drum, track.program, note.pitch) in hanging:
                note.pitch -= 12
    return score


def one_note(is_drum: bool, program: int, pitch: int) -> symusic.Score:
    score = symusic.Score(480)
    track = symusic.Track(program=program, is_drum=is_drum)
    track.notes.append(symusic.Note(0, 240, pitch, 80))
    score.tracks.append(track)
    return score
