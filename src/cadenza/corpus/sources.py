"""A SOURCE (folder, archive, single file or corpus name) to the list of its music files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from cadenza.corpus import catalogue
from cadenza.corpus.damage import OF_DAMAGE, guarded
from cadenza.corpus.store import STORE, Store
from cadenza.corpus.temporary import scratch
from cadenza.corpus.unpack import SourceFile, is_archive, is_music, printable, unpack
from cadenza.errors import CadenzaError
from cadenza.records import Said
from cadenza.settings import Settings, nearest

KINDS = "Cadenza reads .mid, .midi, .kar, .smf and .abc"


@dataclass(frozen=True)
class Source:
    """The music files of a source, sorted by name; `program` where the corpus fixes it.

    `others` are not music, `unlisted` are music that the list of files (corpus.files) does not name. Where
    the source is a scan store, the files are only names, and what they hold is in the `store`. `place` is
    where the music is: an absolute path, or the name of a corpus.
    """

    name: str
    files: Sequence[SourceFile]
    program: int | None = None
    others: int = 0
    unlisted: int = 0
    store: Path | None = None
    place: str = ""

    def located(self) -> Iterator[tuple[str, str, str]]:
        """Name, path and reason of each file; no paths in a scan store."""
        if isinstance(self.files, Below):
            files = self.files.located()
        else:
            files = ((file.name, str(file.path), file.reason) for file in self.files)
        return files if self.store is None else ((name, "", reason) for name, _, reason in files)


@dataclass(frozen=True)
class Below(Sequence[SourceFile]):
    """Music files below a folder by their names there, in the order of their printable names; `reasons` by name."""

    folder: str
    names: list[str]
    reasons: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> SourceFile: ...
    @overload
    def __getitem__(self, index: slice) -> Below: ...
    def __getitem__(self, index: int | slice) -> SourceFile | Below:
        if isinstance(index, slice):
            return Below(self.folder, self.names[index], self.reasons)
        name = self.names[index]
        return SourceFile(printable(name), Path(self.folder, name), self.reasons.get(name, ""))

    def located(self) -> Iterator[tuple[str, str, str]]:
        """Name, path and reason of each file."""
        above = os.path.join(self.folder, "")  # noqa: PTH118 - several times as fast
        return ((printable(name), above + name, self.reasons.get(name, "")) for name in self.names)


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
    with scratch("cadenza-unpacked-") as folder:
        store = path / STORE if path.is_dir() and (path / STORE).is_file() else None
        files: Sequence[SourceFile]
        place = str(Path(text).resolve()) if exists else text
        if store is not None:
            name, program, files, place = contents(store)
            others = 0
        elif path.is_dir():
            files, others = walk(path.absolute())  # as workers may stand elsewhere
        elif is_archive(path):
            files, others = unpack(path, folder, settings, inside), 0
        elif is_music(path.name):
            files, others = [SourceFile(printable(path.name), path.absolute())], 0
        else:
            raise CadenzaError(f"{path}: neither a folder nor a .zip or .tar archive; {KINDS} files in them.")
        if not files:
            raise CadenzaError(f"{path}: no music in it ({others:,} other files); {KINDS}.")
        taken = files
        if settings.corpus.files:
            taken = listed(files, Path(settings.corpus.files))
        if not isinstance(taken, Below):
            taken = sorted(taken, key=lambda file: file.name)
        yield Source(name, taken, program, others, len(files) - len(taken), store, place)


def welcome(files: Source) -> Iterator[Said]:
    """What the source holds before it is read."""
    others = f", {files.others:,} other files passed over" if files.others else ""
    unlisted = f", as listed; {files.unlisted:,} others of the source are no part of this run" if files.unlisted else ""
    yield Said(f"{files.name}: {len(files.files):,} music files{unlisted}{others}.")


def contents(path: Path) -> tuple[str, int | None, Below, str]:
    """The name, the program, if it is fixed, the files and the place of what a scan store holds; one that is not complete raises `CadenzaError`."""
    with Store(path, writable=False) as store, guarded(path, *OF_DAMAGE):
        if not store.meta("complete"):
            raise CadenzaError(f"{path.parent}: its scan did not come to an end; run the same cadenza scan again.")
        program = store.meta("program")
        return (
            store.meta("name"),
            int(program) if program else None,
            Below(str(path.parent), store.names(), {}),
            store.meta("place"),
        )


def listed(files: Sequence[SourceFile], path: Path) -> list[SourceFile]:
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


def walk(folder: Path) -> tuple[Below, int]:
    """Music files below a folder, links followed but no folder entered twice, and the number of other files."""
    names: list[str] = []
    reasons: dict[str, str] = {}
    others = 0
    entered: set[tuple[int, int]] = set()
    top = len(os.path.join(folder, ""))  # noqa: PTH118 - of a root as well

    def closed(error: OSError) -> None:
        if os.fsdecode(error.filename) == str(folder):
            raise CadenzaError(f"{folder}: cannot be read ({error.strerror}); check the path and its permissions.")
        name = os.fsdecode(error.filename)[top:] + "/"
        reasons[name] = f"{printable(name)}: this folder cannot be read ({error.strerror}); check its permissions."
        names.append(name)

    for place, folders, here in os.walk(folder, followlinks=True, onerror=closed):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort()
        music = [name for name in here if is_music(name)]
        others += len(here) - len(music)
        below = f"{place[top:]}/" if len(place) > top else ""
        names.extend(below + name for name in music)
    names.sort(key=printable)
    return Below(str(folder), names, reasons), others
