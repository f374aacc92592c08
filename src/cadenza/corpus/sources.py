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
    """The music files of a source, sorted by name; `program` where the corpus fixes it.

    `others` are not music, `unlisted` are music that the list of files (corpus.files) does not name.
    """

    name: str
    files: list[SourceFile]
    program: int | None = None
    others: int = 0
    unlisted: int = 0


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
        taken = listed(files, Path(settings.corpus.files)) if settings.corpus.files else files
        yield Source(name, sorted(taken, key=lambda file: file.name), program, others, len(files) - len(taken))


def listed(files: list[SourceFile], path: Path) -> list[SourceFile]:
    """The files that a list names, one a line, by their whole name or the end of it from a folder on.

    Empty lines and lines that begin with # do not count. A name that fits no file, or several, raises
    `CadenzaError`.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise CadenzaError(
            f"{path}: cannot read this list of files ({why}); give a text file, one name a line."
        ) from None
    names = [line for line in dict.fromkeys(lines) if line and not line.startswith("#")]
    if not names:
        raise CadenzaError(f"{path}: it lists no files; write one name a line.")
    fitting: dict[str, list[SourceFile]] = {name: [] for name in names}
    for file in files:
        parts = file.name.split("/")
        for first in range(len(parts)):
            if (end := "/".join(parts[first:])) in fitting:
                fitting[end].append(file)
    missing = [name for name in names if not fitting[name]]
    if missing:
        short = [file.name.rpartition("/")[2] for file in files]
        hint = nearest(missing[0].rpartition("/")[2], short)
        raise CadenzaError(
            f"{path}: {len(missing):,} of its {len(names):,} names are not in the source, the first is {missing[0]!r}{hint}; mend the list, or give the source that it belongs to."
        )
    if twice := next((name for name in names if len(fitting[name]) > 1), None):
        raise CadenzaError(
            f"{path}: {twice!r} fits {len(fitting[twice]):,} files of the source, {fitting[twice][0].name!r} among them; write more of its path."
        )
    return list({file.name: file for name in names for file in fitting[name]}.values())


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
