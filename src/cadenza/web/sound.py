"""A block of notes as sound, in a process of its own: blocks begin on time, overlap by their tails, and are added.

In: notes and a span, seconds. Out: a WAV file of 16 bits, two channels and 48 kHz, at a gain that never varies.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as TooLong
from concurrent.futures.process import BrokenProcessPool
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

    def begin(self) -> ProcessPoolExecutor:
        with self.lock:
            if self.pool is None:
                context = multiprocessing.get_context("spawn")
                self.pool = ProcessPoolExecutor(1, context, initializer=prepare)
            return self.pool

    def warm(self) -> None:
        self.block([(0.0, 60, 0.1, 1)], 0.0, 1.0, 0)

    def block(self, rows: list[tuple[float, int, float, int]], start: float, stop: float, program: int) -> bytes:
        """The sound of the notes that begin in [start, stop); what takes too long raises `CadenzaError`."""
        rows = [row for row in rows if start - 1e-6 <= row[0] < stop - 1e-6]
        try:
            return self.begin().submit(render, rows, start, stop, program).result(LIMIT_SECONDS)
        except (TooLong, BrokenProcessPool):
            self.end()
            raise CadenzaError("The synthesizer did not finish in time; ask for a shorter block.") from None

    def end(self) -> None:
        """Stop the process, at once."""
        with self.lock:
            pool, self.pool = self.pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):  # there is no public way before Python 3.14
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)


def prepare() -> None:
    """In the process: nothing but the server ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    font()


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
