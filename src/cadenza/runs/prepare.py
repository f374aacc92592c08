"""From a source to a prepared folder: manifest, encoded corpus, every setting resolved."""

from __future__ import annotations

import json
import shutil
from array import array
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tomli_w

from cadenza import export, report
from cadenza.batches import OFFSETS_FILE, ROWS_FILE, Tables
from cadenza.checkpoint import Facts
from cadenza.corpus.scan import Corpus, scan
from cadenza.corpus.sketch import joined, known_again, traces
from cadenza.corpus.sources import Source, open_source, welcome
from cadenza.corpus.split import PARTS, TEST, TRAIN
from cadenza.corpus.store import STORE, Store
from cadenza.errors import CadenzaError
from cadenza.improviser import Improviser, check_sampling, load_improviser
from cadenza.models import device
from cadenza.notes import HIGHEST, LOWEST, pitch_name
from cadenza.records import Record, Said, counted
from cadenza.runs.folder import CONFIG, CORPUS, DERIVED, FACTS, INIT, MANIFEST, ORIGIN, SEEN, Run, data_of
from cadenza.runs.rules import broken_rules
from cadenza.runs.settling import settle
from cadenza.runs.tables import ArrayFile, writable, write_tables
from cadenza.runs.verification import digests
from cadenza.sample import check_fields
from cadenza.settings import BatchSettings, Settings, validate
from cadenza.tokens import Representation, representation
from cadenza.tokens.compact import Compact
from cadenza.tokens.contract import in_words
from cadenza.train import Data

WORKSHOP = "preparing"


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
    with workshop(run) as folder:
        place = yield from prepare_corpus(run, folder, source, settings, parent)
    (run.folder / INIT).unlink(missing_ok=True)
    if init is not None:
        run.write(INIT, init.read_bytes())
    run.write_json(ORIGIN, origin_of(run, source, place, init))
    folds = run.folds()
    kept = run.kept()
    works = len(np.unique(kept.work[(kept.part == PARTS.index(TRAIN)) & (kept.fold != 0)]))
    settings = yield from settle(
        settings, run.fold_data(0, settings) if folds else run.data(settings), works, 1 + folds
    )
    run.write_json(DERIVED, derived)
    run.write(CONFIG, tomli_w.dumps(settings.model_dump()).encode())


@contextmanager
def workshop(run: Run) -> Iterator[Path]:
    """A folder for what is made on the way, gone in the end; what an interrupted run has read there is not read again."""
    folder = run.folder / WORKSHOP
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except CadenzaError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def prepare_corpus(
    run: Run, folder: Path, source: str, settings: Settings, parent: Improviser | None
) -> Generator[Record, None, str]:
    """Read, check, group, split and encode the corpus by way of `folder`, and freeze it in the run; says where the music is."""
    with open_source(source, settings) as files, store_in(folder, files) as store:
        yield from welcome(files)
        corpus = yield from scan(files, settings, store, Compact(settings.tokens.representation))
        if not len(corpus.pieces):
            raise nothing_left(source, corpus)
        tokens = parent.representation if parent else representation(settings.tokens.representation, corpus.base)
        check_fields(settings.sample, tokens.fields)
        corpus, tokens = write_tables(folder, corpus, tokens, settings.tokens, narrow=parent is None)
        if not len(corpus.pieces):
            raise nothing_left(source, corpus)
        known = known_to(parent, corpus)
        corpus = corpus.divided(settings.corpus, settings.train.seed, known.tolist())
        tables = Tables.open(folder)
        data = data_of(tables, tokens, corpus.kept.part, settings)
        facts = facts_of(corpus, tokens, data, settings, parent)
        check_sampling(settings.sample, facts)
        yield from describe(corpus, facts, settings)
        if parent is not None:
            yield from count_unknown(corpus, tokens)
        yield from warn(data, corpus)
        yield from longest_window(data, settings.batches)
        if parent is not None:
            yield Said(family(parent, int(known.sum())))
        save(run, folder, corpus, facts, parent)
    return files.place


def store_in(folder: Path, files: Source) -> AbstractContextManager[Store | None]:
    """A store for what is read; none where the source is one."""
    return nullcontext() if files.store is not None else Store(folder / STORE)


def known_to(parent: Improviser | None, corpus: Corpus) -> npt.NDArray[np.bool_]:
    """Whether the parent has seen each piece; empty if it does not say."""
    if parent is None or parent.seen is None:
        return np.empty(0, bool)
    return known_again(corpus.pieces.sets(), parent.seen)


