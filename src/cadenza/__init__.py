"""Cadenza learns the music in a folder of MIDI files and improvises new pieces.

>>> import cadenza
>>> sorted(cadenza.__all__)
['CadenzaError', 'load', 'run']
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadenza.errors import CadenzaError

if TYPE_CHECKING:
    from cadenza.improviser import Improviser
    from cadenza.notes import Notes
    from cadenza.runs.folder import Run

__version__ = "0.1.0"
__all__ = ["CadenzaError", "load", "run"]


def run(
    source: str | Path,
    out: str | Path,
    *,
    preset: str = "small",
    init: str | Path | None = None,
    resume: bool = False,
    **sections: dict[str, Any],
) -> Run:
    """The whole way, from a folder, archive or corpus name to a trained run with its report.

    `sections` are settings by section, for example ``train={"minutes": 5}, midi={"instrument": "violin"}``.
    """
    from cadenza.presets import build
    from cadenza.records import outcome
    from cadenza.runs.stages import carry_out

    stages = carry_out(
        str(source), build(preset, None, (), **sections), Path(out), model_file(init) if init else None, resume
    )
    return outcome(stages)


def load(path: str | Path, device: str = "cpu") -> Improviser:
    """The model of a run folder or of a model file, ready to `generate`."""
    from dataclasses import replace

    from cadenza.improviser import load_improviser

    loaded = load_improviser(model_file(path), device)
    return replace(loaded, training=lambda: training(Path(path), loaded)) if Path(path).is_dir() else loaded


def training(folder: Path, improviser: Improviser) -> list[Notes]:
    """What the model of a run folder learned from; read only when it is asked for."""
    from cadenza.runs.folder import open_run

    return open_run(folder).training(improviser)


def model_file(path: str | Path) -> Path:
    """The model file that a path means: the file itself, or the one in a run folder."""
    path = Path(path)
    return path / "model.safetensors" if path.is_dir() else path
