"""The latest notes of pieces that are written side by side, as the rules on phrases hear them.

In: rows, one of each piece at a time. Out: a *trail* for each piece: its last pitch, the time since that note began
(steps), and its latest symbols. A symbol is an interval (semitones) with what a rule hears of the time from onset to
onset; notes of a chord count one after the other, from the lowest up. A phrase is told by its *key*, a hash of the
symbols before its last note and of that note's rhythm; different ones share a key with a chance of about 1 in 10^15.

Shapes: L pieces, F fields, V ids, N symbols, P pitches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.compiling import in_order
from cadenza.evaluate.matching import SEPARATOR
from cadenza.evaluate.originality import LATEST
from cadenza.tokens import Representation, Rows
from cadenza.tokens.contract import Mask

PITCHES = 128
FACTOR, DOWN = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)

Integers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


class Trail(NamedTuple):
    """What each piece sounded last: its pitch (-1: no note yet), the steps since, the latest symbols."""

    pitch_L: Integers
    waited_L: Integers
    symbols_LN: Keys

    def copied(self) -> Trail:
        """A trail that can go on while this one stays."""
        return Trail(self.pitch_L.copy(), self.waited_L.copy(), self.symbols_LN.copy())


class PhraseRule(ABC):
    """A rule that says which pitches may begin a note, once it is known when the note begins."""

    def __init__(self, tokens: Representation, symbols: int) -> None:
        self.symbols = symbols
        first_VF = np.tile(tokens.start_row, (tokens.sizes[0] + 1, 1))
        first_VF[:, 0] = np.arange(len(first_VF))
        self.moves_V = tokens.steps(first_VF)  # the first field alone moves the clock
        self.field, pitches_V = tokens.beginnings()
        sounding = np.flatnonzero(pitches_V >= 0)
        self.ids_P = np.full(PITCHES, -1)
        self.ids_P[pitches_V[sounding]] = sounding
        self.pitches_V = np.append(pitches_V, -1)  # the start id begins nothing

    def trails(self, lanes: int) -> Trail:
        """Before the first row."""
        none_L = np.zeros(lanes, np.int64)
        return Trail(none_L - 1, none_L, np.full((lanes, self.symbols), SEPARATOR, np.uint64))

    def allowed(self, place: Any, field: int, rows_LF: Rows) -> Mask | None:
        """All ids but those of the pitches that are refused; shape (L, V), or None: all."""
        if field != self.field:
            return None
        allowed_LV = np.ones((len(rows_LF), len(self.pitches_V) - 1), dtype=bool)
        return allowed_LV if self.refuse(place, rows_LF, allowed_LV) else None

    @abstractmethod
    def refuse(self, place: Any, rows_LF: Rows, allowed_LV: Mask) -> bool:
        """Clears the pitches that may not come now, and says whether there are any."""


@in_order
def begun(lane, waited_L, rows_LF, moves_V, field, pitches_V):
    """Lets the time of a row pass in a lane; the pitch that begins with it (-1: none)."""
    waited_L[lane] += moves_V[rows_LF[lane, 0]]
    return pitches_V[rows_LF[lane, field]]


@in_order
def key_of(symbols_N, rhythm):
    """The key of a phrase whose last note comes in this rhythm."""
    key = FACTOR
    for n in range(len(symbols_N)):
        key = mixed(key, symbols_N[n])
    return mixed(key, np.uint64(rhythm))


@in_order
def mixed(key, symbol):
    """The key with a further symbol."""
    key = (key ^ symbol) * FACTOR
    return key ^ key >> DOWN


@in_order
def symbol_of(interval, rhythm):
    """A note as a number, as `evaluate.originality` has it for `transposed`; never `SEPARATOR`, which stands for no note."""
    return np.uint64((interval + PITCHES) * LATEST + rhythm + 1)


@in_order
def append(latest_N, new):
    """Puts one more at the end, and all others a place earlier; the first is lost."""
    last = len(latest_N) - 1
    for n in range(last):
        latest_N[n] = latest_N[n + 1]
    if last >= 0:
        latest_N[last] = new


@in_order
def refuse_pitch(pitch, ids_P, allowed_V):
    """Clears the id that begins a note of this pitch, and says whether there is one."""
    if not 0 <= pitch < PITCHES or ids_P[pitch] < 0:
        return False
    allowed_V[ids_P[pitch]] = False
    return True
