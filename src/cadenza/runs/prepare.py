"""From a source to a prepared folder: manifest, encoded corpus, every setting resolved."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, replace
from io import BytesIO
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w

from cadenza import report
from cadenza.batches import OFFSETS_FILE, ROWS_FILE, Tables
from cadenza.checkpoint import Facts
from cadenza.corpus.scan import Corpus, Entry, scan
from cadenza.corpus.sketch import joined, seen, sketch_of
from cadenza.corpus.sources import Source, open_source
from cadenza.corpus.split import TEST, TRAIN, VALIDATION, split_pieces
from cadenza.corpus.works import interval_grams
from cadenza.errors import CadenzaError
from cadenza.improviser import Improviser, check_sampling, load_improviser
from cadenza.models import device
from cadenza.notes import pitch_name
from cadenza.records import Record, Said, counted
from cadenza.runs.folder import CONFIG, CORPUS, DERIVED, FACTS, INIT, MANIFEST, ORIGIN, SEEN, Run, data_of
from cadenza.runs.rules import broken_rules
from cadenza.runs.settling import settle
from cadenza.runs.verification import digests
from cadenza.sample import check_fields
from cadenza.settings import BatchSettings, Settings, TokenSettings, validate
from cadenza.tokens import Representation, Rows, representation
from cadenza.tokens.contract import in_words
from cadenza.train import Data


def prepare(run: Run, source: str, settings: Settings, init: Path | None) -> Iterator[Record]:
    """Read, check, group, split and encode the corpus; derive the number of steps; freeze it all."""
    derived: list[str] = []
    for record in freeze(run, source, settings, init, derived):
        if isinstance(record, Said):
            derived.append(record.text)
        yield record
    for sentence in broken_rules(run.settings()):
        yield Said(f"Rule broken: {sentence}")


def freeze(
    run: Run, source: str, settings: Settings, init: Path | None, derived: list[str]
) -> Generator[Record, None, None]:
    """`prepare`; what is in `derived` by then is written beside the corpus."""
    device(settings.train.device)  # before the work begins
    parent = load_improviser(init) if init else None
    if parent is not None:
        settings = adopt(settings, parent)
    with open_source(source, settings) as files:
        yield from welcome(files)
        corpus = yield from scan(files, settings)
    corpus, tokens, rows = in_rows(corpus, settings, parent)
    check_fields(settings.sample, tokens.fields)
    if not corpus.pieces:
        raise nothing_left(source, corpus)
    grams = [interval_grams(piece) for piece in corpus.pieces]
    known = seen(grams, parent.seen).tolist() if parent is not None and parent.seen is not None else []
    corpus = replace(corpus, entries=split_pieces(corpus.entries, settings.corpus, settings.train.seed, known))
    tables = Tables.of(rows)
    data = data_of(tables, tokens, corpus.kept, settings)
    facts = facts_of(corpus, tokens, data, settings, parent)
    check_sampling(settings.sample, facts)
    yield from describe(corpus, facts, settings)
    yield from count_unknown(corpus, tokens)
    yield from warn(data, corpus.kept)
    yield from longest_window(data, settings.batches)
    if parent is not None:
        yield Said(family(parent, sum(known)))
    save(run, corpus, facts, tables)
    trace = sketch_of([gram for gram, entry in zip(grams, corpus.kept, strict=True) if entry.split != TEST])
    save_array(run, SEEN, trace if parent is None or parent.seen is None else joined(parent.seen, trace))
    (run.folder / INIT).unlink(missing_ok=True)
    if init is not None:
        run.write(INIT, init.read_bytes())
    run.write_json(ORIGIN, origin_of(run, source, init))
    folds = run.folds()
    works = len({entry.work for entry in corpus.kept if entry.split == TRAIN and (not folds or entry.fold)})
    learned = run.fold_data(0, settings) if folds else data
    settings = yield from settle(settings, learned, works, 1 + folds)
    run.write_json(DERIVED, derived)
    run.write(CONFIG, tomli_w.dumps(settings.model_dump()).encode())


def save(run: Run, corpus: Corpus, facts: Facts, tables: Tables) -> None:
    run.write(MANIFEST, "".join(json.dumps(asdict(entry)) + "\n" for entry in corpus.entries).encode())
    run.write_json(FACTS, facts)
    for name, array in ((ROWS_FILE, tables.rows), (OFFSETS_FILE, tables.offsets)):
        save_array(run, f"{CORPUS}/{name}", array)


def save_array(run: Run, name: str, array: npt.NDArray[Any]) -> None:
    out = BytesIO()
    np.save(out, array)
    run.write(name, out.getvalue())


def family(parent: Improviser, known: int) -> str:
    """What is known of the music that a parent has seen."""
    if parent.seen is None:
        return f"Fine-tuning a model of {parent.facts.source}; its file does not say what it has seen, so held-out works are held out from this run only."
    return f"Fine-tuning a model of {parent.facts.source}; {counted(known, 'piece')} of works that it has seen train, and are never held out."


def origin_of(run: Run, source: str, init: Path | None) -> dict[str, str | None]:
    """Where the run comes from, as it was given and where that is, and the digests of what is frozen."""
    here = str(Path(source).resolve()) if Path(source).exists() else source
    parent = str(init) if init else None
    return {"source": source, "found_at": here, "init": parent, **digests(run)}


def welcome(files: Source) -> Iterator[Said]:
    """What the source holds before it is read."""
    others = f", {files.others:,} other files passed over" if files.others else ""
    unlisted = f", as listed; {files.unlisted:,} others of the source are no part of this run" if files.unlisted else ""
    yield Said(f"{files.name}: {len(files.files):,} music files{unlisted}{others}.")


def nothing_left(source: str, corpus: Corpus) -> CadenzaError:
    reasons = "; ".join(f"{count}× {reason}" for reason, count in report.reasons(corpus.dropped)[:3])
    return CadenzaError(
        f"{source}: none of its {len(corpus.entries):,} files can be used ({reasons}); run cadenza inspect for each file's reason."
    )


def in_rows(corpus: Corpus, settings: Settings, parent: Improviser | None) -> tuple[Corpus, Representation, list[Rows]]:
    """The usable pieces as tables; a vocabulary is the parent's, or else what these pieces need."""
    chosen = settings.tokens.representation
    tokens = parent.representation if parent else representation(chosen, corpus.base)
    corpus, rows = usable(corpus, [tokens.encode(piece) for piece in corpus.pieces], tokens, settings.tokens)
    if rows and parent is None and (vocabulary := tokens.observed(np.concatenate(rows))):
        tokens = representation(chosen, corpus.base, vocabulary)
        rows = [tokens.encode(piece) for piece in corpus.pieces]
    return corpus, tokens, rows


