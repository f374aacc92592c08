"""No plagiarism: a run of notes that a training piece has as well is not gone on with beyond a limit.

A run is what `evaluate.originality` measures as `transposed`: the same intervals in the same rhythm, onset to onset in
steps; so no `verbatim` run, which has the same pitches too, is longer either. Rows and training pieces are both compared
as their rows decode, in the symbols of that measure. What is refused is the one note that would make a run of more
than `notes` notes: every run of training that is a note longer is known by the key of all but its last interval.

Three things are left: where the grammar allows no other pitch, the rule gives way; notes of a chord are heard from the
lowest up; and a copy with a changed note every now and then, or at another tempo, which `near` measures, is many runs.

Shapes: L pieces, F fields, V ids, S training notes, K training runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cadenza.compiling import in_order
from cadenza.evaluate.matching import SEPARATOR
from cadenza.evaluate.originality import LATEST, line, transitions
from cadenza.notes import Notes
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


class Novelty(PhraseRule):
    """Refuses the note that would complete a run of more than `notes` notes of a training piece, in any key."""

    def __init__(self, tokens: Representation, training: Sequence[Notes], notes: int) -> None:
        super().__init__(tokens, symbols=notes - 1)
        row, _ = line(training, tokens.base)
        self.known = known_runs(transitions(row, "transposed").astype(np.uint64), notes - 1)

    def begin(self, lanes: int) -> Trail:
        return self.trails(lanes)

    def refuse(self, place: Trail, rows_LF: Rows, allowed_LV: Mask) -> bool:
        return clear_known(*place, rows_LF, self.moves_V, *self.known, self.ids_P, allowed_LV)

    def advance(self, place: Trail, rows_LF: Rows) -> Trail:
        new = place.copied()
        sound(*new, rows_LF, self.moves_V, self.field, self.pitches_V)
        return new


def known_runs(symbols_S: Keys, before: int) -> tuple[Keys, Integers]:
    """The key and the last interval of every run that has so many symbols before its last, in order, each once."""
    keys_S, whole_S = keys_of_runs(symbols_S, before)
    keys_K, intervals_K = keys_S[whole_S], (symbols_S[whole_S] - 1).astype(np.int64) // LATEST - PITCHES
    order = np.lexsort((intervals_K, keys_K))
    keys_K, intervals_K = keys_K[order], intervals_K[order]
    new = np.append(True, (np.diff(keys_K) != 0) | (np.diff(intervals_K) != 0))[: len(order)]
    return keys_K[new], intervals_K[new]


@in_order
def keys_of_runs(symbols_S, before):
    """The key of the run that ends with each symbol, and whether all of it is of one piece."""
    keys_S, whole_S = np.zeros(len(symbols_S), np.uint64), np.zeros(len(symbols_S), np.bool_)
    length = 0
    for s in range(len(symbols_S)):
        length = 0 if symbols_S[s] == SEPARATOR else length + 1
        if length > before:
            keys_S[s] = key_of(symbols_S[s - before : s], (symbols_S[s] - np.uint64(1)) % np.uint64(LATEST))
            whole_S[s] = True
    return keys_S, whole_S


@in_order
def clear_known(pitch_L, waited_L, symbols_LN, rows_LF, moves_V, keys_K, intervals_K, ids_P, allowed_LV):
    """Clears the pitches with which a known run would be complete, and says whether there are any."""
    some = False
    for lane in range(len(rows_LF)):
        if pitch_L[lane] < 0:
            continue
        key = key_of(symbols_LN[lane], waited_L[lane] + moves_V[rows_LF[lane, 0]])
        k = np.searchsorted(keys_K, key)
        while k < len(keys_K) and keys_K[k] == key:
            some |= refuse_pitch(pitch_L[lane] + intervals_K[k], ids_P, allowed_LV[lane])
            k += 1
    return some


@in_order
def sound(pitch_L, waited_L, symbols_LN, rows_LF, moves_V, field, pitches_V):
    """Takes a row of each into the trails."""
    for lane in range(len(rows_LF)):
        last, pitch = pitch_L[lane], begun(lane, waited_L, rows_LF, moves_V, field, pitches_V)
        if pitch < 0:
            continue
        if last >= 0:
            append(symbols_LN[lane], symbol_of(pitch - last, waited_L[lane]))
        pitch_L[lane], waited_L[lane] = pitch, 0
