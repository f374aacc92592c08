"""Hostile files: a million damaged MIDI files, read as a scan reads them.

Small songs, our own and the first events of real ones where a corpus is at hand, are put together wrongly (`hostile.py`)
and go through the function that a scan's worker runs; their notes go through every representation, are written, and are
read back, and every step has rules (`soundness.py`). Each core has a process of its own, which is started again where a
file ends it. `hangs` are files that took over 5 s, once more when they were alone; `oversize` those that made a process
larger than 1 GiB; `findings` those that broke a rule or raised anything but `CadenzaError`; `deaths` those that ended
their process, since the parser is native code. These, and the first others, are then scanned among sound files: a death
is costly if a sound file's result goes with it, or the scan ends.

File N of a seed is the same each time with the same songs; `--again N` makes it once more.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cadenza.corpus.scan import scan
from cadenza.corpus.sources import open_source
from cadenza.corpus.unpack import members
from cadenza.records import outcome
from cadenza.settings import CorpusSettings, MidiSettings, Settings
from hostile import Song, hostile, melody, own_songs, song_bytes, song_of
from soundness import SETTINGS, Unsound, check_music_file
from timing import one_thread, parser, report

INPUTS = 1_000_000
HANG_SECONDS, MOST_BYTES = 5.0, 1 << 30
BACKSTOP = 8 << 30
"""No process gets more address space, so that a file that asks for everything does not end the machine."""
LOOK_SECONDS, SPEAK_SECONDS = 0.2, 30.0
CORPORA, REAL_SONGS = ("vienna4x22-midi.zip", "violin-etudes.tar.gz"), 6
SOUND_FILES, OTHERS = 40, 160
"""That are scanned with what ended a process: so many sound files, and so many others."""
AT, NOTES, PEAK = range(3)
"""What a process tells of itself: the file it is at, how many had notes, and the most memory it has had."""
CONTEXT = multiprocessing.get_context("fork")

Board = Any
"""An array of integers that two processes share."""


@dataclass(frozen=True)
class Plan:
    """Which files are made; `last` is the one after the last."""

    seed: int
    songs: Sequence[Song]
    last: int
    processes: int

    def file(self, number: int) -> bytes:
        return hostile(self.seed, number, self.songs)

    def settings(self, number: int) -> MidiSettings:
        return SETTINGS[number % len(SETTINGS)]


@dataclass
class Tally:
    """What has happened so far: how many files there were, and the fate of some."""

    inputs: int = 0
    with_notes: int = 0
    peak: int = 0
    fates: dict[int, str] = field(default_factory=dict)

    def add(self, plan: Plan, folder: Path, number: int, fate: str, story: str) -> None:
        """Keep a file that has a fate, and say so."""
        self.fates[number] = fate
        print(f"{fate} of file {number} of seed {plan.seed}, kept in {folder}: {story}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{plan.seed}-{number}-{fate}.mid").write_bytes(plan.file(number))

    def close(self, worker: Worker) -> None:
        """Count what a process has done."""
        self.inputs += worker.examined
        self.with_notes += worker.board[NOTES]
        self.peak = max(self.peak, worker.board[PEAK])

    def count(self, fate: str) -> int:
        return Counter(self.fates.values())[fate]

    def progress(self, workers: Sequence[Worker], last: int, seconds: float) -> str:
        done = self.inputs + sum(worker.examined for worker in workers)
        left = (last - done) * seconds / done / 60
        fates = (
            ", ".join(f"{count} × {fate}" for fate, count in Counter(self.fates.values()).items()) or "nothing amiss"
        )
        return f"{done:,} of {last:,} files, {done / seconds:,.0f} a second, {left:,.0f} min to go at most: {fates}"


def main() -> None:
    one_thread()
    options = parser(__doc__)
    options.add_argument("--inputs", type=int, default=INPUTS, help="how many files")
    options.add_argument("--minutes", type=float, default=float("inf"), help="no longer than this")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options.add_argument("--keep", type=Path, default=Path("fuzz"), help="where files with a fate are kept")
    options.add_argument("--again", type=int, metavar="N", help="examine file N alone, and keep it")
    given = options.parse_args()
    songs = own_songs() + songs_of_corpora(given.data)
    plan = Plan(given.seed, songs, given.inputs, given.processes)
    if given.again is not None:
        tally = Tally()
        fate, story = alone(plan, given.again) or ("no fate", "nothing is wrong")
        tally.add(plan, given.keep, given.again, fate, story)
        return
    began = time.monotonic()
    tally = fuzz(plan, began + 60 * given.minutes, given.keep)
    seconds = time.monotonic() - began
    costly = costly_deaths(plan, [number for number in tally.fates if tally.fates[number] in ("death", "hang")])
    report(
        [f"{tally.inputs:,} files in {seconds / 60:.1f} min on {plan.processes} processes"],
        {
            "inputs": tally.inputs,
            "hangs": tally.count("hang"),
            "costly_deaths": costly,
            "findings": tally.count("finding"),
            "oversize": tally.count("oversize"),
            "deaths": tally.count("death"),
            "with_notes": round(tally.with_notes / max(1, tally.inputs), 3),
            "peak_mib": tally.peak >> 20,
            "inputs_per_second": round(tally.inputs / seconds),
        },
    )


def songs_of_corpora(data: Path) -> list[Song]:
    """The beginnings of the first files of the corpora that are at hand."""
    found = []
    for path in (data / name for name in CORPORA):
        music = (member for member in (members(path) if path.exists() else ()) if member.name.endswith(".mid"))
        found += [song_of(member.data.read()) for member in islice(music, REAL_SONGS) if member.data]
    return found


class Worker:
    """A process that examines every so-manieth file from one on, and who watches it."""

    def __init__(self, plan: Plan, first: int) -> None:
        self.plan, self.first, self.seen = plan, first, first
        self.board = CONTEXT.RawArray("q", [first, 0, 0])
        self.since = time.monotonic()
        self.inbox, outbox = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(target=examine_all, args=(plan, first, self.board, outbox), daemon=True)
        self.process.start()
        outbox.close()

    @property
    def examined(self) -> int:
        return (self.board[AT] - self.first) // self.plan.processes + 1

    def state(self) -> str:
        """`busy`, `over`, or what befell the file it is at: `hang` or `death`."""
        if self.board[AT] != self.seen:
            self.seen, self.since = self.board[AT], time.monotonic()
        if not self.process.is_alive():
            return "death" if self.process.exitcode else "over"
        return "hang" if time.monotonic() - self.since > HANG_SECONDS else "busy"

    def end(self) -> None:
        self.process.kill()
        self.process.join()

    def told(self) -> Iterator[tuple[int, str, str]]:
        """Files with a fate since it was last asked, and the story of each."""
        try:
            while self.inbox.poll():
                yield self.inbox.recv()
        except EOFError:  # it has ended
            return


def examine_all(plan: Plan, first: int, board: Board, out: Connection) -> None:
    """A process: examine files until the last, or one that makes it too large."""
    resource.setrlimit(resource.RLIMIT_AS, (BACKSTOP, BACKSTOP))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="cadenza-fuzz-", dir=folder) as place:
        for number in range(first, plan.last, plan.processes):
            board[AT] = number
            try:
                board[NOTES] += check_music_file(plan.file(number), Path(place) / "hostile.mid", plan.settings(number))
            except Unsound as broken:
                out.send((number, "finding", str(broken)))
            except Exception:
                out.send((number, "finding", traceback.format_exc(limit=-4)))
            board[PEAK] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            if board[PEAK] > MOST_BYTES:
                out.send((number, "oversize", f"{board[PEAK] / 2**20:,.0f} MiB"))
                return


def alone(plan: Plan, number: int) -> tuple[str, str] | None:
    """The fate of a file in a process of its own, and the story; nothing if it has none."""
    worker = Worker(replace(plan, last=number + 1), number)
    while (state := worker.state()) == "busy":
        worker.process.join(LOOK_SECONDS)
    worker.end()
    if told := list(worker.told()):
        return told[0][1:]
    return None if state == "over" else (state, f"exit code {worker.process.exitcode}")


def fuzz(plan: Plan, until: float, folder: Path) -> Tally:
    """Examine all files, or as many as there is time for; a process goes on after the file that ended it."""
    tally = Tally()
    workers = [Worker(plan, first) for first in range(min(plan.processes, plan.last))]
    began = spoke = time.monotonic()
    while workers:
        time.sleep(LOOK_SECONDS)
        late, going_on = time.monotonic() > until, []
        for worker in workers:
            state, at = worker.state(), worker.board[AT]
            if state != "busy" or late:
                worker.end()
            for fate in worker.told():
                tally.add(plan, folder, *fate)
            if state == "busy" and not late:
                going_on.append(worker)
                continue
            tally.close(worker)
            if state == "death":
                tally.add(plan, folder, at, state, f"exit code {worker.process.exitcode}")
            elif state == "hang" and (again := alone(plan, at)):  # others may have kept it waiting
                tally.add(plan, folder, at, *again)
            if at + plan.processes < plan.last and not late:
                going_on.append(Worker(plan, at + plan.processes))
        workers = going_on
        if time.monotonic() - spoke > SPEAK_SECONDS:
            spoke = time.monotonic()
            print(tally.progress(workers, plan.last, spoke - began), flush=True)
    return tally


def costly_deaths(plan: Plan, deadly: Sequence[int]) -> int:
    """How many of some sound files have no result when they are scanned with these; all, if the scan ends."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="cadenza-fuzz-") as place:
        for number in [*deadly[:OTHERS], *range(min(plan.last, OTHERS))]:
            (Path(place) / f"{number:09d}-hostile.mid").write_bytes(plan.file(number))
        sound = [f"{rng.randrange(plan.last):09d}-sound-{number}.mid" for number in range(SOUND_FILES)]
        for name in sound:
            (Path(place) / name).write_bytes(song_bytes(Song(1, 480, (melody(rng, 0, 40, 60),))))
        settings = Settings(corpus=CorpusSettings(workers=plan.processes))
        try:
            with open_source(place, settings) as source:
                kept = {entry.name for entry in outcome(scan(source, settings)).kept}
        except Exception:
            traceback.print_exc()
            return len(sound)
    return len(set(sound) - kept)


if __name__ == "__main__":
    main()
