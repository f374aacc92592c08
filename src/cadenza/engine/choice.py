"""One id per lane, chosen from logits: temperature, top-k, top-p, min-p, and what masks leave. Shapes: L lanes, V ids."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cadenza.engine.kernels import in_order

NO_NUMBERS = "The model's output is not a number; it is damaged or its training went wrong. Train it again."
NONE_LEFT, NO_NUMBER = -1, -2
"""In place of an id: the mask leaves none; a logit is not a number."""


class Chosen(NamedTuple):
    """Ids (L,), their nats under the model as it is, and the share of its probability that the mask took."""

    ids: np.ndarray
    nats: np.ndarray
    removed: np.ndarray


@in_order
def choose_ids(logits_LV, allowed_LV, draws_L, temperature, top_k, top_p, min_p):
    """The choice of each lane; a draw in [0, 1) picks the id at which the probabilities, added up in order of id, pass it.

    What is cut is decided by rank: top-k keeps the k likeliest, top-p those before which less than p is gathered
    (Holtzman et al., 2020), min-p those that have at least this share of the likeliest (Nguyen et al., 2024).
    """
    lanes, size = logits_LV.shape
    ids_L = np.empty(lanes, np.int64)
    nats_L, removed_L = np.zeros(lanes), np.zeros(lanes)
    behind_V, weight_V, kept_V = np.empty(size), np.empty(size), np.empty(size, np.bool_)
    for lane in range(lanes):
        best, largest = NONE_LEFT, -np.inf
        for v in range(size):
            if not math.isfinite(logits_LV[lane, v]):
                best = NO_NUMBER
                break
            largest = max(largest, logits_LV[lane, v])
            if allowed_LV[lane, v] and (best < 0 or logits_LV[lane, v] > logits_LV[lane, best]):
                best = v
        ids_L[lane] = best
        if best < 0:
            continue
        whole = left = 0.0
        for v in range(size):
            share = math.exp(np.float64(logits_LV[lane, v]) - largest)
            whole += share
            left += share if allowed_LV[lane, v] else 0.0
        removed_L[lane] = max(0.0, 1 - left / whole)
        if temperature > 0:
            likeliest = np.float64(logits_LV[lane, best])
            for v in range(size):
                kept_V[v] = allowed_LV[lane, v]
                behind_V[v] = (logits_LV[lane, v] - likeliest) / temperature if kept_V[v] else -np.inf
                weight_V[v] = math.exp(behind_V[v])
            cut(behind_V, weight_V, kept_V, best, top_k, top_p, min_p)
            ids_L[lane] = drawn(weight_V, kept_V, draws_L[lane])
        nats_L[lane] = largest - logits_LV[lane, ids_L[lane]] + math.log(whole)
    return Chosen(ids_L, nats_L, removed_L)


@in_order
def cut(behind_V, weight_V, kept_V, best, top_k, top_p, min_p):
    """Let go of the ids in the tail; the likeliest stays. Ranks are those of logits: weights that differ less are equal."""
    if 0 < top_k < len(weight_V) or top_p < 1:
        total, gathered = weight_V.sum(), 0.0
        order = np.argsort(-behind_V, kind="mergesort")
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
        if kept_V[v] and weight_V[v] > 0:
            gathered += weight_V[v]
            last = v
            if gathered > threshold:
                break
    return last
