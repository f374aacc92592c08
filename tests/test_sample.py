"""Improvising rows on untrained models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from cadenza.batches import Tables
from cadenza.ending import CLOSING, Length, Step
from cadenza.engine import reader
from cadenza.engine.choice import ByLogits
from cadenza.errors import CadenzaError
from cadenza.likelihood import score
from cadenza.models import MODELS, Model, build
from cadenza.models.reader import ModelReader
from cadenza.notes import Notes, TimeBase
from cadenza.sample import Reader, sample
from cadenza.settings import ModelSettings, SampleSettings
from cadenza.tokens import REPRESENTATIONS, Representation, Rows, Unmasked, representation

SECONDS, BEATS = TimeBase("seconds", 100), TimeBase("beats", 24)
TABLES = {
    "notes in seconds": representation("notes", SECONDS),
    "notes in beats": representation("notes", BEATS),
    "study": representation("study", SECONDS),
}
STEPS = 3000
every_table = pytest.mark.parametrize("kind", sorted(TABLES))
every_note_table = pytest.mark.parametrize(
    "kind", [kind for kind, tokens in sorted(TABLES.items()) if tokens.name == "notes"]
)
every_model = pytest.mark.parametrize("trunk", sorted(MODELS))
every_reader = pytest.mark.parametrize("how", ["pytorch", "float32", "int8"])
with_and_without_window = pytest.mark.parametrize("window", [0, 7])


def test_no_representation_is_missing_here() -> None:
    assert {tokens.name for tokens in TABLES.values()} == set(REPRESENTATIONS)


def settings_of(trunk: str, window: int = 0) -> ModelSettings:
    if trunk == "transformer":  # which has no memory without an end
        window = window or 4096
    return ModelSettings.model_validate({"trunk": trunk, "layers": 1, "width": 32, "window": window})


def untrained(trunk: str, tokens: Representation, window: int = 0) -> Model:
    """A model with large random weights, so that what came before makes a difference, and no wish to end at once."""
    settings = settings_of(trunk, window)
    model = build(settings, tokens.sizes, tokens.context_width, 0, tokens.pitch_fields)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
        if tokens.name == "notes":
            model.get_parameter("heads.leave.0.bias")[-1] -= 4
    return model.eval()


def reader_of(how: str, trunk: str, tokens: Representation, window: int = 0, threads: int = 1) -> Reader:
    model = untrained(trunk, tokens, window)
    if how == "pytorch":
        return ModelReader(model)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return reader(weights, settings_of(trunk, window), tokens, how == "int8", threads)


def improvised(
    trunk: str, kind: str, count: int, temperature: float = 2.0, seed: int = 0, prompt: Rows | None = None,
    window: int = 0, rows: int = 400, masks: bool = True, how: str = "int8", threads: int = 1, **more: Any,
) -> list[Rows]:  # fmt: skip
    """The new rows of some pieces, the prompt's not among them."""
    tokens = TABLES[kind]
    empty = np.empty((0, len(tokens.sizes)), np.int16)
    steps = steps_of(trunk, kind, range(count), temperature, seed, empty if prompt is None else prompt, window, rows, masks, how, threads, **more)  # fmt: skip
    pieces: list[list[Rows]] = [[] for _ in range(count)]
    for step in steps:
        pieces[step.item].append(step.row)
    return [np.stack(piece) if piece else empty for piece in pieces]


def steps_of(
    trunk: str, kind: str, items: Sequence[int], temperature: float, seed: int, prompt: Rows,
    window: int = 0, rows: int = 400, masks: bool = True, how: str = "int8", threads: int = 1,
    length: Length | None = None, **controls: Any,
) -> Iterator[Step]:  # fmt: skip
    tokens = TABLES[kind]
    return sample(
        reader_of(how, trunk, tokens, window, threads), tokens,
        tokens.grammar(50, 90) if masks else Unmasked(tokens.grammar()),
        SampleSettings(temperature=temperature, rows=rows, **controls),
        items=items, seed=seed, length=length or Length(STEPS, led=False), prompt=prompt,
    )  # fmt: skip


def opening(kind: str) -> Rows:
    """The rows of two notes, without END."""
    tokens = TABLES[kind]
    notes = Notes.of([0, 30], [60, 64], [20, 20], [80, 90])
    return tokens.encode(notes, end=False)


