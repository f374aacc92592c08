"""Held-out figures of several runs side by side, from their `scores.jsonl`; only on one and the same split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cadenza.errors import CadenzaError
from cadenza.evaluate.verdict import MARKOV, NETWORK
from cadenza.likelihood import TOTAL, Score, paired_interval
from cadenza.runs.figures import read_scores
from cadenza.runs.folder import MANIFEST, Run

Works = npt.NDArray[np.int64]


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """Bits per note of every run on the held-out part, and its difference to the first run's.

    Where the representation loses notes, bits per token. Intervals hold 95 %, over works drawn with
    replacement; those of a difference draw the same works for both runs (paired bootstrap; Efron, 1979;
    Koehn, 2004). Runs that cannot be compared raise `CadenzaError`.
    """
    if len(runs) < 2:
        raise CadenzaError("One run cannot be compared; give two or more run folders.")
    metrics = [run.metrics() for run in runs]
    for run, figures in zip(runs[1:], metrics[1:], strict=True):
        check_comparable(runs[0], run, metrics[0], figures)
    part, lossy = metrics[0]["held_out"], bool(metrics[0]["lossy"])
    if not metrics[0][part]:
        raise CadenzaError(f"{runs[0].folder}: nothing was held out, so there is no figure to compare.")
    scores, works = read_scores(runs[0], part)
    networks = [on_grid(read_scores(run, part)[0][NETWORK]) for run in runs]
    for run, other in zip(runs, networks, strict=True):
        if not np.array_equal(other.notes_P, networks[0].notes_P):
            raise CadenzaError(
                f"{run.folder}: its pieces do not hold the same notes as those of {runs[0].folder}, so the figures do not compare."
            )
    return {
        "part": part,
        "unit": f"bits per {metrics[0]['unit'] if lossy else 'note'} at {metrics[0]['resolution']}",
        "resolution": metrics[0]["resolution"],
        "pieces": len(works),
        "works": len(np.unique(works)),
        "markov": bits(on_grid(scores[MARKOV]), lossy),
        "runs": [row(run.folder, own, networks[0], works, lossy) for run, own in zip(runs, networks, strict=True)],
    }


def check_comparable(first: Run, other: Run, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Raise unless both runs were scored on the same pieces, in the same unit."""
    if first.manifest_sha256() != other.manifest_sha256():
        raise CadenzaError(
            f"{other.folder / MANIFEST}: not the same as that of {first.folder}, so the runs were examined on other music; train one of them again on the other's split (same files, same settings of midi and corpus, same train.seed, and the same --init or none)."
        )
    for key in ("unit", "lossy", "resolution", "held_out"):
        if before[key] != after[key]:
            raise CadenzaError(
                f"{other.folder}: its {key.replace('_', ' ')} is {after[key]!r}, that of {first.folder} is {before[key]!r}, so the figures do not compare."
            )


def on_grid(score: Score) -> Score:
    """The score at the common resolution, so that runs with other bins compare."""
    return replace(score, nats_PF=score.nats_PF + math.log(2) * score.grid_bits_PF)


def bits(score: Score, per_token: bool) -> float:
    return score.figures()["nats_per_token"][TOTAL] / math.log(2) if per_token else score.bits_per_note


def row(folder: Path, own: Score, first: Score, works: Works, per_token: bool) -> dict[str, Any]:
    """One run's figures; the first run differs from itself by nothing."""
    nothing = replace(own, nats_PF=np.zeros_like(own.nats_PF))  # paired with it: the interval of the figure itself
    difference = paired_interval(own, first, works, per_token)
    return {
        "run": str(folder),
        "bits": bits(own, per_token),
        "interval": paired_interval(own, nothing, works, per_token),
        "difference": bits(own, per_token) - bits(first, per_token),
        "difference_interval": difference,
        "verdict": in_words(difference),
    }


def in_words(difference: tuple[float, float] | None) -> str:
    """What an interval of a difference says; lower is better.

    >>> in_words((-0.2, -0.1)), in_words((-0.1, 0.1))
    ('better', 'may be chance')
    """
    if difference is None:
        return "one work says nothing of others"
    low, high = difference
    if low == high == 0:
        return "the same"
    return "better" if high < 0 else "worse" if low > 0 else "may be chance"
