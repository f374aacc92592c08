"""The pieces of a corpus to one table of ids on disk, a piece at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from cadenza.batches import OFFSETS_FILE, ROWS_FILE
from cadenza.corpus.scan import Corpus
from cadenza.errors import CadenzaError
from cadenza.settings import TokenSettings
from cadenza.tokens import Representation, Rows, representation
from cadenza.tokens.compact import id_type, whole

BLOCK = 1 << 20
"""Rows that are copied at a time."""


class ArrayFile:
    """A .npy file that grows by rows of one shape. What cannot be written raises `CadenzaError`."""

    def __init__(self, path: Path, kind: npt.DTypeLike, shape: tuple[int, ...] = ()) -> None:
        self.path, self.kind, self.shape, self.rows = path, np.dtype(kind), shape, 0

    def __enter__(self) -> ArrayFile:
        with writable(self.path):
            self.file = open(self.path, "wb")
            self._header()
        return self

    def add(self, values: npt.NDArray[Any]) -> None:
        with writable(self.path):
            self.file.write(np.ascontiguousarray(values, self.kind).tobytes())
        self.rows += len(values)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with writable(self.path), self.file:
            self.file.seek(0)
            self._header()  # its length does not depend on the number of rows

    def _header(self) -> None:
        facts = {
            "descr": np.lib.format.dtype_to_descr(self.kind),
            "fortran_order": False,
            "shape": (self.rows, *self.shape),
        }
        np.lib.format.write_array_header_1_0(self.file, facts)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """What the system says of a file that is written becomes one sentence."""
    try:
        yield
    except OSError as error:
        raise CadenzaError(
            f"{path}: cannot write it ({error.strerror or error}); free space and go on with --resume, or choose another --out."
        ) from None


def write_tables(
    folder: Path, corpus: Corpus, tokens: Representation, settings: TokenSettings, narrow: bool
) -> tuple[Corpus, Representation]:
    """Write the tables of all pieces that can be learned from; the corpus comes back without the others.

    With `narrow`, a vocabulary is cut down to what these pieces need.
    """
    narrow = narrow and bool(tokens.vocabulary)
    used = np.zeros(1 + max(tokens.sizes), bool)
    reasons: dict[int, str] = {}
    offsets = array("q", [0])
    with ArrayFile(folder / ROWS_FILE, id_type(tokens.sizes), (len(tokens.sizes),)) as file:
        for index, table in enumerate(encoded(corpus, tokens)):
            if reason := why_not(table, tokens, settings):
                reasons[index] = reason
                continue
            file.add(table)
            offsets.append(file.rows)
            used[table.ravel() if narrow else []] = True
    with ArrayFile(folder / OFFSETS_FILE, np.int64) as file:
        file.add(np.array(offsets, np.int64))
    if narrow and used.any():
        known = representation(
            tokens.name, tokens.base, tokens.observed(np.flatnonzero(used).astype(np.int16)[:, None])
        )
        renumber(folder / ROWS_FILE, tokens, known)
        tokens = known
    return corpus.leaving_out(reasons), tokens


def encoded(corpus: Corpus, tokens: Representation) -> Iterator[Rows]:
    """The table of each piece: as it was encoded when the piece was read, if that was in the same way."""
    everything = whole(tokens.name, tokens.base)
    if corpus.encoded == tokens.name and everything is not None and everything.vocabulary == tokens.vocabulary:
        kind, fields = id_type(tokens.sizes), len(tokens.sizes)
        yield from (np.frombuffer(table, kind).reshape(-1, fields) for table in corpus.pieces.tables())
    else:
        yield from map(tokens.encode, corpus.pieces)


def renumber(path: Path, before: Representation, after: Representation) -> None:
    """Rewrite a table of one field in the ids of another vocabulary, in which all of its events are."""
    number = {name: place for place, name in enumerate(after.vocabulary)}
    ids = np.array([number.get(name, 0) for name in before.vocabulary])
    wide = path.with_name(f"wide-{path.name}")
    with writable(path):
        path.replace(wide)
    rows = np.load(wide, mmap_mode="r")
    with ArrayFile(path, id_type(after.sizes), (1,)) as file:
        for begin in range(0, len(rows), BLOCK):
            file.add(ids[rows[begin : begin + BLOCK]])
    wide.unlink()


def why_not(table: Rows, tokens: Representation, settings: TokenSettings) -> str:
    """Why a piece's table cannot be used; empty if it can."""
    if not tokens.note_count(table):
        return "none of its notes is in the model's vocabulary; leave it out."
    if len(table) < settings.min_rows:
        return f"{len(table):,} rows, under tokens.min_rows = {settings.min_rows:,}; lower that, or leave it out."
    if len(table) > settings.max_rows:
        return f"{len(table):,} rows, over tokens.max_rows = {settings.max_rows:,}; raise that, or leave it out."
    return ""
