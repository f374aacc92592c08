"""What was found in a file, packed small for its way from a worker and for the store.

Notes take 6 bytes each where a piece has fewer than 65,536 steps, else 10. n-grams become sorted
hashes, and a sample of them. Notes have a digest; what is made of them is sealed by a checksum.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from cadenza.corpus.grams import hashed, interval_grams
from cadenza.corpus.reading import Found, read_file
from cadenza.corpus.unpack import SourceFile
from cadenza.corpus.works import content_key, sample
from cadenza.notes import Column, Notes
from cadenza.settings import MidiSettings

SEAL = 4
"""Bytes of a checksum."""


class Encoder(Protocol):
    """Notes as the bytes of a table, for whoever learns them; empty where that cannot be."""

    @property
    def key(self) -> str:
        """The name of the tables."""

    def __call__(self, notes: Notes) -> bytes:
        """The table's bytes."""


@dataclass(frozen=True)
class Ear:
    """One set of n-grams as hashes."""

    size: int
    first: int
    key: int
    sample: bytes
    hashes: bytes


@dataclass(frozen=True)
class Packed:
    """One score: its facts, and, where there are any, notes, n-grams and table."""

    name: str
    on_grid: int
    onsets: int
    reason: str
    programs: str = ""
    set_aside: str = ""
    unit: str = ""
    steps: int = 0
    tempo: float = 0.0
    meter: str | None = None
    downbeat: int = 0
    length_seconds: float = 0.0
    notes: int = 0
    lowest: int = 0
    highest: int = 0
    digest: bytes = b""
    columns: bytes = b""
    rows: bytes = b""
    ears: tuple[Ear, ...] = ()

    def facts(self) -> tuple[Any, ...]:
        """What is no table, in the order of the fields."""
        return (
            self.name, self.reason, self.on_grid, self.onsets, self.programs, self.set_aside, self.unit, self.steps, self.tempo,
            self.meter, self.downbeat, self.length_seconds, self.notes, self.lowest, self.highest, self.digest,
        )  # fmt: skip


@dataclass(frozen=True)
class Record:
    """What was found in one file; without `sha256` it could not be read at all."""

    sha256: str = ""
    reason: str = ""
    scores: tuple[Packed, ...] = ()


def read_packed(task: tuple[SourceFile, MidiSettings, Encoder | None]) -> Record:
    """Worker: a file as the store keeps it."""
    file, settings, encode = task
    reading = read_file((file, settings))
    return Record(reading.sha256, reading.reason, tuple(packed(found, encode) for found in reading.found))


def packed(found: Found, encode: Encoder | None) -> Packed:
    """A score as the store keeps it."""
    piece = found.notes
    if piece is None:
        return Packed(found.name, found.on_grid, found.onsets, found.reason)
    header = piece.header
    return Packed(
        found.name,
        found.on_grid,
        found.onsets,
        found.reason,
        ",".join(map(str, found.programs)),
        found.set_aside,
        header.time_base.unit,
        header.time_base.steps,
        header.tempo,
        None if header.meter is None else "{}/{}".format(*header.meter),
        header.downbeat,
        piece.length_seconds,
        len(piece),
        int(piece.pitch.min()),
        int(piece.pitch.max()),
        digest_of(piece),
        columns_of(piece),
        sealed(encode(piece)) if encode else b"",
        tuple(ear(hashed(grams)) for grams in interval_grams(piece)),
    )


def digest_of(piece: Notes) -> bytes:
    """SHA-256 of the notes, without what is said of them."""
    return hashlib.sha256(b"".join(column.tobytes() for column in piece.columns)).digest()


def ear(hashes: Any) -> Ear:
    """A set of sorted hashes, with what is looked up of it."""
    looked_up, all_of_them = (sealed(each.tobytes()) for each in (sample(hashes), hashes))
    return Ear(len(hashes), int(hashes[0]), content_key(hashes), looked_up, all_of_them)


def sealed(data: bytes) -> bytes:
    """Bytes with their checksum (CRC-32) behind them."""
    return data + crc32(data).to_bytes(SEAL, "little")


def unsealed(data: bytes) -> bytes:
    """The bytes that were sealed; `ValueError` if these are others.

    >>> unsealed(sealed(b"table"))
    b'table'
    """
    data, seal = data[:-SEAL], data[-SEAL:]
    if crc32(data).to_bytes(SEAL, "little") != seal:
        raise ValueError("other bytes than were written")
    return data


def columns_of(piece: Notes) -> bytes:
    """Onsets and durations in 16 or 32 bits, pitches and velocities in 8."""
    time = "<u2" if piece.end < 1 << 16 else "<i4"
    kinds = (time, "u1", time, "u1")
    return b"".join(column.astype(kind).tobytes() for column, kind in zip(piece.columns, kinds, strict=True))


def unpacked(columns: bytes, count: int) -> tuple[Column, Column, Column, Column]:
    """The columns of so many notes.

    >>> piece = Notes.of([0, 70_000], [60, 62], [5, 5], [80, 81])
    >>> [column.tolist() for column in unpacked(columns_of(piece), 2)]
    [[0, 70000], [60, 62], [5, 5], [80, 81]]
    """
    width = (len(columns) // count - 2) // 2
    time = f"<{'u' if width == 2 else 'i'}{width}"
    found, begin = [], 0
    for kind in (time, "u1", time, "u1"):
        found.append(np.frombuffer(columns, kind, count, begin).astype(np.int32))
        begin += found[-1].size * np.dtype(kind).itemsize
    return found[0], found[1], found[2], found[3]
