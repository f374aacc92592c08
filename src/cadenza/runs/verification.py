"""What makes a figure worthless is refused: an altered manifest, parts that overlap, files that changed."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

import numpy as np

from cadenza.batches import OFFSETS_FILE, ROWS_FILE
from cadenza.corpus import catalogue
from cadenza.corpus.scan import Entry
from cadenza.corpus.sources import open_source
from cadenza.corpus.store import STORE
from cadenza.errors import CadenzaError
from cadenza.records import Record, Said
from cadenza.runs import chain
from cadenza.runs.folder import CORPUS, FACTS, MANIFEST, SEEN, Run
from cadenza.runs.manifest import Manifest

FROZEN = {
    "manifest_sha256": MANIFEST,
    "rows_sha256": f"{CORPUS}/{ROWS_FILE}",
    "offsets_sha256": f"{CORPUS}/{OFFSETS_FILE}",
    "facts_sha256": FACTS,
    "seen_sha256": SEEN,
}
AGAIN = "or begin again with another --out."


def digests(run: Run) -> dict[str, str]:
    """SHA-256 of what a run must never change once it has begun."""
    return {key: run.sha256(name) for key, name in FROZEN.items()}


def verify(run: Run, until: str = "report") -> Iterator[Record]:
    """Raise `CadenzaError` unless the preparation, the source's files and the links before this one are as they were."""
    kept = run.kept()
    if run.settings().corpus.split_by == "work":
        check_parts(kept)
    chain.check(run, until)
    for name in not_as_prepared(run):
        raise CadenzaError(
            f"{run.folder / name}: altered since the run was prepared, so its figures would mean nothing; restore it, {AGAIN}"
        )
    source = source_here(run)
    if not source:
        yield Said(f"{found_at(run)} is not here, so its files could not be compared with the manifest.")
        return
    for name, fault in source_faults(run, source, kept):
        raise CadenzaError(
            f"{source}: {name} {fault} since the run was prepared, and its manifest no longer describes it; restore the file, {AGAIN}"
        )


def not_as_prepared(run: Run) -> list[str]:
    """Files that are not those whose digests `corpus/origin.json` holds."""
    origin = run.origin()
    return [FROZEN[key] for key, found in digests(run).items() if origin.get(key) != found]


def check_parts(kept: Manifest) -> None:
    """Raise if a work stands in two parts of the split, or in two folds."""
    order = np.lexsort((kept.fold, kept.part, kept.work))
    work, part, fold = kept.work[order], kept.part[order], kept.fold[order]
    torn = (work[1:] == work[:-1]) & ((part[1:] != part[:-1]) | (fold[1:] != fold[:-1]))
    for at in np.flatnonzero(torn)[:1].tolist():
        both = [kept[index] for index in sorted(order[at : at + 2].tolist())]
        said = [f"{one.name} ({one.split}{f' fold {one.fold + 1}' if one.fold >= 0 else ''})" for one in both]
        raise CadenzaError(
            f"{kept.path}: {said[0]} and {said[1]} are the same work, so held-out figures would flatter; restore the manifest, {AGAIN}"
        )


def found_at(run: Run) -> str:
    """Where the source was."""
    origin = run.origin()
    return str(origin.get("found_at") or origin["source"])


def source_here(run: Run) -> str:
    """The source, where it was or as it was given, seen from here; empty where it is gone."""
    for source in (found_at(run), str(run.origin()["source"])):
        if (Path(source) / STORE).exists():  # a scan, which holds no music
            continue
        if Path(source).exists() or (source in catalogue.CORPORA and catalogue.here(source)):
            return source
    return ""


def source_faults(run: Run, source: str, kept: Manifest) -> Iterator[tuple[str, str]]:
    """Kept files of the source that are gone or have other bytes, and which of both."""
    settings = run.settings()
    everything = settings.model_copy(update={"corpus": settings.corpus.model_copy(update={"files": ""})})
    with open_source(source, everything) as found:
        paths = {file.name: file.path for file in found.files}
        for name, sha256 in {file_of(entry, paths): entry.sha256 for entry in kept}.items():
            if name not in paths:
                yield name, "is gone"
            elif chain.digest(paths[name]) != sha256:
                yield name, "has changed"


def file_of(entry: Entry, names: Container[str]) -> str:
    """The file of an entry: of a file of several ABC tunes, the entry's name ends in # and a number."""
    return entry.name if entry.name in names else entry.name.rpartition("#")[0] or entry.name
