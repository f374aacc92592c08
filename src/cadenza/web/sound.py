"""A block of notes as sound, in a process of its own: blocks begin on time, overlap by their tails, and are added.

In: notes and a span, seconds. Out: a WAV file of 16 bits, two channels and 48 kHz, at a gain that never varies.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures import TimeoutError as TooLong
from contextlib import suppress
from functools import lru_cache

import numpy as np

from cadenza.errors import CadenzaError
from cadenza.notes import Notes
from cadenza.settings import AudioSettings

TAIL_SECONDS, LIMIT_SECONDS = 2.0, 20.0
TICKS_PER_SECOND, INSIDE = 10_000, 3
"""The synthesizer takes up events every 64 samples; so many ticks later they fall between, and by chance to neither side."""
LONGEST_NOTE = 60.0
"""Seconds that a note of a block sounds at most."""


class Speaker:
    """The process that renders, begun when it is first needed, and anew after it was lost."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pool: ProcessPoolExecutor | None = None
        self.over = False

    def begin(self) -> ProcessPoolExecutor:
        with self.lock:
            if self.over:
                raise CadenzaError("The studio is ending.")
            if self.pool is None:
                context = multiprocessing.get_context("spawn")
                self.pool = ProcessPoolExecutor(1, context, initializer=prepare)
            return self.pool

    def warm(self) -> None:
        with suppress(CadenzaError):
            self.block([(0.0, 60, 0.1, 1)], 0.0, 1.0, 0)

    def block(self, rows: list[tuple[float, int, float, int]], start: float, stop: float, program: int) -> bytes:
        """The sound of the notes that begin in [start, stop); what takes too long raises `CadenzaError`."""
        rows = [row for row in rows if start - 1e-6 <= row[0] < stop - 1e-6]
        for _ in range(2):  # once more, if another's block was what the process was lost with
            pool = self.begin()
            try:
                return pool.submit(render, rows, start, stop, program).result(LIMIT_SECONDS)
            except TooLong:
                self.lose(pool)
                raise CadenzaError("The synthesizer did not finish in time; ask for a shorter block.") from None
            except (RuntimeError, CancelledError):  # broken, or shut down meanwhile
                self.lose(pool)
        raise CadenzaError("The synthesizer broke down over this block; leave it out, or ask again.")

    def lose(self, pool: ProcessPoolExecutor) -> None:
        """Stop this process, at once, unless somebody has done so; one that took its place is another's."""
        with self.lock:
            if self.pool is not pool:
                return
            self.pool = None
        for process in list((pool._processes or {}).values()):  # there is no public way before Python 3.14
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)

    def end(self) -> None:
        with self.lock:
            self.over, pool = True, self.pool
        if pool is not None:
            self.lose(pool)


def prepare() -> None:
    """In the process: nothing but the server ends it, and the server's own end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_the_server, daemon=True).start()
    font()


def end_with_the_server() -> None:
    """In the process: a server that was killed cannot say so."""
    server = multiprocessing.parent_process()
    assert server is not None
    server.join()
    os._exit(0)


@lru_cache(maxsize=1)
def font() -> bytes:
    """In the process: the soundfont, read once."""
    from cadenza import audio

    return audio.soundfont(AudioSettings()).read_bytes()


def render(rows: list[tuple[float, int, float, int]], start: float, stop: float, program: int) -> bytes:
    """In the process: one block, as long as its span or its last note, and the tail."""
    import symusic

    from cadenza import midi, synthesizer

    score, ticks = symusic.Score(TICKS_PER_SECOND // 2), TICKS_PER_SECOND
    score.tempos.append(symusic.Tempo(0, 120.0))
    score.tracks.append(midi.to_symusic(Notes.of([], [], [], []), program).tracks[0])
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4)
    columns[:, 2] = columns[:, 2].clip(max=LONGEST_NOTE)
    spans = columns[:, 0] - start, columns[:, 0] + columns[:, 2] - start
    onset, end = (np.rint(times * ticks).astype(np.int32) + INSIDE for times in spans)
    pitch, velocity = (columns[:, place].astype(np.int8) for place in (1, 3))
    track = score.tracks[0]
    track.notes = symusic.Note.from_numpy(onset, np.maximum(end - onset, 1), pitch, velocity)
    last = max(round((stop - start) * ticks), int(end.max(initial=0)))
    track.notes.append(symusic.Note(last + round(TAIL_SECONDS * ticks), 1, 0, 0))
    return synthesizer.wave(font(), synthesizer.alone(score, 0))
