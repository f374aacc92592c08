"""Velocity can be heard, and notes that a soundfont lacks are silence, not a click."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from cadenza import audio, midi
from cadenza.notes import Notes
from cadenza.settings import AudioSettings
from cadenza.synthesizer import RATE

SETTINGS = AudioSettings()


def sound(pitch: int, velocity: list[int], program: int) -> np.ndarray:
    count = len(velocity)
    notes = Notes.of(100 * np.arange(count), [pitch] * count, [80] * count, velocity)
    return audio.render(midi.to_symusic(notes, program), SETTINGS)


@pytest.mark.parametrize("program", [0, 40, 73])
def test_a_greater_velocity_sounds_louder(program: int) -> None:
    samples = sound(70, [20, 50, 80, 120], program)
    levels = [float(np.sqrt((samples[k * RATE : k * RATE + RATE // 2] ** 2).mean())) for k in range(4)]
    assert all(2 * one < other * 1.3 for one, other in pairwise(levels)), levels
    assert 10 < levels[3] / levels[0] < 100


def test_notes_that_the_soundfont_lacks_are_silent_and_as_long_as_they_were() -> None:
    samples = sound(126, [80, 80, 80], 40)
    assert 2.8 < len(samples) / RATE < 4.5
    assert audio.peak(samples) == 0
