"""How surprised a model is by pieces: nats and bits, every scored id exactly once.

Each piece is read from its start in chunks that hand their state on, so every note has its full left
context. A model with a window begins every window blank, as the study did. The probabilities are the model's own, without masks. Shapes: B pieces, T rows, F fields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cadenza.batches import Tables, collate
from cadenza.models import Model
from cadenza.tokens import Representation

CHUNK_ROWS = 512
LANES = 32


@dataclass(frozen=True)
class Score:
    """Sums over pieces: P pieces, F fields."""

    nats_PF: npt.NDArray[np.float64]
    tokens_PF: npt.NDArray[np.int64]
    notes_P: npt.NDArray[np.int64]

    @property
    def bits_per_note(self) -> float:
        """All nats, rests and ends included, in bits, over the number of notes."""
        return float(self.nats_PF.sum() / math.log(2) / self.notes_P.sum())

    @property
    def perplexity_per_token(self) -> float:
        """Exp of the mean nats of a scored id."""
        return float(math.exp(min(self.nats_PF.sum() / self.tokens_PF.sum(), 700)))

    def bits_per_note_by_field(self, fields: Sequence[str]) -> dict[str, float]:
        """The bits of each field over the number of notes; they add up to `bits_per_note`."""
        bits = self.nats_PF.sum(axis=0) / math.log(2) / self.notes_P.sum()
        return dict(zip(fields, bits.tolist(), strict=True))

    def interval(self, works_P: npt.NDArray[np.int64], draws: int = 1000, seed: int = 0) -> tuple[float, float] | None:
        """95 % bootstrap interval of `bits_per_note`, whole works drawn with replacement (Efron, 1979).

        One work says nothing of others: then there is none.
        """
        names, work = np.unique(works_P, return_inverse=True)
        if len(names) < 2:
            return None
        bits = np.bincount(work, self.nats_PF.sum(axis=1)) / math.log(2)
        notes = np.bincount(work, self.notes_P)
        drawn = np.random.default_rng(seed).integers(len(bits), size=(draws, len(bits)))
        low, high = np.percentile(bits[drawn].sum(axis=1) / notes[drawn].sum(axis=1), [2.5, 97.5])
        return float(low), float(high)


@torch.inference_mode()
def score(model: Model, tables: Tables, representation: Representation, pieces: npt.NDArray[np.int64]) -> Score:
    """Score `pieces` (indices into `tables`); the model is left in the mode it was in."""
    fields = len(representation.sizes)
    nats = np.zeros((len(pieces), fields))
    tokens = np.zeros((len(pieces), fields), dtype=np.int64)
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    lengths = tables.lengths(pieces)
    chunk = model.window or CHUNK_ROWS
    by_length = np.argsort(-lengths, kind="stable")
    for first in range(0, len(pieces), LANES):
        lanes = by_length[first : first + LANES]
        state = None
        for start in range(0, int(lengths[lanes].max()), chunk):
            stop = start + chunk
            windows = [(int(pieces[i]), int(min(start, lengths[i])), int(min(stop, lengths[i]))) for i in lanes]
            batch = collate(tables, representation, windows).to(device)
            hidden_BTD, state = model(batch.ids_BTF, batch.context_BTC, None if model.window else state)
            nats_BTF = model.nats(hidden_BTD, batch.targets_BTF, batch.scored_BTF)
            nats[lanes] += nats_BTF.double().sum(dim=1).cpu().numpy()
            tokens[lanes] += batch.scored_BTF.sum(dim=1).cpu().numpy()
    model.train(was_training)
    notes = np.array([representation.note_count(tables.piece(int(index))) for index in pieces], dtype=np.int64)
    return Score(nats, tokens, notes)