def usable(
    corpus: Corpus, rows: Sequence[Rows], tokens: Representation, settings: TokenSettings
) -> tuple[Corpus, list[Rows]]:
    """Leave out the pieces whose table cannot be learned from."""
    reasons = [why_not(table, tokens, settings) for table in rows]
    left = iter(reasons)
    entries = []
    for entry in corpus.entries:
        reason = "" if entry.reason else next(left)
        entries.append(replace(entry, reason=f"{entry.name}: {reason}", work=-1) if reason else entry)
    kept = [not reason for reason in reasons]
    corpus = replace(corpus, entries=entries, pieces=list(compress(corpus.pieces, kept)))
    return corpus, list(compress(rows, kept))


def why_not(table: Rows, tokens: Representation, settings: TokenSettings) -> str:
    """Why a piece's table cannot be used; empty if it can."""
    if not tokens.note_count(table):
        return "none of its notes is in the model's vocabulary; leave it out."
    if len(table) < settings.min_rows:
        return f"{len(table):,} rows, under tokens.min_rows = {settings.min_rows:,}; lower that, or leave it out."
    if len(table) > settings.max_rows:
        return f"{len(table):,} rows, over tokens.max_rows = {settings.max_rows:,}; raise that, or leave it out."
    return ""


def adopt(settings: Settings, parent: Improviser) -> Settings:
    """Fine-tuning keeps the parent's network, tokens and time base; another trunk raises `CadenzaError`."""
    if "trunk" in settings.model.model_fields_set and settings.model.trunk != parent.settings.trunk:
        raise CadenzaError(
            f"The model to begin from is a {parent.settings.trunk}, this run asks for model.trunk = {settings.model.trunk}; leave that out, or give a model of that trunk."
        )
    values = settings.model_dump(exclude_unset=True)  # what was not set is still to be derived
    values["model"] = parent.settings.model_dump(exclude={"dropout"})
    if "dropout" in settings.model.model_fields_set:
        values["model"]["dropout"] = settings.model.dropout
    values.setdefault("tokens", {})["representation"] = parent.tokens.representation
    base = parent.facts.base
    values["midi"] = values.get("midi", {}) | {
        "time_base": base.unit,
        f"steps_per_{base.unit.removesuffix('s')}": base.steps,
    }
    return validate(values)


