"""Few works: a model per fold gives the held-out figures, and the delivered model learns from everything.

Every fold of works is held out from a model of its own. Each of these trainings scores its fold after
every evaluation; the step with the lowest mean over the folds is where the delivered model stops. A fold's
own figure is read at the step that the *other* folds choose, so that no piece has a say in the figure it
gets (cross-validation; Stone, 1974). All trainings share the minutes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cadenza.corpus.split import TRAIN, VALIDATION
from cadenza.likelihood import Score
from cadenza.records import Record, Said
from cadenza.runs.fit import Course, train_on
from cadenza.runs.folder import CHOICE, FOLDS, Run


def cross_validate(run: Run) -> Iterator[Record]:
    """Train on all folds but one, for each, as far as that is not done yet; then choose the steps."""
    folds, steps = run.folds(), run.settings().train.steps
    for fold in range(folds):
        if run.evaluated_step(place(fold)) >= steps:
            continue
        data = run.fold_data(fold)
        yield Said(f"Fold {fold + 1} of {folds}: {len(data.validation)} of {len(run.kept())} pieces held out.")
        yield from train_on(run, Course(place(fold), data, steps))
    bits = np.array([[bits_of(line) for line in evaluations(run, fold)] for fold in range(folds)])
    at = [line["step"] for line in evaluations(run, 0)]
    best, by_fold = choose(bits)
    run.write_json(CHOICE, {"step": at[best], "by_fold": [at[index] for index in by_fold]})
    yield Said(
        f"Held-out pieces are predicted best after step {at[best]:,} of {steps:,}; the model now trains on all pieces, up to that step."
    )


def place(fold: int) -> str:
    """The folder of a fold below the run's."""
    return f"{FOLDS}/{fold + 1}/"


def evaluations(run: Run, fold: int) -> list[dict[str, Any]]:
    return [line for line in run.log(place(fold)) if line["kind"] == "evaluation"]


def bits_of(line: dict[str, Any]) -> float:
    """What a fold's own pieces cost at an evaluation, bits."""
    return float(np.sum(line["nats"])) / math.log(2)


def choose(bits_KE: npt.NDArray[np.float64]) -> tuple[int, list[int]]:
    """The evaluation that is best over all K folds, and for each fold the one that is best over the others.

    `bits_KE` are the bits of all pieces of a fold at each evaluation; every piece is in one fold, so
    sums over folds are sums over pieces.

    >>> choose(np.array([[3.0, 1.0, 2.0], [3.0, 2.0, 1.0], [3.0, 2.5, 1.0]]))
    (2, [2, 2, 1])
    """
    total_E = bits_KE.sum(axis=0)
    return int(total_E.argmin()), [int((total_E - own_E).argmin()) for own_E in bits_KE]


def held_out_score(run: Run, fold: int, seconds: npt.NDArray[np.float64] | None = None) -> Score:
    """The score of a fold's pieces, which last `seconds`, at the step that the other folds chose."""
    step = run.choice()["by_fold"][fold]
    line = next(line for line in evaluations(run, fold) if line["step"] == step)
    data = run.fold_data(fold)
    rows = [data.tables.piece(int(index)) for index in data.validation]
    return Score.of(data.schema, rows, np.array(line["nats"]), seconds)


def mean_log(run: Run) -> list[dict[str, Any]]:
    """The evaluations of all folds as if they were those of one training: means, and the best by the choice."""
    chosen, lines = run.choice()["step"], []
    for together in zip(*(evaluations(run, fold) for fold in range(run.folds())), strict=True):
        figures = {
            key: {part: float(np.mean([line[key][part] for line in together])) for part in (TRAIN, VALIDATION)}
            for key in ("bits_per_note", "perplexity_per_token")
        }
        step = together[0]["step"]
        epoch = float(np.mean([line["epoch"] for line in together]))
        lines.append({"kind": "evaluation", "step": step, "epoch": epoch, "best": step == chosen, **figures})
    return lines
