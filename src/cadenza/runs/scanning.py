"""A source into a folder that keeps what was read, so that runs and later scans need not read it again."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np

from cadenza.corpus.scan import scan
from cadenza.corpus.sources import open_source, welcome
from cadenza.corpus.store import STORE, Store
from cadenza.errors import CadenzaError
from cadenza.records import Progress, Said, counted
from cadenza.settings import Settings
from cadenza.tokens.compact import Compact


def scan_into(source: str, settings: Settings, out: Path) -> Generator[Progress | Said, None, None]:
    """Make the scan store in `out`, or bring it up to date: only new and changed files are read."""
    check_place(source, out)
    with open_source(source, settings) as files:
        if files.store is not None:
            raise CadenzaError(f"{source}: a scan already, which holds no music; give the music itself.")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CadenzaError(f"{out}: cannot make it ({error.strerror}); choose another --out.") from None
        with Store(out / STORE) as store:
            yield from welcome(files)
            corpus = yield from scan(files, settings, store, Compact(settings.tokens.representation))
            read, same, gone = corpus.changes
            if same or gone:
                yield Said(f"{counted(read, 'file')} read, {same:,} as they were, {gone:,} gone.")
            works = counted(len(np.unique(corpus.kept.work)), "work")
            yield Said(
                f"{out}: {counted(len(corpus.pieces), 'piece')} of {works}, {len(corpus.dropped):,} left out; cadenza run {out} trains on them."
            )


def check_place(source: str, out: Path) -> None:
    """A folder in which no store should lie raises `CadenzaError`."""
    try:
        if out.exists() and not out.is_dir():
            raise CadenzaError(f"{out}: a file, where a folder is needed; choose another --out.")
        music = Path(source)
        if music.is_dir() and (out.resolve() == music.resolve() or music.resolve() in out.resolve().parents):
            raise CadenzaError(f"{out}: it lies in the folder that is to be scanned; choose another --out.")
        if out.is_dir() and any(out.iterdir()) and not (out / STORE).is_file():
            raise CadenzaError(f"{out}: there are other files in it; choose a new folder for --out.")
    except OSError as error:
        raise CadenzaError(f"{out}: cannot be looked at ({error.strerror}); choose another --out.") from None
