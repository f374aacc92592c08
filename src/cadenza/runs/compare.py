"""Held-out figures of several runs side by side, from their `scores.jsonl`; only on one and the same split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cadenza.errors import CadenzaError
from cadenza.likelihood import ratio_interval
from cadenza.runs.folder import MANIFEST, Run

Values = npt.NDArray[np.float64]


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """Bits per note of every run on the held-out part, and its difference to the first run's.

    Intervals hold 95 %, over works drawn with replacement; those of a difference draw the same works for
    both runs (paired bootstrap; Efron, 1979; Koehn, 2004). Runs that cannot be compared raise `CadenzaError`.
    """
    if len(runs) < 2:
        raise CadenzaError("One run cannot be compared; give two or more run folders.")
    metrics = [run.metrics() for run in runs]
    for run, figures in zip(runs[1:], metrics[1:], strict=True):
        check_comparable(runs[0], run, metrics[0], figures)
    part, lossy = metrics[0]["held_out"], bool(metrics[0]["lossy"])
    if not metrics[0][part]:
        raise CadenzaError(f"{runs[0].folder}: nothing was held out, so there is no figure to compare.")
    lines = [[line for line in run.scores() if line["part"] == part] for run in runs]
    works = np.array([line["work"] for line in lines[0]])
    bits = [bits_of(each, "network") for each in lines]
    units = np.array([line["tokens" if lossy else "notes"] for line in lines[0]], dtype=np.float64)
    table = [row(run.folder, own, bits[0], units, works) for run, own in zip(runs, bits, strict=True)]
    return {
        "part": part,
        "unit": f"bits per {metrics[0]['unit']}" if lossy else "bits per note",
        "resolution": metrics[0]["resolution"],
        "pieces": len(works),
        "works": len(np.unique(works)),
        "markov": float(bits_of(lines[0], "markov").sum() / units.sum()),
        "runs": table,
    }


def check_comparable(first: Run, other: Run, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Raise unless both runs were scored on the same pieces, in the same unit."""
    if first.manifest_sha256() != other.manifest_sha256():
        raise CadenzaError(
            f"{other.folder / MANIFEST}: not the same as that of {first.folder}, so the runs were examined on other music; train one of them again on the other's split (same files, same train.seed)."
        )
    for key in ("unit", "resolution", "held_out"):
        if before[key] != after[key]:
            raise CadenzaError(
                f"{other.folder}: its {key.replace('_', ' ')} is {after[key]!r}, that of {first.folder} is {before[key]!r}, so the figures do not compare."
            )


def bits_of(lines: Sequence[dict[str, Any]], model: str) -> Values:
    """What every piece costs under a model of `scores.jsonl`, bits."""
    return np.array([np.sum(line["nats"][model]) for line in lines]) / np.log(2)


def row(folder: Path, own: Values, first: Values, units: Values, works: npt.NDArray[np.int64]) -> dict[str, Any]:
    """One run's figures; the first run differs from itself by nothing."""
    difference = ratio_interval(own - first, units, works)
    return {
        "run": str(folder),
        "bits": float(own.sum() / units.sum()),
        "interval": ratio_interval(own, units, works),
        "difference": float((own - first).sum() / units.sum()),
        "difference_interval": difference,
        "verdict": in_words(difference),
    }


def in_words(difference: tuple[float, float] | None) -> str:
    """What an interval of a difference says; lower is better."""
    if difference is None:
        return "one work says nothing of others"
    low, high = difference
    if low == high == 0:
        return "the same"
    return "better" if high < 0 else "worse" if low > 0 else "may be chance"