@every_model
@every_table
@with_and_without_window
@every_reader
def test_untrained_models_make_only_valid_rows(trunk: str, kind: str, window: int, how: str) -> None:
    tokens = TABLES[kind]
    grammar = tokens.grammar(50, 90)
    for piece in improvised(trunk, kind, 16, window=window, how=how):
        place = grammar.begin(1)
        for row in piece:
            fields = 1 if grammar.last_field(row) else len(tokens.sizes)
            assert all(grammar.allowed(place, field, row[None])[0, row[field]] for field in range(fields))
            assert (row[fields:] == tokens.start_row[fields:]).all()
            place = grammar.advance(place, row[None])
        assert [number for number, row in enumerate(piece) if grammar.ends(row)] in ([], [len(piece) - 1])
        notes = tokens.decode(piece)
        cut_within_a_note = kind == "study" and place.sounding[0] >= 0
        assert tokens.note_count(piece) - len(notes) == cut_within_a_note
        assert len(notes)
        assert ((notes.pitch >= 50) & (notes.pitch <= 90)).all()


@every_model
@every_table
def test_a_prompt_is_gone_on_from_by_the_rules_and_is_not_yielded(trunk: str, kind: str) -> None:
    tokens, prompt = TABLES[kind], opening(kind)
    grammar = tokens.grammar(50, 90)
    for piece in improvised(trunk, kind, 4, prompt=prompt):
        place = grammar.begin(1)
        for number, row in enumerate([*prompt, *piece]):
            if number >= len(prompt):
                assert grammar.allowed(place, 0, row[None])[0, row[0]]
            place = grammar.advance(place, row[None])


@every_model
@every_table
@with_and_without_window
def test_without_masks_every_row_can_still_be_read(trunk: str, kind: str, window: int) -> None:
    tokens = TABLES[kind]
    for piece in improvised(trunk, kind, 8, temperature=10, window=window, masks=False):
        assert ((piece >= 0) & (piece < np.array(tokens.sizes)))[tokens.scored(piece)].all()
        assert len(tokens.decode(piece)) <= tokens.note_count(piece)
        assert tokens.scored(piece).any()


@every_model
@every_table
@with_and_without_window
@every_reader
def test_item_k_does_not_depend_on_the_number_of_items(trunk: str, kind: str, window: int, how: str) -> None:
    few, many = (improvised(trunk, kind, count, window=window, rows=60, how=how) for count in (3, 11))
    assert all(np.array_equal(a, b) for a, b in zip(few, many[:3], strict=True))
    assert len({piece.tobytes() for piece in many}) == 11


@every_model
@every_table
@pytest.mark.parametrize("how", ["int8", "float32"])
def test_item_k_depends_neither_on_threads_nor_on_waves(trunk: str, kind: str, how: str) -> None:
    one, many = (improvised(trunk, kind, *rest, rows=30, how=how) for rest in ((1,), (70,)))
    threads = improvised(trunk, kind, 70, rows=30, how=how, threads=2)
    assert np.array_equal(one[0], many[0])
    assert all(np.array_equal(a, b) for a, b in zip(many, threads, strict=True))


@every_model
@every_table
@with_and_without_window
@every_reader
def test_a_seed_repeats_and_another_differs(trunk: str, kind: str, window: int, how: str) -> None:
    one, again, other = (improvised(trunk, kind, 2, seed=seed, window=window, rows=60, how=how) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0], other[0])


@every_model
@every_table
@with_and_without_window
def test_greedy_pieces_of_one_prompt_are_all_the_same(trunk: str, kind: str, window: int) -> None:
    first, second = improvised(trunk, kind, 2, temperature=0.0, prompt=opening(kind), window=window, rows=60)
    assert len(first)
    assert np.array_equal(first, second)


def greedy_by_hand(model: Model, tokens: Representation, prompt: Rows, window: int, rows: int) -> Rows:
    """The likeliest rows, each from a blank reading of the last `window` rows (0: of all), start row included.

    A trunk that is bounded by itself reads all.
    """
    window = 0 if model.trunk.bounded else window
    grammar = tokens.grammar(50, 90)
    place = grammar.begin(1)
    for row in prompt:
        place = grammar.advance(place, row[None])
    made = [tokens.start_row, *prompt]
    while len(made) <= rows:
        last = np.stack(made[-window:])
        clock = int(tokens.steps(np.stack(made)).sum() - tokens.steps(last).sum())
        read = torch.from_numpy(last.astype(np.int64))[None]
        with torch.inference_mode():
            hidden, _ = model(read, torch.from_numpy(tokens.context(last, clock))[None])
            row = tokens.start_row.copy()
            for field in range(len(tokens.sizes)):
                logits = model.heads.field(
                    field, hidden[:, -1], read[:, -1], torch.from_numpy(row.astype(np.int64))[None]
                )[0]
                logits[torch.from_numpy(~grammar.allowed(place, field, row[None])[0])] = -math.inf
                row[field] = int(logits.argmax())
                if grammar.last_field(row):
                    break
        made.append(row)
        place = grammar.advance(place, row[None])
        if grammar.ends(row) or tokens.steps(np.stack(made)).sum() >= STEPS:
            break
    return np.stack(made[1 + len(prompt) :])


