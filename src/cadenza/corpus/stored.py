"""Pieces and their n-grams as sequences that are read from the store when they are asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import overload

import numpy as np
import numpy.typing as npt

from cadenza.corpus.grams import Hashes, Ints
from cadenza.corpus.packing import sealed
from cadenza.corpus.store import Store, meter_of
from cadenza.corpus.works import Outline, group_sets
from cadenza.notes import Notes
from cadenza.records import Progress

PORTION = 1 << 12
"""Sets whose sampled hashes are handed out together; pairs that are learned before they are safe on disk."""


@dataclass(frozen=True, eq=False)
class Pieces(Sequence[Notes]):
    """The notes of some scores, read anew each time; `scores` are their numbers in the store."""

    store: Store
    scores: Ints

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, index: int) -> Notes: ...
    @overload
    def __getitem__(self, index: slice) -> Pieces: ...
    def __getitem__(self, index: int | slice) -> Notes | Pieces:
        if isinstance(index, slice):
            return Pieces(self.store, self.scores[index])
        return self.store.notes(self.scores[index])

    def __eq__(self, other: object) -> bool:
        """No pieces are like no pieces."""
        return isinstance(other, Sequence) and not len(self) and not len(other)

    __hash__ = None  # type: ignore[assignment]

    def where(self, chosen: npt.NDArray[np.bool_]) -> Pieces:
        """Some of the pieces."""
        return Pieces(self.store, self.scores[chosen])

    def headers(self) -> Iterator[tuple[float, tuple[int, int] | None, int, int]]:
        """Tempo, metre, lowest and highest pitch of each piece."""
        for score in self.scores.tolist():
            tempo, meter, lowest, highest = self.store.one(
                "SELECT tempo, meter, lowest, highest FROM score WHERE id = ?", score
            )
            yield tempo, meter_of(meter), lowest, highest

    def tables(self) -> Iterator[bytes]:
        """The encoded table of each piece, as bytes; empty for one that has none."""
        return (self.store.rows(score) for score in self.scores.tolist())

    def sets(self) -> Iterator[list[Hashes]]:
        """The sampled hashes of each piece, for each ear."""
        return (self.store.sets(score) for score in self.scores.tolist())


class StoredSets:
    """The n-grams of pieces in a store; what is learned of pairs stays there."""

    def __init__(self, pieces: Pieces) -> None:
        self.store = pieces.store
        ears = "SELECT id, score, size, first, key FROM ear"
        columns = np.fromiter(
            self.store.ask(ears), np.dtype([(name, np.int64) for name in ("id", "score", "size", "first", "key")])
        )
        owner = np.full(1 + max(int(columns["score"].max(initial=0)), int(pieces.scores.max(initial=0))), -1)
        owner[pieces.scores] = np.arange(len(pieces))
        columns = columns[owner[columns["score"]] >= 0]
        self.ids = columns["id"]
        self.small = Outline(
            owner[columns["score"]],
            columns["size"],
            columns["first"].astype(np.uint64),
            columns["key"].astype(np.uint64),
        )
        self.learned = 0  # pairs that are not safe on disk yet
        pairs = self.store.ask("SELECT pair, alike FROM alike ORDER BY pair")
        self.pairs = np.fromiter(pairs, np.dtype([("pair", np.uint64), ("alike", np.int8)]))

    def groups(self, pieces: int) -> Generator[Progress, None, Ints]:
        """The group of each piece; those of the last time, where these are the same sets."""
        outline = self.small
        digest = blake2b(outline.owner.tobytes() + outline.key.tobytes()).digest()
        known = self.store.one("SELECT digest, works FROM grouped")
        if known and known[0] == digest:
            return np.frombuffer(self.store.whole(known[1]), np.int64)
        if not self.store.writable:
            return (yield from group_sets(pieces, self))
        with self.store.transaction():
            works = yield from group_sets(pieces, self)
            self.store.do("DELETE FROM grouped")
            self.store.do("INSERT INTO grouped VALUES (?, ?)", digest, sealed(works.tobytes()))
        return works

    def outline(self) -> Outline:
        return self.small

    def samples(self) -> Iterator[tuple[Ints, Hashes]]:
        rows = self.store.ask("SELECT ear, hashes FROM sample ORDER BY ear")
        which, found = [], []
        for ear, hashes in rows:
            which.append(ear)
            found.append(hashes)
            if len(which) == PORTION:
                yield self._portion(which, found)
                which, found = [], []
        yield self._portion(which, found)

    def _portion(self, which: list[int], found: list[bytes]) -> tuple[Ints, Hashes]:
        """Sets by their index in the outline, without those that are not in it."""
        ears = np.array(which, np.int64)
        index = np.searchsorted(self.ids, ears)
        index[index == len(self.ids)] = 0
        inside = self.ids[index] == ears if len(self.ids) else np.zeros(len(ears), bool)
        found = [self.store.whole(hashes) for hashes in found]
        counts = np.array([len(hashes) // 8 for hashes in found], np.int64)
        hashes = np.frombuffer(b"".join(found), "<u8")
        return np.repeat(index[inside], counts[inside]), hashes[np.repeat(inside, counts)]

    def hashes(self, index: int) -> Hashes:
        [found] = self.store.one("SELECT hashes FROM gram WHERE ear = ?", int(self.ids[index]))
        return np.frombuffer(self.store.whole(found), "<u8")

    def known(self, pairs: Hashes) -> npt.NDArray[np.int8]:
        if not len(self.pairs):
            return np.full(len(pairs), -1, np.int8)
        at = np.minimum(np.searchsorted(self.pairs["pair"], pairs), len(self.pairs) - 1)
        return np.where(self.pairs["pair"][at] == pairs, self.pairs["alike"][at], -1)

    def learn(self, pairs: list[int], alike: list[bool]) -> None:
        if not self.store.writable:
            return
        self.store.many("INSERT OR REPLACE INTO alike VALUES (?, ?)", zip(pairs, alike, strict=True))
        self.learned += len(pairs)
        if self.learned >= PORTION:
            self.store.keep()
            self.learned = 0
