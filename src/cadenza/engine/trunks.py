"""The trunks there are: what of each follows from the settings, and its weights and memory for the compiled loops."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from cadenza.engine import lstm, transformer
from cadenza.engine.kernels import floats
from cadenza.engine.matrices import Linear
from cadenza.engine.packing import Packing, joined
from cadenza.settings import HEAD_WIDTH, ModelSettings

SLOWEST = 10_000
"""Rows in which the slowest pair of columns turns by one radian."""
MLP_RATIO, MLP_MULTIPLE = 8 / 3, 64

Shape = tuple[int, ...]


class Trunk(ABC):
    """Reads rows, in lanes.

    `norm` names what stands before the heads, if anything; `plain` trunks have heads without layers that know no
    intervals; `bounded` ones see no further than their window by themselves. `read` is compiled and moves lanes on.
    """

    norm: ClassVar[str] = ""
    plain: ClassVar[bool] = False
    bounded: ClassVar[bool] = False
    read: ClassVar[Any]

    @abstractmethod
    def __init__(self, packing: Packing, settings: ModelSettings) -> None: ...

    @classmethod
    def inside(cls, settings: ModelSettings) -> int:
        """The width of what it reads."""
        return settings.width

    @classmethod
    @abstractmethod
    def shapes(cls, settings: ModelSettings) -> Iterator[tuple[str, Shape]]:
        """The names of its weights, without those of the embedding."""

    @classmethod
    @abstractmethod
    def widest(cls, settings: ModelSettings) -> int:
        """The most columns that enter or leave one of its matrices, or rows that it keeps in sight."""

    @classmethod
    @abstractmethod
    def lane_numbers(cls, settings: ModelSettings) -> int:
        """About how many numbers a lane remembers."""

    @abstractmethod
    def memory(self, lanes: int) -> Any:
        """That of so many blank lanes."""

    @abstractmethod
    def held(self, memory: Any, lanes: int) -> Any:
        """What a thread needs that moves so many of them on."""


class TransformerTrunk(Trunk):
    """The blocks, and keys and values of the rows in sight."""

    norm, bounded = "trunk.norm", True
    read = staticmethod(transformer.read)

    def __init__(self, packing: Packing, settings: ModelSettings) -> None:
        blocks = [f"trunk.blocks.{n}" for n in range(settings.layers)]
        self.blocks = transformer.Blocks(
            packing.stacked([f"{b}.query_key_value" for b in blocks], [f"{b}.norm_attention" for b in blocks]),
            packing.stacked([f"{b}.mix" for b in blocks]),
            packing.stacked([f"{b}.mlp.gate_up" for b in blocks], [f"{b}.norm_mlp" for b in blocks]),
            packing.stacked([f"{b}.mlp.down" for b in blocks]),
        )
        self.settings, self.small = settings, packing.small

    @staticmethod
    def hidden(settings: ModelSettings) -> int:
        """Columns inside the MLP."""
        return MLP_MULTIPLE * math.ceil(MLP_RATIO * settings.width / MLP_MULTIPLE)

    @classmethod
    def shapes(cls, settings: ModelSettings) -> Iterator[tuple[str, Shape]]:
        width, hidden = settings.width, cls.hidden(settings)
        for block in (f"trunk.blocks.{n}" for n in range(settings.layers)):
            yield from ((f"{block}.{norm}.weight", (width,)) for norm in ("norm_attention", "norm_mlp"))
            yield f"{block}.query_key_value.weight", (3 * width, width)
            yield f"{block}.mix.weight", (width, width)
            yield f"{block}.mlp.gate_up.weight", (2 * hidden, width)
            yield f"{block}.mlp.down.weight", (width, hidden)
        yield "trunk.norm.weight", (width,)

    @classmethod
    def widest(cls, settings: ModelSettings) -> int:
        return max(2 * cls.hidden(settings), settings.window)

    @classmethod
    def lane_numbers(cls, settings: ModelSettings) -> int:
        return 2 * settings.layers * settings.window * settings.width

    def memory(self, lanes: int) -> transformer.Memory:
        settings = self.settings
        heads = settings.width // HEAD_WIDTH
        return transformer.Memory.blank(settings.layers, lanes, heads, settings.window, self.small)

    def held(self, memory: transformer.Memory, lanes: int) -> transformer.Transformer:
        speed_C = float(SLOWEST) ** (-np.arange(0, HEAD_WIDTH, 2) / HEAD_WIDTH)
        turned = lanes, len(speed_C)
        sight = transformer.Sight(speed_C, floats(*turned), floats(*turned), floats(memory.key_scale.shape[-1]))
        return transformer.Transformer(self.blocks, memory, sight)


class LSTMTrunk(Trunk):
    """The layers, and the state of each lane."""

    read = staticmethod(lstm.read)

    def __init__(self, packing: Packing, settings: ModelSettings) -> None:
        first, *others = [self.layer(packing, n) for n in range(settings.layers)]
        self.layers = lstm.Layers(first, joined(others or [first], axis=0))
        self.settings = settings

    @staticmethod
    def layer(packing: Packing, n: int) -> Linear:
        of = {
            part: [packing.weights[f"trunk.layers.{part}_{kind}_l{n}"] for kind in ("ih", "hh")]
            for part in ("weight", "bias")
        }
        return packing.matrix(np.concatenate(of["weight"], axis=1), of["bias"][0] + of["bias"][1])

    @classmethod
    def shapes(cls, settings: ModelSettings) -> Iterator[tuple[str, Shape]]:
        width = settings.width
        for n in range(settings.layers):
            yield f"trunk.layers.weight_ih_l{n}", (4 * width, width if n else cls.inside(settings))
            yield f"trunk.layers.weight_hh_l{n}", (4 * width, width)
            yield from ((f"trunk.layers.bias_{part}_l{n}", (4 * width,)) for part in ("ih", "hh"))

    @classmethod
    def widest(cls, settings: ModelSettings) -> int:
        return 4 * settings.width

    @classmethod
    def lane_numbers(cls, settings: ModelSettings) -> int:
        return 2 * settings.layers * settings.width

    def memory(self, lanes: int) -> lstm.Memory:
        shape = self.settings.layers, lanes, self.settings.width
        return lstm.Memory(floats(*shape), floats(*shape))

    def held(self, memory: lstm.Memory, lanes: int) -> lstm.LSTM:  # noqa: ARG002
        return lstm.LSTM(self.layers, memory)


class StudyTrunk(LSTMTrunk):
    """An LSTM that reads vectors of half its width."""

    plain = True

    @classmethod
    def inside(cls, settings: ModelSettings) -> int:
        return settings.width // 2


TRUNKS: dict[str, type[Trunk]] = {"transformer": TransformerTrunk, "lstm": LSTMTrunk, "study": StudyTrunk}
