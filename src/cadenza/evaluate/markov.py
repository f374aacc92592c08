"""An interpolated variable-order Markov model: what counting short contexts can predict.

In: training and validation rows. Out: nats of any rows. Each field of a row has a ladder of *views*. A view
counts what followed the same few ids: earlier fields of the same note, fields of the notes before. It takes
them as they are, or takes steps, the differences between one note and the next (Conklin & Witten, 1995;
Pearce, 2005, whose IDyOM predicts pitch from intervals): then a tune is known again in another key. From
the uniform distribution p0 on, each view mixes what it has counted with what the views before it say:

    p_k(x) = w c(x) / n + (1 - w) p_(k-1)(x)

c(x) of the n ids that followed this context were x, and t different ones did; an unseen context has w = 0. The weight w
depends on n and t by classes (Jelinek & Mercer, 1980; Chen & Goodman, 1999). It begins as n / (n + t), the
escape of PPM-C (Moffat, 1990), and validation pieces move it by expectation maximisation. The views
too are chosen on validation, greedily, one at a time; without validation pieces they are `plain_views`, with the first weights.

Shapes: P pieces, N rows, F fields, V ids of a field, E scored ids of one field.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cadenza.evaluate.views import LAGS, Columns, Counts, Integers, Symbol, Tally, View
from cadenza.records import Progress, outcome
from cadenza.tokens import Rows, Schema

MOST_VIEWS = 16
"""Of one field; the first is the frequencies alone."""
LEAST_GAIN_PER_ID, LEAST_GAIN = 0.003, 10.0
"""What a further view must save on validation, nats; the second in all, so that a few notes choose nothing."""
SEARCHED_ROWS = 600_000
"""Views are chosen on so many training rows, whole pieces at random; what is then counted is all."""
ROUNDS, PRIOR = 12, 10.0
"""Of expectation maximisation; the escape of PPM-C counts for so many ids in each class."""
RATIO_CLASSES, KIND_CLASSES = 20, 6

Floats = npt.NDArray[np.float64]


def classes(counts: Counts) -> Integers:
    """The class of each context by n / t in half octaves and by t in octaves, 1 and more; 0 is unseen."""
    kinds = np.maximum(counts.kinds_E, 1)
    ratio = np.floor(2 * np.log2(np.maximum(counts.all_E, 1) / kinds)).astype(np.int64)
    kind = np.minimum(np.log2(kinds).astype(np.int64), KIND_CLASSES - 1)
    return np.where(counts.all_E > 0, 1 + np.clip(ratio, 0, RATIO_CLASSES - 1) * KIND_CLASSES + kind, 0)


def first_weights() -> Floats:
    """The escape n / (n + t) in the middle of each class, after Moffat (1990)."""
    ratio = np.repeat(2 ** ((np.arange(RATIO_CLASSES) + 0.5) / 2), KIND_CLASSES)
    return np.append(0.0, ratio / (ratio + 1))


def learn_weights(counts: Counts, lower_E: Floats) -> Floats:
    """The weights that make these ids likely, held back towards the first ones."""
    first = first_weights()
    weights, group, share = first, classes(counts), counts.same_E / np.maximum(counts.all_E, 1)
    members = np.bincount(group, minlength=len(first))
    for _ in range(ROUNDS):
        own = weights[group] * share
        caused = np.bincount(group, own / (own + (1 - weights[group]) * lower_E), minlength=len(first))
        weights = (caused + PRIOR * first) / (members + PRIOR)
    return weights


def mix(counts: Counts, lower_E: Floats, weights: Floats) -> Floats:
    """p_k from p_(k-1)."""
    weight = weights[classes(counts)]
    return weight * counts.same_E / np.maximum(counts.all_E, 1) + (1 - weight) * lower_E


@dataclass(frozen=True)
class FieldModel:
    """The tallies of one field with their weights, in order."""

    ladder: tuple[tuple[Tally, Floats], ...]

    def probabilities(self, columns: Columns, ids_E: Integers | None = None) -> Floats:
        """Of the scored ids, or of others in their places."""
        found = np.full(len(columns), 1 / columns.size)
        for tally, weights in self.ladder:
            found = mix(tally.ask(columns, ids_E), found, weights)
        return found


@dataclass(frozen=True)
class MarkovModel:
    """One model per field."""

    schema: Schema
    by_field: tuple[FieldModel, ...]

    def nats(self, pieces: Sequence[Rows]) -> Floats:
        """Nats of the scored ids, shape (P, F)."""
        found = np.zeros((len(pieces), len(self.by_field)))
        for f, model in enumerate(self.by_field):
            columns = Columns(self.schema, pieces, f)
            found[:, f] = np.bincount(columns.piece, -np.log(model.probabilities(columns)), minlength=len(pieces))
        return found

    def recounted(self, training: Sequence[Rows]) -> MarkovModel:
        """The same views and weights, with the counts of other pieces."""
        models = []
        for f, model in enumerate(self.by_field):
            columns = Columns(self.schema, training, f)
            models.append(FieldModel(tuple((Tally(tally.view, columns), weights) for tally, weights in model.ladder)))
        return MarkovModel(self.schema, tuple(models))

    @property
    def views(self) -> dict[str, list[View]]:
        names = self.schema.fields
        return {name: [tally.view for tally, _ in model.ladder] for name, model in zip(names, self.by_field, strict=True)}  # fmt: skip

    @property
    def orders(self) -> dict[str, int]:
        """How many notes back the prediction of each field looks."""
        return {name: max(reach(view, self.schema.fields.index(name)) for view in views) for name, views in self.views.items()}  # fmt: skip


def reach(view: View, f: int) -> int:
    """How many notes back a view looks; a step looks one further."""
    lags = [symbol.lag + (view.steps and symbol.field == f) for symbol in view.symbols]
    return max([int(view.steps), *lags])


def fit(schema: Schema, training: Sequence[Rows], validation: Sequence[Rows] = ()) -> MarkovModel:
    """Count the training pieces; choose views and weights on the validation pieces alone."""
    return outcome(fitting(schema, training, validation))


def fitting(
    schema: Schema, training: Sequence[Rows], validation: Sequence[Rows] = ()
) -> Generator[Progress, None, MarkovModel]:
    """`fit`, field by field."""
    some = sample_pieces(training)
    models = []
    for f, name in enumerate(schema.fields):
        yield Progress(f"counting contexts of {name}", f, len(schema.fields))
        whole, held = (Columns(schema, pieces, f) for pieces in (training, validation))
        views = plain_views(f)
        if len(held):
            views = choose_views(whole if len(some) == len(training) else Columns(schema, some, f), held)
        models.append(FieldModel(tuple(weighted(views, whole, held))))
    yield Progress(f"counting contexts of {name}", len(models), len(models))
    return MarkovModel(schema, tuple(models))


def sample_pieces(training: Sequence[Rows]) -> Sequence[Rows]:
    """All pieces, or as many at random as hold `SEARCHED_ROWS`."""
    if sum(map(len, training)) <= SEARCHED_ROWS:
        return training
    order = np.random.default_rng(0).permutation(len(training))
    rows = np.cumsum([len(training[index]) for index in order])
    return [training[index] for index in order[: np.searchsorted(rows, SEARCHED_ROWS) + 1]]


def weighted(views: Sequence[View], training: Columns, held: Columns) -> Iterator[tuple[Tally, Floats]]:
    """Each view's tally, with its weights."""
    lower_E = np.full(len(held), 1 / held.size)
    for view in views:
        tally = Tally(view, training)
        counts = tally.ask(held)
        weights = learn_weights(counts, lower_E)
        lower_E = mix(counts, lower_E, weights)
        yield tally, weights


