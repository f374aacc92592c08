"""From a source to a prepared folder: manifest, encoded corpus, every setting resolved."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tomli_w
import torch

from cadenza import plot, report
from cadenza.batches import OFFSETS_FILE, ROWS_FILE, Tables
from cadenza.corpus.scan import Corpus, scan
from cadenza.corpus.sources import open_source
from cadenza.corpus.split import TEST, TRAIN, VALIDATION, split_works
from cadenza.errors import CadenzaError
from cadenza.improviser import Facts, Improviser, fresh_model, load_improviser
from cadenza.models import device
from cadenza.records import Record, Said
from cadenza.runs.folder import CONFIG, CORPUS, FACTS, INIT, MANIFEST, ORIGIN, Run
from cadenza.settings import Settings, validate
from cadenza.tokens import representation
from cadenza.train import Data, plan_steps


def prepare(run: Run, source: str, settings: Settings, init: Path | None) -> Iterator[Record]:
    """Read, check, group, split and encode the corpus; derive the number of steps; freeze it all."""
    parent = load_improviser(init) if init else None
    if parent is not None:
        settings = adopt(settings, parent)
    with open_source(source, settings) as files:
        yield Said(
            f"{files.name}: {len(files.files):,} music files"
            + (f", {files.others:,} other files passed over." if files.others else ".")
        )
        corpus = yield from scan(files, settings)
    if not corpus.pieces:
        reasons = "; ".join(f"{count}× {reason}" for reason, count in report.reasons(corpus.dropped)[:3])
        raise CadenzaError(
            f"{source}: none of its {len(corpus.entries):,} files can be used ({reasons}); run cadenza inspect for each file's reason."
        )
    corpus = replace(corpus, entries=split_works(corpus.entries, settings.corpus, settings.train.seed))
    facts = facts_of(corpus, parent.facts if parent else None)
    yield from describe(corpus, facts)
    tokens = representation(settings.tokens.representation, facts.base)
    tables = Tables.of([tokens.encode(piece) for piece in corpus.pieces])
    kept = np.array([entry.split for entry in corpus.kept])
    data = Data(tables, tokens, np.flatnonzero(kept == TRAIN), np.flatnonzero(kept == VALIDATION))
    yield from warn(data, kept)
    if parent is not None:
        yield Said(
            f"Fine-tuning a model of {parent.facts.source}; held-out works are held out from this run only, not from what that model has seen."
        )
    run.write(MANIFEST, "".join(json.dumps(asdict(entry)) + "\n" for entry in corpus.entries).encode())
    run.write(FACTS, json.dumps(asdict(facts), indent=1).encode())
    for name, array in ((ROWS_FILE, tables.rows), (OFFSETS_FILE, tables.offsets)):
        out = BytesIO()
        np.save(out, array)
        run.write(f"{CORPUS}/{name}", out.getvalue())
    (run.folder / INIT).unlink(missing_ok=True)
    if init is not None:
        run.write(INIT, init.read_bytes())
    run.write(ORIGIN, json.dumps({"source": source, "init": str(init) if init else None}).encode())
    settings = yield from plan(settings, data)
    run.write(CONFIG, tomli_w.dumps(settings.model_dump()).encode())


def adopt(settings: Settings, parent: Improviser) -> Settings:
    """Fine-tuning keeps the parent's network, tokens and time base."""
    values = settings.model_dump()
    values["model"] = parent.settings.model_dump() | {"dropout": settings.model.dropout}
    values["tokens"] = parent.tokens.model_dump()
    base = parent.facts.base
    values["midi"] |= {"time_base": base.unit, f"steps_per_{base.unit.removesuffix('s')}": base.steps}
    return validate(values)


def facts_of(corpus: Corpus, parent: Facts | None) -> Facts:
    """What the training pieces fix; a parent's pitch range stays open to the child."""
    training = [piece for piece, entry in zip(corpus.pieces, corpus.kept, strict=True) if entry.split == TRAIN]
    pitches = np.concatenate([piece.pitch for piece in training])
    lowest, highest = int(pitches.min()), int(pitches.max())
    if parent is not None:
        lowest, highest = min(lowest, parent.lowest), max(highest, parent.highest)
    tempo = float(np.median([piece.header.tempo for piece in training]))
    meter = Counter(piece.header.meter for piece in training).most_common(1)[0][0]
    return Facts(corpus.source, corpus.base.unit, corpus.base.steps, corpus.program, tempo, meter, lowest, highest)


def describe(corpus: Corpus, facts: Facts) -> Iterator[Said]:
    """Everything that was derived from the data."""
    notes = sum(entry.notes for entry in corpus.kept)
    hours = sum(entry.length_seconds for entry in corpus.kept) / 3600
    yield Said(
        f"Kept {len(corpus.pieces):,} pieces: {notes:,} notes, {hours:.1f} hours, {len({entry.work for entry in corpus.kept}):,} works."
    )
    for reason, count in report.reasons(corpus.dropped):
        yield Said(f"Left out {count:,}: {reason}.")
    if aside := sum(bool(entry.set_aside) for entry in corpus.kept):
        yield Said(f"Other instruments were set aside in {aside:,} files (midi.instrument chooses).")
    yield Said(f"Time in {facts.unit}, {facts.steps} steps each: {corpus.on_grid:.0%} of onsets lie on the beat grid.")
    yield Said(f"Pitches {plot.pitch_name(facts.lowest)} to {plot.pitch_name(facts.highest)}; program {facts.program}.")
    split = Counter(entry.split for entry in corpus.kept)
    yield Said(
        f"Split by work: {split[TRAIN]:,} pieces for training, {split[VALIDATION]:,} for validation, {split[TEST]:,} for the test."
    )


def warn(data: Data, splits: npt.NDArray[np.str_]) -> Iterator[Said]:
    if not (splits == TEST).any():
        yield Said(
            "Warning: too few works to hold one out; the model is trained, but no held-out figure can be claimed."
        )
    elif not len(data.validation):
        yield Said("Warning: too few works for validation; the last state is kept, not the best.")


def plan(settings: Settings, data: Data) -> Generator[Record, None, Settings]:
    """Resolve what depends on this machine: device, threads, steps."""
    where = device(settings.train.device)
    values = settings.model_dump()
    values["train"]["threads"] = torch.get_num_threads()
    settings = validate(values)
    model = fresh_model(settings.model, data.representation, settings.train.seed).to(where)
    weights = sum(parameter.numel() for parameter in model.parameters())
    steps = settings.train.steps
    if not steps:
        yield Said("Measuring the speed of training …")
        steps, rate = plan_steps(model, data, settings)
        yield Said(
            f"{weights:,} weights; {rate:,.0f} notes per second on {where.type} with {torch.get_num_threads()} threads: {steps:,} steps in {settings.train.minutes:g} minutes."
        )
    values["train"]["steps"] = steps
    return validate(values)
