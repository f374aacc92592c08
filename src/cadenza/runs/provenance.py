"""How a piece was made: the record that lies beside it, as JSON.

It holds what the piece's MIDI file says in its text event (`origin`), the prompt, where the model was, and the scores by
which it was chosen; the same bytes can be made of it again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cadenza import export
from cadenza.errors import CadenzaError
from cadenza.improviser import Improviser, Piece
from cadenza.notes import Header, Notes
from cadenza.settings import SampleSettings

COLUMNS = ("onset", "pitch", "duration", "velocity")


def record_of(
    improviser: Improviser,
    piece: Piece,
    model: Path,
    prompt: Notes | None,
    kinds: Sequence[str],
    scores: dict[str, float],
) -> bytes:
    """The record of a piece that was made by the model at this place and written as these kinds of file."""
    found = {
        "origin": piece.origin, "model": str(model.resolve()), "device": improviser.device,
        "prompt": None if prompt is None else as_dict(prompt), "formats": list(kinds),
        "notes": len(piece.notes), "seconds": round(piece.notes.length_seconds, 3),
        "bits_per_note": round(bits_per_note(improviser, piece), 4), "mass_removed": round(piece.removed, 6), "scores": scores,
    }  # fmt: skip
    return json.dumps(found, indent=1).encode()


def bits_per_note(improviser: Improviser, piece: Piece) -> float:
    """What the notes that the model made cost it."""
    begun = len(piece.rows) - piece.made
    return piece.nats / math.log(2) / max(1, improviser.representation.note_count(piece.rows[begun:]))


def as_dict(prompt: Notes) -> dict[str, Any]:
    header = prompt.header
    known = {"tempo": header.tempo, "meter": header.meter, "downbeat": header.downbeat}
    return dict(zip(COLUMNS, (column.tolist() for column in prompt.columns), strict=True)) | known


def prompt_of(record: dict[str, Any], improviser: Improviser) -> Notes | None:
    """The prompt of a record, as this model counts time."""
    known = record["prompt"]
    if known is None:
        return None
    meter = tuple(known["meter"]) if known["meter"] else None
    header = Header("", improviser.facts.base, known["tempo"], meter, known["downbeat"])
    onset, pitch, duration, velocity = (known[column] for column in COLUMNS)
    return Notes.of(onset, pitch, duration, velocity, header)


def read_record(path: Path) -> dict[str, Any]:
    """What `write` has left beside a piece."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        origin, item = known["origin"], known["origin"]["item"]
        SampleSettings.model_validate(origin["sample"])
        parts = known["model"], known["device"], origin["model_sha256"], origin["made_by"]
        if not (all(isinstance(part, str) for part in parts) and 0 <= item <= 10**9 and origin["seed"] >= 0):
            raise ValueError("impossible values")
        export.known_formats(",".join(known["formats"]))
        return dict(known) | {"prompt": known["prompt"], "scores": dict(known["scores"])}
    except OSError as error:
        raise CadenzaError(
            f"{path}: cannot read this record ({error.strerror}); give the .json beside a piece."
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CadenzaError(
            f"{path}: not the record of a piece ({str(error).splitlines()[0]}); give the .json that cadenza generate wrote beside one."
        ) from None
