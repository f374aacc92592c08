"""Tasks of a process of their own: values in, values out, as JSON through its input and output; what cannot be is `error`."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cadenza.errors import CadenzaError
from cadenza.web import reading

Values = dict[str, Any]
PATIENT = ("read", "originality")
"""Tasks that nobody waits for: those who send them send one after the other, and they are done where time is left."""


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


TASKS: dict[str, Callable[[Values], Values]] = {
    "read": reading.read, "notes": reading.notes, "prompt": reading.prompt, "render": render, "originality": originality,
}  # fmt: skip


def main() -> None:
    """Do the task that is named, on the values that are given."""
    task = sys.argv[1]
    if task in PATIENT and hasattr(os, "nice"):
        os.nice(10)
    try:
        found = TASKS[task](json.loads(sys.stdin.buffer.read()))
    except CadenzaError as error:
        found = {"error": str(error)}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
