"""A window over a reader that has none: for every row, the last rows are read anew from blank lanes."""

from __future__ import annotations

import numpy as np

from cadenza.engine.choice import Choice
from cadenza.engine.compiled import CompiledReader, Rows
from cadenza.engine.embedding import Integers
from cadenza.engine.kernels import Floats


class Windowed:
    """Shapes: L lanes that read, F fields, C context columns, V ids."""

    def __init__(self, reader: CompiledReader, window: int) -> None:
        self.reader, self.window, self.lanes = reader, window, reader.lanes

    def begin(self, lanes: int) -> None:
        self.count = lanes
        self.read_so_far: list[tuple[Integers, Rows, Floats]] = []

    def read(self, lanes_L: Integers, rows_LF: Rows, context_LC: Floats) -> None:
        self.read_so_far = [*self.read_so_far, (lanes_L, rows_LF, context_LC)][-self.window :]
        self.up_to_date = False

    def logits(self, field: int, rows_LF: Rows) -> Floats:
        self.read_anew()
        return self.reader.logits(field, rows_LF)

    def choose(self, fields: range, rows_LF: Rows, choice: Choice) -> int:
        self.read_anew()
        return self.reader.choose(fields, rows_LF, choice)

    def read_anew(self) -> None:
        """The rows in the window, from blank lanes, in those lanes that read last; once for each."""
        if self.up_to_date:
            return
        self.reader.begin(self.count)
        for lanes, rows, context in self.read_so_far:
            still = np.isin(lanes, self.read_so_far[-1][0])
            self.reader.read(lanes[still], rows[still], context[still])
        self.up_to_date = True
