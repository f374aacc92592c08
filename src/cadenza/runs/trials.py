"""Ways of sampling that were tried, and which of them to take.

In: the pieces that were improvised with a setting. Out: how far they are from validation music and how many copy from training
pieces; of several settings, the choice and a sentence on it.

Of the settings that copy least and whose distance is within one standard error of the smallest, the
plainest is taken (the rule of Breiman et al., 1984): the fewest controls, then the nearest to temperature 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cadenza.errors import CadenzaError
from cadenza.evaluate.closeness import Closeness, measure_closeness, noise
from cadenza.evaluate.originality import TrainingIndex, Yardstick, verdict
from cadenza.evaluate.variety import variety
from cadenza.improviser import Piece
from cadenza.notes import Notes
from cadenza.runs.controls import controls_in_words
from cadenza.settings import SampleSettings
from cadenza.tokens import Representation


@dataclass(frozen=True, eq=False)
class Trial:
    """A setting and what came of it."""

    sampling: SampleSettings
    closeness: Closeness
    copied: int
    samples: list[dict[str, float]]

    @property
    def distance(self) -> float:
        return self.closeness.distance

    def noise(self, other: Trial) -> float:
        """The standard error of the difference of two distances."""
        return noise(self.closeness, other.closeness)

    @property
    def plainness(self) -> tuple[int, float]:
        """Smaller is plainer: fewer controls, then nearer to temperature 1."""
        return len(self.sampling.by_field) + (self.sampling.top_p < 1), round(abs(self.sampling.temperature - 1), 6)


@dataclass(frozen=True)
class Judge:
    """What pieces are compared with: validation music and its works for closeness, training music for copies."""

    reference: list[Notes]
    works: list[int]
    index: TrainingIndex
    yardstick: Yardstick
    names: list[str]

    def copied(self, pieces: Sequence[Notes]) -> int:
        """How many pieces share more with the training pieces than any validation excerpt does."""
        likenesses = self.index.likeness([piece for piece in pieces if len(piece)])
        return sum(verdict(likeness, self.yardstick, self.names).copied for likeness in likenesses)


def judged(tokens: Representation, judge: Judge, sampling: SampleSettings, pieces: Sequence[Piece]) -> Trial:
    notes = [piece.notes for piece in pieces]
    samples = [
        {"temperature": sampling.temperature, "rows": len(piece.rows), "notes": len(piece.notes)}
        | variety(tokens, piece.rows, piece.notes)
        for piece in pieces
        if len(piece.notes)
    ]
    return Trial(sampling, measure_closeness(notes, judge.reference, judge.works), judge.copied(notes), samples)


def candidates(trials: Sequence[Trial]) -> list[Trial]:
    """The settings that copy least."""
    able = [trial for trial in trials if math.isfinite(trial.distance)]
    if not able:
        raise CadenzaError("The pieces end before their first note at every temperature tried; train the model longer.")
    fewest = min(trial.copied for trial in able)
    return [trial for trial in able if trial.copied == fewest]


def plainest(trials: Sequence[Trial]) -> Trial:
    """Of the settings that copy least and are within noise of the closest of them, the plainest."""
    able = candidates(trials)
    best = min(able, key=lambda trial: trial.distance)
    near = [trial for trial in able if trial.distance - best.distance <= trial.noise(best)]
    return min(near, key=lambda trial: (trial.plainness, trial.distance))


def why(chosen: Trial, trials: Sequence[Trial]) -> str:
    """The choice in one sentence."""
    able = candidates(trials)
    best = min(able, key=lambda trial: trial.distance)
    kind = {True: "", False: f", among those that copy least (in {chosen.copied} pieces)" if chosen.copied else ", among those that copy no more than validation music does"}[len(able) == len(trials)]  # fmt: skip
    words = controls_in_words(chosen.sampling).capitalize()
    if chosen is best:
        return f"{words} is closest to the validation music (distance {chosen.distance:.3f}){kind}."
    return f"{words} is the plainest setting whose distance to the validation music ({chosen.distance:.3f}) is within noise (± {chosen.noise(best):.3f}) of the smallest ({best.distance:.3f}, {controls_in_words(best.sampling)}){kind}."


def in_words(trial: Trial, count: int) -> str:
    copies = f"; {trial.copied} of {count} pieces copy" if trial.copied else ""
    apart = f"distance {trial.distance:.3f}" if math.isfinite(trial.distance) else "too few pieces have notes"
    return f"{controls_in_words(trial.sampling).capitalize()}: {apart}{copies}."


def as_dict(trial: Trial, chosen: Trial) -> dict[str, Any]:
    able = math.isfinite(trial.distance)
    return {
        "temperature": trial.sampling.temperature, "by_field": trial.sampling.by_field, "top_p": trial.sampling.top_p,
        "plain": not trial.plainness[0], "distance": trial.distance if able else None, "noise": trial.noise(chosen) if able else None, "copied": trial.copied,
    }  # fmt: skip