def save(run: Run, folder: Path, corpus: Corpus, facts: Facts, parent: Improviser | None) -> None:
    """Put what was made in `folder` into its place in the run, and the manifest, the facts and the sketch beside it."""
    with writable(folder / MANIFEST), open(folder / MANIFEST, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(vars(entry)) + "\n" for entry in corpus.entries)
    shown = (
        pair for pair, part in zip(corpus.pieces.sets(), corpus.kept.part.tolist(), strict=True) if PARTS[part] != TEST
    )
    with ArrayFile(folder / Path(SEEN).name, np.uint64) as sketch:
        for keys in traces(one for both in shown for one in both):
            sketch.add(keys)
    if parent is not None and parent.seen is not None:
        both = joined(parent.seen, np.load(folder / Path(SEEN).name))
        with ArrayFile(folder / Path(SEEN).name, np.uint64) as sketch:
            sketch.add(both)
    run.write_json(FACTS, facts)
    for name in (MANIFEST, SEEN, f"{CORPUS}/{ROWS_FILE}", f"{CORPUS}/{OFFSETS_FILE}"):
        export.move(folder / Path(name).name, run.folder / name)


def family(parent: Improviser, known: int) -> str:
    """What is known of the music that a parent has seen."""
    if parent.seen is None:
        return f"Fine-tuning a model of {parent.facts.source}; its file does not say what it has seen, so held-out works are held out from this run only."
    return f"Fine-tuning a model of {parent.facts.source}; {counted(known, 'piece')} of works that it has seen train, and are never held out."


def origin_of(run: Run, source: str, place: str, init: Path | None) -> dict[str, str | None]:
    """Where the run comes from, as it was given and where its music is, and the digests of what is frozen."""
    return {"source": source, "found_at": place, "init": str(init) if init else None, **digests(run)}


def nothing_left(source: str, corpus: Corpus) -> CadenzaError:
    reasons = "; ".join(f"{count}× {reason}" for reason, count in report.reasons(corpus.dropped)[:3])
    return CadenzaError(
        f"{source}: none of its {len(corpus.entries):,} files can be used ({reasons}); run cadenza inspect for each file's reason."
    )


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
    training = corpus.pieces.where(corpus.kept.part == PARTS.index(TRAIN))
    tempos, meters = array("d"), Counter[tuple[int, int] | None]()
    lowest, highest = HIGHEST[1], LOWEST[1]
    for tempo, meter, low, high in training.headers():
        tempos.append(tempo)
        meters[meter] += 1
        lowest, highest = min(lowest, low), max(highest, high)
    if parent is not None:
        lowest, highest = min(lowest, parent.facts.lowest), max(highest, parent.facts.highest)
    return Facts(
        source=corpus.source,
        unit=corpus.base.unit,
        steps=corpus.base.steps,
        program=corpus.program,
        tempo=float(np.median(tempos)),
        meter=meters.most_common(1)[0][0],
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
    unknown = Counter[str]()
    for piece in corpus.pieces:
        unknown.update(tokens.unknown(piece))
    if unknown:
        yield Said(in_words(unknown, tokens.unit))


def describe(corpus: Corpus, facts: Facts, settings: Settings) -> Iterator[Said]:
    """Everything that was derived from the data."""
    kept = corpus.kept
    notes, seconds, aside = 0, 0.0, 0
    for entry in kept:
        notes, seconds, aside = notes + entry.notes, seconds + entry.length_seconds, aside + bool(entry.set_aside)
    yield Said(
        f"Kept {len(kept):,} pieces: {notes:,} notes, {seconds / 3600:.1f} hours, {len(np.unique(kept.work)):,} works."
    )
    for reason, count in report.reasons(corpus.dropped):
        yield Said(f"Left out {count:,}: {reason}.")
    if aside:
        yield Said(f"Other instruments were set aside in {aside:,} files (midi.instrument chooses).")
    yield Said(f"Time in {facts.unit}, {facts.steps} steps each: {corpus.on_grid:.0%} of onsets lie on the beat grid.")
    yield Said(f"Pitches {pitch_name(facts.lowest)} to {pitch_name(facts.highest)}; program {facts.program}.")
    if facts.vocabulary:
        yield Said(f"Vocabulary: {len(facts.vocabulary):,} events. {facts.losses}")
    if folds := 1 + int(kept.fold.max()):
        yield Said(
            f"Too few works for a test part: each of {folds} folds of works is held out from a training of its own, and the model that is kept learns from all pieces."
        )
        return
    training, validation, test = np.bincount(kept.part, minlength=len(PARTS)).tolist()
    yield Said(
        f"Split by {settings.corpus.split_by}: {training:,} pieces for training, {validation:,} for validation, {test:,} for the test."
    )


def warn(data: Data, corpus: Corpus) -> Iterator[Said]:
    kept = corpus.kept
    if (kept.fold >= 0).any():
        return
    if not (kept.part == PARTS.index(TEST)).any():
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
