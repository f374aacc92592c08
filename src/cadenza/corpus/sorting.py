"""Numbers that may not fit into memory, in order: a sort by distribution over parts, runs on disk.

In: arrays of keys of so many bits, in any number. Out: sorted arrays that follow one another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from cadenza.corpus.grams import Hashes
from cadenza.corpus.temporary import in_temporary

HELD = 1 << 21
"""Keys held in memory before they go to disk as a run, part by part."""

PART_BITS = 8
PARTS = 1 << PART_BITS
"""Ranges of keys that are brought together one after the other; their memory is this share of the whole."""

MANY = 1 << 16
"""Keys for which a sort of our own pays."""


class Sorter:
    """Collects keys of so many `bits`; iterated, it gives them in order, all equal ones in one array.

    A thread of its own deals out what was collected, or sorts the next part, while others make more keys, or use this one.
    """

    def __init__(self, bits: int) -> None:
        self.low_bits = max(0, bits - PART_BITS)
        self.held: list[Hashes] = []
        self.count, self.on_disk = 0, 0
        self.runs: list[tuple[int, list[int]]] = []
        self.thread = ThreadPoolExecutor(1)
        self.spilling: Future[None] | None = None
        with in_temporary():
            self.file = tempfile.TemporaryFile(prefix="cadenza-sort-")  # noqa: SIM115 - lives as long as the sorter

    def __enter__(self) -> Sorter:
        return self

    def __exit__(self, *error: object) -> None:
        self.thread.shutdown(cancel_futures=True)
        self.file.close()

    def add(self, keys: Hashes) -> None:
        self.held.append(keys)
        self.count += len(keys)
        if self.count > HELD:
            self._spill()

    def _spill(self) -> None:
        """Have what is held written, once what was held before is."""
        if self.spilling is not None:
            self.spilling.result()
        self.spilling = self.thread.submit(self._write, self.held)
        self.held, self.count = [], 0

    def _write(self, held: list[Hashes]) -> None:
        from cadenza.corpus.radix import parted  # what compiles it takes half a second to load

        run, ends = parted(np.concatenate(held), self.low_bits, PARTS)
        with in_temporary():
            self.file.seek(self.on_disk)
            self.file.write(memoryview(run))
            self.file.flush()
        self.runs.append((self.on_disk, ends.tolist()))
        self.on_disk += run.nbytes

    def __iter__(self) -> Iterator[Hashes]:
        if self.spilling is None:
            yield ordered(np.concatenate(self.held)) if self.held else np.empty(0, np.uint64)
            return
        if self.held:
            self._spill()
        self.spilling.result()
        following = self.thread.submit(self._part, 0)
        for part in range(1, PARTS):
            found, following = following.result(), self.thread.submit(self._part, part)
            yield found
        yield following.result()

    def _part(self, part: int) -> Hashes:
        return ordered(np.concatenate([self._read(begin, ends[part], ends[part + 1]) for begin, ends in self.runs]))

    def _read(self, begin: int, first: int, last: int) -> Hashes:
        self.file.seek(begin + 8 * first)
        return np.frombuffer(self.file.read(8 * (last - first)), np.uint64)


def ordered(keys: Hashes) -> Hashes:
    """The keys in order; they lose theirs."""
    if len(keys) < MANY:
        keys.sort()
        return keys
    from cadenza.corpus.radix import by_digits

    return np.asarray(by_digits(keys))