def plain_views(f: int) -> list[View]:
    """Frequencies; the same field one note back; that and the note's first field; and two notes back."""
    last, own = Symbol(1, f), tuple(Symbol(0, g) for g in range(min(f, 1)))
    chains = ((), (last,), (last, *own), (last, *own, Symbol(2, f)))
    return [View(steps=False, symbols=symbols) for symbols in dict.fromkeys(chains)]


def choose_views(training: Columns, held: Columns) -> list[View]:
    """A ladder of views, each the one that saves most on the held ids, until none saves enough."""
    views = [View(steps=False, symbols=())]
    asked: dict[View, Counts] = {}
    lower_E = np.full(len(held), 1 / held.size)
    counts = Tally(views[0], training).ask(held)
    lower_E = mix(counts, lower_E, learn_weights(counts, lower_E))
    while len(views) < MOST_VIEWS:
        best, nats, after_E = None, -np.log(lower_E).sum() - max(LEAST_GAIN, LEAST_GAIN_PER_ID * len(held)), lower_E
        for view in candidates(views, training):
            if view not in asked:
                asked[view] = Tally(view, training).ask(held)
            tried_E = mix(asked[view], lower_E, learn_weights(asked[view], lower_E))
            if (found := -np.log(tried_E).sum()) < nats:
                best, nats, after_E = view, found, tried_E
        if best is None:
            break
        views.append(best)
        lower_E = after_E
    return views


def candidates(views: Sequence[View], columns: Columns) -> list[View]:
    """Each view, and steps from nothing, with one symbol more: an earlier field, or a field one note further back."""
    fields = columns.rows.shape[1]
    tried = {(view.steps, frozenset(view.symbols)) for view in views}
    found = []
    for steps, symbols in [*views, View(steps=True, symbols=())]:
        further = [Symbol(0, g) for g in range(columns.f) if Symbol(0, g) not in symbols]
        for g in range(fields):
            lag = 1 + max((symbol.lag for symbol in symbols if symbol.field == g), default=0)
            further += [Symbol(lag, g)] if lag <= LAGS else []
        for symbol in further:
            key = steps, frozenset((*symbols, symbol))
            if key not in tried:
                tried.add(key)
                found.append(View(steps, (*symbols, symbol)))
    return found
