"""The compiled loops against PyTorch, and what a reader refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cadenza import engine
from cadenza.engine.kernels import exponentials, gelu, linear
from cadenza.engine.shapes import weight_shapes
from cadenza.errors import CadenzaError
from cadenza.models import MODELS, Model, build
from cadenza.models.reader import ModelReader
from cadenza.notes import TimeBase
from cadenza.sample import Reader
from cadenza.settings import ModelSettings
from cadenza.tokens import Rows, Schema, representation
from voices import VoiceRows

SECONDS, BEATS = TimeBase("seconds", 100), TimeBase("beats", 24)
SCHEMAS: dict[str, Schema] = {
    "notes in seconds": representation("notes", SECONDS),
    "notes in beats": representation("notes", BEATS),
    "study": representation("study", SECONDS),
    "voices": VoiceRows(),
}
every_model = pytest.mark.parametrize("trunk", sorted(MODELS))
every_schema = pytest.mark.parametrize("kind", sorted(SCHEMAS))
WINDOW, ROWS, LANES = 9, 40, 3


def settings_of(trunk: str, head_layers: int = 0, **values: Any) -> ModelSettings:
    window = WINDOW if trunk == "transformer" else 0
    return ModelSettings.model_validate(
        {"trunk": trunk, "layers": 2, "width": 64, "head_layers": head_layers, "window": window} | values
    )


def fresh(settings: ModelSettings, schema: Schema) -> Model:
    """Weights large enough to make a difference, biases and gains among them."""
    model = build(settings, schema.sizes, schema.context_width, 0, schema.pitch_fields)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def weights_of(model: Model) -> dict[str, np.ndarray[Any, Any]]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def logits_along(reader: Reader, schema: Schema) -> list[np.ndarray[Any, Any]]:
    """Of every field, in every lane, along random rows; start ids stand among them."""
    rng = np.random.default_rng(0)
    lanes, found = np.arange(LANES), []
    rows_LF: Rows = np.tile(schema.start_row, (LANES, 1))
    reader.begin(LANES)
    for _ in range(ROWS):
        context_LC = rng.normal(size=(LANES, schema.context_width)).astype(np.float32)
        reader.read(lanes, rows_LF, context_LC)
        rows_LF = np.stack([rng.integers(0, size + 1, LANES) for size in schema.sizes], axis=1).astype(np.int16)
        found += [reader.logits(field, rows_LF).copy() for field in range(len(schema.sizes))]
    return found


@every_model
@every_schema
@pytest.mark.parametrize("head_layers", [0, 2])
def test_logits_are_those_of_pytorch(trunk: str, kind: str, head_layers: int) -> None:
    """Also past the window, with start ids, and in int8 nearly so."""
    schema, settings = SCHEMAS[kind], settings_of(trunk, head_layers)
    model = fresh(settings, schema)
    wanted = logits_along(ModelReader(model), schema)
    exact = logits_along(engine.reader(weights_of(model), settings, schema, small=False), schema)
    small = logits_along(engine.reader(weights_of(model), settings, schema, small=True), schema)
    one, same, near = (np.concatenate([each.ravel() for each in found]) for found in (wanted, exact, small))
    np.testing.assert_allclose(same, one, atol=1e-4)
    assert 0 < np.std(near - one) < 0.05 * np.std(one)


@every_model
@every_schema
@pytest.mark.parametrize("head_layers", [0, 2])
def test_shapes_are_those_of_pytorch(trunk: str, kind: str, head_layers: int) -> None:
    schema, settings = SCHEMAS[kind], settings_of(trunk, head_layers)
    model = fresh(settings, schema)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert weight_shapes(settings, schema.sizes, schema.context_width, schema.pitch_fields) == wanted


@pytest.mark.parametrize("width", [8, 20, 33])
def test_widths_need_not_be_multiples_of_eight(width: int) -> None:
    schema, settings = SCHEMAS["notes in seconds"], settings_of("lstm", width=width)
    model = fresh(settings, schema)
    wanted = logits_along(ModelReader(model), schema)
    found = logits_along(engine.reader(weights_of(model), settings, schema, small=False), schema)
    assert all(np.allclose(one, other, atol=1e-4) for one, other in zip(wanted, found, strict=True))


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
@pytest.mark.parametrize("inside", [7, 8, 100, 192])
def test_a_lane_is_the_same_bit_for_bit_whatever_is_beside_it(dtype: Any, inside: int) -> None:
    rng = np.random.default_rng(2)
    x_LK = rng.normal(size=(5, inside)).astype(np.float32)
    weight_KO = rng.integers(-127, 128, size=(inside, 77)).astype(dtype)
    scale_O, bias_O = rng.normal(size=(2, 77)).astype(np.float32)
    tile = np.zeros(8 * 77, np.float32)

    def product(rows: slice) -> Any:
        out_LO = np.full((len(x_LK[rows]), 77), np.nan, np.float32)
        linear(x_LK[rows], weight_KO, scale_O, bias_O, tile, out_LO)
        return out_LO

    whole = product(slice(0, 5))
    np.testing.assert_allclose(whole, scale_O * (x_LK @ weight_KO.astype(np.float32)) + bias_O, rtol=2e-4, atol=2e-2)
    for begin, end in ((0, 1), (1, 2), (4, 5), (0, 2), (1, 4), (0, 5)):
        assert np.array_equal(product(slice(begin, end)), whole[begin:end])


def test_elementary_functions() -> None:
    x = np.linspace(-80, 60, 10_001).astype(np.float32)
    power, bits = x.copy(), np.zeros(len(x), np.int32)
    exponentials(power, bits)
    np.testing.assert_allclose(power, np.exp(x.astype(np.float64)), rtol=3e-6)
    bell = np.linspace(-8, 8, 4_001).astype(np.float32)
    found = bell.copy()
    gelu(found, np.zeros_like(bell), bits)
    np.testing.assert_allclose(found, torch.nn.functional.gelu(torch.from_numpy(bell)).numpy(), atol=2e-6)


def test_infinite_logits_from_huge_weights_are_refused_and_not_played() -> None:
    schema, settings = SCHEMAS["notes in seconds"], settings_of("lstm")
    weights = weights_of(fresh(settings, schema))
    weights["heads.leave.0.weight"] = np.full_like(weights["heads.leave.0.weight"], np.inf)
    with pytest.raises(CadenzaError, match="not a number"):
        engine.reader(weights, settings, schema)