def facts_of(
    corpus: Corpus, tokens: Representation, data: Data, settings: Settings, parent: Improviser | None
) -> Facts:
    """What the training pieces fix; a parent's pitch range stays open to the child."""
    training = [piece for piece, entry in zip(corpus.pieces, corpus.kept, strict=True) if entry.split == TRAIN]
    pitches = np.concatenate([piece.pitch for piece in training])
    lowest, highest = int(pitches.min()), int(pitches.max())
    if parent is not None:
        lowest, highest = min(lowest, parent.facts.lowest), max(highest, parent.facts.highest)
    return Facts(
        source=corpus.source,
        unit=corpus.base.unit,
        steps=corpus.base.steps,
        program=corpus.program,
        tempo=float(np.median([piece.header.tempo for piece in training])),
        meter=Counter(piece.header.meter for piece in training).most_common(1)[0][0],
        lowest=lowest,
        highest=highest,
        vocabulary=tokens.vocabulary,
        opening=opening_of(tokens, data, settings),
        losses=tokens.losses(corpus.pieces),
    )


def opening_of(tokens: Representation, data: Data, settings: Settings) -> tuple[tuple[int, ...], ...]:
    """The first rows of the first training piece, as many as `sample.opening`, without its end."""
    ends = tokens.grammar().ends
    rows = data.tables.piece(int(data.training[0]))[: settings.sample.opening]
    return tuple(tuple(row.tolist()) for row in rows if not ends(row))


def count_unknown(corpus: Corpus, tokens: Representation) -> Iterator[Said]:
    """What a parent's vocabulary cannot write."""
    unknown = sum((tokens.unknown(piece) for piece in corpus.pieces), Counter[str]())
    if unknown:
        yield Said(in_words(unknown, tokens.unit))


def describe(corpus: Corpus, facts: Facts, settings: Settings) -> Iterator[Said]:
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
    yield Said(f"Pitches {pitch_name(facts.lowest)} to {pitch_name(facts.highest)}; program {facts.program}.")
    if facts.vocabulary:
        yield Said(f"Vocabulary: {len(facts.vocabulary):,} events. {facts.losses}")
    split = Counter(entry.split for entry in corpus.kept)
    if folds := 1 + max(entry.fold for entry in corpus.kept):
        yield Said(
            f"Too few works for a test part: each of {folds} folds of works is held out from a training of its own, and the model that is kept learns from all pieces."
        )
        return
    yield Said(
        f"Split by {settings.corpus.split_by}: {split[TRAIN]:,} pieces for training, {split[VALIDATION]:,} for validation, {split[TEST]:,} for the test."
    )


def warn(data: Data, kept: Sequence[Entry]) -> Iterator[Said]:
    if any(entry.fold >= 0 for entry in kept):
        return
    if not any(entry.split == TEST for entry in kept):
        yield Said(
            "Warning: no work is held out for a test; the model is trained, but no held-out figure can be claimed."
        )
    elif not len(data.validation):
        yield Said("Warning: no work is held out for validation; the last state is kept, not the best.")


def longest_window(data: Data, batches: BatchSettings) -> Iterator[Said]:
    """Windows that no training piece fills."""
    longest = int(data.tables.lengths(data.training).max())
    if longest < batches.rows:
        yield Said(
            f"No training piece is longer than {longest:,} rows, so the windows of {batches.rows:,} rows (batches.rows) hold whole pieces."
        )
