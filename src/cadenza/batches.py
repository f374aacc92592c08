"""Encoded pieces on disk to seeded training windows.

`Tables` holds the rows of all pieces, one after the other, memory-mapped, shape (rows, F). A
training epoch visits every row of every piece once: each piece is cut, a little differently each time,
into windows of at most `rows` rows, windows of like length share a batch, and the batches come in random order.
With a `stride`, windows of `rows` rows begin every so many rows instead and overlap, the first one at random.
All of it follows from the seed, the epoch and the batch in it, so any step can be drawn again without the ones before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cadenza.settings import AugmentSettings, BatchSettings
from cadenza.tokens import Rows, Schema, Variation

ROWS_FILE, OFFSETS_FILE = "rows.npy", "offsets.npy"


@dataclass(frozen=True)
class Tables:
    """Piece i is `rows[offsets[i]:offsets[i + 1]]`, in whatever unsigned or int16 type they lie there."""

    rows: npt.NDArray[Any]
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
        return self.rows[self.offsets[index] : self.offsets[index + 1]].astype(np.int16, copy=False)

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

Context = npt.NDArray[np.float32]
"""What the network is told of each row, shape (B, T, C)."""

Change = Callable[[Rows], tuple[Rows, Rows]]
"""Windows (B, T, F) to what the network reads of them and to what it is to predict."""


def gather(tables: Tables, start_row: Rows, windows: Sequence[Window]) -> tuple[Rows, npt.NDArray[np.int64]]:
    """The windows, each with the row before it, shape (B, T + 1, F), and their lengths (B,); start rows fill up."""
    index_B, start_B, stop_B = np.array(windows, dtype=np.int64).T
    length_B = stop_B - start_B
    place_T = np.arange(-1, length_B.max())
    at_BT = (tables.offsets[index_B] + start_B)[:, None] + place_T
    rows_BTF = tables.rows[np.clip(at_BT, 0, len(tables.rows) - 1)].astype(np.int16, copy=False)
    rows_BTF[place_T >= length_B[:, None]] = start_row
    rows_BTF[start_B == 0, 0] = start_row
    return rows_BTF, length_B


def collate(
    tables: Tables,
    schema: Schema,
    windows: Sequence[Window],
    vary: Change | None = None,
    hear: Callable[[Context], Context] | None = None,
) -> Batch:
    """The windows as padded tensors; `vary` changes them, what is read may then differ from what is predicted.

    `hear` leaves out some of the context.
    """
    rows_BTF, length_B = gather(tables, schema.start_row, windows)
    read_BTF = rows_BTF
    if vary is not None:
        read_BTF, rows_BTF = vary(rows_BTF)
    targets_BTF = rows_BTF[:, 1:]
    inside_BT = np.arange(targets_BTF.shape[1]) < length_B[:, None]
    scored_BTF = inside_BT[..., None] & schema.scored(targets_BTF.reshape(-1, targets_BTF.shape[-1])).reshape(
        targets_BTF.shape
    )
    context_BTC = np.zeros((*inside_BT.shape, schema.context_width), dtype=np.float32)
    if schema.context_width:
        for lane, (index, start, stop) in enumerate(windows):
            piece = np.concatenate([schema.start_row[None], tables.piece(index)[:stop]])
            context_BTC[lane, : stop - start] = schema.context(piece[:-1])[start:]
        context_BTC = hear(context_BTC) if hear else context_BTC
    predicted_BTF = np.where(scored_BTF, targets_BTF, 0)
    return Batch(
        torch.from_numpy(read_BTF[:, :-1].astype(np.int64)),
        torch.from_numpy(context_BTC),
        torch.from_numpy(predicted_BTF.astype(np.int64)),
        torch.from_numpy(scored_BTF),
    )


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


@dataclass(frozen=True)
class Augmentation:
    """Windows in other keys, tempi and dynamics, some of their ids hidden (word dropout: Bowman et al., 2016).

    Otherwise a network soon knows every performance by heart. Context that is made of hidden ids would tell them, so
    of each row some of its kinds can be hidden as well.
    """

    variation: Variation | None
    blank: float
    unheard: float
    schema: Schema

    def varied(self, rows_BTF: Rows, rng: np.random.Generator, strength: float = 1.0) -> tuple[Rows, Rows]:
        """What is read and what is predicted; `strength` is the part of the share that is hidden for now."""
        varied_BTF = self.variation(rows_BTF, rng) if self.variation else rows_BTF
        hidden = strength * self.blank
        if not hidden:
            return varied_BTF, varied_BTF
        return np.where(rng.random(varied_BTF.shape) < hidden, self.schema.start_row, varied_BTF), varied_BTF

    def heard(self, context_BTC: Context, rng: np.random.Generator, strength: float = 1.0) -> Context:
        """The context without the kinds that are hidden from each row, those being 0."""
        hidden = strength * self.unheard
        if not hidden:
            return context_BTC
        groups = self.schema.context_groups
        kept_BTG = rng.random((*context_BTC.shape[:2], len(groups))) >= hidden
        return context_BTC * np.repeat(kept_BTG, groups, axis=2)


def augmentation(
    tables: Tables, schema: Schema, pieces: npt.NDArray[np.int64], settings: AugmentSettings
) -> Augmentation:
    """As the settings ask and as these pieces allow."""
    variation = schema.variation((tables.piece(index) for index in pieces.tolist()), settings)
    return Augmentation(variation, settings.blank, settings.unheard, schema)


def grown(step: int, ramp: int) -> float:
    """The part of its full strength that a measure has at a step, if it grows over `ramp` steps; without a ramp, all of it."""
    return min(step / ramp, 1.0) if ramp else 1.0


def training_batches(
    tables: Tables,
    schema: Schema,
    pieces: npt.NDArray[np.int64],
    settings: BatchSettings,
    augment: AugmentSettings,
    seed: int,
    first_step: int = 0,
    ramp: int = 0,
) -> Iterator[Batch]:
    """Batches without end, from `first_step` on; the same for the same arguments.

    Over the first `ramp` steps the shares of what is hidden grow from none to the whole.
    """
    lengths = tables.lengths(pieces)
    change = augmentation(tables, schema, pieces, augment)
    step, epoch = 0, 0
    while True:
        batches = epoch_windows(lengths, pieces, settings, np.random.default_rng([seed, epoch]))
        for number, windows in enumerate(batches):
            if step + number >= first_step:
                rng = np.random.default_rng([seed, epoch, 1 + number])
                strength = grown(step + number, ramp)
                vary = partial(change.varied, rng=rng, strength=strength)
                yield collate(tables, schema, windows, vary, partial(change.heard, rng=rng, strength=strength))
        step += len(batches)
        epoch += 1
