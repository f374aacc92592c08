"""What contestants share in training benchmarks: the work, how it is scored, and what each must be able to do.

The work is the violin corpus as cadenza's own `scan` reads it, split by the pieces that `split_by_piece.csv`
names; files that `scan` leaves out as duplicates stay out for everyone. Bits per note count all nats of a
piece, its end included, over the same number of notes, whoever scores.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from cadenza.batches import Tables
from cadenza.corpus.scan import scan
from cadenza.corpus.sources import open_source
from cadenza.corpus.split import PARTS, TEST, TRAIN, VALIDATION
from cadenza.likelihood import TOTAL, Score
from cadenza.notes import Notes
from cadenza.records import outcome
from cadenza.settings import Settings
from cadenza.tokens import Rows, representation
from cadenza.train import Data, Pieces
from timing import corpus

PART_OF = {"train": TRAIN, "valid": VALIDATION, "test": TEST}
"""The table's words for the parts."""


@dataclass(frozen=True)
class Work:
    """Piece i is `pieces[i]`, as rows `data.tables.piece(i)`; `parts` are indices by the name of their part."""

    pieces: list[Notes]
    data: Data
    parts: dict[str, Pieces]
    works: int
    """In the training part."""

    @classmethod
    def read(cls, folder: Path) -> Work:
        """The violin corpus in a folder; without it the benchmark ends with exit code 2."""
        archive, table = corpus(folder, "violin-etudes.tar.gz"), corpus(folder, "split_by_piece.csv")
        with open_source(str(archive), Settings()) as source:
            found = outcome(scan(source, Settings()))
        with open(table, encoding="utf-8", newline="") as lines:
            part_of = {line["file"]: PART_OF[line["split"]] for line in csv.DictReader(lines)}
        split = np.array([part_of["/".join(entry.name.split("/")[-2:])] for entry in found.kept])
        parts = {part: np.flatnonzero(split == part) for part in PARTS}
        notes = representation("notes", found.base)
        tables = Tables.of([notes.encode(piece) for piece in found.pieces])
        works = len({found.kept[int(index)].work for index in parts[TRAIN]})
        return cls(list(found.pieces), Data(tables, notes, parts[TRAIN], parts[VALIDATION]), parts, works)

    def rows(self, part: str) -> list[Rows]:
        return [self.data.tables.piece(int(index)) for index in self.parts[part]]

    def notes(self, part: str) -> int:
        """How many notes the rows of a part write; the notes that everyone's bits are shared among."""
        return sum(map(self.data.schema.note_count, self.rows(part)))

    def described(self) -> str:
        return "; ".join(f"{part} {len(self.parts[part])} pieces, {self.notes(part):,} notes" for part in PARTS)


class Bits(NamedTuple):
    """Bits per note at the bins of `notes` rows (NaN for one that has other tokens) and at 10 ms."""

    at_bins: float
    on_grid: float

    @classmethod
    def of(cls, score: Score) -> Bits:
        figures = score.figures()
        return cls(figures["bits_per_note"][TOTAL], figures["bits_per_note_on_grid"][TOTAL])


class Contestant(ABC):
    """A network and the loop that trains it."""

    name: str
    model: nn.Module

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    @abstractmethod
    def training(self, seconds: float) -> Iterator[float]:
        """Plan for so many seconds (yields 0), then train: the notes back-propagated in each step."""

    @abstractmethod
    def score(self, part: str) -> Bits:
        """Score every note of the validation or test pieces once, with the weights as they are."""


__all__ = ["TEST", "TRAIN", "VALIDATION", "Bits", "Contestant", "Work"]