@every_model
@every_table
@with_and_without_window
@pytest.mark.parametrize("prompted", [True, False])
@pytest.mark.parametrize("how", ["pytorch", "float32"])
def test_sampling_is_that_of_a_fresh_model_on_the_last_rows(
    trunk: str, kind: str, window: int, prompted: bool, how: str
) -> None:
    tokens = TABLES[kind]
    prompt = opening(kind) if prompted else opening(kind)[:0]
    wanted = greedy_by_hand(untrained(trunk, tokens, window), tokens, prompt, window, rows=50)
    [found] = improvised(trunk, kind, 1, temperature=0.0, prompt=prompt, window=window, rows=50, how=how)
    assert len(found) > window
    assert np.array_equal(found, wanted[: len(found)])
    assert len(wanted) - len(found) in (0, 1)  # the row that reaches the limit is not yielded


@every_model
@every_table
def test_a_temperature_for_every_field_is_one_temperature(trunk: str, kind: str) -> None:
    fields = dict.fromkeys(TABLES[kind].fields, 2.0)
    alike = (improvised(trunk, kind, 2, 2.0, rows=40), improvised(trunk, kind, 2, 0.3, rows=40, by_field=fields))
    assert all(np.array_equal(a, b) for a, b in zip(*alike, strict=True))


@every_model
def test_the_temperature_of_one_field_leaves_the_others_alone(trunk: str) -> None:
    """The first shift is always 0, so the likeliest pitch is the same in all pieces; what follows it is not."""
    pieces = improvised(trunk, "notes in seconds", 64, 2.0, rows=1, by_field={"pitch": 0})
    _, pitches, durations, velocities = np.stack([piece[0] for piece in pieces if len(piece)]).T
    assert len(set(pitches.tolist())) == 1
    assert min(len(set(durations.tolist())), len(set(velocities.tolist()))) > 1


@every_table
def test_a_temperature_for_an_unknown_field_names_the_nearest(kind: str) -> None:
    nearest = "event" if kind == "study" else "velocity"
    with pytest.raises(CadenzaError, match=f"did you mean '{nearest}'.*fields: "):
        improvised("lstm", kind, 1, by_field={f"{nearest}s": 1.0})


@every_model
def test_a_window_makes_other_pieces(trunk: str) -> None:
    pieces = [improvised(trunk, "study", 3, window=window, rows=60) for window in (0, 2, 7, 100)]
    assert not np.array_equal(pieces[0][0], pieces[1][0])
    assert not np.array_equal(pieces[1][0], pieces[2][0])
    assert all(np.array_equal(a, b) for a, b in zip(pieces[0], pieces[3], strict=True))


@every_model
@every_table
@with_and_without_window
@pytest.mark.parametrize("new", [0, 1, 9, 20])
@pytest.mark.parametrize("prompted", [True, False])
def test_a_piece_has_no_more_rows_than_asked_its_prompt_included(
    trunk: str, kind: str, window: int, new: int, prompted: bool
) -> None:
    prompt = opening(kind) if prompted else opening(kind)[:0]
    rows = max(len(prompt) + new, 1)
    whole, cut = (improvised(trunk, kind, 9, prompt=prompt, window=window, rows=bound) for bound in (100, rows))
    for piece, longer in zip(cut, whole, strict=True):
        assert np.array_equal(piece, longer[: rows - len(prompt)])
    assert max(map(len, cut)) == rows - len(prompt)


@every_table
def test_a_prompt_that_is_as_long_as_a_piece_may_be_is_not_gone_on_from(kind: str) -> None:
    prompt = opening(kind)
    assert max(map(len, improvised("lstm", kind, 9, prompt=prompt, rows=len(prompt)))) == 0
    assert max(map(len, improvised("lstm", kind, 9, prompt=prompt, rows=1))) == 0


@every_model
@every_table
@pytest.mark.parametrize("masks", [True, False])
def test_no_note_begins_at_or_after_the_limit(trunk: str, kind: str, masks: bool) -> None:
    tokens = TABLES[kind]
    assert all(tokens.steps(piece).sum() < STEPS for piece in improvised(trunk, kind, 8, masks=masks))


# The end

