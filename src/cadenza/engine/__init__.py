"""A model's weights become a reader: rows in, logits of the next row out, in compiled loops, without PyTorch."""

from __future__ import annotations

from cadenza.engine.compiled import CompiledReader
from cadenza.engine.packing import Weights
from cadenza.engine.shapes import check_weights
from cadenza.engine.trunks import TRUNKS
from cadenza.engine.window import Windowed
from cadenza.settings import ModelSettings
from cadenza.tokens import Schema


def reader(
    weights: Weights, settings: ModelSettings, schema: Schema, small: bool = True, threads: int = 1
) -> CompiledReader | Windowed:
    """A reader of these weights, in int8 if `small`, else in float32; weights that do not fit raise `ValueError`."""
    check_weights(weights, settings, schema)
    made = CompiledReader(weights, settings, schema.sizes, schema.pitch_fields, small, threads)
    bounded = TRUNKS[settings.trunk].bounded or not settings.window
    return made if bounded else Windowed(made, settings.window)
