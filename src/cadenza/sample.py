"""A model improvises: rows, one at a time, in lanes.

Music is known here only through the grammar's masks. Item k of a seed is the same piece whatever other items there are:
each has its own random stream, and no lane of a reader depends on another.

Shapes: L lanes, F fields, V ids of a field, S ids of all fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cadenza.ending import Closing, Flags, Floats, Integers, Length, Made, Step
from cadenza.engine.choice import NO_NUMBER, NO_NUMBERS, Choice
from cadenza.errors import CadenzaError
from cadenza.settings import SampleSettings, nearest
from cadenza.tokens import Grammar, Representation, Rows
from cadenza.tokens.contract import Mask

DRAWN = 256
"""Rows for which numbers are drawn at once."""
NOWHERE = np.zeros(0)
"""No place to end."""


class Reader(Protocol):
    """A model that reads a row in each of its lanes and says how likely the fields of the next are."""

    @property
    def lanes(self) -> int:
        """The most at once."""

    def begin(self, lanes: int) -> None:
        """So many blank lanes."""

    def read(
        self, lanes_L: Integers, rows_LF: npt.NDArray[np.integer[Any]], context_LC: npt.NDArray[np.float32], /
    ) -> None:
        """A row in each of these lanes."""

    def logits(self, field: int, rows_LF: npt.NDArray[np.integer[Any]], /) -> npt.NDArray[np.float32]:
        """Of a field of the next row of the lanes that read last, given the fields before it; shape (L, V)."""

    def choose(self, fields: range, rows_LF: npt.NDArray[np.integer[Any]], choice: Choice, /) -> int:
        """The fields of the rows that are open, chosen in their order and written into `rows_LF`; the least id."""


def sample(
    reader: Reader, representation: Representation, grammar: Grammar, settings: SampleSettings, *,
    items: Sequence[int], seed: int, length: Length, prompt: Rows,
) -> Iterator[Step]:  # fmt: skip
    """Yield rows until every item has ended, is as long as asked or has `settings.rows` rows.

    `prompt` holds rows without END, shape (P, F); it is read, not yielded, and counts. A model whose logits are not numbers,
    masks that leave nothing, or a control for a field that there is not, raise `CadenzaError`.
    """
    check_fields(settings, representation.fields)
    chooser = Chooser(reader, representation, grammar, settings, length)
    for first in range(0, len(items), reader.lanes):
        yield from improvise(chooser, np.array(items[first : first + reader.lanes]), seed, prompt)


def check_fields(settings: SampleSettings, fields: Sequence[str]) -> None:
    """A control of an unknown field raises `CadenzaError`."""
    for field in settings.fields_named:
        if field not in fields:
            raise CadenzaError(
                f"There is no field {field!r} to be controlled{nearest(field, fields)}; this model's fields: {', '.join(fields)}."
            )


def improvise(chooser: Chooser, items: Integers, seed: int, prompt: Rows) -> Iterator[Step]:
    """The pieces of these items, all moved on together; who is done leaves."""
    reader, tokens, grammar, length = chooser.reader, chooser.representation, chooser.grammar, chooser.length
    if len(prompt) >= chooser.settings.rows:
        return
    draws = Draws([np.random.default_rng([seed, item]) for item in items.tolist()], len(tokens.sizes))
    lanes, place = np.arange(len(items)), grammar.begin(len(items))
    clock_L, notes_L = np.zeros((2, len(items)), np.int64)
    reader.begin(len(items))
    rows_LF = np.tile(tokens.start_row, (len(items), 1))
    reader.read(lanes, rows_LF, tokens.context_at(clock_L))
    for row in prompt:
        rows_LF = np.tile(row, (len(items), 1))
        clock_L, notes_L = clock_L + tokens.steps(rows_LF), notes_L + tokens.begins_note(rows_LF)
        place = grammar.advance(place, rows_LF)
        reader.read(lanes, rows_LF, tokens.context_at(clock_L))
    closing = Closing(length, chooser.end_row, int(clock_L[0]), int(notes_L[0]))
    led = length.led and bool(chooser.ending_V.any())
    for _ in range(chooser.settings.rows - len(prompt)):
        near_L = closing.near(clock_L, notes_L) if led else None
        made = chooser.rows(place, draws.next(lanes), near_L)
        rows_LF = made.rows_LF
        clock_L, notes_L = clock_L + tokens.steps(rows_LF), notes_L + tokens.begins_note(rows_LF)
        inside_L, ended_L = (clock_L < length.steps) & (notes_L <= length.notes), grammar.ends(rows_LF)
        stay_L = inside_L & ~ended_L
        yield from closing.steps(items[lanes], made, inside_L, near_L)
        place = grammar.advance(place, rows_LF)
        if not stay_L.all():
            yield from closing.leave(items[lanes[~stay_L]], ended_L[~stay_L])
            lanes, rows_LF, place = lanes[stay_L], rows_LF[stay_L], kept(place, stay_L)
            clock_L, notes_L = clock_L[stay_L], notes_L[stay_L]
        if not len(lanes):
            return
        reader.read(lanes, rows_LF, tokens.context_at(clock_L))
    yield from closing.leave(items[lanes], np.zeros(len(lanes), dtype=bool))


def kept(place: Any, stay_L: Flags) -> Any:
    """The places of some lanes; a place is an array with an entry for each lane, or a tuple of places."""
    if isinstance(place, np.ndarray):
        return place[stay_L]
    parts = [kept(part, stay_L) for part in place]
    return type(place)(*parts) if hasattr(place, "_fields") else tuple(parts)


class Draws:
    """Numbers from the stream of each item, uniform in [0, 1): as many as fields for each row."""

    def __init__(self, streams: Sequence[np.random.Generator], fields: int) -> None:
        self.streams, self.fields, self.row = streams, fields, 0

    def next(self, lanes: Integers) -> Floats:
        """Of the next row, shape (L, F)."""
        if self.row % DRAWN == 0:
            self.ahead_LRF = np.stack([stream.random((DRAWN, self.fields)) for stream in self.streams])
        self.row += 1
        return self.ahead_LRF[lanes, (self.row - 1) % DRAWN]


@dataclass(frozen=True)
class Chooser:
    """Chooses rows, field by field."""

    reader: Reader
    representation: Representation
    grammar: Grammar
    settings: SampleSettings
    length: Length

    @cached_property
    def controls_F4(self) -> Floats:  # noqa: N802
        """Temperature, top-k, top-p and min-p of every field."""
        return np.array([self.settings.of(field) for field in self.representation.fields], np.float64)

    @cached_property
    def columns(self) -> list[slice]:
        """Where the ids of each field stand among those of all."""
        return [slice(*pair) for pair in pairwise(np.cumsum([0, *self.grammar.sizes]).tolist())]

    @cached_property
    def blank_1F(self) -> Rows:  # noqa: N802
        return self.representation.start_row[None]

    @cached_property
    def ending_V(self) -> Flags:  # noqa: N802
        """The ids of the first field that end a piece, shape (V,)."""
        rows_VF = np.repeat(self.blank_1F, self.representation.sizes[0], axis=0)
        rows_VF[:, 0] = np.arange(len(rows_VF))
        return self.grammar.ends(rows_VF)

    @cached_property
    def end_row(self) -> Rows:
        """The row that ends a piece; blank where there is none."""
        row = self.representation.start_row.copy()
        row[0] = np.flatnonzero(self.ending_V)[0] if self.ending_V.any() else row[0]
        return row

    def rows(self, place: Any, draws_LF: Floats, near_L: Flags | None) -> Made:
        """The next row of each lane. A held piece may end where it is `near`; without flags nothing is led, and nowhere may what is held end."""
        count, fields, end_L = len(draws_LF), len(self.columns), NOWHERE
        rows_LF, allowed_LS = np.repeat(self.blank_1F, count, axis=0), np.ones((count, self.columns[-1].stop), bool)
        nats_L, removed_L = np.zeros((2, count))
        choice = Choice(allowed_LS, draws_LF, self.controls_F4, np.ones(count, bool), nats_L, removed_L)
        first_LV = self.mask(range(1), place, rows_LF, choice)
        if near_L is not None and near_L.any():
            end_L = self.end_nats(rows_LF, first_LV, near_L)
        if self.length.held:
            first_LV &= ~self.ending_V if near_L is None else ~self.ending_V | near_L[:, None]
        check(self.reader.choose(range(1), rows_LF, choice))
        if fields > 1:
            choice.open_L[:] = ~self.grammar.last_field(rows_LF)
            self.mask(range(1, fields), place, rows_LF, choice)
            check(self.reader.choose(range(1, fields), rows_LF, choice))
        return Made(rows_LF, nats_L, removed_L, end_L)

    def mask(self, fields: range, place: Any, rows_LF: Rows, choice: Choice) -> Mask:
        """Writes what the grammar allows in these fields, once the first is known or to be chosen; that of the first of them."""
        for f in fields:
            if f in self.grammar.masked:
                choice.allowed_LS[:, self.columns[f]] = self.grammar.allowed(place, f, rows_LF)
        return choice.allowed_LS[:, self.columns[fields.start]]

    def end_nats(self, rows_LF: Rows, allowed_LV: Mask, near_L: Flags) -> Floats:
        """What an end before the next row would cost the lanes that are near theirs, shape (L,); elsewhere infinite."""
        end_L, logits_LV = np.full(len(near_L), np.inf), self.reader.logits(0, rows_LF).astype(np.float64)
        for lane in np.flatnonzero(near_L & (allowed_LV & self.ending_V).any(axis=1)):
            end_L[lane] = np.logaddexp.reduce(logits_LV[lane]) - logits_LV[lane, self.ending_V].max()
        return end_L


def check(worst: int) -> None:
    """What stands where no id could be chosen raises `CadenzaError`."""
    if worst == NO_NUMBER:
        raise CadenzaError(NO_NUMBERS)
    if worst < 0:
        raise CadenzaError("The masks leave nothing to choose; widen the pitch range or take fewer rules.")
