"""The kept model against every part of the split, beside the baselines: `metrics.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from cadenza.corpus.scan import Entry
from cadenza.corpus.split import TEST, TRAIN, VALIDATION
from cadenza.errors import CadenzaError
from cadenza.evaluate.baselines import scored_rows, uniform, unigram
from cadenza.improviser import Improviser
from cadenza.likelihood import score
from cadenza.models import device
from cadenza.records import Progress, Record, Said
from cadenza.runs.folder import INIT, MANIFEST, METRICS, Run, pieces_of
from cadenza.train import Data, Pieces

TRAIN_PIECES_SCORED = 100


def evaluate(run: Run) -> Iterator[Record]:
    """Score the kept model on every part and write `metrics.json`."""
    settings, data = run.settings(), run.data()
    torch.set_num_threads(settings.train.threads)
    improviser = run.improviser(device(settings.train.device).type)
    if improviser.manifest_sha256 != run.manifest_sha256():
        raise CadenzaError(
            f"{run.folder}: the manifest is not the one the model was trained on; restore {MANIFEST}, or train anew with another --out."
        )
    kept = run.kept()
    test = pieces_of(kept, TEST)
    training = scored_rows(data.tables, data.training.tolist())
    drawn = np.random.default_rng(settings.train.seed).permutation(data.training)[:TRAIN_PIECES_SCORED]
    metrics: dict[str, Any] = {
        "step": improviser.step,
        "fine_tuned": (run.folder / INIT).exists(),
        "lossy": improviser.facts.losses,
        "held_out": VALIDATION if len(data.validation) and not len(test) else TEST,
        "unit": data.representation.unit,
    }
    for part, pieces in ((TRAIN, np.sort(drawn)), (VALIDATION, data.validation), (TEST, test)):
        metrics[part] = None
        if len(pieces):
            yield Progress(f"scoring {part}", 0, 1)
            metrics[part] = measure(improviser, data, pieces, [kept[index] for index in pieces], training)
            yield Said(in_words(part, metrics))
    held = metrics[metrics["held_out"]]
    if held and held["perplexity_per_token"] >= held["unigram_perplexity"]:
        yield Said("Warning: on held-out pieces the model is no better than the frequencies of notes alone.")
    run.write(METRICS, json.dumps(metrics, indent=1).encode())


def measure(
    improviser: Improviser, data: Data, pieces: Pieces, entries: list[Entry], training: np.ndarray
) -> dict[str, Any]:
    """All figures of one part."""
    result = score(improviser.model, data.tables, data.representation, pieces)
    if not math.isfinite(result.bits_per_note):
        raise CadenzaError("The model's weights are not numbers; train it again with a lower train.learning_rate.")
    works = np.array([entry.work for entry in entries])
    held_out = scored_rows(data.tables, pieces.tolist())
    notes, tokens = int(result.notes_P.sum()), int(result.tokens_PF.sum())
    baselines = {
        "unigram": unigram(data.representation, training, held_out),
        "uniform": uniform(data.representation, held_out),
    }
    return {
        "pieces": len(pieces),
        "works": len(set(works.tolist())),
        "notes": notes,
        "tokens": tokens,
        "bits_per_note": result.bits_per_note,
        "interval": result.interval(works),
        "bits_per_note_by_field": result.bits_per_note_by_field(data.representation.fields),
        "bits_per_second": result.bits_per_note * notes / sum(entry.length_seconds for entry in entries),
        "perplexity_per_token": result.perplexity_per_token,
        **{name: nats / math.log(2) / notes for name, nats in baselines.items()},
        **{f"{name}_perplexity": math.exp(nats / tokens) for name, nats in baselines.items()},
    }


def in_words(part: str, metrics: dict[str, Any]) -> str:
    """One line of a part; where the representation loses notes, no bits per note."""
    row, unit = metrics[part], metrics["unit"]
    perplexity = f"perplexity per {unit} {row['perplexity_per_token']:.2f}"
    if metrics["lossy"]:
        return (
            f"{part}: {perplexity} (unigram {row['unigram_perplexity']:.2f}, uniform {row['uniform_perplexity']:.0f})."
        )
    return f"{part}: {row['bits_per_note']:.3f} bits per note (unigram {row['unigram']:.2f}), {perplexity}."
