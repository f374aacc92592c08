"""No loops: a phrase that has been heard too often in a piece is not heard again.

A phrase is so many notes on end: the intervals between them, and of each gap between onsets whether it is shorter
than, like or longer than the last gap before it; gaps are alike within a factor of 1.5, since played time is never
exact, and notes of a chord have none. So a phrase is known again in another key, at another tempo and played freely.
Only the latest `MEMORY` notes count: a theme may come back at last, a loop does not wait.

Phrases of 16 notes that are heard again 4 times at most leave human music nearly alone: of 150 violin performances
0.28 % of the notes of the first minutes would be refused (0.64 % of whole pieces), of as many fiddle tunes 0.06 %, of 112
piano performances none. Loops of 8 and 16 notes whose gaps vary by a tenth are left after ten passes (median; 5 % of
them go on for forty). Times in bins, in place of comparisons, would miss four in five of such loops.

Shapes: L pieces, F fields, V ids, N symbols, M notes remembered, P pitches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.compiling import in_order
from cadenza.phrases.trail import (
    PITCHES,
    Integers,
    Keys,
    PhraseRule,
    Trail,
    append,
    begun,
    key_of,
    refuse_pitch,
    symbol_of,
)
from cadenza.tokens import Representation, Rows
from cadenza.tokens.contract import Mask

MEMORY = 1024
TOGETHER, SHORTER, ALIKE, LONGER = range(4)


class Place(NamedTuple):
    """Beside the trail: the last gap that was not 0 (steps), and of the latest notes the key and the interval."""

    trail: Trail
    gap_L: Integers
    keys_LM: Keys
    intervals_LM: npt.NDArray[np.int16]


class Loops(PhraseRule):
    """Refuses the note that would complete a phrase of `notes` notes which has been heard again `repeats` times."""

    def __init__(self, tokens: Representation, notes: int, repeats: int) -> None:
        super().__init__(tokens, symbols=notes - 2)
        self.repeats = repeats

    def begin(self, lanes: int) -> Place:
        keys_LM, intervals_LM = np.zeros((lanes, MEMORY), np.uint64), np.zeros((lanes, MEMORY), np.int16)
        return Place(self.trails(lanes), np.zeros(lanes, np.int64), keys_LM, intervals_LM)

    def refuse(self, place: Place, rows_LF: Rows, allowed_LV: Mask) -> bool:
        trail, memory = place.trail, place[1:]
        return clear_repeated(*trail, *memory, rows_LF, self.moves_V, self.repeats, self.ids_P, allowed_LV)

    def advance(self, place: Place, rows_LF: Rows) -> Place:
        new = place.trail.copied()
        memory = place.gap_L.copy(), place.keys_LM.copy(), place.intervals_LM.copy()
        sound(*new, *memory, rows_LF, self.moves_V, self.field, self.pitches_V)
        return Place(new, *memory)


@in_order
def beside(gap, last):
    """How a gap compares with the last one."""
    if gap == 0:
        return TOGETHER
    if 3 * gap < 2 * last:
        return SHORTER
    return LONGER if 2 * gap > 3 * last else ALIKE


@in_order
def clear_repeated(
    pitch_L, waited_L, symbols_LN, gap_L, keys_LM, intervals_LM, rows_LF, moves_V, repeats, ids_P, allowed_LV
):  # fmt: skip
    """Clears the pitches that complete what has been heard again so often, and says whether there are any."""
    some, heard = False, np.empty(2 * PITCHES, np.int64)
    for lane in range(len(rows_LF)):
        last = pitch_L[lane]
        if last < 0:
            continue
        heard[:] = 0
        key = key_of(symbols_LN[lane], beside(waited_L[lane] + moves_V[rows_LF[lane, 0]], gap_L[lane]))
        for m in range(MEMORY):
            if keys_LM[lane, m] == key:
                heard[PITCHES + intervals_LM[lane, m]] += 1
        for pitch in range(PITCHES):
            if heard[PITCHES + pitch - last] > repeats:
                some |= refuse_pitch(pitch, ids_P, allowed_LV[lane])
    return some


@in_order
def sound(pitch_L, waited_L, symbols_LN, gap_L, keys_LM, intervals_LM, rows_LF, moves_V, field, pitches_V):
    """Takes a row of each into the places."""
    for lane in range(len(rows_LF)):
        last, pitch = pitch_L[lane], begun(lane, waited_L, rows_LF, moves_V, field, pitches_V)
        if pitch < 0:
            continue
        if last >= 0:
            rhythm = beside(waited_L[lane], gap_L[lane])
            append(keys_LM[lane], key_of(symbols_LN[lane], rhythm))
            append(intervals_LM[lane], pitch - last)
            append(symbols_LN[lane], symbol_of(pitch - last, rhythm))
            gap_L[lane] = waited_L[lane] or gap_L[lane]
        pitch_L[lane], waited_L[lane] = pitch, 0
