"""A block of notes as sound, in a process of its own: blocks begin on time, overlap by their tails, and are added.

In: notes and a span, seconds. Out: a WAV file of 16 bits, two channels and 48 kHz, at a gain that never varies.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from contextlib import suppress
from functools import lru_cache
from multiprocessing.connection import Connection

import numpy as np

from cadenza.errors import CadenzaError
from cadenza.notes import Notes
from cadenza.settings import AudioSettings

Row = tuple[float, int, float, int]

TAIL_SECONDS, LIMIT_SECONDS = 2.0, 20.0
TICKS_PER_SECOND, INSIDE = 10_000, 3
"""The synthesizer takes up events every 64 samples; so many ticks later they fall between, and by chance to neither side."""
LONGEST_NOTE = 60.0
"""Seconds that a note of a block sounds at most."""


class Speaker:
    """The process that renders one block after the other, begun when it is first needed, and anew after it was lost.

    It alone writes to its pipe, so that its death is heard even in the middle of a block.
    """

    def __init__(self) -> None:
        self.turn, self.change = threading.Lock(), threading.Lock()
        self.process: Process | None = None
        self.over = False

    def warm(self) -> None:
        with suppress(CadenzaError):
            self.block([(0.0, 60, 0.1, 1)], 0.0, 1.0, 0)

    def block(self, rows: list[Row], start: float, stop: float, program: int) -> bytes:
        """The sound of the notes that begin in [start, stop); what takes too long raises `CadenzaError`."""
        rows = [row for row in rows if start - 1e-6 <= row[0] < stop - 1e-6]
        if not self.turn.acquire(timeout=LIMIT_SECONDS):
            raise CadenzaError("The synthesizer is busy with other blocks; ask again in a moment.")
        try:
            for _ in range(2):  # once more, if it was lost before it came to this block
                with suppress(EOFError, OSError):
                    return self.begun().rendered(rows, start, stop, program)
                self.lose()
            raise CadenzaError("The synthesizer broke down over this block; leave it out, or ask again.")
        except CadenzaError:
            self.lose()
            raise
        finally:
            self.turn.release()

    def begun(self) -> Process:
        with self.change:
            if self.over:
                raise CadenzaError("The studio is ending.")
            if self.process is None:
                self.process = Process()
            return self.process

    def lose(self) -> None:
        """End this process; for whoever has the turn."""
        with self.change:
            if self.process is not None:
                self.process.end()
            self.process = None

    def end(self) -> None:
        with self.change:
            self.over = True
            if self.process is not None:
                self.process.renderer.kill()  # whoever waits for a block lets go of the turn
        with self.turn:
            self.lose()


class Process:
    """A process that renders, and this end of its pipe."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.channel, theirs = context.Pipe()
        with theirs:
            self.renderer = context.Process(target=serve, args=(theirs,), daemon=True)
            self.renderer.start()

    def rendered(self, *asked: object) -> bytes:
        """The sound of a block; death raises `EOFError` or `OSError`, taking too long `CadenzaError`."""
        self.channel.send(asked)
        if not self.channel.poll(LIMIT_SECONDS):
            raise CadenzaError("The synthesizer did not finish in time; ask for a shorter block.")
        return self.channel.recv_bytes()

    def end(self) -> None:
        self.renderer.kill()
        self.renderer.join()
        self.channel.close()


def serve(channel: Connection) -> None:
    """In the process: blocks as they are asked for, until the server ends, or is killed and cannot say so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    font()
    with suppress(EOFError, OSError):
        while True:
            channel.send_bytes(render(*channel.recv()))


@lru_cache(maxsize=1)
def font() -> bytes:
    """In the process: the soundfont, read once."""
    from cadenza import audio

    return audio.soundfont(AudioSettings()).read_bytes()


def render(rows: list[Row], start: float, stop: float, program: int) -> bytes:
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