NONE = np.empty((0, 4), np.int16)


def ended(piece: Rows, kind: str) -> bool:
    return bool(TABLES[kind].grammar().ends(piece[-1]))


class Uniform(ByLogits):
    """A reader to which every id is as likely, but for END, which is `shy` nats less likely."""

    lanes = 64

    def __init__(self, tokens: Representation, shy: float) -> None:
        self.sizes, self.shy = tokens.sizes, shy

    def begin(self, lanes: int) -> None:
        pass

    def read(self, lanes_L: Any, rows_LF: Any, context_LC: Any) -> None:
        pass

    def logits(self, field: int, rows_LF: Any) -> Any:
        logits_LV = np.zeros((len(rows_LF), self.sizes[field]), np.float32)
        if field == 0:
            logits_LV[:, -1] = -self.shy
        return logits_LV


def uniform(kind: str, length: Length, shy: float = 3.0) -> list[Rows]:
    """32 pieces of a model that knows nothing."""
    tokens, settings = TABLES[kind], SampleSettings(temperature=1)
    pieces: list[list[Rows]] = [[] for _ in range(32)]
    for step in sample(
        Uniform(tokens, shy), tokens, tokens.grammar(), settings, items=range(32), seed=1, length=length, prompt=NONE
    ):
        pieces[step.item].append(step.row)
    return [np.stack(piece) for piece in pieces]


@every_note_table
def test_a_held_piece_is_led_to_its_end_near_the_length(kind: str) -> None:
    steps, begins = 20_000, (1 - CLOSING) * 20_000
    lengths = [
        (int(TABLES[kind].steps(piece).sum()), ended(piece, kind)) for piece in uniform(kind, Length(steps, held=True))
    ]
    assert all(begins <= length < steps and end for length, end in lengths)


@every_note_table
def test_a_free_piece_may_end_sooner_and_a_cut_one_does_not_care(kind: str) -> None:
    steps, begins = 20_000, (1 - CLOSING) * 20_000
    free, cut = (uniform(kind, Length(steps, led=led)) for led in (True, False))
    assert any(TABLES[kind].steps(piece).sum() < begins for piece in free)
    assert sum(ended(piece, kind) for piece in cut) < len(cut)
    for one, other in zip(free, cut, strict=True):
        before = np.cumsum(TABLES[kind].steps(one)) < begins
        assert np.array_equal(one[before], other[: len(one)][before])


@every_note_table
@pytest.mark.parametrize("notes", [1, 40])
def test_a_length_in_notes_is_never_passed(kind: str, notes: int) -> None:
    for piece in uniform(kind, Length(notes=notes, held=True)):
        assert (1 - CLOSING) * notes - 1 <= TABLES[kind].note_count(piece) <= notes


@every_model
@every_table
def test_the_nats_of_the_steps_are_those_of_the_model(trunk: str, kind: str) -> None:
    """Also where masks, temperatures and the end's approach have bent what was chosen."""
    tokens, model = TABLES[kind], untrained(trunk, TABLES[kind])
    length = Length(notes=30, held=True)
    steps = list(steps_of(trunk, kind, [0], 1.3, 4, opening(kind)[:0], how="float32", length=length))
    piece = np.stack([step.row for step in steps])
    whole = score(model, Tables.of([piece]), tokens, np.arange(1)).nats_PF.sum()
    assert sum(step.nats for step in steps) == pytest.approx(whole, rel=1e-4)
    assert all(0 <= step.removed <= len(tokens.sizes) for step in steps)
    assert any(step.removed > 0 for step in steps)


@every_model
@pytest.mark.parametrize(
    ("control", "least"), [("top_k_by_field", 1), ("top_p_by_field", 1e-6), ("min_p_by_field", 0.999)]
)
def test_a_control_of_one_field_leaves_the_others_alone(trunk: str, control: str, least: float) -> None:
    own: dict[str, Any] = {control: {"pitch": least}}
    pieces = improvised(trunk, "notes in seconds", 64, 2.0, rows=1, **own)
    _, pitches, durations, velocities = np.stack([piece[0] for piece in pieces if len(piece)]).T
    assert len(set(pitches.tolist())) == 1
    assert min(len(set(durations.tolist())), len(set(velocities.tolist()))) > 1


def test_items_can_be_made_one_by_one() -> None:
    kind, none = "notes in seconds", NONE
    together = improvised("lstm", kind, 5, 1.0)
    for item in (0, 3):
        alone = [step.row for step in steps_of("lstm", kind, [item], 1.0, 0, none)]
        assert np.array_equal(np.stack(alone), together[item])
