"""One id per lane, chosen from logits: temperature, top-k, top-p, min-p, and what masks leave.

Shapes: L lanes, F fields, V ids of a field, S ids of all fields, one field's after another's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cadenza.compiling import in_order
from cadenza.engine.kernels import SMALLEST, exponentials

NO_NUMBERS = "The model's output is not a number; it is damaged or its training went wrong. Train it again."
NONE_LEFT, NO_NUMBER = -1, -2
"""In place of an id: the mask leaves none; a logit is not a number."""


class Choice(NamedTuple):
    """How rows are chosen: ids that are allowed, a draw in [0, 1) for each field, temperature, top-k, top-p and min-p of
    every field, (F, 4), and in which lanes; nats and what masks took are added up.
    """

    allowed_LS: npt.NDArray[np.bool_]
    draws_LF: npt.NDArray[np.float64]
    controls_F4: npt.NDArray[np.float64]
    open_L: npt.NDArray[np.bool_]
    nats_L: npt.NDArray[np.float64]
    removed_L: npt.NDArray[np.float64]

    def of(self, some: slice) -> Choice:
        """That of some lanes."""
        return Choice(
            self.allowed_LS[some],
            self.draws_LF[some],
            self.controls_F4,
            self.open_L[some],
            self.nats_L[some],
            self.removed_L[some],
        )


class ByLogits(ABC):
    """A reader that chooses by the logits that it gives, a field at a time."""

    sizes: Sequence[int]

    @abstractmethod
    def logits(self, field: int, rows_LF: npt.NDArray[Any], /) -> npt.NDArray[np.float32]:
        """Of a field of the next row of the lanes that read last, given the fields before it; shape (L, V)."""

    def choose(self, fields: range, rows_LF: npt.NDArray[Any], choice: Choice) -> int:
        """The fields of the rows that are open, chosen in their order and written into `rows_LF`; the least id."""
        worst, begins = 0, np.cumsum([0, *self.sizes])
        for f in fields:
            allowed_LV = choice.allowed_LS[:, begins[f] : begins[f + 1]]
            temperature, top_k, top_p, min_p = choice.controls_F4[f].tolist()
            found = choose_ids(
                self.logits(f, rows_LF), allowed_LV, choice.draws_LF[:, f], temperature, int(top_k), top_p, min_p
            )
            rows_LF[choice.open_L, f] = found.ids[choice.open_L]
            choice.nats_L[:] += found.nats * choice.open_L
            choice.removed_L[:] += found.removed * choice.open_L
            if (worst := int(found.ids[choice.open_L].min(initial=0))) < 0:
                break
        return worst


class Chosen(NamedTuple):
    """Ids (L,), their nats under the model as it is, and the share of its probability that the mask took."""

    ids: np.ndarray
    nats: np.ndarray
    removed: np.ndarray


@in_order
def choose_ids(logits_LV, allowed_LV, draws_L, temperature, top_k, top_p, min_p):
    """The choice of each lane, as `choose_id` makes it."""
    lanes, size = logits_LV.shape
    ids_L = np.empty(lanes, np.int64)
    nats_L, removed_L = np.zeros(lanes), np.zeros(lanes)
    room = room_for(size)
    for lane in range(lanes):
        ids_L[lane], nats_L[lane], removed_L[lane] = choose_id(
            logits_LV[lane], allowed_LV[lane], draws_L[lane], temperature, top_k, top_p, min_p, room
        )
    return Chosen(ids_L, nats_L, removed_L)


@in_order
def room_for(size):
    """Where `choose_id` computes."""
    return (
        np.empty(size), np.empty(size), np.empty(size), np.empty(size, np.bool_),
        np.empty(size, np.float32), np.empty(size, np.int32),
    )  # fmt: skip


@in_order
def choose_id(logits_V, allowed_V, draw, temperature, top_k, top_p, min_p, room):
    """An id, its nats and the share that the mask took; the draw, in [0, 1), picks the id at which the probabilities,
    added up in order of id, pass it.

    What is cut is decided by rank: top-k keeps the k likeliest, top-p those before which less than p is gathered
    (Holtzman et al., 2020), min-p those that have at least this share of the likeliest (Nguyen et al., 2024).
    """
    ranked_V, behind_V, weight_V, kept_V, share_V, bits = room
    size = logits_V.shape[0]
    best, largest = likeliest(logits_V, allowed_V)
    if best < 0:
        return best, 0.0, 0.0
    for v in range(size):
        behind_V[v] = logits_V[v] - largest
    powers(behind_V, share_V, bits)
    whole = left = 0.0
    for v in range(size):
        whole += share_V[v]
        left += share_V[v] if allowed_V[v] else 0.0
    chosen = best
    if temperature > 0:
        best_logit = np.float64(logits_V[best])
        for v in range(size):
            kept_V[v] = allowed_V[v]
            ranked_V[v] = logits_V[v] if kept_V[v] else -np.inf
            behind_V[v] = (ranked_V[v] - best_logit) / temperature
        powers(behind_V, share_V, bits)
        for v in range(size):
            weight_V[v] = share_V[v] if behind_V[v] > SMALLEST else 0.0
        cut(ranked_V, weight_V, kept_V, best, top_k, top_p, min_p)
        chosen = drawn(weight_V, kept_V, draw)
    return chosen, largest - logits_V[chosen] + math.log(whole), max(0.0, 1 - left / whole)


@in_order
def likeliest(logits_V, allowed_V):
    """The likeliest id that is allowed, or what stands for none, and the largest logit of all."""
    best, largest = NONE_LEFT, -np.inf
    for v in range(logits_V.shape[0]):
        if not math.isfinite(logits_V[v]):
            return NO_NUMBER, largest
        largest = max(largest, logits_V[v])
        if allowed_V[v] and (best < 0 or logits_V[v] > logits_V[best]):
            best = v
    return best, largest


@in_order
def powers(behind_V, share_V, bits):
    """Sets share to exp(behind), many at once; what is beyond `SMALLEST` is not quite 0."""
    for v in range(behind_V.shape[0]):
        share_V[v] = behind_V[v]
    exponentials(share_V, bits)


@in_order
def cut(ranked_V, weight_V, kept_V, best, top_k, top_p, min_p):
    """Let go of the ids in the tail; the likeliest stays. Ranks are those of logits: weights that differ less are equal."""
    if 0 < top_k < len(weight_V) or top_p < 1:
        total, gathered = weight_V.sum(), 0.0
        order = np.argsort(-ranked_V, kind="mergesort")
        for rank in range(len(order)):
            if (top_k and rank >= top_k) or gathered >= top_p:
                kept_V[order[rank]] = False
            gathered += weight_V[order[rank]] / total
    for v in range(len(weight_V)):
        kept_V[v] &= weight_V[v] >= min_p
    kept_V[best] = True


@in_order
def drawn(weight_V, kept_V, draw):
    """The first id at which the sum of the kept weights passes the draw's share of them."""
    total = 0.0
    for v in range(len(weight_V)):
        total += weight_V[v] if kept_V[v] else 0.0
    threshold, gathered, last = draw * total, 0.0, 0
    for v in range(len(weight_V)):
        if kept_V[v]:
            gathered += weight_V[v]
            last = v
            if gathered > threshold:
                break
    return last
