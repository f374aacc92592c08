"""Facts about instruments: General MIDI names, ranges, strings, and what hands and bow or breath can do.

Ranges (sounding MIDI pitches), open strings, and that a bow breaks chords of three and four notes and
holds two, follow S. Adler, *The Study of Orchestration*, 4th edition, 2016. The rest is our own, in round
figures: strings of the usual length; hands that just reach a tenth a tone above the open strings of
a violin, and a major third a semitone above those of a cello (without the thumb); and 16 strokes of a
bow or 14 of a tongue in a second. Only instruments that Cadenza treats specially are listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from cadenza.errors import CadenzaError
from cadenza.settings import nearest

DRUMS = -1
"""Stands for percussion wherever a program number is expected."""


@dataclass(frozen=True)
class Instrument:
    """`lowest` and `highest` are sounding MIDI pitches; `strings` the open strings, low to high.

    `struck` is the most notes that begin together, `held` the most that sound together otherwise;
    `string` is the length of the strings and `hand` the widest stretch between stopped notes, mm; the
    same pitch begins again after `repeat` seconds at the earliest.
    """

    program: int
    lowest: int
    highest: int
    repeat: float
    struck: int = 1
    held: int = 1
    strings: tuple[int, ...] = ()
    string: float = 0
    hand: float = 0


INSTRUMENTS = {
    "violin": Instrument(40, 55, 103, 0.06, 4, 2, (55, 62, 69, 76), 328, 120),
    "viola": Instrument(41, 48, 93, 0.06, 4, 2, (48, 55, 62, 69), 375, 120),
    "cello": Instrument(42, 36, 81, 0.06, 4, 2, (36, 43, 50, 57), 695, 135),
    "flute": Instrument(73, 59, 98, 0.07),
}


@cache
def program_name(program: int) -> str:
    """The General MIDI name of a program, in lower case.

    >>> program_name(40)
    'violin'
    """
    from pretty_midi.constants import INSTRUMENT_MAP

    return "drums" if program == DRUMS else INSTRUMENT_MAP[program].lower()


def program_number(name: str) -> int:
    """The program of a General MIDI name or of a number written as text.

    >>> program_number("Violin")
    40
    """
    names = {program_name(program): program for program in range(128)}
    text = name.strip().lower()
    if text.isdecimal() and int(text) < 128:
        return int(text)
    if text not in names:
        raise CadenzaError(
            f"There is no instrument {name!r}{nearest(text, names)}; use auto, all, a General MIDI name or 0…127."
        )
    return names[text]


def by_program(program: int) -> Instrument | None:
    """What is known of the instrument of a program, if anything."""
    return next((facts for facts in INSTRUMENTS.values() if facts.program == program), None)
