"""The kept model against every part of the split, beside the baselines: `metrics.json` and `scores.jsonl`."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cadenza.corpus.scan import Entry
from cadenza.corpus.split import TEST, TRAIN, VALIDATION
from cadenza.errors import CadenzaError
from cadenza.evaluate import markov
from cadenza.evaluate.baselines import uniform, unigram
from cadenza.evaluate.markov import MarkovModel
from cadenza.evaluate.verdict import MARKOV, NETWORK, UNIFORM, UNIGRAM
from cadenza.improviser import load_improviser
from cadenza.likelihood import TOTAL, Score, concatenate, paired_interval, scoring
from cadenza.models import Model, device
from cadenza.records import Progress, Record, Said
from cadenza.runs.folder import INIT, METRICS, SCORES, Run
from cadenza.runs.folds import held_out_score
from cadenza.runs.manifest import Manifest
from cadenza.tokens import Rows
from cadenza.train import Data, Pieces

TRAIN_PIECES_SCORED = 100

Scores = Mapping[str, Score]
"""What each model made of the same pieces, by its name."""


def score_parts(run: Run) -> Iterator[Record]:
    """Score the kept model and the baselines on every part; write `scores.jsonl`, then `metrics.json`.

    Where there are folds, each is scored by the models that were trained without it, and all together are the test.
    """
    settings, data = run.settings(), run.data()
    torch.set_num_threads(settings.train.threads)
    improviser = run.improviser(device(settings.train.device).type)
    run.check_model(improviser)
    kept = run.kept()
    test = kept.of(TEST)
    drawn = np.random.default_rng(settings.train.seed).permutation(data.training)[:TRAIN_PIECES_SCORED]
    baseline = yield from fit_markov(data)
    metrics: dict[str, Any] = {
        "step": improviser.step,
        "model_sha256": improviser.weights_sha256,
        "manifest_sha256": improviser.manifest_sha256,
        "fine_tuned": (run.folder / INIT).exists() and load_improviser(run.folder / INIT).seen is None,
        "lossy": improviser.facts.losses,
        "held_out": VALIDATION if len(data.validation) and not len(test) else TEST,
        "unit": data.schema.unit,
        "resolution": improviser.representation.resolution,
        "markov_orders": baseline.orders,
        "folds": run.folds(),
    }
    lines: list[str] = []
    for part, pieces in ((TRAIN, np.sort(drawn)), (VALIDATION, data.validation), (TEST, test)):
        metrics[part] = None
        if part == TEST and run.folds():
            entries, scores = yield from score_folds(run, kept)
        elif len(pieces):
            entries = list(kept.where(pieces))
            scores = yield from score_models(improviser.model, baseline, data, pieces, entries, part)
        else:
            continue
        metrics[part] = part_table(scores, np.array([entry.work for entry in entries]))
        lines += [] if part == TRAIN else score_lines(part, entries, scores)
        yield Said(in_words(part, metrics))
    run.write(SCORES, "".join(lines).encode())
    run.write_json(METRICS, metrics)


def fit_markov(data: Data) -> Generator[Progress, None, MarkovModel]:
    """The Markov model of the training pieces, chosen on the validation pieces if there are any."""
    training, validation = (rows_of(data, part) for part in (data.training, data.validation))
    return (yield from markov.fitting(data.schema, training, validation))


def score_models(
    model: Model, baseline: MarkovModel, data: Data, pieces: Pieces, entries: Sequence[Entry], part: str
) -> Generator[Progress, None, dict[str, Score]]:
    """What the network and the baselines make of `pieces`; weights that are not numbers raise `CadenzaError`."""
    tokens, seconds = data.schema, np.array([entry.length_seconds for entry in entries])
    network = yield from scoring(model, data.tables, tokens, pieces, seconds, f"scoring {part}")
    if not math.isfinite(network.bits_per_note):
        raise CadenzaError("The model's weights are not numbers; train it again with a lower train.learning_rate.")
    return {NETWORK: network, **score_baselines(baseline, data, pieces, seconds)}


def score_folds(run: Run, kept: Manifest) -> Generator[Progress, None, tuple[list[Entry], Scores]]:
    """What the models of all folds made of the pieces that they had not seen, with these pieces' entries."""
    entries: list[Entry] = []
    folds: list[Scores] = []
    for fold in range(run.folds()):
        data = run.fold_data(fold)
        held_out = list(kept.where(data.validation))
        seconds = np.array([entry.length_seconds for entry in held_out])
        baseline = yield from fold_baseline(run, kept, fold)
        folds.append(
            {NETWORK: held_out_score(run, fold, seconds)} | score_baselines(baseline, data, data.validation, seconds)
        )
        entries += held_out
    return entries, {name: concatenate([scores[name] for scores in folds]) for name in folds[0]}


def fold_baseline(run: Run, kept: Manifest, fold: int) -> Generator[Progress, None, MarkovModel]:
    """The Markov model of all folds but one; of three folds and more, it is chosen on the next one, then counts that too."""
    data, following = run.fold_data(fold), (fold + 1) % run.folds()
    choosing = (kept.fold[data.training] == following) & (run.folds() > 2)
    pieces = (rows_of(data, data.training[part]) for part in (~choosing, choosing))
    baseline = yield from markov.fitting(data.schema, *pieces)
    return baseline.recounted(rows_of(data, data.training)) if choosing.any() else baseline


