"""Does it sound like the corpus? Feature by feature, next to the same measure of unseen human music.

In: improvised, training and held-out pieces, all on one time base. Out: for every feature (`features`) how far
the improvised pieces are from the training music, how far equally many held-out pieces are (the *floor*:
nobody can be asked to come nearer than that), and the overlap of Yang & Lerch (`overlap`).

* A set's histogram is the mean of those of its pieces, so every piece counts alike, however many notes it has.
* *Distance* of ordered features: the area between the two cumulative histograms (Wasserstein-1, or earth
  mover's distance; Rubner et al., 2000), divided by the training music's standard deviation (at least
  one bin): 0.5 says that values would have to move by half that spread on average. For pitch classes, which have no
  order: the share of notes that would have to change (total variation). Times are compared in doublings.
* *Like lengths*: human pieces are cut to excerpts as long as improvised ones, which begin at a random note.
* *Floor*: as many held-out excerpts as there are improvised pieces, 200 times, each time from works drawn
  with replacement, since pieces of one work are alike; mean and 95th percentile. The reference for both
  is one excerpt each of up to 1,000 training pieces.
* The overlap, whose cost is quadratic, takes at most 64 pieces of each set; the held-out figure is the mean of 4 draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cadenza.errors import CadenzaError
from cadenza.evaluate.draws import draw_sets, excerpts
from cadenza.evaluate.features import Feature, features, histograms
from cadenza.evaluate.overlap import distances_between, distances_within, overlap_of
from cadenza.notes import Notes

Floats = npt.NDArray[np.float64]

REFERENCE = 1000
"""Training excerpts at most."""
EXCERPTS = 4
"""Of each held-out piece, to draw from."""
PAIRED, FEWEST_PAIRED = 64, 8
"""Pieces of a set whose mutual distances are taken, at most; and of the reference, at least."""
PAIRED_DRAWS = 4
NAMED = 3
"""Features that the summary names at most."""


@dataclass(frozen=True)
class FeatureFigures:
    """Distances of improvised (`generated`) and held-out pieces (`floor`, its 95th percentile `floor_high`).

    `overlap` and `divergence` (nats) are those of improvised pieces and training music, `held_overlap`
    and `held_divergence` those of held-out pieces. `shift` is how much higher the mean value of the
    improvised pieces is, in the same spreads. A figure that cannot be had is NaN.
    """

    key: str
    title: str
    unit: str
    generated: float
    floor: float
    floor_high: float
    overlap: float
    divergence: float
    held_overlap: float
    held_divergence: float
    shift: float = 0.0

    @property
    def compared(self) -> bool:
        """Whether there is both a distance and a floor."""
        return bool(np.isfinite(self.generated) and np.isfinite(self.floor_high))

    @property
    def inside(self) -> bool:
        """No further from the training music than 95 of 100 sets of unseen human pieces are."""
        return self.generated <= self.floor_high + 1e-12

    @property
    def direction(self) -> str:
        """The way values lie, where that is most of the distance."""
        if not abs(self.shift) > self.generated / 2:
            return ""
        return " (higher)" if self.shift > 0 else " (lower)"

    @property
    def ratio(self) -> float:
        """The distance as a multiple of the floor; 1 where both are 0."""
        if not self.compared:
            return float("nan")
        if self.floor > 0:
            return self.generated / self.floor
        return 1.0 if self.inside else float("inf")


@dataclass(frozen=True)
class Fidelity:
    """`pieces` improvised pieces with notes; `closeness` is the median `ratio` of the features; `text` one sentence."""

    features: tuple[FeatureFigures, ...]
    pieces: int
    closeness: float
    text: str


def compare_with_corpus(
    generated: Sequence[Notes],
    training: Sequence[Notes],
    held_out: Sequence[Notes],
    seed: int = 0,
    works: Sequence[int] | None = None,
) -> Fidelity:
    """Compare improvised pieces with the training music; mixed time bases raise `CadenzaError`.

    `works` names the work of every held-out piece (else each counts as a work of its own).

    Everything that is drawn is drawn with `seed`. Pieces without notes are left out, and the sentence counts them.
    """
    rng = np.random.default_rng(seed)
    made, known, unseen = ([piece for piece in pieces if len(piece)] for pieces in (generated, training, held_out))
    names = range(len(held_out)) if works is None else works
    work = np.array(
        [name for name, piece in zip(names, held_out, strict=True) if len(piece)] * EXCERPTS, dtype=np.int64
    )
    kinds = common_features([*made, *known, *unseen])
    known = [known[k] for k in rng.permutation(len(known))[:REFERENCE]]
    cut = excerpts(known, made, rng), excerpts(unseen * EXCERPTS, made, rng)
    ours, theirs, others = (histograms(pieces, kinds) for pieces in (made, *cut))
    draws = draw_sets(work, len(made), rng)
    compared = tuple(compare(kind, ours[kind.key], theirs[kind.key], others[kind.key], draws) for kind in kinds)
    ratios = [one.ratio for one in compared if one.compared]
    closeness = float(np.median(ratios)) if ratios else float("nan")
    return Fidelity(compared, len(made), closeness, summary(compared, len(generated) - len(made), len(generated)))


def distance(pieces: Sequence[Notes], reference: Sequence[Notes]) -> float:
    """How far pieces are from reference music: the mean of the features' distances, in spreads of the reference.

    A feature that only one of the two has counts as 1; music without notes is infinitely far.
    """
    made, known = ([piece for piece in group if len(piece)] for group in (pieces, reference))
    if not made or not known:
        return float("inf")
    kinds = common_features([*made, *known])
    ours, theirs = histograms(made, kinds), histograms(excerpts(known, made, np.random.default_rng(0)), kinds)
    found = [
        float(set_distances(kind, mean_rows(ours[kind.key]), mean_rows(theirs[kind.key])[0])[0])
        for kind in kinds
        if ours[kind.key].any() or theirs[kind.key].any()
    ]
    return float(np.mean(np.nan_to_num(found, nan=1.0)))


def common_features(pieces: Sequence[Notes]) -> tuple[Feature, ...]:
    """The features of the pieces' time base; different ones raise `CadenzaError`."""
    bases = {piece.header.time_base for piece in pieces}
    if len(bases) > 1:
        units = ", ".join(sorted(f"1/{base.steps} of {base.unit}" for base in bases))
        raise CadenzaError(f"Pieces on different time bases ({units}) cannot be compared; read them with one.")
    return features(bases.pop() if bases else Notes.of([], [], [], []).header.time_base)


