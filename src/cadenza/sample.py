"""A model improvises: rows, one at a time, in lanes of fixed number.

Music is known here only through the grammar's masks. A model with a window reads its last rows anew
for every row, the others go on from their state. Item k of a seed is the same piece whatever
the number of items: each has its own random stream, and lanes are always computed `LANES` at a
time, because the last bits of logits depend on the batch. Shapes: L lanes, F fields, V ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cadenza.errors import CadenzaError
from cadenza.models import Model
from cadenza.settings import SampleSettings, nearest
from cadenza.tokens import Grammar, Representation, Rows

LANES = 8

Row = npt.NDArray[np.int16]
Values = npt.NDArray[np.float64]


@dataclass
class Lane:
    """One piece in the making."""

    item: int
    rng: np.random.Generator
    rows: list[Row]
    place: Any
    clock: int
    done: bool = False


@torch.inference_mode()
def sample(
    model: Model, representation: Representation, grammar: Grammar, settings: SampleSettings, *,
    count: int, seed: int, steps: int, prompt: Rows,
) -> Iterator[tuple[int, Row]]:  # fmt: skip
    """Yield (item, row) until every item has ended, its clock has reached `steps` or it has `settings.rows` rows.

    `prompt` holds rows without END, shape (P, F); it is read, not yielded. A model whose logits are
    not numbers, or a temperature for a field that there is not, raises `CadenzaError`.
    """
    check_fields(settings, representation.fields)
    model.eval()
    for first in range(0, count, LANES):
        lanes = [new_lane(item, seed, representation, grammar, prompt) for item in range(first, first + LANES)]
        for lane in lanes:
            lane.done = lane.item >= count or len(lane.rows) > settings.rows
        yield from improvise(model, representation, grammar, settings, lanes, steps)


def check_fields(settings: SampleSettings, fields: Sequence[str]) -> None:
    """A temperature of an unknown field raises `CadenzaError`."""
    for field in settings.by_field:
        if field not in fields:
            raise CadenzaError(
                f"There is no field {field!r} to give a temperature{nearest(field, fields)}; this model's fields: {', '.join(fields)}."
            )


def new_lane(item: int, seed: int, representation: Representation, grammar: Grammar, prompt: Rows) -> Lane:
    place = grammar.begin()
    for row in prompt:
        place = grammar.advance(place, row)
    rows = [representation.start_row, *prompt]
    return Lane(item, np.random.default_rng([seed, item]), rows, place, int(representation.steps(prompt).sum()))


def improvise(
    model: Model,
    representation: Representation,
    grammar: Grammar,
    settings: SampleSettings,
    lanes: list[Lane],
    steps: int,
) -> Iterator[tuple[int, Row]]:
    """Move all lanes on together until each is done."""
    device = next(model.parameters()).device
    state = None
    unread = len(lanes[0].rows)
    while not all(lane.done for lane in lanes):
        if model.window:
            state, unread = None, min(model.window, len(lanes[0].rows))
        rows_LTF = np.stack([np.stack(lane.rows[-unread:]) for lane in lanes])
        clocks = [
            lane.clock - int(representation.steps(rows).sum()) for lane, rows in zip(lanes, rows_LTF, strict=True)
        ]
        context = np.stack([representation.context(rows, clock) for rows, clock in zip(rows_LTF, clocks, strict=True)])
        ids = torch.from_numpy(rows_LTF.astype(np.int64))
        hidden_LTD, state = model(ids.to(device), torch.from_numpy(context).to(device), state)
        unread = 1
        for lane, row in zip(
            lanes, choose_rows(model, representation, grammar, settings, lanes, hidden_LTD[:, -1]), strict=True
        ):
            lane.rows.append(row)
            lane.clock += int(representation.steps(row[None])[0])
            lane.place = grammar.advance(lane.place, row)
            if not lane.done and lane.clock < steps:
                yield lane.item, row
            lane.done |= grammar.ends(row) or lane.clock >= steps or len(lane.rows) > settings.rows


def choose_rows(
    model: Model,
    representation: Representation,
    grammar: Grammar,
    settings: SampleSettings,
    lanes: list[Lane],
    hidden_LD: torch.Tensor,
) -> Rows:
    """The next row of every lane, field by field; shape (L, F)."""
    chosen = np.tile(representation.start_row, (len(lanes), 1))
    draws = np.stack([lane.rng.random(len(grammar.sizes)) for lane in lanes])
    before_LF = torch.from_numpy(np.stack([lane.rows[-1] for lane in lanes]).astype(np.int64)).to(hidden_LD.device)
    open_lanes = np.ones(len(lanes), dtype=bool)
    for f in range(len(grammar.sizes)):
        row_LF = torch.from_numpy(chosen.astype(np.int64)).to(hidden_LD.device)
        logits_LV = model.heads.field(f, hidden_LD, before_LF, row_LF).cpu().double().numpy()
        allowed_LV = np.stack([grammar.allowed(lane.place, f, row) for lane, row in zip(lanes, chosen, strict=True)])
        ids = choose(logits_LV, allowed_LV, draws[:, f], settings, representation.fields[f])
        chosen[open_lanes, f] = ids[open_lanes]
        open_lanes &= [not grammar.last_field(row) for row in chosen]
    return chosen


def choose(
    logits_LV: Values, allowed_LV: npt.NDArray[np.bool_], draws_L: Values, settings: SampleSettings, field: str = ""
) -> npt.NDArray[np.int64]:
    """One id per lane, at the temperature of `field`; `draws_L` are uniform in [0, 1).

    Temperature 0 takes the likeliest. Otherwise the ids are sorted by probability at the temperature,
    and top-k, top-p (Holtzman et al., 2020) and min-p (Nguyen et al., 2024) each cut the tail; the
    likeliest always stays.
    """
    if not np.isfinite(logits_LV).all():
        raise CadenzaError(
            "The model's output is not a number; it is damaged or its training went wrong. Train it again."
        )
    logits = np.where(allowed_LV, logits_LV, -np.inf)
    temperature = settings.temperature_of(field)
    if temperature == 0:
        return logits.argmax(axis=1)
    order = np.argsort(-logits, axis=1, kind="stable")
    ranked = np.take_along_axis(logits, order, axis=1)
    weight = np.exp((ranked - ranked[:, :1]) / temperature)
    probability = weight / weight.sum(axis=1, keepdims=True)
    before = np.cumsum(probability, axis=1) - probability
    kept = (before < settings.top_p) & (weight >= settings.min_p) & (weight > 0)
    if settings.top_k:
        kept[:, settings.top_k :] = False
    kept[:, 0] = True
    cumulative = np.cumsum(np.where(kept, probability, 0), axis=1)
    ranks = (cumulative <= (draws_L * cumulative[:, -1])[:, None]).sum(axis=1)
    return np.take_along_axis(order, ranks[:, None], axis=1)[:, 0]
