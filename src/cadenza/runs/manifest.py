"""A run's manifest: a line of JSON for every piece and every file left out, of which memory holds a few columns.

In: the path of the file. Out: the columns by which pieces are chosen, and its lines as entries, when they are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import numpy.typing as npt

from cadenza.corpus.grams import Ints
from cadenza.corpus.scan import Entry
from cadenza.corpus.split import PARTS, Codes
from cadenza.errors import CadenzaError

COLUMNS = np.dtype([("begin", np.int64), ("kept", np.bool_), ("work", np.int64), ("part", np.int8), ("fold", np.int8)])


@dataclass(frozen=True, eq=False)
class Manifest(Sequence[Entry]):
    """Some of its lines: where each begins, and its columns; `part` is an index in `PARTS`, -1 for none."""

    path: Path
    lines: npt.NDArray[np.void]

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """All lines; one that is no entry raises `CadenzaError`, and a missing file `OSError`."""
        now = path.stat()
        return cls(path, columns(path, now.st_ino, now.st_size, now.st_mtime_ns))

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        return self.lines["kept"]

    @property
    def work(self) -> Ints:
        return self.lines["work"]

    @property
    def part(self) -> Codes:
        return self.lines["part"]

    @property
    def fold(self) -> Codes:
        return self.lines["fold"]

    @property
    def folds(self) -> int:
        """Into how many folds the pieces are dealt."""
        return 1 + int(self.fold.max(initial=-1))

    def of(self, part: str) -> Ints:
        """The indices of the lines of one part."""
        return np.flatnonzero(self.part == PARTS.index(part)).astype(np.int64)

    def where(self, chosen: npt.NDArray[Any]) -> Manifest:
        """Some of the lines, by a mask or by their indices."""
        return Manifest(self.path, self.lines[chosen])

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Manifest: ...
    def __getitem__(self, index: int | slice) -> Entry | Manifest:
        if isinstance(index, slice):
            return Manifest(self.path, self.lines[index])
        [entry] = Manifest(self.path, self.lines[[index]])
        return entry

    def __iter__(self) -> Iterator[Entry]:
        try:
            file = open(self.path, "rb")  # noqa: SIM115 - only a file that cannot be opened is said to be missing
        except OSError as error:
            raise damaged(self.path, error) from None
        with file:
            for begin in self.lines["begin"].tolist():
                file.seek(begin)
                yield entry_of(file, self.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Entry.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]


@lru_cache(maxsize=4)
def columns(path: Path, *state: int) -> npt.NDArray[np.void]:  # noqa: ARG001
    """The columns of a manifest in this state."""
    try:
        with open(path, "rb") as file:
            found = np.fromiter(rows(file, path), COLUMNS)
    except (ValueError, TypeError, OverflowError) as error:  # values that are none of a column
        raise damaged(path, error) from None
    found.flags.writeable = False  # all who ask for it share it
    return found


def rows(file: BinaryIO, path: Path) -> Iterator[tuple[int, bool, int, int, int]]:
    """What is held of each line."""
    begin, size = 0, path.stat().st_size
    while begin < size:
        entry = entry_of(file, path)
        part = PARTS.index(entry.split) if entry.split else -1
        yield begin, not entry.reason, entry.work, part, entry.fold
        begin = file.tell()


def entry_of(file: BinaryIO, path: Path) -> Entry:
    """The next line as an entry."""
    try:
        return Entry(**json.loads(file.readline()))
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> CadenzaError:
    """What to say of a file of a run that does not hold what it should."""
    why = str(error).splitlines()[0]
    return CadenzaError(f"{path}: missing or damaged ({why}); copy it back, or begin again with another --out.")
