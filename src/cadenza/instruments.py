"""Facts about instruments: General MIDI names, ranges, strings.

Ranges (sounding MIDI pitches) and open strings follow S. Adler, *The Study of Orchestration*,
4th edition, 2016. Only instruments that Cadenza treats specially are listed.
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
    """`lowest` and `highest` are sounding MIDI pitches; `strings` the open strings, low to high."""

    program: int
    lowest: int
    highest: int
    strings: tuple[int, ...] = ()


INSTRUMENTS = {
    "violin": Instrument(40, 55, 103, (55, 62, 69, 76)),
    "viola": Instrument(41, 48, 93, (48, 55, 62, 69)),
    "cello": Instrument(42, 36, 81, (36, 43, 50, 57)),
    "flute": Instrument(73, 59, 98),
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
