"""How surprised a model is by pieces: nats and bits, every scored id exactly once.

`Score` holds what any model, a network or a baseline, made of some pieces, and gives every figure with
its 95 % interval: whole works are drawn with replacement (Efron, 1979), since pieces of one work are alike.
Two models are compared on the same draws (Koehn, 2004).

`scoring` reads each piece from its start in chunks that hand their state on, so every note has its full left
context. A model with a window begins every window blank, as the study did. The probabilities are the
model's own, without masks. Shapes: B or P pieces, T rows, F fields, W works, D draws.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from cadenza.batches import Tables, collate
from cadenza.errors import CadenzaError
from cadenza.models import Model
from cadenza.parallel import ALONE, Group
from cadenza.records import Progress, outcome
from cadenza.tokens import Rows, Schema

CHUNK_ROWS = 512
LANES = 32
DRAWS = 1000
TOTAL = "total"

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Interval = tuple[float, float]
Values = dict[str, dict[str, float]]
"""Figure by name, then by field, and `TOTAL` for all fields together."""


class Sums(NamedTuple):
    """Sums over pieces; any shape of draws may stand before F."""

    nats_F: Floats
    tokens_F: Floats
    grid_bits_F: Floats
    notes: Floats
    seconds: Floats


@dataclass(frozen=True)
class Score:
    """What one model made of P pieces.

    `grid_bits_PF` says what each piece's times cost more on the common grid, `Representation.resolution`:
    log2 of the width of each bin, uniform inside it. Seconds are NaN where they are not known.
    """

    fields: tuple[str, ...]
    nats_PF: Floats
    tokens_PF: Integers
    grid_bits_PF: Floats
    notes_P: Integers
    seconds_P: Floats

    @classmethod
    def of(cls, schema: Schema, rows: Sequence[Rows], nats_PF: Floats, seconds_P: Floats | None = None) -> Score:  # fmt: skip
        """The nats of pieces, with what these pieces ask of every model alike."""
        count, fields = len(rows), len(schema.fields)
        tokens_PF, grid_bits_PF = np.zeros((count, fields), np.int64), np.zeros((count, fields))
        widths = [np.log2(schema.widths(f)) for f in range(fields)]
        for place, piece in enumerate(rows):
            scored = schema.scored(piece)
            tokens_PF[place] = scored.sum(axis=0)
            grid_bits_PF[place] = [widths[f][piece[scored[:, f], f]].sum() for f in range(fields)]
        notes_P = np.array([schema.note_count(piece) for piece in rows], dtype=np.int64)
        seconds_P = np.full(count, math.nan) if seconds_P is None else np.asarray(seconds_P, dtype=np.float64)
        return cls(schema.fields, nats_PF, tokens_PF, grid_bits_PF, notes_P, seconds_P)

    @property
    def bits_per_note(self) -> float:
        """All nats, rests and ends included, in bits, over the number of notes."""
        return self.figures()["bits_per_note"][TOTAL]

    @property
    def perplexity_per_token(self) -> float:
        """Exp of the mean nats of a scored id."""
        return self.figures()["perplexity_per_token"][TOTAL]

    def figures(self) -> Values:
        """Every figure of `ratios`, by field and in total; bits of fields add up to the total."""
        columns = self.columns
        names = (*self.fields, TOTAL)
        found = ratios(Sums(*(column.sum(axis=0).astype(np.float64) for column in columns)))
        return {figure: dict(zip(names, values.tolist(), strict=True)) for figure, values in found.items()}

    def intervals(self, works_P: Integers) -> dict[str, dict[str, Interval]] | None:
        """95 % bootstrap intervals of all `figures`; one work says nothing of others: then there is none."""
        drawn = draw_works(works_P)
        if drawn is None:
            return None
        found = ratios(Sums(*(drawn.sums(column) for column in self.columns)))
        return {figure: dict(zip((*self.fields, TOTAL), map(middle, values_DF.T), strict=True)) for figure, values_DF in found.items()}  # fmt: skip

    @property
    def columns(self) -> tuple[npt.NDArray[np.float64 | np.int64], ...]:
        return self.nats_PF, self.tokens_PF, self.grid_bits_PF, self.notes_P, self.seconds_P


def ratios(sums: Sums) -> dict[str, Floats]:
    """Every figure, the fields and then their total in the last axis."""
    nats, tokens, grid_bits = (np.concatenate([each, each.sum(-1, keepdims=True)], -1) for each in sums[:3])
    notes, seconds = sums.notes[..., None], sums.seconds[..., None]
    bits = nats / math.log(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = nats / tokens
        return {
            "nats_per_token": mean,
            "perplexity_per_token": np.exp(np.minimum(mean, 700)),
            "bits_per_note": bits / notes,
            "bits_per_note_on_grid": (bits + grid_bits) / notes,
            "bits_per_second": bits / seconds,
        }


class Draws(NamedTuple):
    """How often each work was drawn, and the work of each piece."""

    times_DW: Floats
    work_P: Integers

    def sums(self, column: npt.NDArray[np.float64 | np.int64]) -> Floats:
        """The sums of a column (P, …) in each draw."""
        by_work = np.zeros((self.times_DW.shape[1], *column.shape[1:]))
        np.add.at(by_work, self.work_P, column)
        return self.times_DW @ by_work


def draw_works(works_P: Integers, seed: int = 0) -> Draws | None:
    """As many works as there are, with replacement, `DRAWS` times; None of one work."""
    names, work_P = np.unique(works_P, return_inverse=True)
    if len(names) < 2:
        return None
    times = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    return Draws(times.astype(np.float64), work_P)


def middle(values_D: Floats) -> Interval:
    """Where the middle 95 % lie."""
    low, high = np.percentile(values_D, [2.5, 97.5])
    return float(low), float(high)


def paired_interval(one: Score, other: Score, works_P: Integers, per_token: bool = False) -> Interval | None:
    """95 % interval of the bits per note (or token) of one model minus another's, both on the same draws of works."""
    assert np.array_equal(one.notes_P, other.notes_P)
    drawn = draw_works(works_P)
    if drawn is None:
        return None
    bits_P = (one.nats_PF - other.nats_PF).sum(axis=1) / math.log(2)
    return middle(drawn.sums(bits_P) / drawn.sums(one.tokens_PF.sum(axis=1) if per_token else one.notes_P))


