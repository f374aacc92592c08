"""What each control of sampling does to the same seed, as piano rolls for `docs/sampling.md`.

In: a run folder of a trained model. Out: a picture for each control in `docs/images/sampling`; what they show is said on
the page. Beside them, the figures of every piece: notes, seconds, bits per note under the model, the share of probability
that masks took, and the share of four-row runs that had occurred before (`evaluate.variety`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cadenza import plot
from cadenza.evaluate.variety import variety
from cadenza.improviser import Improviser
from cadenza.records import outcome
from cadenza.runs.folder import open_run
from cadenza.runs.provenance import bits_per_note
from cadenza.settings import SampleSettings
from timing import ROOT, parser, report

IMAGES = ROOT / "docs" / "images" / "sampling"
SECONDS, SEED = 20, 1
CONTROLS: dict[str, dict[str, Any]] = {
    "default": {},
    "cut": {"ending": "cut"},
    "careful": {"temperature": 0.6},
    "daring": {"temperature": 1.3},
    "greedy": {"temperature": 0},
    "repeats": {"temperature": 0, "repeats": 1, "phrase": 8},
    "pitch": {"by_field": {"pitch": 1.5}},
    "top-k": {"top_k": 3},
    "top-p": {"top_p": 0.8},
    "min-p": {"min_p": 0.1},
    "violin": {"instrument": "violin"},
}


def main() -> None:
    given = parser(__doc__)
    given.add_argument("run", type=Path, help="the run folder")
    model = open_run(given.parse_args().run).improviser()
    IMAGES.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, controls in CONTROLS.items():
        found = figures(model, name, controls)
        lines.append(f"{name:10} {json.dumps(found)}")
    report(lines, {"pictures": len(CONTROLS)})


def figures(model: Improviser, name: str, controls: dict[str, Any]) -> dict[str, float]:
    """Draw the seed's first piece under these controls, and say what it is like."""
    settings = model.settled(SampleSettings.model_validate({"seconds": SECONDS} | controls))
    [piece] = outcome(model.stream(settings, [0], SEED))
    (IMAGES / f"{name}.svg").write_bytes(plot.to_bytes(plot.piano_roll(piece.notes), "svg"))
    repetition = variety(model.representation, piece.rows, piece.notes)["repetition"]
    return {
        "notes": len(piece.notes), "seconds": round(piece.notes.length_seconds, 1),
        "bits_per_note": round(bits_per_note(model, piece), 2), "mass_removed": round(piece.removed, 4),
        "repetition": round(repetition, 3),
    }  # fmt: skip


if __name__ == "__main__":
    main()
