"""The lines of the manifest: one for every piece and for every file left out, read from the store as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from cadenza.corpus.grams import Ints
from cadenza.corpus.split import PARTS, Codes
from cadenza.corpus.store import Store

PORTION = 1 << 10
"""Lines read together."""

COLUMNS = "place, name, sha256, reason, notes, length_seconds, instrument, set_aside"


@dataclass(frozen=True)
class Entry:
    """One line of the manifest: a piece that is kept (`reason` empty) or a file left out.

    `fold` is the fold that holds the piece out, where all pieces train and folds give the figures.
    """

    name: str
    sha256: str = ""
    reason: str = ""
    notes: int = 0
    length_seconds: float = 0.0
    instrument: str = ""
    set_aside: str = ""
    work: int = -1
    split: str = ""
    fold: int = -1


@dataclass(frozen=True, eq=False)
class Entries(Sequence[Entry]):
    """Entries at some places of the store's table `entry`; `work`, `part` and `fold` (-1: none) of each of them.

    `reasons` are given for entries that were kept when the table was made, by place.
    """

    store: Store
    at: Ints
    kept: npt.NDArray[np.bool_]
    work: Ints
    part: Codes
    fold: Codes
    reasons: Mapping[int, str]

    @classmethod
    def of(cls, store: Store, kept: npt.NDArray[np.bool_], work: Ints) -> Entries:
        """All entries, with the works of those that are kept."""
        none = np.full(len(kept), -1, np.int8)
        works = np.full(len(kept), -1, np.int64)
        works[kept] = work
        return cls(store, 1 + np.arange(len(kept)), kept, works, none, none, {})

    def __len__(self) -> int:
        return len(self.at)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Entries: ...
    def __getitem__(self, index: int | slice) -> Entry | Entries:
        if isinstance(index, slice):
            return self._at(index)
        place = int(self.at[index])
        return self._entry(self.store.one(f"SELECT {COLUMNS} FROM entry WHERE place = ?", place), index)

    def __iter__(self) -> Iterator[Entry]:
        for begin in range(0, len(self), PORTION):
            places = self.at[begin : begin + PORTION].tolist()
            rows = self.store.ask(
                f"SELECT {COLUMNS} FROM entry WHERE place BETWEEN ? AND ? ORDER BY place", places[0], places[-1]
            )
            wanted = dict(zip(places, range(begin, begin + PORTION), strict=False))
            yield from [self._entry(row, wanted[row[0]]) for row in rows if row[0] in wanted]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Entry.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def _entry(self, row: tuple[Any, ...], index: int) -> Entry:
        place, name, sha256, reason, notes, seconds, instrument, set_aside = row
        part = int(self.part[index])
        split = PARTS[part] if part >= 0 else ""
        reason = self.reasons.get(place, reason)
        work, fold = int(self.work[index]), int(self.fold[index])
        return Entry(name, sha256, reason, notes, seconds, instrument, set_aside, work, split, fold)

    def _at(self, chosen: slice | npt.NDArray[np.bool_]) -> Entries:
        return replace(
            self,
            at=self.at[chosen],
            kept=self.kept[chosen],
            work=self.work[chosen],
            part=self.part[chosen],
            fold=self.fold[chosen],
        )

    def those_kept(self) -> Entries:
        return self._at(self.kept)

    def those_dropped(self) -> Entries:
        return self._at(~self.kept)

    def leaving_out(self, reasons: Mapping[int, str]) -> Entries:
        """The same without some pieces that were kept, by their index among those, each with its reason."""
        index = np.flatnonzero(self.kept)[list(reasons)]
        kept, work = self.kept.copy(), self.work.copy()
        kept[index], work[index] = False, -1
        more = dict(zip(self.at[index].tolist(), reasons.values(), strict=True))
        return replace(self, kept=kept, work=work, reasons={**self.reasons, **more})

    def divided(self, parts: Codes, folds: Codes) -> Entries:
        """The same with a part and a fold for each piece that is kept."""
        part, fold = self.part.copy(), self.fold.copy()
        part[self.kept], fold[self.kept] = parts, folds
        return replace(self, part=part, fold=fold)
