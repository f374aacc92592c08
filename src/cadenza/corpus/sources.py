"""A SOURCE (folder, archive, single file or corpus name) to the list of its music files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cadenza.corpus import catalogue
from cadenza.corpus.unpack import SourceFile, is_archive, is_music, printable, unpack
from cadenza.errors import CadenzaError
from cadenza.settings import Settings, nearest

KINDS = "Cadenza reads .mid, .midi, .kar, .smf and .abc"


@dataclass(frozen=True)
class Source:
    """The music files of a source, sorted by name; `others` are not music; `program` where the corpus fixes it."""

    name: str
    files: list[SourceFile]
    program: int | None = None
    others: int = 0


@contextmanager
def open_source(text: str, settings: Settings) -> Iterator[Source]:
    """The files of `text`, there to be read until the context ends; none at all raises `CadenzaError`."""
    path, program, inside = Path(text), None, ""
    name = path.resolve().name.split(".")[0] or "music"
    try:
        exists = path.exists()
    except OSError as error:  # a name too long, or a closed folder above it
        raise CadenzaError(f"{text}: cannot be read ({error.strerror}); check the path and its permissions.") from None
    if not exists and text in catalogue.CORPORA:
        name, program, inside = text, catalogue.CORPORA[text].program, catalogue.CORPORA[text].inside
        found = catalogue.here(text)
        if found is None:
            raise CadenzaError(f"The corpus {text!r} is not on this machine yet; run: cadenza corpora get {text}")
        path = found
    elif not exists:
        raise CadenzaError(
            f"There is no folder, archive or corpus {text!r}{nearest(text, catalogue.CORPORA)}; corpora: {', '.join(catalogue.CORPORA)}."
        )
    with tempfile.TemporaryDirectory(prefix="cadenza-unpacked-") as folder:
        if path.is_dir():
            files, others = walk(path)
        elif is_archive(path):
            files, others = unpack(path, Path(folder), settings, inside), 0
        elif is_music(path.name):
            files, others = [SourceFile(printable(path.name), path)], 0
        else:
            raise CadenzaError(f"{path}: neither a folder nor a .zip or .tar archive; {KINDS} files in them.")
        if not files:
            raise CadenzaError(f"{path}: no music in it ({others:,} other files); {KINDS}.")
        yield Source(name, sorted(files, key=lambda file: file.name), program, others)


def walk(folder: Path) -> tuple[list[SourceFile], int]:
    """Music files below a folder, links followed but no folder entered twice, and the number of other files."""
    found: list[SourceFile] = []
    others = 0
    entered: set[tuple[int, int]] = set()

    def closed(error: OSError) -> None:
        place = Path(os.fsdecode(error.filename))
        name = printable(str(place.relative_to(folder))) + "/"
        reason = f"{name}: this folder cannot be read ({error.strerror}); check its permissions."
        found.append(SourceFile(name, place, reason))

    for place, folders, names in os.walk(folder, followlinks=True, onerror=closed):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in names:
            if is_music(name):
                path = Path(place) / name
                found.append(SourceFile(printable(str(path.relative_to(folder))), path))
            else:
                others += 1
    return found, others
