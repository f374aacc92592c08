"""Corpora larger than memory: time, memory and growth of the way from files to a prepared corpus.

The files are real performances (violin and piano), each copy transposed, its onsets shifted, its
velocities changed and one note in a hundred altered, by a seed; pitch bends are left out and the tracks
of a file merged, so that 200,000 of them fill some 2 GB. A tenth of them is prepared first, then all,
then all with one in a hundred more; each time a process of its own scans the folder into a store and
encodes from that: reading, grouping by work, split, tables, sketch, manifest. Times are those of that
process from its start to its end, and of `cadenza scan` (reading, grouping) from its start to its end;
`incremental_share` is that of the scans, `incremental_share_whole` that of the whole way. Memory is the
sum of the proportional set sizes of that process and all its children (`smaps_rollup`), the highest of
samples a fifth of a second apart. What lies in the page cache counts where it is mapped only.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import symusic

from cadenza.records import outcome
from cadenza.runs.folder import Run
from cadenza.runs.prepare import prepare_corpus, workshop
from cadenza.runs.scanning import scan_into
from cadenza.settings import Settings
from timing import corpus, one_thread, parser, report

FILES, SHARE_SMALL, SHARE_MORE = 200_000, 10, 100
ALTERED, SHIFT_SECONDS = 0.01, 0.02
IN_A_FOLDER = 1000
SAMPLES_APART = 0.2
GIB = 2**30


@dataclass(frozen=True)
class Performance:
    """The notes of a real file, in ticks, and its tempo map."""

    ticks_per_quarter: int
    tempos: list[tuple[int, int]]
    notes: dict[str, np.ndarray[tuple[int], np.dtype[np.int32]]]
    program: int

    @classmethod
    def of(cls, data: bytes) -> Performance:
        score = symusic.Score.from_midi(data)
        columns = [track.notes.numpy() for track in score.tracks]
        notes = {name: np.concatenate([each[name] for each in columns]).astype(np.int32) for name in columns[0]}
        tempos = [(tempo.time, tempo.mspq) for tempo in score.tempos]
        return cls(score.ticks_per_quarter, tempos, notes, score.tracks[0].program)

    def again(self, seed: int) -> bytes:
        """Another file: in another key, with other times and velocities, and some other notes."""
        rng = np.random.default_rng(seed)
        count = len(self.notes["pitch"])
        shift = round(SHIFT_SECONDS * 2 * self.ticks_per_quarter)  # at 120 quarters a minute
        start = np.maximum(self.notes["time"] + rng.integers(-shift, shift, count, endpoint=True), 0)
        altered = rng.integers(-2, 3, count) * (rng.random(count) < ALTERED)
        pitch = np.clip(self.notes["pitch"] + int(rng.integers(-5, 6)) + altered, 0, 127)
        velocity = np.clip(self.notes["velocity"] + rng.integers(-10, 11, count), 1, 127)
        order = np.argsort(start, kind="stable")
        score = symusic.Score(self.ticks_per_quarter)
        for time, mspq in self.tempos:
            score.tempos.append(symusic.Tempo(time, mspq=mspq))
        track = symusic.Track(program=self.program)
        track.notes = symusic.Note.from_numpy(
            start[order].astype(np.int32),
            self.notes["duration"][order],
            pitch[order].astype(np.int8),
            velocity[order].astype(np.int8),
        )
        score.tracks.append(track)
        return bytes(score.dumps_midi())


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--files", type=int, default=FILES, metavar="N", help=f"how many files; {FILES:,} unless given")
    made.add_argument(
        "--prepare", nargs=3, type=Path, metavar=("MUSIC", "STORE", "RUN"), help="a step of the benchmark"
    )
    given = made.parse_args()
    one_thread()
    if given.prepare:
        prepare(*given.prepare)
        return
    performances = list(read(given.data))
    files = given.files
    small, more = files // SHARE_SMALL, max(1, files // SHARE_MORE)
    with tempfile.TemporaryDirectory(prefix="cadenza-scale-") as place:
        folder = Path(place)
        write(performances, folder / "music", 0, small)
        first = measured(folder, "small")
        write(performances, folder / "music", small, files)
        second = measured(folder, "whole")
        write(performances, folder / "music", files, files + more)
        third = measured(folder, "whole")
    peak = max(step.peak for step in (first, second, third)) / GIB
    exponent = math.log(second.seconds / first.seconds) / math.log(files / small)
    report(
        [
            f"{count:,} files{what}: {step.seconds:,.1f} s (scan {step.scan:,.1f} s), {step.peak / GIB:.2f} GiB at most"
            for count, what, step in ((small, "", first), (files, "", second), (more, " more", third))
        ],
        {
            "files_per_second": round(files / second.seconds, 1),
            "peak_gib": round(peak, 2),
            "growth_exponent": round(exponent, 3),
            "incremental_share": round(third.scan / second.scan, 4),
            "incremental_share_whole": round(third.seconds / second.seconds, 4),
        },
    )


def prepare(music: Path, store: Path, run: Path) -> None:
    """The whole way, in this process; the seconds that the scan took are left beside the run."""
    begin = perf_counter()
    outcome(scan_into(str(music), Settings(), store))
    seconds_of_scan(run).write_text(str(perf_counter() - begin), encoding="ascii")
    made = Run(run)
    with workshop(made) as folder:
        outcome(prepare_corpus(made, folder, str(store), Settings(), None))


@dataclass(frozen=True)
class Step:
    """Wall seconds, those of the scan alone, and the most memory, in bytes."""

    seconds: float
    scan: float
    peak: int


def seconds_of_scan(run: Path) -> Path:
    return run.with_suffix(".seconds")


def measured(folder: Path, name: str) -> Step:
    """Prepare the music in a process of its own."""
    command = [sys.executable, __file__, "--prepare", *(str(folder / each) for each in ("music", f"{name}.scan", name))]
    begin = perf_counter()
    with subprocess.Popen(command) as process:
        peak = [0]
        watcher = threading.Thread(target=watch, args=(process, peak))
        watcher.start()
        code = process.wait()
        seconds = perf_counter() - begin
        watcher.join()
    if code:
        raise SystemExit(code)
    return Step(seconds, float(seconds_of_scan(folder / name).read_text(encoding="ascii")), peak[0])


def watch(process: subprocess.Popen[bytes], peak: list[int]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], sum(map(memory, family(process.pid))))
        sleep(SAMPLES_APART)


def family(number: int) -> Iterator[int]:
    """A process and all below it."""
    yield number
    with suppress(OSError):
        for task in Path(f"/proc/{number}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from family(int(child))


def memory(number: int) -> int:
    """The proportional set size of a process, bytes; 0 once it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def read(data: Path) -> Iterator[Performance]:
    """The performances of both corpora."""
    with tarfile.open(corpus(data, "violin-etudes.tar.gz")) as archive:
        for member in archive:
            if member.name.endswith(".mid") and (file := archive.extractfile(member)):
                yield Performance.of(file.read())
    with zipfile.ZipFile(corpus(data, "vienna4x22-midi.zip")) as zipped:
        for name in zipped.namelist():
            if name.endswith(".mid") and not name.rpartition("/")[2].startswith("._"):
                yield Performance.of(zipped.read(name))


def write(performances: list[Performance], folder: Path, first: int, last: int) -> None:
    """Files of these numbers; like numbers of a thousand lie together, so that later ones come between earlier ones."""
    for number in range(first, last):
        path = folder / f"{number % 17:02d}" / f"{number // IN_A_FOLDER:05d}" / f"{number:07d}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(performances[number % len(performances)].again(number))


if __name__ == "__main__":
    main()
