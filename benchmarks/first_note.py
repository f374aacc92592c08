"""The wait for the first note.

From the start of `cadenza generate MODEL --stream` to the first note that it prints, against a Python program that only
imports PyTorch, in turn; the median round of each counts. The model is an untrained `small` network, and what numba has
compiled lies in its cache, as after the first piece that anyone made.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from cadenza.checkpoint import Facts, fresh_model, model_bytes
from cadenza.presets import build
from cadenza.tokens import representation
from timing import alternate, arguments, give_up, report

ROUNDS = 15
FACTS = Facts("nothing", "seconds", 100, 40, 120.0, None, 55, 100)


def main() -> None:
    arguments(__doc__)
    script = Path(sys.executable).with_name("cadenza")
    if not script.exists():
        give_up("There is no cadenza beside this Python; install the package into its environment.")
    with TemporaryDirectory() as folder:
        model = Path(folder) / "model.safetensors"
        model.write_bytes(untrained())
        streaming = [str(script), "generate", str(model), "--stream", "--seconds", "10", "--seed", "1"]
        ours, peer = alternate(lambda: wait_for_note(streaming), import_torch, ROUNDS)
    report(
        [
            f"Median of {ROUNDS} rounds",
            f"cadenza generate --stream, first note: {1000 * median(ours):7.1f} ms",
            f"python -c 'import torch':              {1000 * median(peer):7.1f} ms",
        ],
        {
            "first_note_seconds": round(median(ours), 3),
            "ratio_vs_import_torch": round(median(ours) / median(peer), 2),
        },
    )


def untrained() -> bytes:
    """A model file with fresh weights."""
    settings = build("small")
    model = fresh_model(settings.model, representation(settings.tokens.representation, FACTS.base), seed=0)
    return model_bytes(model.state_dict(), settings.model, settings.tokens, settings.midi, FACTS, "0" * 64, 0)


def wait_for_note(command: Sequence[str]) -> None:
    """Start a process, read its lines up to the first note, and end it; without a note the benchmark ends."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        heard = any("pitch" in json.loads(line) for line in process.stdout)
        if heard:
            process.kill()
    if not heard:
        give_up(f"{command[0]} ended with exit code {process.returncode} before it had printed a note.")


def import_torch() -> None:
    subprocess.run([sys.executable, "-c", "import torch"], check=True)


if __name__ == "__main__":
    main()
