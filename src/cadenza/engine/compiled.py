"""A model in compiled loops: it reads a row in each of its lanes and says how likely the fields of the next are.

Every lane is computed by itself, so what stands in one does not depend on which others there are, nor on threads.
PyTorch is not needed. Shapes: A lanes that read, L lanes in all, F fields, D width, C context columns, V ids of a field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cadenza.engine import heads, lstm, transformer
from cadenza.engine.heads import FieldWeights, Reading
from cadenza.engine.kernels import TILE, Floats, Linear, linear
from cadenza.engine.packing import Packing, Tables, Weights, side_by_side, stack
from cadenza.settings import HEAD_WIDTH, ModelSettings

LANES = 64
FEW = 8
"""Lanes for which one thread is enough."""
SLOWEST = 10_000

Integers = npt.NDArray[np.int64]
Rows = npt.NDArray[np.integer[Any]]


class Trunk(Protocol):
    """Moves lanes on by a row; `inside` is the width of what it reads."""

    inside: int

    def __init__(self, packing: Packing, settings: ModelSettings) -> None: ...

    def begin(self, lanes: int) -> None: ...

    def room(self, lanes: int) -> Any:
        """Where one thread computes."""

    def read(self, room: Any, lanes_A: Integers, x_AI: Floats, hidden_AD: Floats) -> None: ...


class CompiledTransformer:
    """The blocks and what each lane has in sight."""

    def __init__(self, packing: Packing, settings: ModelSettings) -> None:
        blocks = [f"trunk.blocks.{n}" for n in range(settings.layers)]
        self.blocks = transformer.Blocks(
            packing.stacked([f"{b}.query_key_value" for b in blocks], [f"{b}.norm_attention" for b in blocks]),
            packing.stacked([f"{b}.mix" for b in blocks]),
            packing.stacked([f"{b}.mlp.gate_up" for b in blocks], [f"{b}.norm_mlp" for b in blocks]),
            packing.stacked([f"{b}.mlp.down" for b in blocks]),
        )
        self.settings = settings
        self.speed_c = float(SLOWEST) ** (-np.arange(0, HEAD_WIDTH, 2) / HEAD_WIDTH)
        self.inside = settings.width

    def begin(self, lanes: int) -> None:
        self.memory = transformer.Memory.blank(self.settings.layers, lanes, self.settings.window, self.settings.width)

    def room(self, lanes: int) -> transformer.Room:
        return transformer.Room.for_lanes(self.blocks, lanes, self.settings.window)

    def read(self, room: Any, lanes_A: Integers, x_AI: Floats, hidden_AD: Floats) -> None:
        transformer.read_row(self.blocks, self.memory, room, lanes_A, self.speed_c, x_AI)
        hidden_AD[:] = x_AI


class CompiledLSTM:
    """The layers and the state of each lane."""

    def __init__(self, packing: Packing, settings: ModelSettings) -> None:
        layers = [self.layer(packing, n) for n in range(settings.layers)]
        self.layers = lstm.Layers(layers[0], stack(layers[1:]) if layers[1:] else packing.none())
        self.settings = settings
        self.inside = len(layers[0].weight) - settings.width

    @staticmethod
    def layer(packing: Packing, n: int) -> Linear:
        of = {
            part: [packing.weights[f"trunk.layers.{part}_{kind}_l{n}"] for kind in ("ih", "hh")]
            for part in ("weight", "bias")
        }
        return packing.matrix(np.concatenate(of["weight"], axis=1), of["bias"][0] + of["bias"][1])

    def begin(self, lanes: int) -> None:
        shape = self.settings.layers, lanes, self.settings.width
        self.memory = lstm.Memory(np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    def room(self, lanes: int) -> lstm.Room:
        return lstm.Room.for_lanes(self.inside, self.settings.width, lanes)

    def read(self, room: Any, lanes_A: Integers, x_AI: Floats, hidden_AD: Floats) -> None:
        lstm.read_row(self.layers, self.memory, room, lanes_A, x_AI, hidden_AD)


TRUNKS: dict[str, type[Trunk]] = {"transformer": CompiledTransformer, "lstm": CompiledLSTM, "study": CompiledLSTM}


class CompiledReader:
    """The weights of a model, of the names and shapes that `check_weights` asks for."""

    lanes = LANES

    def __init__(
        self,
        weights: Weights,
        settings: ModelSettings,
        sizes: Sequence[int],
        pitch_fields: Sequence[int],
        small: bool,
        threads: int = 1,
    ) -> None:
        packing = Packing(weights, small)
        self.sizes, self.width, fields = tuple(sizes), settings.width, range(len(sizes))
        self.trunk: Trunk = TRUNKS[settings.trunk](packing, settings)
        plain = settings.trunk == "study"
        pitches = () if plain else tuple(pitch_fields)
        read = [weights[f"trunk.embed.fields.{g}.weight"] for g in range(len(sizes) + len(pitches))]
        self.read_tables = Tables.of(read, self.trunk.inside)
        self.context_CD = np.ascontiguousarray(
            weights.get("trunk.embed.context.weight", np.zeros((self.trunk.inside, 0), np.float32)).T
        )
        given = [weights[f"heads.given.{g}.weight"] for g in fields[:-1]]
        moved = [weights[f"heads.moved.{f}.weight"] for f in pitches if f < len(sizes) - 1]
        self.head_tables = Tables.of([*given, *moved], settings.width)
        self.enter = None
        if not plain:
            entering = "trunk.norm" if settings.trunk == "transformer" else ""
            self.enter = side_by_side([packing.linear(f"heads.enter.{f}", entering) for f in fields])
        self.fields = [field_weights(packing, f, pitches, settings.head_layers, plain) for f in fields]
        place = [pitches.index(f) if f in pitches else -1 for f in fields]
        self.reading = Reading(np.array(sizes), np.array(place), self.read_tables.begins, self.head_tables.begins)
        self.columns = max(len(weights.leave.scale) for weights in self.fields)
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def begin(self, lanes: int) -> None:
        """Blank lanes."""
        self.trunk.begin(lanes)
        self.rooms = [
            (self.trunk.room(lanes), heads.HeadRoom.for_lanes(self.width, self.columns, lanes))
            for _ in range(self.threads)
        ]
        self.tiles = [
            np.zeros(TILE * max(len(self.fields) * self.width, self.columns), np.float32) for _ in range(self.threads)
        ]
        self.before_LF = np.tile(np.array(self.sizes), (lanes, 1))

    def read(self, lanes_A: Integers, rows_AF: Rows, context_AC: Floats) -> None:
        count = len(lanes_A)
        self.known_AF = np.ascontiguousarray(rows_AF, dtype=np.int64)
        before_AF = self.before_LF[lanes_A]
        self.before_LF[lanes_A] = self.known_AF
        self.entered_AO = np.zeros((count, len(self.enter.scale) if self.enter else self.width), np.float32)

        def part(thread: int, some: slice) -> None:
            room = self.rooms[thread][0]
            x = np.zeros((some.stop - some.start, self.trunk.inside), np.float32)
            hidden = np.zeros((len(x), self.width), np.float32)
            heads.embed(
                self.read_tables.rows,
                self.reading,
                self.known_AF[some],
                before_AF[some],
                self.context_CD,
                context_AC[some],
                x,
            )
            self.trunk.read(room, lanes_A[some], x, hidden)
            if self.enter:
                linear(hidden, *self.enter, self.tiles[thread], self.entered_AO[some])
            else:
                self.entered_AO[some] = hidden

        self.in_parts(count, part)

    def logits(self, field: int, rows_AF: Rows) -> Floats:
        """Of a field after what was read last, given the fields before it in the rows; shape (A, V)."""
        next_AF = np.ascontiguousarray(rows_AF, dtype=np.int64)
        logits_AV = np.empty((len(next_AF), self.sizes[field]), np.float32)
        first = field * self.width if self.enter else 0

        def part(thread: int, some: slice) -> None:
            heads.field_logits(
                self.fields[field], self.head_tables.rows, self.reading, field, self.known_AF[some], next_AF[some],
                self.rooms[thread][1], self.entered_AO[some], first, logits_AV[some],
            )  # fmt: skip

        self.in_parts(len(next_AF), part)
        return logits_AV

    def in_parts(self, count: int, part: Callable[[int, slice], None]) -> None:
        """The lanes shared among the threads."""
        if self.pool is None or count <= FEW:
            part(0, slice(0, count))
            return
        bounds = np.linspace(0, count, self.threads + 1).round().astype(int).tolist()
        slices = [slice(*pair) for pair in pairwise(bounds)]
        list(self.pool.map(part, range(len(slices)), slices))


def field_weights(packing: Packing, f: int, pitches: Sequence[int], head_layers: int, plain: bool) -> FieldWeights:
    kinds = [f"heads.melodic.{f}", *(f"heads.harmonic.{g}-{f}" for g in pitches if g < f)] if f in pitches else []
    names = [f"heads.deeper.{f}.{n}" for n in range(0 if plain else head_layers)]
    return FieldWeights(
        packing.stacked([f"{name}.mlp.gate_up" for name in names], [f"{name}.norm" for name in names]),
        packing.stacked([f"{name}.mlp.down" for name in names]),
        side_by_side([packing.linear(name) for name in (f"heads.leave.{f}", *kinds)]),
        plain,
    )