def concatenate(scores: Sequence[Score]) -> Score:
    """The pieces of several scores, one after the other."""
    return Score(scores[0].fields, *map(np.concatenate, zip(*(score.columns for score in scores), strict=True)))


def check_ids(model: Model, schema: Schema, rows: Sequence[Rows]) -> None:
    """A model for other ids than those of the rows raises `CadenzaError`."""
    largest = np.max([piece.max(axis=0) for piece in rows if len(piece)], axis=0, initial=0)
    if model.sizes != schema.sizes or (largest > model.sizes).any():
        raise CadenzaError(
            f"The model knows {' × '.join(map(str, model.sizes))} ids, the pieces are written with {' × '.join(map(str, np.maximum(largest, schema.sizes)))}; use the corpus and the representation it was made for."
        )


def score(
    model: Model,
    tables: Tables,
    schema: Schema,
    pieces: npt.NDArray[np.int64],
    seconds_P: Floats | None = None,
    group: Group = ALONE,
) -> Score:
    """Score `pieces` (indices into `tables`); the model is left in the mode it was in.

    Every process of a group reads its share of them and learns the figures of all, to the last bit those of one process.
    """
    return outcome(scoring(model, tables, schema, pieces, seconds_P, group=group))


@torch.inference_mode()
def scoring(
    model: Model,
    tables: Tables,
    schema: Schema,
    pieces: npt.NDArray[np.int64],
    seconds_P: Floats | None = None,
    doing: str = "scoring",
    group: Group = ALONE,
) -> Generator[Progress, None, Score]:
    """`score`, with progress in pieces."""
    rows = [tables.piece(int(index)) for index in pieces]
    check_ids(model, schema, rows)
    nats_PF = np.zeros((len(pieces), len(schema.sizes)))
    was_training = model.training
    lengths = tables.lengths(pieces)
    by_length = np.argsort(-lengths, kind="stable")
    try:
        model.eval()
        for first in range(0, len(pieces), LANES)[group.share]:
            yield Progress(doing, first, len(pieces))
            lanes = by_length[first : first + LANES]
            nats_PF[lanes] = score_lanes(model, tables, schema, pieces[lanes], lengths[lanes])
    finally:
        model.train(was_training)
    yield Progress(doing, len(pieces), len(pieces))
    return Score.of(schema, rows, group.sum(nats_PF), seconds_P)


def score_lanes(
    model: Model,
    tables: Tables,
    schema: Schema,
    pieces: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
) -> Floats:
    """The nats of some pieces, side by side; shape (B, F)."""
    device = next(model.parameters()).device
    chunk = model.window or CHUNK_ROWS
    nats_BF, state = np.zeros((len(pieces), len(schema.sizes))), None
    for start in range(0, int(lengths.max()), chunk):
        stops = np.minimum(start + chunk, lengths)
        windows = [(int(piece), min(start, int(stop)), int(stop)) for piece, stop in zip(pieces, stops, strict=True)]
        batch = collate(tables, schema, windows).to(device)
        hidden_BTD, state = model(batch.ids_BTF, batch.context_BTC, None if model.window else state)
        nats_BTF = model.nats(hidden_BTD, batch.ids_BTF, batch.targets_BTF, batch.scored_BTF)
        nats_BF += nats_BTF.cpu().double().sum(dim=1).numpy()
    return nats_BF
