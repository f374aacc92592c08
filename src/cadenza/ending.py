"""How long pieces become, and where they end.

A piece is over by the model's own END, or it is led there: rows of the last `CLOSING` of the length that was asked for are
held back until it is reached, and END is written where the model found it likeliest. A representation without END is cut.

Shapes: L lanes, F fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.tokens import Rows

CLOSING = 0.2
"""The share of what is to be made in which its end is looked for."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Made(NamedTuple):
    """The next row of each lane, shape (L, F), its nats and what masks took of it, and what an end in its place would cost."""

    rows_LF: Rows
    nats_L: Floats
    removed_L: Floats
    end_L: Floats


class Step(NamedTuple):
    """A row of an item, its nats under the model as it is, and the probability that masks took, added up over its ids."""

    item: int
    row: Rows
    nats: float
    removed: float


@dataclass(frozen=True)
class Length:
    """No note begins at `steps` or after, and there are at most so many `notes`.

    `led` pieces are ended in their last stretch; one that is `held` has no end before, or none at all if it is not led.
    """

    steps: float = np.inf
    notes: float = np.inf
    led: bool = True
    held: bool = False


class Closing:
    """The rows of every item's last stretch, and where in it an end would cost the model least."""

    def __init__(self, length: Length, end_row: Rows, clock: int, notes: int) -> None:
        """What is begun with has moved the clock and has so many notes; the last stretch is one of what remains."""
        self.end_row, self.counts_notes = end_row, length.notes < np.inf
        self.from_step = clock + (1 - CLOSING) * (length.steps - clock)
        self.from_note = notes + (1 - CLOSING) * (length.notes - notes)
        self.held: dict[int, list[Step]] = {}
        self.best: dict[int, tuple[float, int]] = {}

    def near(self, clock_L: Integers, notes_L: Integers) -> Flags:
        """Whether the last stretch has begun, shape (L,)."""
        near_L = clock_L >= self.from_step
        return near_L | (notes_L >= self.from_note) if self.counts_notes else near_L

    def steps(self, items_L: Integers, made: Made, inside_L: Flags, near_L: Flags | None) -> Iterator[Step]:
        """The steps that are not held back; the others are."""
        near = [False] * len(items_L) if near_L is None else near_L.tolist()
        columns = items_L.tolist(), made.rows_LF, made.nats_L.tolist(), made.removed_L.tolist()
        for lane, (step, inside) in enumerate(zip(zip(*columns, strict=True), inside_L.tolist(), strict=True)):
            if near[lane]:
                held = self.held.setdefault(step[0], [])
                end = float(made.end_L[lane])
                self.best[step[0]] = min(self.best.get(step[0], (end, len(held))), (end, len(held)))
                held += [Step(*step)] if inside else []
            elif inside:
                yield Step(*step)

    def leave(self, items_L: Integers, ended_L: Flags) -> Iterator[Step]:
        """What was held back of items that are over: whole if they ended by themselves, else up to their best end."""
        for item, ended in zip(items_L.tolist(), ended_L.tolist(), strict=True):
            held = self.held.pop(item, [])
            nats, place = self.best.pop(item, (np.inf, 0))
            if ended or nats == np.inf:
                yield from held
            else:
                yield from held[:place]
                yield Step(item, self.end_row, nats, 0.0)
