"""What makes a figure worthless is refused: an altered manifest, parts that overlap, files that changed."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator
from pathlib import Path

from cadenza.batches import OFFSETS_FILE, ROWS_FILE
from cadenza.corpus import catalogue
from cadenza.corpus.scan import Entry
from cadenza.corpus.sources import open_source
from cadenza.errors import CadenzaError
from cadenza.records import Record, Said
from cadenza.runs.folder import CORPUS, FACTS, MANIFEST, SEEN, Run

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
    return {key: hashlib.sha256(run.read(name)).hexdigest() for key, name in FROZEN.items()}


def verify(run: Run) -> Iterator[Record]:
    """Raise `CadenzaError` unless the manifest, the parts and the source's files are those of the preparation."""
    origin, entries = run.origin(), run.entries()
    kept = [entry for entry in entries if not entry.reason]
    if run.settings().corpus.split_by == "work":
        check_parts(run.folder / MANIFEST, kept)
    for key, found in digests(run).items():
        if origin.get(key) != found:
            raise CadenzaError(
                f"{run.folder / FROZEN[key]}: altered since the run was prepared, so its figures would mean nothing; restore it, {AGAIN}"
            )
    yield from check_files(run, origin.get("found_at") or origin["source"], kept)


def check_parts(manifest: Path, kept: list[Entry]) -> None:
    """Raise if a work stands in two parts of the split, or in two folds."""
    place: dict[int, Entry] = {}
    for entry in kept:
        first = place.setdefault(entry.work, entry)
        if (first.split, first.fold) != (entry.split, entry.fold):
            parts = [f"{one.split}{f' fold {one.fold + 1}' if one.fold >= 0 else ''}" for one in (first, entry)]
            raise CadenzaError(
                f"{manifest}: {first.name} ({parts[0]}) and {entry.name} ({parts[1]}) are the same work, so held-out figures would flatter; restore the manifest, {AGAIN}"
            )


def check_files(run: Run, source: str, kept: list[Entry]) -> Iterator[Record]:
    """Raise if a kept file of the source is gone or has other bytes; a source that is not here is said."""
    if not Path(source).exists() and (source not in catalogue.CORPORA or catalogue.here(source) is None):
        yield Said(f"{source} is not here, so its files could not be compared with the manifest.")
        return
    settings = run.settings()
    everything = settings.model_copy(update={"corpus": settings.corpus.model_copy(update={"files": ""})})
    with open_source(source, everything) as found:
        paths = {file.name: file.path for file in found.files}
        for name, sha256 in {file_of(entry, paths): entry.sha256 for entry in kept}.items():
            if name not in paths:
                why = "is gone"
            elif digest(paths[name]) != sha256:
                why = "has changed"
            else:
                continue
            raise CadenzaError(
                f"{source}: {name} {why} since the run was prepared, and its manifest no longer describes it; restore the file, {AGAIN}"
            )


def digest(path: Path) -> str:
    """SHA-256 of a file; empty where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def file_of(entry: Entry, names: Container[str]) -> str:
    """The file of an entry: of a file of several ABC tunes, the entry's name ends in # and a number."""
    return entry.name if entry.name in names else entry.name.rpartition("#")[0] or entry.name
