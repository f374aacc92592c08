"""Work in a process of its own, with a time limit: what a hostile file breaks is not the server.

A task takes and gives plain values, as JSON through the process's input and output. Run as a module it does one.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cadenza.errors import CadenzaError
from cadenza.web import reading

Values = dict[str, Any]
TASKS: dict[str, Callable[[Values], Values]] = {
    "read": reading.read,
    "notes": reading.notes,
    "prompt": reading.prompt,
}


def render(asked: Values) -> Values:
    """Task: a MIDI file as an audio file; both are base64."""
    from cadenza import audio, midi
    from cadenza.settings import AudioSettings

    score = midi.open_score(base64.b64decode(asked["midi"]), "the piece")
    samples = audio.render(score, AudioSettings())
    return {"file": base64.b64encode(audio.encode(samples, asked["kind"])).decode()}


def originality(asked: Values) -> Values:
    """Task: how much of the training pieces a kept piece repeats, beside unseen human music of its length."""
    from cadenza import midi
    from cadenza.corpus.split import TRAIN
    from cadenza.evaluate.originality import TrainingIndex, verdict
    from cadenza.notes import from_first_onset
    from cadenza.records import outcome
    from cadenza.runs.folder import open_run
    from cadenza.runs.judging import calibrated
    from cadenza.settings import MidiSettings

    run = open_run(Path(asked["run"]))
    base = run.facts().base
    settings = MidiSettings.model_validate(
        {"instrument": "all", "drums": "keep", f"steps_per_{base.unit.removesuffix('s')}": base.steps}
    )
    piece = from_first_onset(midi.read(Path(asked["piece"]), settings, base.unit))
    found = [(from_first_onset(one), entry) for one, entry in run.pieces()]
    training = [(one, entry.name) for one, entry in found if entry.split == TRAIN]
    index = TrainingIndex.of([one for one, _ in training])
    [likeness] = index.likeness([piece])
    stick = outcome(calibrated(run, [one for one, _ in found], None if run.folds() else index, [len(piece)]))
    judged = verdict(likeness, stick, [name.rpartition("/")[2] for _, name in training])
    measure = judged.measure or "transposed"
    human = None if stick is None or not stick.pieces else stick.highest[measure]
    return {"verdict": judged.text, "longest": likeness.longest[measure], "human": human}


TASKS |= {"render": render, "originality": originality}


class Errands:
    """The processes that are out; `end` ends them."""

    def __init__(self) -> None:
        self.out: set[subprocess.Popen[bytes]] = set()
        self.over = False
        self.slots = threading.BoundedSemaphore(2)

    def send(self, task: str, asked: Values, seconds: float) -> Values:
        """Do a task; what its process objects to, or cannot do in time, raises `CadenzaError`."""
        with self.slots:
            if self.over:
                raise CadenzaError("The studio is ending.")
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cadenza.web.errands", task],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self.out.add(process)
            try:
                written, _ = process.communicate(json.dumps(asked).encode(), timeout=seconds)
            except subprocess.TimeoutExpired:
                raise CadenzaError(f"It was not done within {seconds:.0f} seconds, and was given up.") from None
            finally:
                self.out.discard(process)
                kill(process)
        try:
            found: Values = json.loads(written)
        except ValueError:
            raise CadenzaError("The file crashed its reader; leave it out.") from None
        if "error" in found:
            raise CadenzaError(found["error"])
        return found

    def end(self) -> None:
        self.over = True
        for process in list(self.out):
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it began."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    with process:
        process.wait()


def main() -> None:
    """Do the task that is named, on the values that are given."""
    try:
        found = TASKS[sys.argv[1]](json.loads(sys.stdin.buffer.read()))
    except CadenzaError as error:
        found = {"error": str(error)}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
