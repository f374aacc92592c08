"""One id per lane, chosen from logits: temperature, top-k, top-p, min-p, and what masks leave. Shapes: L lanes, V ids."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cadenza.engine.kernels import SMALLEST, exponentials, in_order

NO_NUMBERS = "The model's output is not a number; it is damaged or its training went wrong. Train it again."
NONE_LEFT, NO_NUMBER = -1, -2
"""In place of an id: the mask leaves none; a logit is not a number."""


class Chosen(NamedTuple):
    """Ids (L,), their nats under the model as it is, and the share of its probability that the mask took; the least id."""

    ids: np.ndarray
    nats: np.ndarray
    removed: np.ndarray
    worst: int


@in_order
def choose_ids(logits_LV, allowed_LV, draws_L, temperature, top_k, top_p, min_p):
    """The choice of each lane; a draw in [0, 1) picks the id at which the probabilities, added up in order of id, pass it.

    What is cut is decided by rank: top-k keeps the k likeliest, top-p those before which less than p is gathered
    (Holtzman et al., 2020), min-p those that have at least this share of the likeliest (Nguyen et al., 2024).
    """
    lanes, size = logits_LV.shape
    ids_L = np.empty(lanes, np.int64)
    nats_L, removed_L = np.zeros(lanes), np.zeros(lanes)
    ranked_V, behind_V, weight_V, kept_V = np.empty(size), np.empty(size), np.empty(size), np.empty(size, np.bool_)
    share_V, bits = np.empty(size, np.float32), np.empty(size, np.int32)
    for lane in range(lanes):
        best, largest = likeliest(logits_LV[lane], allowed_LV[lane])
        ids_L[lane] = best
        if best < 0:
            continue
        for v in range(size):
            behind_V[v] = logits_LV[lane, v] - largest
        powers(behind_V, share_V, bits)
        whole = left = 0.0
        for v in range(size):
            whole += share_V[v]
            left += share_V[v] if allowed_LV[lane, v] else 0.0
        removed_L[lane] = max(0.0, 1 - left / whole)
        if temperature > 0:
            best_logit = np.float64(logits_LV[lane, best])
            for v in range(size):
                kept_V[v] = allowed_LV[lane, v]
                ranked_V[v] = logits_LV[lane, v] if kept_V[v] else -np.inf
                behind_V[v] = (ranked_V[v] - best_logit) / temperature
            powers(behind_V, share_V, bits)
            for v in range(size):
                weight_V[v] = share_V[v] if behind_V[v] > SMALLEST else 0.0
            cut(ranked_V, weight_V, kept_V, best, top_k, top_p, min_p)
            ids_L[lane] = drawn(weight_V, kept_V, draws_L[lane])
        nats_L[lane] = largest - logits_LV[lane, ids_L[lane]] + math.log(whole)
    return Chosen(ids_L, nats_L, removed_L, ids_L.min())


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
