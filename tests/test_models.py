"""The model contract: properties that every trunk must have, on every table shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cadenza.errors import CadenzaError
from cadenza.models import MODELS, Model, build, lstm
from cadenza.models.contract import Dropout, from_here, intervals
from cadenza.models.transformer import attend
from cadenza.presets import build as build_settings
from cadenza.settings import ModelSettings, validate

SHAPES = {
    "rows": ((66, 128, 64, 32), 0),
    "rows with context": ((66, 128, 64, 32), 6),
    "flat": ((50,), 0),
    "flat with context": ((50,), 3),
    "voices with context": ((40, 40, 40, 40), 5),
}
PITCHES = {
    "rows": (1,),
    "rows with context": (1,),
    "flat": (),
    "flat with context": (0,),
    "voices with context": (0, 1, 2, 3),
}
every_model = pytest.mark.parametrize("trunk", sorted(MODELS))
every_shape = pytest.mark.parametrize("shape", sorted(SHAPES))


def make(trunk: str, shape: str, seed: int = 0) -> Model:
    sizes, context = SHAPES[shape]
    settings = ModelSettings.model_validate(
        {"trunk": trunk, "layers": 2, "head_layers": 1, "width": 32, "dropout": 0.3, "window": 24}
    )
    return build(settings, sizes, context, seed, PITCHES[shape]).eval()


def rows(shape: str, pieces: int, length: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    sizes, context = SHAPES[shape]
    rng = np.random.default_rng(seed)
    ids = torch.from_numpy(rng.integers(0, np.array(sizes) + 1, (pieces, length, len(sizes))))
    return ids, torch.from_numpy(rng.standard_normal((pieces, length, context)).astype(np.float32))


def size_of(state: object) -> int:
    if isinstance(state, Tensor):
        return state.numel()
    assert isinstance(state, tuple | list | dict)
    return sum(size_of(part) for part in (state.values() if isinstance(state, dict) else state))


@every_model
@every_shape
def test_stepping_gives_the_logits_of_one_full_pass(trunk: str, shape: str) -> None:
    model, (ids, context) = make(trunk, shape), rows(shape, 3, 200)
    with torch.inference_mode():
        whole, _ = model(ids, context)
        state, stepped = None, []
        for t in range(ids.shape[1]):
            hidden, state = model(ids[:, t : t + 1], context[:, t : t + 1], state)
            stepped.append(hidden)
        for field in range(len(model.sizes)):
            targets = ids.clamp(max=min(model.sizes) - 1)
            one = model.heads.field(field, whole, ids, targets)
            other = model.heads.field(field, torch.cat(stepped, 1), ids, targets)
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@every_model
@every_shape
def test_a_step_never_sees_the_future(trunk: str, shape: str) -> None:
    model, (ids, context) = make(trunk, shape), rows(shape, 2, 60)
    changed, changed_context = rows(shape, 2, 60, seed=2)
    ids_after, context_after = ids.clone(), context.clone()
    ids_after[:, 30:], context_after[:, 30:] = changed[:, 30:], changed_context[:, 30:]
    with torch.inference_mode():
        before, after = model(ids, context)[0], model(ids_after, context_after)[0]
    assert torch.equal(before[:, :30], after[:, :30])
    assert not torch.equal(before[:, 30:], after[:, 30:])


@every_model
@every_shape
def test_a_field_sees_earlier_fields_of_its_row_and_no_later_ones(trunk: str, shape: str) -> None:
    model, (ids, _) = make(trunk, shape), rows(shape, 1, 5)
    hidden = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    fields = len(model.sizes)
    for field in range(fields):
        logits = model.heads.field(field, hidden, ids, ids)
        for other in range(fields):
            altered = ids.clone()
            altered[..., other] = (altered[..., other] + 1) % model.sizes[other]
            same = torch.equal(logits, model.heads.field(field, hidden, ids, altered))
            assert same == (other >= field)


@pytest.mark.parametrize("shape", ["rows", "voices with context"])
def test_a_field_knows_how_earlier_pitches_of_its_row_have_moved(shape: str) -> None:
    model, (ids, _) = make("transformer", shape), rows(shape, 1, 5)
    ids = ids.clamp(max=torch.tensor(model.sizes) - 1)
    hidden = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    for field in range(len(model.sizes)):
        logits = model.heads.field(field, hidden, ids, ids)
        for other in range(len(model.sizes)):
            before = ids.clone()
            before[..., other] = (before[..., other] + 1) % model.sizes[other]
            same = torch.equal(logits, model.heads.field(field, hidden, before, ids))
            assert same == (other not in PITCHES[shape] or other > field)


@every_model
@every_shape
def test_the_state_stops_growing(trunk: str, shape: str) -> None:
    model, (ids, context) = make(trunk, shape), rows(shape, 1, 4000)
    with torch.inference_mode():
        _, middle = model(ids[:, :2000], context[:, :2000])
        _, late = model(ids[:, 2000:], context[:, 2000:], middle)
    assert size_of(late) == size_of(middle)


@every_model
@every_shape
def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone(trunk: str, shape: str) -> None:
    before = torch.random.get_rng_state()
    one, two, other = make(trunk, shape, 3), make(trunk, shape, 3), make(trunk, shape, 4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@every_model
def test_nats_are_those_of_the_wanted_ids_and_zero_where_nothing_is_scored(trunk: str) -> None:
    model, (ids, context) = make(trunk, "rows"), rows("rows", 2, 9)
    targets = ids.clamp(max=31)
    scored = torch.from_numpy(np.random.default_rng(0).random(targets.shape) < 0.6)
    with torch.inference_mode():
        hidden, _ = model(ids, context)
        nats = model.nats(hidden, ids, targets, scored)
        for b, t, f in np.ndindex(*targets.shape):
            logits = model.heads.field(f, hidden[b, t], ids[b, t], targets[b, t])
            wanted = -logits.log_softmax(-1)[targets[b, t, f]] if scored[b, t, f] else torch.tensor(0.0)
            torch.testing.assert_close(nats[b, t, f], wanted, atol=1e-5, rtol=1e-5)


@every_model
@every_shape
def test_the_window_changes_no_weight(trunk: str, shape: str) -> None:
    sizes, context = SHAPES[shape]
    settings = ModelSettings.model_validate({"trunk": trunk, "layers": 1, "width": 32, "window": 9})
    plain, windowed = (
        build(settings.model_copy(update={"window": window}), sizes, context, seed=2) for window in (9, 50)
    )
    assert (plain.window, windowed.window) == ((0, 0) if plain.trunk.bounded else (9, 50))
    assert plain.state_dict().keys() == windowed.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), windowed.parameters(), strict=True))


@every_model
@every_shape
def test_dropout_acts_in_training_only(trunk: str, shape: str) -> None:
    model, (ids, context) = make(trunk, shape), rows(shape, 2, 20)
    with torch.inference_mode():
        assert torch.equal(model(ids, context)[0], model(ids, context)[0])
        model.train()
        assert not torch.equal(model(ids, context)[0], model(ids, context)[0])


def test_the_network_of_the_study_has_its_layers_and_no_others() -> None:
    chosen = build_settings("study").model
    model = build(chosen, (449,), 0)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    lstm: dict[str, tuple[int, ...]] = {}
    for layer, reads in enumerate((128, 256, 256)):
        lstm[f"trunk.layers.weight_ih_l{layer}"] = (4 * 256, reads)
        lstm[f"trunk.layers.weight_hh_l{layer}"] = (4 * 256, 256)
        lstm[f"trunk.layers.bias_ih_l{layer}"] = lstm[f"trunk.layers.bias_hh_l{layer}"] = (4 * 256,)
    # One row more than the study's 449 events: the start id, which the study did not have.
    others = {
        "trunk.embed.fields.0.weight": (450, 128),
        "heads.leave.0.weight": (449, 256),
        "heads.leave.0.bias": (449,),
    }
    assert shapes == lstm | others
    drops = [module.in_force for module in model.modules() if isinstance(module, Dropout)]
    assert drops == [0.3]
    [layers] = [module for module in model.modules() if isinstance(module, torch.nn.LSTM)]
    model(torch.zeros(1, 1, 1, dtype=torch.int64), torch.zeros(1, 1, 0))
    assert (layers.dropout, layers.batch_first, layers.bidirectional) == (0.3, True, False)
    assert model.window == 50


@pytest.mark.parametrize(
    ("rows", "known", "window"), [(40, 0, 64), (300, 0, 64), (1, 50, 64), (7, 63, 64), (200, 63, 64)]
)
def test_attention_is_that_of_the_fused_function_under_a_band(rows: int, known: int, window: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    q, k, v = (torch.randn(2, 3, length, 8, generator=generator) for length in (rows, known + rows, known + rows))
    at, back = torch.arange(known, known + rows)[:, None], torch.arange(known + rows)
    band = (back <= at) & (back > at - window)
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=band)
    torch.testing.assert_close(attend(q, k, v, window), fused, atol=1e-5, rtol=1e-5)


def test_a_transformer_looks_back_on_its_window_in_each_layer_and_no_further() -> None:
    model, (ids, context) = make("transformer", "rows"), rows("rows", 1, 120)
    reach = 2 * (24 - 1)  # two layers
    with torch.inference_mode():
        before = model(ids, context)[0]
        changed = ids.clone()
        changed[:, 10] = (changed[:, 10] + 1) % torch.tensor([66, 128, 64, 32])
        after = model(changed, context)[0]
    same = (before == after).all(-1)[0]
    assert same[:10].all()
    assert not same[10 : 10 + reach].any()
    assert same[11 + reach + 1 :].all()  # the interval of the next row is one row more


def test_intervals_say_the_same_in_every_key() -> None:
    generator = torch.Generator().manual_seed(0)
    by_interval = torch.randn(1, 5, 2 * 128 - 1, generator=generator)
    before = torch.tensor([[60, 61, 70, 127, 128]])
    logits = from_here(by_interval, before)
    for place, pitch in enumerate(before[0, :4].tolist()):
        for step in (-7, 0, 5):
            if 0 <= pitch + step < 128:
                assert logits[0, place, pitch + step] == by_interval[0, place, 127 + step]
    assert (logits[0, 4] == 0).all()


def test_an_interval_is_the_difference_where_both_are_known() -> None:
    ids, before = torch.tensor([60, 64, 128, 62, 55]), torch.tensor([57, 60, 64, 128, 62])
    assert intervals(ids, before, 128).tolist() == [127 + 3, 127 + 4, 255, 255, 127 - 7]


def test_dropout_keeps_the_mean_and_drops_the_share_it_is_given() -> None:
    layer, ones = Dropout(0.3), torch.ones(400, 400)
    torch.manual_seed(0)
    dropped = layer(ones)
    assert (dropped == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean() == pytest.approx(1, abs=0.01)
    assert torch.equal(layer.eval()(ones), ones)


@every_model
def test_the_share_that_is_dropped_can_be_anything_up_to_the_whole(trunk: str) -> None:
    model, (ids, context) = make(trunk, "rows").train(), rows("rows", 1, 40)

    def differs(strength: float) -> bool:
        model.drop(strength)
        return not torch.equal(model(ids, context)[0], model(ids, context)[0])

    assert (differs(1), differs(0), differs(0.5)) == (True, False, True)
    [layer] = {module.in_force for module in model.modules() if isinstance(module, Dropout)}
    assert layer == 0.15


def test_a_transformer_without_a_window_or_with_half_a_head_is_refused() -> None:
    for model, said in (({"window": 1}, "looks back on 2 rows at least"), ({"width": 40}, "a multiple of 32")):
        with pytest.raises(CadenzaError, match=f"^model: .*{said}") as refused:
            validate({"model": model})
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("trunk", ["lstm", "study"])
def test_an_lstm_stays_in_float32_where_there_is_no_other(trunk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(trunk, "rows")
    ids, context = rows("rows", 2, 20)
    wanted, _ = model(ids, context)
    monkeypatch.setattr(lstm, "low_precision_here", lambda: False)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = model(ids, context)
    assert torch.equal(found, wanted)