def rows_of(data: Data, pieces: Pieces) -> list[Rows]:
    return [data.tables.piece(int(index)) for index in pieces]


def score_baselines(
    baseline: MarkovModel, data: Data, pieces: Pieces, seconds: npt.NDArray[np.float64]
) -> dict[str, Score]:
    """What the models without a network make of `pieces`."""
    tokens, rows, training = data.schema, rows_of(data, pieces), rows_of(data, data.training)
    nats = {
        MARKOV: baseline.nats(rows),
        UNIGRAM: unigram(tokens, training, rows),
        UNIFORM: uniform(tokens, rows),
    }
    return {name: Score.of(tokens, rows, nats_PF, seconds) for name, nats_PF in nats.items()}


def part_table(scores: Scores, works: npt.NDArray[np.int64]) -> dict[str, Any]:
    """All figures of one part: the network's own, those of the baselines, and the difference to the Markov model."""
    network, rival = scores[NETWORK], scores[MARKOV]
    return {
        "pieces": len(works),
        "works": len(set(works.tolist())),
        "notes": int(network.notes_P.sum()),
        "tokens": int(network.tokens_PF.sum()),
        **model_table(network, works),
        "versus_markov": {
            "difference": network.bits_per_note - rival.bits_per_note,
            "interval": paired_interval(network, rival, works),
        },
        "baselines": {name: model_table(score, works) for name, score in scores.items() if name != NETWORK},
    }


def model_table(score: Score, works: npt.NDArray[np.int64]) -> dict[str, Any]:
    """One model's figures, in total and by field, with their intervals (None if there is one work)."""
    figures, intervals = score.figures(), score.intervals(works)

    def column(name: str) -> dict[str, Any]:
        found: dict[str, Any] = {figure: values[name] for figure, values in figures.items()}
        found["intervals"] = intervals and {figure: values[name] for figure, values in intervals.items()}
        return found

    return {
        **column(TOTAL),
        "interval": intervals and intervals["bits_per_note"][TOTAL],
        "bits_per_note_by_field": {field: figures["bits_per_note"][field] for field in score.fields},
        "by_field": {field: column(field) for field in score.fields},
    }


def score_lines(part: str, entries: Sequence[Entry], scores: Scores) -> list[str]:
    """A line of JSON for each piece, for comparing runs piece by piece."""
    network = scores[NETWORK]
    lines = []
    for place, entry in enumerate(entries):
        by_field = {
            "tokens": network.tokens_PF[place],
            "grid_bits": network.grid_bits_PF[place],
            **{name: score.nats_PF[place] for name, score in scores.items()},
        }
        named = {name: dict(zip(network.fields, row.tolist(), strict=True)) for name, row in by_field.items()}
        line = {
            "part": part,
            "name": entry.name,
            "work": entry.work,
            "notes": int(network.notes_P[place]),
            "seconds": float(network.seconds_P[place]),
            "tokens": named.pop("tokens"),
            "grid_bits": named.pop("grid_bits"),
            "nats": named,
        }
        lines.append(json.dumps(line) + "\n")
    return lines


def read_scores(run: Run, part: str) -> tuple[dict[str, Score], npt.NDArray[np.int64]]:
    """The scores of a part as `score_lines` wrote them, and the work of each piece."""
    lines = [line for line in run.scores() if line["part"] == part]
    fields = tuple(lines[0]["tokens"])

    def table(rows: Iterable[Mapping[str, float]], kind: type = np.float64) -> npt.NDArray[Any]:
        return np.array([[row[field] for field in fields] for row in rows], dtype=kind)

    tokens, grid_bits = table((line["tokens"] for line in lines), np.int64), table(line["grid_bits"] for line in lines)
    notes, seconds = np.array([line["notes"] for line in lines]), np.array([line["seconds"] for line in lines])
    scores = {
        model: Score(fields, table(line["nats"][model] for line in lines), tokens, grid_bits, notes, seconds)
        for model in lines[0]["nats"]
    }
    return scores, np.array([line["work"] for line in lines])


def in_words(part: str, metrics: Mapping[str, Any]) -> str:
    """One line of a part; where the representation loses notes, no bits per note."""
    row, unit = metrics[part], metrics["unit"]
    rivals = row["baselines"]

    def listed(figure: str, decimals: int) -> str:
        return ", ".join(f"{name.capitalize() if name == MARKOV else name} {table[figure]:.{decimals}f}" for name, table in rivals.items())  # fmt: skip

    perplexity = f"perplexity per {unit} {row['perplexity_per_token']:.2f}"
    if metrics["lossy"]:
        return f"{part}: {perplexity} ({listed('perplexity_per_token', 2)})."
    return f"{part}: {row['bits_per_note']:.3f} bits per note ({listed('bits_per_note', 2)}), {perplexity}."
