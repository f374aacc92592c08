"""Which notes an instrument can play, one after the other, and what forbids the others.

In: `Notes`, or the notes so far and an onset, in steps. Out: for every note, or for every pitch that might
begin there, an objection: `FINE` or one of `OBJECTIONS`.

Notes are judged in order of onset, then pitch. One that cannot be played is left out, so that it
spoils no other. The rules (facts in `instruments`; how they are read is our own simplification):

* A note sounds from its onset to its end, without its last `TAIL` seconds or latter half: notes that
  are tied, ring on, or were rounded to a grid overlap, and are no double stops.
* What begins at one onset is a chord, and with it what still sounds of the last `ROLL` seconds, since a
  bow breaks chords. A chord has as many notes as the instrument strikes; where something older
  sounds too, it is as many as the instrument holds.
* When a chord of one onset has more notes than the instrument holds, the lowest are let go after the roll.
* Each note has a string of its own. Those of one onset, or that are held, are on neighbouring strings;
  what is broken may skip one. Stopped notes are within a hand's stretch, measured along strings that
  halve their length with every octave. Open strings are free; every string reaches as far above its
  open note as the highest does.
* A pitch that begins again ends what still sounds of it.

So shortening a note never makes another one unplayable. Not judged: how fast a hand moves between notes,
the direction of the bow, plucked strings, artificial harmonics.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.instruments import Instrument
from cadenza.notes import Notes

FINE, RANGE, REPEATED, TOO_MANY, STRINGS = range(5)
OBJECTIONS = ("out of range", "repeated too fast", "too many at once", "no string for it")
"""What stands against a note, in words; that of code c is at c - 1."""

TAIL, ROLL = 0.08, 0.15
"""Seconds."""

Codes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Lengths = npt.NDArray[np.float64]
Pitches = tuple[int, ...]


class Sound(NamedTuple):
    """A note that is played: it counts as sounding before the step `until`."""

    pitch: int
    onset: int
    until: int


Past = tuple[Sound, ...]
"""The played notes that still matter, in order of onset, then pitch; each pitch once."""


class Player:
    """An instrument with time in steps of so many seconds."""

    def __init__(self, instrument: Instrument, step_seconds: float) -> None:
        self.instrument = instrument
        self.tail, self.roll = round(TAIL / step_seconds), round(ROLL / step_seconds)
        self.repeat = int(np.ceil(instrument.repeat / step_seconds - 1e-6))

    def objections(self, past: Past, onset: int) -> Codes:
        """What stands against each pitch that might begin at `onset`, shape (128,)."""
        codes = against(self.instrument, *self.beside(past, onset))
        again = [sound.pitch for sound in past if onset - sound.onset < self.repeat]
        if again:
            codes = codes.copy()
            codes[again] = REPEATED
        return codes

    def beside(self, past: Past, onset: int) -> tuple[Pitches, Pitches, Pitches]:
        """What is struck at `onset` already, what still rings from a roll, and what is held."""
        struck: list[int] = []
        rolled: list[int] = []
        held: list[int] = []
        for pitch, begun, until in past:
            if begun == onset:
                struck.append(pitch)
            elif onset < until:
                (rolled if onset - begun <= self.roll else held).append(pitch)
        return tuple(struck), tuple(rolled), tuple(held)

    def after(self, past: Past, pitch: int, onset: int, duration: int) -> Past:
        """The past once a note has been played that nothing stands against."""
        kept = [sound for sound in past if sound.pitch != pitch and self.matters(sound, onset)]
        chord = [Sound(pitch, onset, onset + duration - min(self.tail, duration // 2))]
        if kept:
            chord = [sound for sound in kept if sound.onset == onset] + chord
            kept = [sound for sound in kept if sound.onset < onset]
            too_many, let_go = max(0, len(chord) - self.instrument.held), onset + self.roll + 1
            chord[:too_many] = [sound._replace(until=min(sound.until, let_go)) for sound in chord[:too_many]]
        return (*kept, *chord)

    def play(self, past: Past, pitch: int, onset: int, duration: int) -> Past:
        """The past once a note was played, or left out because something stands against it."""
        fine = self.objections(past, onset)[pitch] == FINE
        return self.after(past, pitch, onset, duration) if fine else past

    def matters(self, sound: Sound, onset: int) -> bool:
        return onset < max(sound.until, sound.onset + self.repeat, sound.onset + 1)

    def moments(self, past: Past, onset: int) -> list[int]:
        """The steps, from `onset` on, at which what can be played changes."""
        spans = (1, self.roll + 1, self.repeat)
        changes = {sound.until for sound in past} | {sound.onset + span for sound in past for span in spans}
        return sorted({onset} | {step for step in changes if step > onset})


def judge(notes: Notes, instrument: Instrument) -> Codes:
    """What stands against each note, shape (N,).

    >>> from cadenza.instruments import INSTRUMENTS
    >>> third = Notes.of(onset=[0, 0], pitch=[55, 59], duration=[50, 50], velocity=[80, 80])
    >>> judge(third, INSTRUMENTS["violin"])  # both on the lowest string
    array([0, 4], dtype=uint8)
    """
    player, past = Player(instrument, notes.header.step_seconds), Past()
    found = np.empty(len(notes), np.uint8)
    rows = zip(*(column.tolist() for column in notes.columns[:3]), strict=True)
    for number, (onset, pitch, duration) in enumerate(rows):
        found[number] = player.objections(past, onset)[pitch]
        if found[number] == FINE:
            past = player.after(past, pitch, onset, duration)
    return found


@lru_cache(maxsize=2**16)
def against(instrument: Instrument, struck: Pitches, rolled: Pitches, held: Pitches) -> Codes:
    """What stands against each pitch beside those that are struck with it, ring from a roll or are held."""
    pitches = np.arange(128)
    codes = np.full(128, FINE, np.uint8)
    sounding = struck + rolled + held
    if len(sounding) >= (instrument.held if held else instrument.struck):
        codes[:] = TOO_MANY
    elif instrument.strings:
        joins = partners(instrument, struck + held, neighbours=True)
        if rolled:
            joins = joins & partners(instrument, sounding, neighbours=False)
        codes[~joins] = STRINGS
    codes[(pitches < instrument.lowest) | (pitches > instrument.highest)] = RANGE
    for pitch in sounding:
        others = ([each for each in part if each != pitch] for part in (struck, rolled, held))
        codes[pitch] = against(instrument, *map(tuple, others))[pitch]
    codes.setflags(write=False)
    return codes


def partners(instrument: Instrument, pitches: Pitches, neighbours: bool) -> Mask:
    """The pitches that find a string beside these and a place in the same hand, shape (128,)."""
    stop_SP, strings = stops(instrument), range(len(instrument.strings))
    found = np.zeros(128, dtype=bool)
    for free, *taken in permutations(strings, len(pitches) + 1):
        if neighbours and max(free, *taken, free) - min(free, *taken, free) > len(taken):
            continue
        found |= within_hand(stop_SP[taken, list(pitches)], stop_SP[free], instrument.hand)
    return found


def within_hand(fingers: Lengths, stop_P: Lengths, hand: float) -> Mask:
    """Which of the stops one hand reaches that has these fingers down; what a string lacks is infinitely far."""
    stopped = fingers[fingers > 0]
    if not len(stopped):
        return np.isfinite(stop_P)
    low, high = stopped.min(), stopped.max()
    if high == np.inf or high - low > hand:
        return np.zeros(len(stop_P), dtype=bool)
    reached_P = np.maximum(stop_P, high) - np.minimum(stop_P, low) <= hand
    return (stop_P == 0) | reached_P


@lru_cache
def stops(instrument: Instrument) -> Lengths:
    """Where each string is stopped for each pitch, mm from its open end: (S, 128), infinite where it cannot be."""
    above_SP = np.arange(128) - np.array(instrument.strings)[:, None]
    reach = instrument.highest - instrument.strings[-1]
    place_SP = instrument.string * (1 - 2 ** (-above_SP / 12))
    return np.where((above_SP >= 0) & (above_SP <= reach), place_SP, np.inf)
