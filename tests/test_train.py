"""Windows, training and likelihood: nothing twice, nothing lost, exact resumption."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch

from cadenza.batches import Batch, Tables, batches_in_epoch, collate, epoch_windows, training_batches
from cadenza.errors import CadenzaError
from cadenza.evaluate.baselines import uniform, unigram
from cadenza.likelihood import CHUNK_ROWS, score
from cadenza.models import MODELS, Model, build
from cadenza.notes import Header, Notes, TimeBase
from cadenza.planning import MEASURED_STEPS, SUSTAINED, UNMEASURED_STEPS, measure_speed, plan
from cadenza.records import Evaluation, Step
from cadenza.settings import AugmentSettings, BatchSettings, Settings, validate
from cadenza.tokens import REPRESENTATIONS, Representation, Rows, Schema, representation
from cadenza.train import Data, Trainer, schedule

SECONDS, BEATS = TimeBase("seconds", 100), TimeBase("beats", 24)
TABLES = {
    "notes in seconds": ("notes", SECONDS),
    "notes in beats": ("notes", BEATS),
    "study": ("study", SECONDS),
}

every_model = pytest.mark.parametrize("trunk", sorted(MODELS))
every_table = pytest.mark.parametrize("kind", sorted(TABLES))
with_and_without_window = pytest.mark.parametrize("window", [0, 24])


def test_no_representation_is_missing_here() -> None:
    assert {name for name, _ in TABLES.values()} == set(REPRESENTATIONS)


def random_piece(seed: int, length: int, base: TimeBase) -> Notes:
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.integers(0, 60, length)) + np.arange(length)
    return Notes.of(
        onset,
        rng.integers(50, 90, length),
        rng.integers(1, 50, length),
        rng.integers(20, 120, length),
        Header(time_base=base),
    )


def data(kind: str = "notes in seconds", lengths: tuple[int, ...] = (5, 40, 77, 130, 301, 20)) -> Data:
    """Random pieces of so many notes; the last two are for validation."""
    name, base = TABLES[kind]
    pieces = [random_piece(seed, length, base) for seed, length in enumerate(lengths)]
    tokens = representation(name, base)
    tokens = representation(name, base, tokens.observed(np.concatenate([tokens.encode(piece) for piece in pieces])))
    tables = Tables.of([tokens.encode(piece) for piece in pieces])
    return Data(tables, tokens, np.arange(len(lengths) - 2), np.arange(len(lengths) - 2, len(lengths)))


def settings(stride: int = 0, window: int = 0, **train: object) -> Settings:
    return validate(
        {
            "model": {"trunk": "lstm", "layers": 2, "width": 24, "window": window, "dropout": 0.1},
            "augment": {"blank": 0.05},
            "batches": {"rows": 32, "size": 4, "stride": stride},
            "train": {"evaluations": 3, "learning_rate": 1e-2, **train},
        }
    )


def model(trunk: str, known: Data, chosen: Settings) -> Model:
    shape = chosen.model.model_copy(update={"trunk": trunk})
    if trunk == "transformer":  # which has no memory without an end, and heads of one width
        shape = shape.model_copy(update={"width": 32, "window": shape.window or 4096})
    tokens = known.schema
    return build(shape, tokens.sizes, tokens.context_width, 1, tokens.pitch_fields)


@pytest.mark.parametrize("rows", [2, 7, 128, 1000])
def test_an_epoch_holds_every_row_once_in_windows_that_fit(rows: int) -> None:
    lengths = np.array([1, 2, 6, 7, 8, 129, 128, 900])
    pieces = np.array([4, 0, 9, 3, 2, 8, 7, 5])
    batches = epoch_windows(lengths, pieces, BatchSettings(rows=rows, size=3), np.random.default_rng(0))
    seen = {int(piece): np.zeros(length, int) for piece, length in zip(pieces, lengths, strict=True)}
    for piece, start, stop in (window for batch in batches for window in batch):
        assert 0 < stop - start <= rows
        seen[piece][start:stop] += 1
    assert all((count == 1).all() for count in seen.values())
    assert max(map(len, batches)) == 3
    assert len(batches) == batches_in_epoch(lengths, BatchSettings(rows=rows, size=3))


LENGTHS = np.array([1, 2, 6, 7, 8, 9, 129, 128, 900])
STRIDES = [(7, 1), (7, 3), (7, 7), (7, 20), (128, 1), (128, 50), (1000, 13)]
every_stride = pytest.mark.parametrize(("rows", "stride"), STRIDES)


def slid(rows: int, stride: int, epoch: int, size: int = 3) -> dict[int, list[tuple[int, int]]]:
    """The windows of one epoch by piece, from the first one on; every piece has one."""
    chosen = BatchSettings(rows=rows, size=size, stride=stride)
    batches = epoch_windows(LENGTHS, np.arange(len(LENGTHS)), chosen, np.random.default_rng([5, epoch]))
    assert [len(batch) for batch in batches].count(size) >= len(batches) - 1
    windows = sorted(window for batch in batches for window in batch)
    return {piece: [window[1:] for window in windows if window[0] == piece] for piece in range(len(LENGTHS))}


@every_stride
def test_with_a_stride_windows_are_full_and_as_far_apart_as_it_says(rows: int, stride: int) -> None:
    for epoch in range(5):
        for piece, windows in slid(rows, stride, epoch).items():
            length = int(LENGTHS[piece])
            assert {stop - start for start, stop in windows} == {min(rows, length)}
            starts = [start for start, _ in windows]
            assert starts == list(range(starts[0], max(length - rows, 0) + 1, stride))
            assert 0 <= starts[0] < min(stride, max(length - rows, 0) + 1)


@every_stride
def test_with_a_stride_each_epoch_begins_elsewhere_and_in_time_every_row_is_a_target(rows: int, stride: int) -> None:
    seen = [np.zeros(length, int) for length in LENGTHS]
    first: dict[int, set[int]] = {piece: set() for piece in range(len(LENGTHS))}
    for epoch in range(30 * stride):
        for piece, windows in slid(rows, stride, epoch).items():
            first[piece].add(windows[0][0])
            for start, stop in windows:
                seen[piece][start:stop] += 1
    assert all((count > 0).all() for count in seen)
    for piece, starts in first.items():
        assert starts == set(range(min(stride, max(int(LENGTHS[piece]) - rows, 0) + 1)))


@every_stride
@pytest.mark.parametrize("size", [1, 3, 16])
def test_an_epoch_with_a_stride_has_the_batches_that_are_counted_but_for_a_window_a_piece(
    rows: int, stride: int, size: int
) -> None:
    counted = batches_in_epoch(LENGTHS, BatchSettings(rows=rows, size=size, stride=stride))
    made = [sum(map(len, slid(rows, stride, epoch, size).values())) for epoch in range(200)]
    assert all(abs(windows - counted * size) < len(LENGTHS) + size for windows in made)
    if size == 1:
        assert counted == pytest.approx(np.mean(made), abs=1)


def test_a_stride_of_one_counts_exactly() -> None:
    windows = sum(max(length - 49, 1) for length in LENGTHS.tolist())
    assert batches_in_epoch(LENGTHS, BatchSettings(rows=50, size=16, stride=1)) == -(-windows // 16)
    assert sum(map(len, slid(50, 1, 0).values())) == windows


def test_windows_hold_the_row_before_each_target_and_padding_is_not_scored() -> None:
    known = data()
    batch = collate(known.tables, known.schema, [(4, 10, 40), (0, 0, 6)])
    piece = known.tables.piece(4).astype(np.int64)
    assert np.array_equal(batch.ids_BTF[0].numpy(), piece[9:39])
    assert np.array_equal(batch.targets_BTF[0].numpy(), piece[10:40])
    assert np.array_equal(batch.ids_BTF[1, 0].numpy(), known.schema.start_row)
    assert not batch.scored_BTF[1, 6:].any()


@every_table
@pytest.mark.parametrize("stride", [0, 20])
def test_batches_from_a_later_step_are_those_of_one_long_stream(kind: str, stride: int) -> None:
    known, chosen = data(kind), BatchSettings(rows=32, size=16, stride=stride)
    stream = (known.tables, known.schema, known.training, chosen, AugmentSettings(), 3)
    whole, late = list(islice(training_batches(*stream), 20)), list(islice(training_batches(*stream, 13), 7))
    assert batches_in_epoch(known.tables.lengths(known.training), chosen) < 13
    for one, other in zip(whole[13:], late, strict=True):
        assert torch.equal(one.ids_BTF, other.ids_BTF)
        assert torch.equal(one.targets_BTF, other.targets_BTF)
        assert torch.equal(one.scored_BTF, other.scored_BTF)


@every_model
@every_table
def test_training_lowers_the_loss_and_evaluates_on_time(trunk: str, kind: str) -> None:
    known, chosen = data(kind), settings()
    trainer = Trainer(model(trunk, known, chosen), known, chosen, steps=30)
    records = list(trainer.records())
    steps = [record for record in records if isinstance(record, Step)]
    evaluations = [record for record in records if isinstance(record, Evaluation)]
    assert [step.step for step in steps] == list(range(1, 31))
    fall = 2 if kind != "study" else 2 / 5  # bits; a note is up to five of the study's events
    assert (
        np.mean([step.bits_per_note for step in steps[-5:]])
        < np.mean([step.bits_per_note for step in steps[:5]]) - fall
    )
    assert [evaluation.step for evaluation in evaluations] == [10, 20, 30]
    assert min(evaluation.bits_per_note["validation"] for evaluation in evaluations) == trainer.best_bits
    assert [evaluation.epoch * trainer.epoch_steps for evaluation in evaluations] == pytest.approx([10, 20, 30])


def test_watched_pieces_are_scored_beside_the_validation_and_change_nothing() -> None:
    plain, chosen = data(), settings()
    known = Data(
        plain.tables,
        plain.schema,
        plain.training,
        plain.validation,
        {"train": np.array([2, 0]), "test": np.array([1]), "none": np.array([], dtype=np.int64)},
    )
    trainer, alone = (Trainer(model("lstm", plain, chosen), each, chosen, steps=4) for each in (known, plain))
    records, without = list(trainer.records()), list(alone.records())
    assert [one for one in records if isinstance(one, Step)] == [one for one in without if isinstance(one, Step)]
    last = records[-1]
    assert isinstance(last, Evaluation)
    assert set(last.bits_per_note) == set(last.perplexity_per_token) == {"validation", "train", "test"}
    for part, pieces in {"validation": plain.validation, **known.watched}.items():
        if len(pieces):
            found = score(trainer.average, plain.tables, plain.schema, pieces)
            assert last.bits_per_note[part] == found.bits_per_note
            assert last.perplexity_per_token[part] == found.perplexity_per_token


def test_without_validation_the_last_state_is_the_best() -> None:
    plain, chosen = data(), settings()
    known = Data(plain.tables, plain.schema, plain.training, plain.validation[:0], {"test": plain.validation})
    trainer = Trainer(model("lstm", known, chosen), known, chosen, steps=9)
    evaluations = [record for record in trainer.records() if isinstance(record, Evaluation)]
    assert all(evaluation.best for evaluation in evaluations)
    assert [set(evaluation.bits_per_note) for evaluation in evaluations] == [{"test"}] * 3
    assert trainer.best_step == 9
    assert all(torch.equal(trainer.best[name], tensor) for name, tensor in trainer.average.state_dict().items())


RECIPES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "stride": {"stride": 20},
    "as the study": {"stride": 5, "window": 32, "optimiser": "adam", "schedule": "constant", "average": 0},
    "low precision": {"precision": "bfloat16"},
}


@every_model
@every_table
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("at", [1, 8, 17])
def test_a_run_continued_from_its_tensors_repeats_the_uninterrupted_run_bit_for_bit(
    trunk: str, kind: str, recipe: str, at: int
) -> None:
    known, chosen = data(kind, lengths=(5, 40, 77, 20)), settings(**RECIPES[recipe])
    whole = Trainer(model(trunk, known, chosen), known, chosen, steps=24)
    records = list(whole.records())
    first = Trainer(model(trunk, known, chosen), known, chosen, steps=24)
    before = []
    for record in first.records():
        before.append(record)
        if first.step == at:
            break
    second = Trainer(model(trunk, known, chosen), known, chosen, steps=24)
    second.restore(first.tensors())
    assert second.step == at
    assert before + list(second.records()) == records
    one, other = whole.tensors(), second.tensors()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_table_with_ids_that_the_model_does_not_know_is_refused_before_training() -> None:
    known, chosen = data(), settings()
    wild = Tables.of([np.full((30, 4), 300, np.int16)])
    with pytest.raises(CadenzaError, match="The model knows 66 × 128 × 64 × 32 ids, the pieces are written with 300"):
        Trainer(model("lstm", known, chosen), replace(known, tables=wild), chosen, steps=2)


@every_model
def test_low_precision_learns_as_well(trunk: str) -> None:
    known = data()
    ends = []
    for precision in ("float32", "bfloat16"):
        chosen = settings(precision=precision)
        trainer = Trainer(model(trunk, known, chosen), known, chosen, steps=30)
        list(trainer.records())
        ends.append(trainer.best_bits)
        assert all(tensor.dtype == torch.float32 for tensor in trainer.best.values())
    assert ends[0] == pytest.approx(ends[1], abs=0.1)
    assert ends[0] != ends[1]


def test_the_mean_of_the_weights_is_that_of_the_latest_steps_and_can_be_switched_off() -> None:
    known = data()
    for share in (0.0, 0.5):
        chosen = settings(average=share)
        trainer = Trainer(model("lstm", known, chosen), known, chosen, steps=9)
        mean = torch.zeros(())
        for record in trainer.records():
            if isinstance(record, Step):
                weight = trainer.model.get_parameter("heads.leave.1.bias").detach()
                mean = mean + (weight - mean) / (1 + share * (record.step - 1))
        torch.testing.assert_close(trainer.average.get_parameter("heads.leave.1.bias"), mean)
        assert torch.equal(mean, weight) == (share == 0)


def test_a_state_of_another_network_is_refused() -> None:
    known, chosen = data(), settings()
    trainer = Trainer(model("lstm", known, chosen), known, chosen, steps=2)
    wider = validate(chosen.model_dump() | {"model": {"trunk": "lstm", "layers": 2, "width": 32}})
    with pytest.raises(CadenzaError, match="does not fit"):
        Trainer(model("lstm", known, wider), known, wider, steps=2).restore(trainer.tensors())


def test_a_loss_that_is_not_a_number_stops_with_words_and_keeps_the_best() -> None:
    known, chosen = data(), settings()
    trainer = Trainer(model("lstm", known, chosen), known, chosen, steps=10)
    records = trainer.records()
    next(records)
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(math.nan)
    with pytest.raises(CadenzaError, match=r"not a number at step 2.*learning_rate"):
        next(records)
    assert all(torch.isfinite(tensor).all() for tensor in trainer.best.values())


@pytest.mark.parametrize("recipe", RECIPES)
def test_planning_leaves_the_model_as_it_was(recipe: str) -> None:
    known, chosen = data("study"), settings(minutes=0.5, **RECIPES[recipe])
    fresh = model("study", known, chosen)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    found = plan(fresh, known, chosen)
    assert found.steps >= 1
    assert found.rows_per_second > 0
    assert found.stride == 0 or found.stride > chosen.batches.stride > 0
    assert all(torch.equal(before[name], tensor) for name, tensor in fresh.state_dict().items())


def test_slow_steps_are_measured_fewer_times(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    update = Trainer.update

    def counted(self: Trainer, batch: Batch) -> Step:
        made.append(self.step)
        return update(self, batch)

    monkeypatch.setattr(Trainer, "update", counted)
    known, fresh = data(), model("lstm", data(), settings())
    for minutes, longest, steps in ((1e-9, 1e9, 2), (1e9, 1e-9, 2), (1e9, 1e9, UNMEASURED_STEPS + MEASURED_STEPS)):
        monkeypatch.setattr("cadenza.planning.MEASURED_SECONDS", longest)
        made.clear()
        seconds, rows = measure_speed(fresh, known, settings(minutes=minutes))
        assert len(made) == steps
        assert seconds > 0
        assert rows > 0


def epoch_steps(known: Data, stride: int) -> int:
    return batches_in_epoch(known.tables.lengths(known.training), settings(stride).batches)


def at_one_speed(monkeypatch: pytest.MonkeyPatch, steps_per_second: float) -> None:
    """Let the measurement find this speed, with 100 rows a step."""
    monkeypatch.setattr(
        "cadenza.planning.measure_speed", lambda *_: (MEASURED_STEPS / steps_per_second, 100 * MEASURED_STEPS)
    )


MINUTES = [0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 20]


def test_the_steps_grow_with_the_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    at_one_speed(monkeypatch, 10)
    known = data()
    fresh = model("lstm", known, settings())
    found = [plan(fresh, known, settings(minutes=minutes)).steps for minutes in MINUTES]
    assert all(one < other for one, other in pairwise(found[2:]))
    assert found[0] == 1
    scored = 3 * known.tables.lengths(known.validation).sum() * 0.4  # evaluations, at 0.4 of training's cost a row
    assert found[-1] == round(SUSTAINED * (20 * 60 - scored / 1000) * 10)


@pytest.mark.parametrize("watching", [False, True])
def test_evaluations_take_half_of_the_minutes_at_most(monkeypatch: pytest.MonkeyPatch, watching: bool) -> None:
    at_one_speed(monkeypatch, 10)
    plain, chosen = data(), settings(minutes=0.1, evaluations=1000)
    known = Data(
        plain.tables,
        plain.schema,
        plain.training,
        plain.validation[:0] if watching else plain.validation,
        {"test": plain.validation} if watching else {},
    )
    assert plan(model("lstm", known, chosen), known, chosen).steps == pytest.approx(SUSTAINED * 30, abs=1)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_fewer_the_minutes_the_wider_the_stride_until_all_epochs_fit(
    monkeypatch: pytest.MonkeyPatch, stride: int
) -> None:
    at_one_speed(monkeypatch, 50)
    known = data("study")
    fresh = model("lstm", known, settings())
    plans = [plan(fresh, known, settings(stride, minutes=minutes, epochs=3)) for minutes in MINUTES]
    strides = [found.stride or stride for found in plans]
    assert all(one >= other for one, other in pairwise(strides))
    assert strides[0] == 32  # the windows of 32 rows then just touch
    assert strides[-1] == stride
    assert len(set(strides)) > 3
    for found, chosen, minutes in zip(plans, strides, MINUTES, strict=True):
        fitting = plan(fresh, known, settings(minutes=minutes)).steps
        assert found.steps == min(fitting, 3 * epoch_steps(known, chosen))
        if stride < chosen < 32:
            assert found.steps == 3 * epoch_steps(known, chosen)
            assert fitting < 3 * epoch_steps(known, chosen - 1)
    assert plans[-1].steps == 3 * epoch_steps(known, stride)


def test_epochs_without_a_stride_only_bound_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    at_one_speed(monkeypatch, 50)
    known = data()
    fresh = model("lstm", known, settings())
    short, long = (plan(fresh, known, settings(minutes=minutes, epochs=4)) for minutes in (0.001, 20))
    assert short.steps < long.steps == 4 * epoch_steps(known, 0)
    assert short.stride == long.stride == 0


def test_the_learning_rate_warms_up_and_decays() -> None:
    rates = [schedule(step, 1000) for step in range(1000)]
    peak = int(np.argmax(rates))
    assert rates[peak] == 1
    assert 0 < peak < 100
    assert all(a < b for a, b in pairwise(rates[: peak + 1]))
    assert all(a >= b for a, b in pairwise(rates[peak:]))
    assert rates[-1] < 0.03


@pytest.mark.parametrize(("name", "constant"), [("constant", True), ("cosine", False)])
def test_a_constant_rate_stays(name: str, constant: bool) -> None:
    known, chosen = data(), settings(schedule=name)
    trainer = Trainer(model("lstm", known, chosen), known, chosen, steps=6)
    rates = {record.learning_rate for record in trainer.records() if isinstance(record, Step)}
    assert (rates == {1e-2}) == constant


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam)])
def test_the_optimiser_is_the_one_asked_for(name: str, kind: type[torch.optim.Optimizer]) -> None:
    known, chosen = data(), settings(optimiser=name, weight_decay=0.25)
    optimiser = Trainer(model("lstm", known, chosen), known, chosen, steps=6).optimiser
    assert type(optimiser) is kind
    decays = [group["weight_decay"] for group in optimiser.param_groups]
    assert decays == ([0.25] if name == "adam" else [0.25, 0])


def fields_by_rule(tokens: Schema, row: Rows) -> list[int]:
    """The fields of a row that count, by the rule of each representation, in words of its own."""
    if tokens.name == "notes":
        return [0, 1, 2, 3] if row[0] < tokens.sizes[0] - 2 else [0]
    return [0] if row[0] else []


def attentive(chosen: Model, times: float = 6) -> Model:
    """The model with large weights, so that what came before makes a difference, as after training."""
    with torch.no_grad():
        for parameter in chosen.parameters():
            parameter.mul_(times)
    return chosen.eval()


@every_model
@every_table
@with_and_without_window
def test_the_batched_likelihood_is_that_of_a_plain_loop(trunk: str, kind: str, window: int) -> None:
    known = data(kind, lengths=(5, 40, CHUNK_ROWS + 88, 20, 2 * CHUNK_ROWS + 3, 1))
    tokens, fields = known.schema, len(known.schema.sizes)
    assert isinstance(tokens, Representation)
    chosen = attentive(model(trunk, known, settings(window=window)), times=4)  # with more, rounding alone shows
    pieces = np.array([5, 4, 0, 2, 1])
    result = score(chosen, known.tables, tokens, pieces)
    for place, index in enumerate(pieces):
        rows, nats, state = known.tables.piece(int(index)), np.zeros(fields), None
        history = np.concatenate([tokens.start_row[None], rows])
        counted = np.zeros(fields, int)
        with torch.inference_mode():
            for t, row in enumerate(rows):
                if chosen.window and t % window == 0:
                    state = None
                ids = torch.from_numpy(history[t].astype(np.int64)).view(1, 1, fields)
                context = torch.from_numpy(tokens.context(history[: t + 1])[-1:]).view(1, 1, -1)
                hidden, state = chosen(ids, context, state)
                target = torch.from_numpy(row.astype(np.int64))
                for f in fields_by_rule(tokens, row):
                    nats[f] -= float(chosen.heads.field(f, hidden[0, 0], ids[0, 0], target).log_softmax(-1)[target[f]])
                    counted[f] += 1
        np.testing.assert_allclose(result.nats_PF[place], nats, rtol=1e-4)
        assert result.tokens_PF[place].tolist() == counted.tolist()
        assert result.notes_P[place] == len(tokens.decode(rows))


@every_model
@every_table
def test_a_window_that_holds_every_piece_changes_nothing_and_a_shorter_one_does(trunk: str, kind: str) -> None:
    known = data(kind, lengths=(40, 60, 30))
    none, whole, short, shorter = (
        score(
            attentive(model(trunk, known, settings(window=window))), known.tables, known.schema, np.arange(3)
        ).nats_PF.sum(axis=1)
        for window in (0, 400, 24, 23)
    )
    np.testing.assert_allclose(none, whole, rtol=1e-5)
    assert np.abs(none / short - 1).max() > 3e-4  # what the plain loop would see ten times over
    assert np.abs(shorter / short - 1).max() > 3e-4


@every_model
@every_table
@with_and_without_window
def test_the_company_a_piece_is_scored_in_changes_nothing(trunk: str, kind: str, window: int) -> None:
    known = data(kind, lengths=(5, 40, CHUNK_ROWS + 9, 1))
    chosen = attentive(model(trunk, known, settings(window=window)))
    together = score(chosen, known.tables, known.schema, np.arange(4))
    for index in range(4):
        alone = score(chosen, known.tables, known.schema, np.array([index]))
        np.testing.assert_allclose(alone.nats_PF[0], together.nats_PF[index], rtol=1e-5)


def test_a_model_for_other_ids_is_refused_in_one_sentence() -> None:
    known, chosen = data(), settings()
    network = model("lstm", known, chosen)
    network.train()
    for tables, tokens in (
        (data("study").tables, data("study").schema),
        (data("notes in beats").tables, data("notes in beats").schema),
        (Tables.of([np.full((3, 4), 300, np.int16)]), known.schema),
    ):
        with pytest.raises(CadenzaError, match="use the corpus and the representation it was made for") as refused:
            score(network, tables, tokens, np.arange(1))
        assert str(refused.value).count(". ") == 0
    assert network.training


@every_table
def test_baselines_agree_with_counting_by_hand(kind: str) -> None:
    known = data(kind)
    tokens = known.schema
    training, held_out = ([known.tables.piece(index) for index in part] for part in ((0, 1, 2), (3, 4)))
    nats, plain = np.zeros((2, len(tokens.sizes))), np.zeros((2, len(tokens.sizes)))
    for place, piece in enumerate(held_out):
        for row in piece:
            for f in fields_by_rule(tokens, row):
                seen = [int(other[f]) for rows in training for other in rows if f in fields_by_rule(tokens, other)]
                nats[place, f] -= math.log((seen.count(int(row[f])) + 1) / (len(seen) + tokens.sizes[f]))
                plain[place, f] += math.log(tokens.sizes[f])
    np.testing.assert_allclose(unigram(tokens, training, held_out), nats)
    np.testing.assert_allclose(uniform(tokens, held_out), plain)


def test_a_tiny_run_keeps_its_numbers() -> None:
    """Golden figures: a refactor keeps them, anything else explains the change."""
    known, chosen = data(), settings()
    torch.set_num_threads(1)
    trainer = Trainer(model("lstm", known, chosen), known, chosen, steps=12)
    bits = [record.bits_per_note["validation"] for record in trainer.records() if isinstance(record, Evaluation)]
    assert bits == pytest.approx(GOLDEN, abs=2e-3)


GOLDEN = [23.8768, 23.0236, 22.7304]
