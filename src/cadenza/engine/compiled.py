"""A model in compiled loops: it reads a row in each of its lanes and says how likely the fields of the next are.

Every lane is computed by itself, so what stands in one does not depend on which others there are, nor on threads.
PyTorch is not needed. Shapes: A lanes that read, L lanes in all, F fields, C context columns, V ids of a field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from cadenza.engine.choice import Choice
from cadenza.engine.embedding import Embedding, Integers, Last
from cadenza.engine.heads import Heads, field_logits
from cadenza.engine.held import hold
from cadenza.engine.kernels import Floats, floats
from cadenza.engine.matrices import Room
from cadenza.engine.packing import Packing, Tables, Weights, joined
from cadenza.engine.rows import choose_fields
from cadenza.engine.trunks import TRUNKS, Trunk
from cadenza.settings import ModelSettings

LANES, LANES_BYTES = 64, 2**29
"""The most lanes, and what all of them may remember."""
FEW = 8
"""Lanes for which one thread is enough."""

Rows = npt.NDArray[np.integer[Any]]


class CompiledReader:
    """The weights of a model, of the names and shapes that `check_weights` asks for."""

    def __init__(
        self,
        weights: Weights,
        settings: ModelSettings,
        sizes: Sequence[int],
        pitch_fields: Sequence[int],
        small: bool,
        threads: int = 1,
    ) -> None:
        packing, kind = Packing(weights, small), TRUNKS[settings.trunk]
        pitches = () if kind.plain else tuple(pitch_fields)
        self.sizes, self.width, self.small = tuple(sizes), settings.width, small
        self.trunk: Trunk = kind(packing, settings)
        self.embedding = embedding(weights, sizes, pitches, kind.inside(settings))
        self.heads = heads(packing, settings, sizes, pitches)
        self.widest = max(kind.widest(settings), 2 * settings.width, int(self.heads.columns.max()))
        self.lanes = min(max(LANES_BYTES // ((1 if small else 4) * kind.lane_numbers(settings)), 1), LANES)
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def begin(self, lanes: int) -> None:
        """Blank lanes."""
        before_LF = np.tile(np.array(self.sizes), (lanes, 1))
        memory, fields = self.trunk.memory(lanes), len(self.sizes)
        self.held = [
            hold(
                self.embedding,
                self.trunk.held(memory, lanes),
                self.heads,
                Room.for_lanes(lanes, self.widest, self.small),
                Last(np.zeros((lanes, fields), np.int64), floats(lanes, self.width), before_LF),
            )
            for _ in range(self.threads)
        ]

    def read(self, lanes_A: Integers, rows_AF: Rows, context_AC: Floats) -> None:
        rows_AF = np.ascontiguousarray(rows_AF, np.int16)
        self.in_parts(
            len(lanes_A), lambda held, some: self.trunk.read(held, lanes_A[some], rows_AF[some], context_AC[some])
        )

    def logits(self, field: int, rows_AF: Rows) -> Floats:
        """Of a field after what was read last, given the fields before it in the rows; shape (A, V)."""
        rows_AF = np.ascontiguousarray(rows_AF, np.int16)
        logits_AV = np.empty((len(rows_AF), self.sizes[field]), np.float32)
        self.in_parts(len(rows_AF), lambda held, some: field_logits(held, field, rows_AF[some], logits_AV[some]))
        return logits_AV

    def choose(self, fields: range, rows_AF: Rows, choice: Choice) -> int:
        """The fields of the rows that are open, chosen in their order and written into `rows_AF`; the least id."""
        return min(
            self.in_parts(
                len(rows_AF),
                lambda held, some: choose_fields(held, fields.start, fields.stop, rows_AF[some], *choice.of(some)),
            )
        )

    def in_parts(self, count: int, part: Callable[[Any, slice], Any]) -> list[Any]:
        """What comes of the lanes, shared among the threads."""
        if self.pool is None or count <= FEW:
            return [part(self.held[0], slice(0, count))]
        parts = min(self.threads, -(-count // FEW))
        bounds = np.linspace(0, count, parts + 1).round().astype(int).tolist()
        return list(self.pool.map(part, self.held[:parts], [slice(*pair) for pair in pairwise(bounds)]))


def embedding(weights: Weights, sizes: Sequence[int], pitches: Sequence[int], inside: int) -> Embedding:
    tables = Tables.of([weights[f"trunk.embed.fields.{g}.weight"] for g in range(len(sizes) + len(pitches))], inside)
    context_IC = weights.get("trunk.embed.context.weight", floats(inside, 0))
    place = [pitches.index(f) if f in pitches else -1 for f in range(len(sizes))]
    return Embedding(*tables, np.ascontiguousarray(context_IC.T), np.array(sizes), np.array(place))


def heads(packing: Packing, settings: ModelSettings, sizes: Sequence[int], pitches: Sequence[int]) -> Heads:
    fields, trunk = range(len(sizes)), TRUNKS[settings.trunk]
    layers = 0 if trunk.plain else settings.head_layers
    deeper = [f"heads.deeper.{f}.{n}" for f in fields for n in range(layers)]
    enter = [] if trunk.plain else [f"heads.enter.{f}" for f in fields]
    leave = [packing.beside(leaving(f, pitches)) for f in fields]
    given = [packing.weights[f"heads.given.{g}.weight"] for g in fields[:-1]]
    moved = [packing.weights[f"heads.moved.{f}.weight"] for f in pitches if f < len(sizes) - 1]
    tables = Tables.of([*given, *moved], settings.width)
    return Heads(
        enter=packing.stacked(enter, [trunk.norm] * len(enter)),
        gate_up=packing.stacked([f"{name}.mlp.gate_up" for name in deeper], [f"{name}.norm" for name in deeper]),
        down=packing.stacked([f"{name}.mlp.down" for name in deeper]),
        leave=joined(leave, axis=1),
        blocks=np.cumsum([0, *(each.weight.shape[1] for each in leave)]),
        columns=np.array([sizes[f] + (len(leaving(f, pitches)) - 1) * (2 * sizes[f] - 1) for f in fields]),
        tables=tables.rows,
        begins=tables.begins,
        layers=layers,
        plain=trunk.plain,
    )


def leaving(f: int, pitches: Sequence[int]) -> list[str]:
    """What makes the logits of a field: of its ids, then of each kind of interval."""
    kinds = [f"heads.melodic.{f}", *(f"heads.harmonic.{g}-{f}" for g in pitches if g < f)] if f in pitches else []
    return [f"heads.leave.{f}", *kinds]
