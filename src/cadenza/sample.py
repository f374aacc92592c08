"""A model improvises: rows, one at a time, in lanes.

Music is known here only through the grammar's masks. Item k of a seed is the same piece whatever other items there are:
each has its own random stream, and no lane of a reader depends on another.

A piece is over by the model's own END, or it is led there: over the last `CLOSING` of the length that was asked for, END
becomes likelier row by row, so that the first moment is taken which the model itself finds fit for an end.

Shapes: L lanes, F fields, V ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cadenza.engine.choice import NO_NUMBER, NO_NUMBERS, choose_ids
from cadenza.errors import CadenzaError
from cadenza.settings import SampleSettings, nearest
from cadenza.tokens import Grammar, Representation, Rows
from cadenza.tokens.contract import Mask

DRAWN = 256
"""Rows for which numbers are drawn at once."""
CLOSING = 0.15
"""The share of a piece in which it is led to its end."""
LEANING = 16.0
"""How many nats likelier END has become when the length is reached."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Step(NamedTuple):
    """A row of an item, its nats under the model as it is, and the probability that masks took, added up over its ids."""

    item: int
    row: Rows
    nats: float
    removed: float


@dataclass(frozen=True)
class Length:
    """No note begins at `steps` or after, and there are at most so many `notes`.

    `led` pieces are led to their end; one that is `held` has none before.
    """

    steps: float = np.inf
    notes: float = np.inf
    led: bool = True
    held: bool = False

    def nearness(self, clock_L: Integers, notes_L: Integers) -> Floats:
        """How near the end is: below 0 before the last stretch of a piece, 1 at its length; shape (L,)."""
        done_L = clock_L / self.steps
        if self.notes < np.inf:
            done_L = np.maximum(done_L, notes_L / self.notes)
        return (done_L - (1 - CLOSING)) / CLOSING


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
    for _ in range(chooser.settings.rows - len(prompt)):
        nearness_L = length.nearness(clock_L, notes_L) if length.led else None
        rows_LF, nats_L, removed_L = chooser.rows(place, draws.next(lanes), nearness_L)
        clock_L, notes_L = clock_L + tokens.steps(rows_LF), notes_L + tokens.begins_note(rows_LF)
        inside_L = (clock_L < length.steps) & (notes_L <= length.notes)
        made = items[lanes].tolist(), rows_LF, nats_L.tolist(), removed_L.tolist()
        yield from (Step(*step) for step, inside in zip(zip(*made, strict=True), inside_L, strict=True) if inside)
        stay_L = inside_L & ~grammar.ends(rows_LF)
        place = grammar.advance(place, rows_LF)
        if not stay_L.all():
            lanes, rows_LF, place = lanes[stay_L], rows_LF[stay_L], kept(place, stay_L)
            clock_L, notes_L = clock_L[stay_L], notes_L[stay_L]
        if not len(lanes):
            return
        reader.read(lanes, rows_LF, tokens.context_at(clock_L))


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
    def controls(self) -> list[tuple[float, int, float, float]]:
        """Temperature, top-k, top-p and min-p of every field."""
        return [self.settings.of(field) for field in self.representation.fields]

    @cached_property
    def blank_1F(self) -> Rows:  # noqa: N802
        return self.representation.start_row[None]

    @cached_property
    def ending_V(self) -> Flags:  # noqa: N802
        """The ids of the first field that end a piece, shape (V,)."""
        rows_VF = np.repeat(self.blank_1F, self.representation.sizes[0], axis=0)
        rows_VF[:, 0] = np.arange(len(rows_VF))
        return self.grammar.ends(rows_VF)

    def rows(self, place: Any, draws_LF: Floats, nearness_L: Floats | None) -> tuple[Rows, Floats, Floats]:
        """The next row of each lane, shape (L, F), its nats and what the masks took of it, shape (L,)."""
        rows_LF = np.repeat(self.blank_1F, len(draws_LF), axis=0)
        nats_L, removed_L = np.zeros((2, len(rows_LF)))
        open_L = np.ones(len(rows_LF), dtype=bool)
        for f, controls in enumerate(self.controls):
            logits_LV, allowed_LV = self.reader.logits(f, rows_LF), self.grammar.allowed(place, f, rows_LF)
            leaning_LV = logits_LV
            if f == 0 and nearness_L is not None:
                leaning_LV, allowed_LV = self.lead(logits_LV, allowed_LV, nearness_L)
            ids_L, chosen_L, taken_L, worst = choose_ids(leaning_LV, allowed_LV, draws_LF[:, f], *controls)
            if worst < 0:
                check(ids_L, open_L)
            if leaning_LV is not logits_LV:
                chosen_L = nats_of(logits_LV, ids_L)
            if f == 0:
                rows_LF[:, 0], nats_L, removed_L = ids_L, chosen_L, taken_L
                open_L = ~self.grammar.last_field(rows_LF)
                all_open = bool(open_L.all())
            elif all_open:
                rows_LF[:, f] = ids_L
                nats_L, removed_L = nats_L + chosen_L, removed_L + taken_L
            else:
                rows_LF[open_L, f] = ids_L[open_L]
                nats_L, removed_L = nats_L + open_L * chosen_L, removed_L + open_L * taken_L
        return rows_LF, nats_L, removed_L

    def lead(
        self, logits_LV: npt.NDArray[np.float32], allowed_LV: Mask, nearness_L: Floats
    ) -> tuple[npt.NDArray[np.float32], Mask]:
        """Logits and mask of the first field, changed where a piece is to be led to its end or held from it."""
        near = nearness_L.max() > 0
        if self.length.held:
            allowed_LV = allowed_LV & ~(self.ending_V & (nearness_L < 0)[:, None] if near else self.ending_V)
        if not near:
            return logits_LV, allowed_LV
        lean_L = LEANING * np.clip(nearness_L, 0, 1).astype(np.float32)
        return logits_LV + self.ending_V * lean_L[:, None], allowed_LV


def nats_of(logits_LV: npt.NDArray[np.float32], ids_L: Integers) -> Floats:
    """What each lane's id costs under these logits, shape (L,)."""
    logits_LV = logits_LV.astype(np.float64)
    return np.logaddexp.reduce(logits_LV, axis=1) - logits_LV[np.arange(len(ids_L)), ids_L]


def check(ids_L: Integers, open_L: Flags) -> None:
    """What stands where no id could be chosen raises `CadenzaError`."""
    worst = int(ids_L[open_L].min(initial=0))
    if worst == NO_NUMBER:
        raise CadenzaError(NO_NUMBERS)
    if worst < 0:
        raise CadenzaError("The masks leave nothing to choose; widen the pitch range or take fewer rules.")
