"""Runs that are killed and go on, beside one that never was.

A small run on fiddle tunes (reading, training, scoring, improvising, judging, report) is killed with SIGKILL, at a
moment drawn from its whole length, then taken up and killed again within half that length, until it comes to its end.
Then every file of it must have the bytes of the run that was never killed, but for `timings.jsonl` (a clock's) and what
says when and by whom (`chain.json`, `.lock`). Processes are forked from one that has loaded the program, so that kills
fall on the run. Between evaluations it saves every second instead of every minute. `kills` is how often a process was
killed, `identical` how many of these kills were in runs that ended identical, `lost_steps_max` the most steps of training
that one kill cost (an evaluation follows every 20).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cadenza.corpus import catalogue
from cadenza.lock import RUN_LOCK
from cadenza.presets import build
from cadenza.records import Started, Step
from cadenza.runs import fit
from cadenza.runs.chain import CHAIN
from cadenza.runs.folder import TIMINGS
from cadenza.runs.stages import carry_out
from timing import give_up, one_thread, parser, report

KILLS, TUNES, STEPS, SAVE_SECONDS = 200, 8, 100, 1.0
SETTINGS = build(
    "tiny",
    corpus={"folds": 0, "workers": 2},
    model={"layers": 1, "width": 32},
    batches={"rows": 64, "size": 8},
    train={"steps": STEPS, "evaluations": 5, "threads": 1, "seed": 1},
    sample={"seconds": 3, "count": 2},
)
OWN = {TIMINGS, CHAIN, RUN_LOCK}
"""Files that differ between runs that are the same."""


def main() -> None:
    one_thread()
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=KILLS, help=f"{KILLS} unless given")
    options.add_argument("--seed", type=int, default=0, help="of the moments; 0 unless given")
    given = options.parse_args()
    fit.SAVE_SECONDS = SAVE_SECONDS
    with tempfile.TemporaryDirectory(prefix="cadenza-resume-") as folder:
        work = Path(folder)
        music(work / "music")
        attempt(work)  # what is compiled once is compiled
        clear(work)
        began = time.monotonic()
        attempt(work)
        length = time.monotonic() - began
        whole = files_of(work / "run")
        clear(work)
        killed, identical, lost = 0, 0, 0
        for ended_alike, moments in lives(work, whole, length, given.kills, np.random.default_rng(given.seed)):
            killed += len(moments)
            identical += len(moments) * ended_alike
            lost = max([lost, *moments])
            print(
                f"{killed:4} kills, {identical:4} in runs that ended identical, {lost} steps lost at most", flush=True
            )
    report(
        [f"a run that is never killed takes {length:.1f} s and makes {len(whole)} files"],
        {"kills": killed, "identical": identical, "lost_steps_max": lost},
    )


def music(folder: Path) -> None:
    """The first tunes of the collection that can be read in full."""
    found = catalogue.here("fiddle")
    if found is None:
        give_up("The fiddle tunes are not here; install the extra, '.[fiddle]'.")
    folder.mkdir()
    for path in sorted(found.glob("*Hornpipe.abc"))[:TUNES]:
        shutil.copy(path, folder)


def lives(
    work: Path, whole: dict[str, bytes], length: float, kills: int, rng: np.random.Generator
) -> Iterator[tuple[bool, list[int]]]:
    """Of one run after the other: whether it ended like the whole one, and the steps that each kill cost it."""
    left = kills
    while left:
        lost: list[int] = []
        moment = rng.uniform(0, length)
        while len(lost) < left and not attempt(work, moment):
            lost.append(0)
            moment = rng.uniform(0, length / 2)
        attempt(work)
        left -= len(lost)
        lost = steps_lost(work / "steps", len(lost))
        now = files_of(work / "run")
        alike = now == whole
        if not alike:
            names = sorted(name for name in {*now, *whole} if now.get(name) != whole.get(name))
            print(f"not as in the whole run: {', '.join(names)}", file=sys.stderr)
        yield alike, lost
        clear(work)


def clear(work: Path) -> None:
    """Away with a run."""
    shutil.rmtree(work / "run")
    (work / "steps").unlink()


def attempt(work: Path, seconds: float | None = None) -> bool:
    """Begin the run or go on with it, in a process that is killed after so many seconds; whether it ended before."""
    child = os.fork()
    if not child:
        os.setsid()
        carry_out_here(work)
    try:
        if seconds is None:
            _, status = os.waitpid(child, 0)
        else:
            time.sleep(seconds)
            done, status = os.waitpid(child, os.WNOHANG)
            if not done:
                os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
    finally:
        end_workers(child)
    if os.WIFSIGNALED(status):
        return False
    if status:
        give_up(f"The run ended with exit code {os.waitstatus_to_exitcode(status)}; its last words are above.")
    return True


def end_workers(group: int) -> None:
    """What a killed process had started ends by itself in some minutes; this does not wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def carry_out_here(work: Path) -> None:
    """The whole run, then the end of this process; every step is written down as it is made."""
    code = 1
    try:
        steps = os.open(work / "steps", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for record in carry_out(str(work / "music"), SETTINGS, work / "run", resume=True):
            if isinstance(record, Started | Step):
                os.write(steps, f"{type(record).__name__} {record.step}\n".encode())
        code = 0
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def steps_lost(path: Path, kills: int) -> list[int]:
    """How far below the step that was reached training was taken up, for each kill; 0 where it had not begun, or was done."""
    reached, lost = 0, [0] * kills
    again = iter(range(kills))
    for line in path.read_text(encoding="ascii").splitlines() if path.exists() else ():
        kind, step = line.split()
        if kind == "Started" and reached:
            lost[next(again)] = reached - int(step)
        reached = int(step)
    return lost


def files_of(folder: Path) -> dict[str, bytes]:
    """What a run left, by name."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in OWN)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


if __name__ == "__main__":
    main()
