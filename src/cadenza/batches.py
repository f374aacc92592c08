"""Encoded pieces on disk to seeded training windows.

`Tables` holds the rows of all pieces, one after the other, memory-mapped, shape (rows, F). A
training epoch visits every row of every piece once: each piece is cut, a little differently each time,
into windows of at most `rows` rows, windows of like length share a batch, and the batches come in random order.
With a `stride`, windows of `rows` rows begin every so many rows instead and overlap, the first one at random.
All of it follows from (seed, epoch), so any step can be drawn again without the ones before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cadenza.settings import BatchSettings
from cadenza.tokens import Representation, Rows

ROWS_FILE, OFFSETS_FILE = "rows.npy", "offsets.npy"


@dataclass(frozen=True)
class Tables:
    """Piece i is `rows[offsets[i]:offsets[i + 1]]`."""

    rows: Rows
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, pieces: Sequence[Rows]) -> Tables:
        return cls(
            np.concatenate(pieces), np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
        )

    @classmethod
    def open(cls, folder: Path) -> Tables:
        return cls(np.load(folder / ROWS_FILE, mmap_mode="r"), np.load(folder / OFFSETS_FILE))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def piece(self, index: int) -> Rows:
        return self.rows[self.offsets[index] : self.offsets[index + 1]]

    def lengths(self, pieces: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return self.offsets[pieces + 1] - self.offsets[pieces]


@dataclass(frozen=True)
class Batch:
    """`ids` are the rows before `targets`; padding is not scored. Shapes: B windows, T rows."""

    ids_BTF: Tensor
    context_BTC: Tensor
    targets_BTF: Tensor
    scored_BTF: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in vars(self).values()))


Window = tuple[int, int, int]
"""Piece, first row, row after the last."""


def collate(tables: Tables, representation: Representation, windows: Sequence[Window]) -> Batch:
    """The windows as padded tensors."""
    longest = max(stop - start for _, start, stop in windows)
    shape = (len(windows), longest, len(representation.sizes))
    ids = np.tile(representation.start_row.astype(np.int64), (*shape[:2], 1))
    targets = np.zeros(shape, dtype=np.int64)
    scored = np.zeros(shape, dtype=bool)
    context = np.zeros((*shape[:2], representation.context_width), dtype=np.float32)
    for lane, (index, start, stop) in enumerate(windows):
        piece = np.concatenate([representation.start_row[None], tables.piece(index)[:stop]])
        length = stop - start
        ids[lane, :length] = piece[start:stop]
        context[lane, :length] = representation.context(piece[:stop])[start:]
        targets[lane, :length] = piece[start + 1 : stop + 1]
        scored[lane, :length] = representation.scored(piece[start + 1 : stop + 1])
    return Batch(*(torch.from_numpy(array) for array in (ids, context, targets, scored)))


def epoch_windows(
    lengths: npt.NDArray[np.int64], pieces: npt.NDArray[np.int64], settings: BatchSettings, rng: np.random.Generator
) -> list[list[Window]]:
    """One epoch's batches as windows."""
    cut = slide if settings.stride else divide
    windows = [
        (index, start, stop)
        for index, length in zip(pieces.tolist(), lengths.tolist(), strict=True)
        for start, stop in cut(length, settings, rng)
    ]
    order = rng.permutation(len(windows))
    order = order[np.argsort([windows[i][2] - windows[i][1] for i in order], kind="stable")]
    size = settings.size
    batches = [[windows[i] for i in order[first : first + size]] for first in range(0, len(order), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def divide(length: int, settings: BatchSettings, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """As few windows as possible, of nearly equal length; every row stands in exactly one of them.

    The cuts are moved at random as far as the longest window allows.
    """
    count = -(-length // settings.rows)
    slack = min(length // count // 4, (settings.rows - -(-length // count)) // 2)
    cuts = np.linspace(0, length, count + 1).astype(np.int64)
    cuts[1:-1] += rng.integers(-slack, slack + 1, count - 1)
    return pairwise(cuts.tolist())


def slide(length: int, settings: BatchSettings, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Windows of `rows` rows, the stride apart from a random first one on; a shorter piece is one window."""
    room = max(length - settings.rows, 0)
    stride = settings.stride_in_force or settings.stride
    first = int(rng.integers(0, min(stride, room + 1)))
    return ((start, min(start + settings.rows, length)) for start in range(first, room + 1, stride))


def batches_in_epoch(lengths: npt.NDArray[np.int64], settings: BatchSettings) -> int:
    """How many batches an epoch has; with a stride a few more or fewer, as its windows begin at random."""
    if settings.stride:
        room = np.maximum(lengths - settings.rows, 0)
        windows = int(np.maximum((room + 1) / (settings.stride_in_force or settings.stride), 1).sum())
    else:
        windows = int((-(-lengths // settings.rows)).sum())
    return -(-windows // settings.size)


def training_batches(
    tables: Tables,
    representation: Representation,
    pieces: npt.NDArray[np.int64],
    settings: BatchSettings,
    seed: int,
    first_step: int = 0,
) -> Iterator[Batch]:
    """Batches without end, from `first_step` on; the same for the same arguments."""
    lengths = tables.lengths(pieces)
    step, epoch = 0, 0
    while True:
        batches = epoch_windows(lengths, pieces, settings, np.random.default_rng([seed, epoch]))
        for windows in batches[max(first_step - step, 0) :]:
            yield collate(tables, representation, windows)
        step += len(batches)
        epoch += 1
