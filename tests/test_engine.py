"""The compiled loops against PyTorch, and what a reader refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from llvmlite import binding, ir
from numba import njit

from cadenza import engine
from cadenza.compiling import before_compiling
from cadenza.engine.kernels import exponentials, gelu
from cadenza.engine.matrices import Room, linear
from cadenza.engine.packing import Packing
from cadenza.engine.shapes import weight_shapes
from cadenza.engine.tiles import pair_products
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


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("inside", [7, 8, 100, 192, 5000])
def test_a_lane_is_the_same_bit_for_bit_whatever_is_beside_it(small: bool, inside: int) -> None:
    rng = np.random.default_rng(2)
    x_LK = rng.normal(size=(5, inside)).astype(np.float32)
    weight_OK, bias_O = rng.normal(size=(77, inside)).astype(np.float32), rng.normal(size=77).astype(np.float32)
    layer, room = Packing({}, small).matrix(weight_OK, bias_O), Room.for_lanes(5, inside, small)

    def product(rows: slice) -> Any:
        out_LO = np.full((len(x_LK[rows]), 77), np.nan, np.float32)
        linear(x_LK[rows], layer, 0, 0, room, out_LO)
        return out_LO

    whole = product(slice(0, 5))
    scale = np.sqrt(inside) * (0.05 if small else 1e-5)
    np.testing.assert_allclose(whole, x_LK.astype(float) @ weight_OK.T + bias_O, atol=scale)
    for begin, end in ((0, 1), (1, 2), (4, 5), (0, 2), (1, 4), (0, 5)):
        assert np.array_equal(product(slice(begin, end)), whole[begin:end])


def test_the_largest_sums_of_integers_fit() -> None:
    for inside in (2, 500, 3000):
        x_LK, weight_OK = np.ones((2, inside), np.float32), np.ones((1, inside), np.float32)
        layer, out_LO = Packing({}, True).matrix(weight_OK, np.zeros(1, np.float32)), np.zeros((2, 1), np.float32)
        linear(x_LK, layer, 0, 0, Room.for_lanes(2, inside, True), out_LO)
        np.testing.assert_allclose(out_LO, inside, rtol=1e-6)


@pytest.mark.parametrize("triple", ["x86_64-unknown-linux-gnu", "arm64-apple-darwin"])
@pytest.mark.parametrize("features", ["+avx512bw,+avx2", "+avx2", ""])
def test_pairs_are_multiplied_on_every_processor(triple: str, features: str) -> None:
    """Well formed for each, and in the one instruction where there is one."""
    module, pairs = ir.Module(), ir.VectorType(ir.IntType(16), 32)
    kind = ir.FunctionType(ir.VectorType(ir.IntType(32), 16), [pairs, pairs])
    function = ir.Function(module, kind, "products")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(
        pair_products(  # type: ignore[no-untyped-call]
            builder, (triple, "", features), *function.args
        )
    )
    binding.parse_assembly(str(module)).verify()
    assert ("pmadd" in str(module)) == triple.startswith("x86")


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


def test_what_is_compiled_is_told_once_and_before() -> None:
    told: list[int] = []

    @njit
    def doubled(number: Any) -> Any:
        return 2 * number

    before_compiling(lambda: told.append(len(doubled.signatures)))
    assert (doubled(1), doubled(2), doubled(1.5)) == (2, 4, 3.0)
    assert told == [0]
    before_compiling(lambda: told.append(-1))
    assert doubled(3) == 6
    assert told == [0]