def compare(kind: Feature, made: Floats, known: Floats, unseen: Floats, draws: npt.NDArray[np.int64]) -> FeatureFigures:
    """All figures of one feature; a row per piece, and a row of places in `unseen` per draw."""
    reference, mean = mean_rows(known)[0], mean_rows(made)
    generated = float(set_distances(kind, mean, reference)[0])
    floors = set_distances(kind, mean_rows(unseen, draws), reference) if len(unseen) else np.zeros(0)
    floors = floors[np.isfinite(floors)]
    if not np.isfinite(generated) or not len(floors):
        floors = np.full(1, np.nan)
    near = compare_pairs(kind, known, made, len(made))
    paired = [compare_pairs(kind, known, unseen[draw], len(made)) for draw in draws[:PAIRED_DRAWS] if len(unseen)]
    finite = [pair for pair in paired if np.isfinite(pair).all()]
    held = np.mean(finite, axis=0) if finite else (float("nan"), float("nan"))
    high = float(np.percentile(floors, 95))
    return FeatureFigures(
        kind.key, kind.title, kind.unit, generated, float(floors.mean()), high, *near, float(held[0]), float(held[1]),
        float((mean[0] - reference) @ kind.centres) / spread(kind, reference) if kind.ordered else 0.0,
    )  # fmt: skip


def mean_rows(rows: Floats, draws: npt.NDArray[np.int64] | None = None) -> Floats:
    """The mean histogram of all pieces, or of the pieces of each draw; NaN where none has a value."""
    taken = np.ones((1, len(rows)))
    if draws is not None:
        taken = np.zeros((len(draws), len(rows)))
        np.add.at(taken, (np.arange(len(draws))[:, None], draws), 1)
    total = taken @ rows
    weight = total.sum(axis=1, keepdims=True)
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def set_distances(kind: Feature, rows: Floats, reference: Floats) -> Floats:
    """The distance of each mean histogram from that of the reference, in spreads of the reference."""
    difference = rows - reference
    if not kind.ordered:
        return np.abs(difference).sum(axis=1) / 2
    return np.abs(np.cumsum(difference, axis=1)).sum(axis=1) * kind.width / spread(kind, reference)


def spread(kind: Feature, reference: Floats) -> float:
    """The standard deviation of a histogram; at least one bin."""
    mean = reference @ kind.centres
    return max(float(np.sqrt(reference @ (kind.centres - mean) ** 2)), kind.width)


def compare_pairs(kind: Feature, known: Floats, rows: Floats, count: int) -> tuple[float, float]:
    """Overlapped area and divergence against about as many pieces of training music."""
    known, rows = (table[table.any(axis=1)] for table in (known, rows))
    known, rows = known[: int(np.clip(count, FEWEST_PAIRED, PAIRED))], rows[:PAIRED]
    if kind.figure:
        known, rows = ((table @ kind.centres)[:, None] for table in (known, rows))
    return overlap_of(distances_within(known), distances_between(rows, known))


def summary(compared: Sequence[FeatureFigures], silent: int, count: int) -> str:
    """One sentence, which never holds a figure that could not be had."""
    if silent == count:
        return "There are no improvised notes to compare."
    have = "has no notes and is" if silent == 1 else "have no notes and are"
    left_out = f" {silent} of {count} pieces {have} left out." if silent else ""
    heard = [one for one in compared if np.isfinite(one.generated)]
    if not heard:
        return f"There is no training music to compare with.{left_out}"
    judged = [one for one in heard if one.compared]
    if not judged:
        return f"There is no unseen human music to compare with; {named(heard)}.{left_out}"
    outside = [one for one in judged if not one.inside]
    near = f"all {len(judged)}" if not outside else f"{len(judged) - len(outside)} of {len(judged)}"
    sentence = f"In {near} features it is as near to the training music as unseen human music is"
    return f"{sentence}{f'; {named(outside)}' if outside else ''}.{left_out}"


def named(figures: Sequence[FeatureFigures]) -> str:
    """The furthest features, by their multiple of the floor, or by distance where there is none."""

    def far(one: FeatureFigures) -> float:
        return one.ratio if one.compared else one.generated

    furthest = sorted(figures, key=far, reverse=True)[:NAMED]
    return f"furthest: {', '.join(one.title + one.direction for one in furthest)}"
