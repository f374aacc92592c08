"""The scan store: what reading found in every file, in one SQLite file, so that it need not be read again.

In: readings of files, by the place of a file in a sorted listing. Out: facts, notes, n-grams and encoded
tables of scores, one at a time. Memory stays that of a page cache, however many files there are; what
was committed survives whatever ends the program.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from cadenza.corpus.damage import OF_DAMAGE, guarded, trouble
from cadenza.corpus.grams import Hashes, Ints
from cadenza.corpus.packing import Record, digest_of, unpacked, unsealed
from cadenza.corpus.schema import LISTING, OF_FILES, SCHEMA, SCORE, VERSION
from cadenza.corpus.temporary import in_temporary
from cadenza.errors import CadenzaError
from cadenza.notes import Header, Notes, TimeBase

STORE = "scan.sqlite"
UNITS = {"beats": 1, "seconds": 2}
CACHE_KIB = 65_536
REFUSED = -2
"""The size of a file that its source already says cannot be read."""


class Store:
    """A store that is open; one of a folder, or a temporary one that goes with this object."""

    def __init__(self, path: Path, writable: bool = True, remove: Path | None = None) -> None:
        """A file at `path`, made if it is missing; `remove` is deleted in the end."""
        self.path, self.writable = path, writable
        with guarded(path):
            self.connection = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
            self.close = weakref.finalize(self, release, self.connection, remove)
            self.connection.executescript(
                f"PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -{CACHE_KIB};"
            )
            if not self.connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                self.connection.executescript(SCHEMA)
            version = self.meta("version")
            if writable:
                self.connection.executescript("BEGIN IMMEDIATE; COMMIT")
        if version != VERSION:
            self.close()
            raise CadenzaError(f"{path}: made by another version of Cadenza; remove it, or choose another --out.")

    @classmethod
    def temporary(cls) -> Store:
        """An empty store that lives as long as the object."""
        with in_temporary():
            folder = Path(tempfile.mkdtemp(prefix="cadenza-scan-"))
        return cls(folder / STORE, remove=folder)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ask(self, question: str, *values: Any) -> Iterator[Any]:
        """The rows of an answer."""
        with guarded(self.path):
            yield from self.connection.execute(question, values)

    def one(self, question: str, *values: Any) -> Any:
        """The first row of an answer; None if there is none."""
        with guarded(self.path):
            return self.connection.execute(question, values).fetchone()

    def do(self, statement: str, *values: Any) -> int:
        """Carry out a statement; the number of the row that it inserted, if any."""
        with guarded(self.path):
            return self.connection.execute(statement, values).lastrowid or 0

    def many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Carry out a statement for each of many rows."""
        with guarded(self.path):
            self.connection.executemany(statement, rows)

    def script(self, statements: str) -> None:
        """Carry out several statements."""
        with guarded(self.path):
            self.connection.executescript(statements)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self.do("BEGIN")
        try:
            yield
        except BaseException:
            with suppress(CadenzaError):
                self.do("ROLLBACK")
            raise
        self.do("COMMIT")

    def keep(self) -> None:
        """Within a transaction: what was done so far stays."""
        self.do("COMMIT")
        self.do("BEGIN")

    def meta(self, key: str) -> str:
        """A fact about the whole store; empty if it is not known."""
        found = self.one("SELECT value FROM meta WHERE key = ?", key)
        return found[0] if found else ""

    def set_meta(self, **values: str) -> None:
        self.many("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    # Files

    def list_files(self, files: Iterable[tuple[str, str, str]]) -> None:
        """Take down which files there are, in order: name, path, empty for one not to be looked at, and why it cannot be read."""
        self.script(LISTING)
        with self.transaction():
            self.many("INSERT INTO listing VALUES (?, ?, ?, ?, ?, NULL)", listing(files))
            self.do(
                "UPDATE listing SET file = (SELECT id FROM file WHERE file.name = listing.name AND file.number = listing.number)"
            )

    def names(self) -> list[str]:
        """The names of all files, in order."""
        return [name for (name,) in self.ask("SELECT name FROM file ORDER BY name, number")]

    def clear(self) -> None:
        """Forget all files."""
        with self.transaction():
            for table in ("file", *OF_FILES):
                self.do(f"DELETE FROM {table}")
            self.do("UPDATE temp.listing SET file = NULL")

    def forget_others(self) -> int:
        """Forget the files that are not in the listing; how many there were."""
        with self.transaction():
            self.do("CREATE TEMP TABLE gone AS SELECT id FROM file EXCEPT SELECT file FROM listing")
            [gone] = self.one("SELECT COUNT(*) FROM gone")
            if gone:
                self.forget("SELECT id FROM gone")
                self.do("DELETE FROM file WHERE id IN (SELECT id FROM gone)")
            self.do("DROP TABLE gone")
        return int(gone)

    def forget(self, files: str, *values: Any) -> None:
        """Delete what was found in some files, named by a query."""
        for table, condition in OF_FILES.items():
            self.do(f"DELETE FROM {table} WHERE {condition.format(files)}", *values)

    def stale(self) -> Ints:
        """The places of files that are new, have changed, or could not be read."""
        return self.places(
            "SELECT place FROM listing LEFT JOIN file ON file.id = listing.file WHERE listing.size != ? AND (sha256 IS NULL "
            "OR sha256 = '' OR file.size != listing.size OR file.mtime_ns != listing.mtime_ns) ORDER BY place", REFUSED,
        )  # fmt: skip

    def refused(self) -> Ints:
        """The places of files that the source already says cannot be read."""
        return self.places("SELECT place FROM listing WHERE size = ? ORDER BY place", REFUSED)

    def in_other_units(self, unit: str, as_read: bool) -> Ints:
        """The places of files to read again, because the corpus counts in `unit`: as the settings say, or in that unit."""
        others = sum(code for name, code in UNITS.items() if name != unit)
        return self.places(
            "SELECT place FROM listing JOIN file ON file.id = listing.file WHERE sha256 != '' AND reading != ? AND "
            f"(units & ?) {'= 0' if as_read else '!= 0'} ORDER BY place",
            "" if as_read else unit, others,
        )  # fmt: skip

    def places(self, question: str, *values: Any) -> Ints:
        return np.fromiter((place for (place,) in self.ask(question, *values)), np.int64)

    def put(self, place: int, record: Record, unit: str = "") -> None:
        """Take down what was found in the file at a place; `unit` says in which unit it had to be read, if not as it is."""
        name, number, size, mtime_ns, file = self.one(
            "SELECT name, number, size, mtime_ns, file FROM listing WHERE place = ?", int(place)
        )
        units = 0
        for found in record.scores:
            units |= UNITS.get(found.unit, 0)
        if file is not None:
            self.forget("?", file)
            if unit:
                [units] = self.one("SELECT units FROM file WHERE id = ?", file)
        file = self.do(
            "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            file, name, number, size, mtime_ns, record.sha256, record.reason, unit, units,
        )  # fmt: skip
        self.do("UPDATE listing SET file = ? WHERE place = ?", file, int(place))
        for order, found in enumerate(record.scores):
            score = self.do(
                f"INSERT INTO score (file, {SCORE}) VALUES (?{', ?' * (SCORE.count(',') + 1)})",
                file,
                order,
                *found.facts(),
            )
            if found.columns:
                self.do("INSERT INTO music VALUES (?, ?)", score, found.columns)
                self.do("INSERT INTO ids VALUES (?, ?)", score, found.rows)
            for ear in found.ears:
                which = self.do("INSERT INTO ear VALUES (NULL, ?, ?, ?, ?)", score, ear.size, ear.first, ear.key)
                self.do("INSERT INTO sample VALUES (?, ?)", which, ear.sample)
                self.do("INSERT INTO gram VALUES (?, ?)", which, ear.hashes)

    def on_grid(self) -> float:
        """The share of all onsets that lie on the beat grid."""
        on_grid, onsets = self.one("SELECT SUM(on_grid), SUM(onsets) FROM score JOIN listing USING (file)")
        return (on_grid or 0) / max(1, onsets or 0)

    def repeated(self, column: str) -> set[Any]:
        """The digests, of the bytes of files or the notes of scores, that occur more than once."""
        score = "JOIN score USING (file)" if column == "digest" else ""
        return {
            value
            for (value,) in self.ask(
                f"SELECT {column} FROM listing JOIN file ON file.id = listing.file {score} WHERE file.reason = '' "
                f"AND {column} != '' GROUP BY {column} HAVING COUNT(*) > 1"
            )
        }

    # Scores

    def notes(self, score: int) -> Notes:
        """The notes of a score; others than were read raise `CadenzaError`."""
        with guarded(self.path, *OF_DAMAGE):
            name, unit, steps, tempo, meter, downbeat, count, digest, columns = self.one(
                "SELECT name, unit, steps, tempo, meter, downbeat, notes, digest, columns FROM score "
                "JOIN music ON music.score = score.id WHERE score.id = ?", int(score),
            )  # fmt: skip
            header = Header(name, TimeBase(unit, steps), tempo, meter_of(meter), downbeat)
            notes = Notes(*unpacked(columns, count), header)
            if digest_of(notes) != digest:
                raise ValueError(f"other notes of {name} than were read")
            return notes

    def rows(self, score: int) -> bytes:
        """The encoded table of a score; empty if it has none."""
        found = self.one("SELECT rows FROM ids WHERE score = ?", int(score))
        return self.whole(found[0]) if found and found[0] else b""

    def sets(self, score: int) -> list[Hashes]:
        """The sampled hashes of a score's n-grams, for each ear."""
        found = self.ask(
            "SELECT hashes FROM ear JOIN sample ON sample.ear = ear.id WHERE score = ? ORDER BY ear.id", int(score)
        )
        return [np.frombuffer(self.whole(hashes), "<u8") for (hashes,) in found]

    def whole(self, sealed: bytes) -> bytes:
        """What was sealed; bytes that have changed since raise `CadenzaError`."""
        try:
            return unsealed(sealed)
        except OF_DAMAGE as error:
            raise CadenzaError(trouble(self.path, str(error))) from None


def listing(files: Iterable[tuple[str, str, str]]) -> Iterator[tuple[int, str, int, int, int]]:
    """Place, name, number among files of that name, size and time of each file; -1 for what is not to be had."""
    last, number = "", 0
    for place, (name, path, reason) in enumerate(files):
        last, number = name, number + 1 if name == last and place else 0
        size, mtime_ns = REFUSED if reason else -1, -1
        if path and not reason:
            with suppress(OSError):
                status = os.stat(path)  # noqa: PTH116 - several times as fast
                size, mtime_ns = status.st_size, status.st_mtime_ns
        yield place, name, number, size, mtime_ns


def meter_of(text: str | None) -> tuple[int, int] | None:
    """``3/4`` as numbers."""
    if not text:
        return None
    above, below = text.split("/")
    return int(above), int(below)


def release(connection: sqlite3.Connection, folder: Path | None) -> None:
    """Close a store; a temporary one goes."""
    connection.close()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
