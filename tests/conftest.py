"""What several test files need: small real MIDI files, a folder of pieces, real corpora, the command line."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest

from cadenza.corpus.scan import Entry
from cadenza.corpus.split import PARTS, split_works
from cadenza.lock import RUN_LOCK
from cadenza.notes import Notes
from cadenza.runs.folder import Run
from cadenza.settings import CorpusSettings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch loads; the tests of two workers share the cores

Timed = tuple[int, mido.Message | mido.MetaMessage]
"""An event and the tick at which it happens."""

ROOT = Path(__file__).parent.parent

sys.path.append(str(ROOT / "benchmarks"))  # last, since one of them has the name of a package


def same_notes(one: Notes, other: Notes) -> bool:
    """Whether every column is equal; headers may differ."""
    return all(np.array_equal(a, b) for a, b in zip(one.columns, other.columns, strict=True))


PEAK_KIB = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
"""
"""For a process whose memory is measured: `getrusage` would tell its parent's peak if that is higher."""


def touched(run: Run) -> dict[Path, int]:
    """When each file of a run was last written, but for its lock."""
    files = (path for path in run.folder.rglob("*") if path.is_file() and path.name != RUN_LOCK)
    return {path: path.stat().st_mtime_ns for path in files}


def split_pieces(
    entries: Sequence[Entry], settings: CorpusSettings, seed: int, seen: Sequence[bool] = ()
) -> list[Entry]:
    """The entries with a part, and a fold where there are folds, for every one that is kept."""
    work = np.array([entry.work for entry in entries if not entry.reason], np.int64)
    parts, folds = split_works(work, settings, seed, np.array(seen, bool))
    given = zip(parts.tolist(), folds.tolist(), strict=True)
    return [
        entry if entry.reason else replace(entry, split=PARTS[part], fold=fold)
        for entry in entries
        for part, fold in [(0, 0) if entry.reason else next(given)]
    ]


class Midi:
    """Writes Standard MIDI Files with `mido`, which shares no code with the program's own reader and writer."""

    def note(self, pitch: int, start: int, end: int, velocity: int = 80, channel: int = 0) -> list[Timed]:
        """A key pressed and released."""
        return [
            (start, mido.Message("note_on", note=pitch, velocity=velocity, channel=channel)),
            (end, mido.Message("note_off", note=pitch, channel=channel)),
        ]

    def pedal(self, tick: int, value: int, channel: int = 0) -> list[Timed]:
        return [(tick, mido.Message("control_change", control=64, value=value, channel=channel))]

    def program(self, number: int, channel: int = 0, tick: int = 0) -> list[Timed]:
        return [(tick, mido.Message("program_change", program=number, channel=channel))]

    def tempo(self, beats_per_minute: float, tick: int = 0) -> list[Timed]:
        return [(tick, mido.MetaMessage("set_tempo", tempo=round(60e6 / beats_per_minute)))]

    def melody(self, seed: int, count: int = 60, grid: int = 120, channel: int = 0) -> list[Timed]:
        """`count` random notes, one after the other, on multiples of `grid` ticks (1 is no grid)."""
        rng = np.random.default_rng(seed)
        lengths = rng.integers(1, 5, count) * grid if grid > 1 else rng.integers(100, 500, count)
        starts = np.cumsum(lengths) - lengths
        pitches = np.clip(72 + np.cumsum(rng.integers(-4, 5, count)), 56, 96)
        return [
            event
            for pitch, start, length, velocity in zip(
                pitches.tolist(), starts.tolist(), lengths.tolist(), rng.integers(40, 110, count).tolist(), strict=True
            )
            for event in self.note(pitch, start, start + length, velocity, channel)
        ]

    def file(self, *tracks: Iterable[Timed], ticks_per_beat: int = 480, type: int = 1) -> bytes:  # noqa: A002
        """The bytes of a file with these tracks; events of one tick keep their order."""
        made = mido.MidiFile(type=type, ticks_per_beat=ticks_per_beat)
        for events in tracks:
            track = mido.MidiTrack()
            made.tracks.append(track)
            now = 0
            for tick, message in sorted(events, key=lambda event: event[0]):
                track.append(message.copy(time=tick - now))
                now = tick
        out = io.BytesIO()
        made.save(file=out)
        return out.getvalue()

    def piece(self, seed: int, program: int = 40, grid: int = 120) -> bytes:
        """A whole file with one random melody."""
        return self.file(self.program(program) + self.melody(seed, grid=grid))


@pytest.fixture(scope="session")
def smf() -> Midi:
    return Midi()


@pytest.fixture(scope="session")
def data() -> Path:
    """Real corpora, which are not part of the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real corpora are not at {os.path.relpath(folder, ROOT)}, beside the repository")
    return folder


@pytest.fixture
def pieces(tmp_path: Path, smf: Midi) -> Path:
    """A folder of six distinct synthetic pieces of 60 notes."""
    folder = tmp_path / "pieces"
    folder.mkdir()
    for seed in range(6):
        (folder / f"piece-{seed}.mid").write_bytes(smf.piece(seed))
    return folder


Cadenza = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cadenza(tmp_path: Path) -> Cadenza:
    """Run the command line in a process of its own: exit code, standard output, standard error."""

    def run(
        *arguments: str | Path, cwd: Path = tmp_path, env: dict[str, str] | None = None, seconds: float = 300
    ) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "cadenza", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "COLUMNS": "200", **(env or {})},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run
