"""A model improvises: rows, one at a time, in lanes.

Music is known here only through the grammar's masks. Item k of a seed is the same piece whatever the number of items:
each has its own random stream, and no lane of a reader depends on another.

Shapes: L lanes, F fields, V ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cadenza.engine.choice import NO_NUMBER, NO_NUMBERS, choose_ids
from cadenza.errors import CadenzaError
from cadenza.settings import SampleSettings, nearest
from cadenza.tokens import Grammar, Representation, Rows

DRAWN = 256
"""Rows for which numbers are drawn at once."""

Integers = npt.NDArray[np.int64]


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
    count: int, seed: int, steps: int, prompt: Rows,
) -> Iterator[tuple[int, Rows]]:  # fmt: skip
    """Yield (item, row) until every item has ended, its clock has reached `steps` or it has `settings.rows` rows.

    `prompt` holds rows without END, shape (P, F); it is read, not yielded. A model whose logits are not numbers, masks
    that leave nothing, or a temperature for a field that there is not, raise `CadenzaError`.
    """
    check_fields(settings, representation.fields)
    chooser = Chooser(reader, representation, grammar, settings)
    for first in range(0, count, reader.lanes):
        items = np.arange(first, min(first + reader.lanes, count))
        yield from improvise(chooser, items, seed, steps, prompt)


def check_fields(settings: SampleSettings, fields: Sequence[str]) -> None:
    """A temperature of an unknown field raises `CadenzaError`."""
    for field in settings.by_field:
        if field not in fields:
            raise CadenzaError(
                f"There is no field {field!r} to give a temperature{nearest(field, fields)}; this model's fields: {', '.join(fields)}."
            )


def improvise(chooser: Chooser, items: Integers, seed: int, steps: int, prompt: Rows) -> Iterator[tuple[int, Rows]]:
    """The pieces of these items, all moved on together; who is done leaves."""
    reader, tokens, grammar = chooser.reader, chooser.representation, chooser.grammar
    if len(prompt) >= chooser.settings.rows:
        return
    draws = Draws([np.random.default_rng([seed, item]) for item in items.tolist()], len(tokens.sizes))
    lanes, place, clock_L = np.arange(len(items)), grammar.begin(len(items)), np.zeros(len(items), np.int64)
    reader.begin(len(items))
    rows_LF = np.tile(tokens.start_row, (len(items), 1))
    reader.read(lanes, rows_LF, tokens.context_at(clock_L))
    for row in prompt:
        rows_LF = np.tile(row, (len(items), 1))
        clock_L, place = clock_L + tokens.steps(rows_LF), grammar.advance(place, rows_LF)
        reader.read(lanes, rows_LF, tokens.context_at(clock_L))
    for _ in range(chooser.settings.rows - len(prompt)):
        rows_LF = chooser.rows(place, draws.next(lanes))
        clock_L = clock_L + tokens.steps(rows_LF)
        inside_L = clock_L < steps
        yield from zip(items[lanes[inside_L]].tolist(), rows_LF[inside_L], strict=True)
        stay_L = inside_L & ~grammar.ends(rows_LF)
        place = grammar.advance(place, rows_LF)
        if not stay_L.all():
            lanes, rows_LF, clock_L, place = lanes[stay_L], rows_LF[stay_L], clock_L[stay_L], kept(place, stay_L)
        if not len(lanes):
            return
        reader.read(lanes, rows_LF, tokens.context_at(clock_L))


def kept(place: Any, stay_L: npt.NDArray[np.bool_]) -> Any:
    """The places of some lanes; a place is an array with an entry for each lane, or a tuple of places."""
    if isinstance(place, np.ndarray):
        return place[stay_L]
    parts = [kept(part, stay_L) for part in place]
    return type(place)(*parts) if hasattr(place, "_fields") else tuple(parts)


class Draws:
    """Numbers from the stream of each item, uniform in [0, 1): as many as fields for each row."""

    def __init__(self, streams: Sequence[np.random.Generator], fields: int) -> None:
        self.streams, self.fields, self.row = streams, fields, 0

    def next(self, lanes: Integers) -> npt.NDArray[np.float64]:
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

    def rows(self, place: Any, draws_LF: npt.NDArray[np.float64]) -> Rows:
        """The next row of each lane; shape (L, F)."""
        settings, grammar = self.settings, self.grammar
        rows_LF = np.tile(self.representation.start_row, (len(draws_LF), 1))
        open_L = np.ones(len(rows_LF), dtype=bool)
        for f, field in enumerate(self.representation.fields):
            logits_LV, allowed_LV = self.reader.logits(f, rows_LF), grammar.allowed(place, f, rows_LF)
            chosen = choose_ids(
                logits_LV, allowed_LV, draws_LF[:, f],
                settings.temperature_of(field), settings.top_k, settings.top_p, settings.min_p,
            )  # fmt: skip
            check(chosen.ids, open_L)
            rows_LF[open_L, f] = chosen.ids[open_L]
            open_L &= ~grammar.last_field(rows_LF)
        return rows_LF


def check(ids_L: Integers, open_L: npt.NDArray[np.bool_]) -> None:
    """What stands where no id could be chosen raises `CadenzaError`."""
    worst = int(ids_L[open_L].min(initial=0))
    if worst == NO_NUMBER:
        raise CadenzaError(NO_NUMBERS)
    if worst < 0:
        raise CadenzaError("The masks leave nothing to choose; widen the pitch range or take fewer rules.")
