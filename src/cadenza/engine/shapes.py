"""The names and shapes of a model's weights, so that a file can be checked before any loop runs over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from cadenza.engine.trunks import TRUNKS, Shape
from cadenza.settings import ModelSettings
from cadenza.tokens import Schema


def check_weights(weights: Mapping[str, npt.NDArray[Any]], settings: ModelSettings, tokens: Schema) -> None:
    """Weights that are not those of such a network raise `ValueError`."""
    wanted = weight_shapes(settings, tokens.sizes, tokens.context_width, tokens.pitch_fields)
    if differing := sorted(wanted.keys() ^ weights.keys()):
        raise ValueError(f"{differing[0]} is {'missing' if differing[0] in wanted else 'unknown'}")
    for name, shape in wanted.items():
        if weights[name].shape != shape or weights[name].dtype != np.float32:
            raise ValueError(f"{name} is {weights[name].dtype} of shape {weights[name].shape}, not float32 of {shape}")


def weight_shapes(
    settings: ModelSettings, sizes: Sequence[int], context_width: int, pitch_fields: Sequence[int]
) -> dict[str, Shape]:
    """As `models.build` makes them of the same arguments."""
    trunk = TRUNKS[settings.trunk]
    pitches, inside = () if trunk.plain else tuple(pitch_fields), trunk.inside(settings)
    read = [*sizes, *(2 * sizes[f] - 1 for f in pitches)]  # a start id each, and "no interval"
    found: dict[str, Shape] = {f"trunk.embed.fields.{g}.weight": (size + 1, inside) for g, size in enumerate(read)}
    if context_width:
        found["trunk.embed.context.weight"] = inside, context_width
    found |= dict(trunk.shapes(settings))
    found |= dict(head_shapes(settings, sizes, pitches))
    return found


def head_shapes(settings: ModelSettings, sizes: Sequence[int], pitches: Sequence[int]) -> Iterator[tuple[str, Shape]]:
    width, last = settings.width, len(sizes) - 1
    linear = {f"heads.leave.{f}": size for f, size in enumerate(sizes)}
    linear |= {f"heads.melodic.{f}": 2 * sizes[f] - 1 for f in pitches}
    linear |= {f"heads.harmonic.{g}-{f}": 2 * sizes[f] - 1 for g, f in combinations(pitches, 2)}
    for g in range(last):
        yield f"heads.given.{g}.weight", (sizes[g] + 1, width)
    if not TRUNKS[settings.trunk].plain:
        linear |= {f"heads.enter.{f}": width for f in range(len(sizes))}
        yield from ((f"heads.moved.{f}.weight", (2 * sizes[f], width)) for f in pitches if f < last)
        for name in (f"heads.deeper.{f}.{n}" for f in range(len(sizes)) for n in range(settings.head_layers)):
            yield f"{name}.norm.weight", (width,)
            yield f"{name}.mlp.gate_up.weight", (2 * width, width)
            yield f"{name}.mlp.down.weight", (width, width)
    for name, columns in linear.items():
        yield f"{name}.weight", (columns, width)
        yield f"{name}.bias", (columns,)
