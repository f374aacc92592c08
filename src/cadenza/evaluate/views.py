"""What followed what: contexts of notes, and how often each id came after each of them.

In: rows of many pieces, and *views*, the few earlier ids that a prediction looks at, as they are or as
steps from note to note. Out: counts for each scored id. A context is a hash, counting is sorting, asking is
bisection. Shapes: E scored ids of one field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.tokens import Rows, Schema

LAGS = 8
"""How many notes back a view may look."""

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


class Symbol(NamedTuple):
    """A field of the note `lag` notes back; lag 0 is the note itself."""

    lag: int
    field: int


class View(NamedTuple):
    """What a prediction looks at; with `steps`, its own field counts as differences from note to note."""

    steps: bool
    symbols: tuple[Symbol, ...]


class Counts(NamedTuple):
    """Of each scored id: how often it followed its context, how many ids did, how many different ones; shape (E,)."""

    same_E: Integers
    all_E: Integers
    kinds_E: Integers


class Columns:
    """The scored ids of field `f` of many pieces, with the ids around them; before a piece lie its start ids."""

    def __init__(self, schema: Schema, pieces: Sequence[Rows], f: int) -> None:
        before = np.tile(schema.start_row, (LAGS + 1, 1))
        lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
        self.rows = np.concatenate([before[:0], *(part for piece in pieces for part in (before, piece))])
        at = np.arange(lengths.sum()) + np.repeat((LAGS + 1) * np.arange(1, len(pieces) + 1), lengths)
        scored = schema.scored(self.rows[at])[:, f]
        self.f, self.size, self.at = f, schema.sizes[f], at[scored]
        self.piece = np.repeat(np.arange(len(pieces)), lengths)[scored]
        self.ids_E = self.column(Symbol(0, f))
        self.last_E = self.column(Symbol(1, f))

    def __len__(self) -> int:
        return len(self.at)

    def column(self, symbol: Symbol) -> Integers:
        return self.rows[self.at - symbol.lag, symbol.field].astype(np.int64)

    def hashes(self, view: View) -> Hashes:
        """A number for each context; different contexts share one with a chance of about 1 in 10^15."""
        mixed = np.zeros(len(self), dtype=np.uint64)
        for symbol in view.symbols:
            ids = self.column(symbol)
            if view.steps and symbol.field == self.f:
                ids -= self.column(Symbol(symbol.lag + 1, symbol.field))
            mixed = (mixed ^ (ids + self.size + 1).astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        return mixed

    def keys(self, view: View) -> tuple[Integers, Integers]:
        """The least key of each context, and what id 0 adds to it; id x adds x more."""
        width = 2 * self.size + 1
        contexts = self.hashes(view) >> np.uint64(width.bit_length() + 1)
        return contexts.astype(np.int64) * width, self.size - self.last_E if view.steps else np.zeros_like(self.ids_E)


class Tally:
    """How often each id, or step to it, followed each context of a view: sorted keys and running counts."""

    def __init__(self, view: View, training: Columns) -> None:
        self.view = view
        context, first = training.keys(view)
        keys = np.sort(context + first + training.ids_E)
        begins = np.flatnonzero(np.diff(keys, prepend=-1))
        self.keys, self.before = keys[begins], np.append(begins, len(keys))

    def ask(self, columns: Columns, ids_E: Integers | None = None) -> Counts:
        """The counts behind `ids_E` (those of the columns unless given); ids that no step reaches are left out."""
        context, first = columns.keys(self.view)
        context += first
        low = np.searchsorted(self.keys, context)
        high = np.searchsorted(self.keys, context + columns.size)
        asked = context + (columns.ids_E if ids_E is None else ids_E)
        place = np.searchsorted(self.keys, asked)
        found = np.append(self.keys, -1)[place] == asked
        same = np.where(found, np.diff(self.before, append=0)[place], 0)
        return Counts(same, self.before[high] - self.before[low], high - low)
