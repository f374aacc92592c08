"""How a piece was made: the record that lies beside it, as JSON.

It holds what the piece's MIDI file says in its text event (`origin`), the prompt, where the model was, how it was made to
sound, and the scores by which it was chosen; the same can be made of it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveInt, ValidationError

from cadenza import export
from cadenza.errors import CadenzaError
from cadenza.improviser import Improviser, Piece
from cadenza.notes import Header, Notes
from cadenza.records import counted
from cadenza.settings import AudioSettings, SampleSettings, Section

ROUNDING = 0.01
"""By how many bits per note a piece may differ from itself."""


class Origin(Section):
    """`Improviser.origin`."""

    made_by: str
    model_sha256: str
    seed: NonNegativeInt
    item: NonNegativeInt
    prompt_sha256: str | None
    sample: SampleSettings

    def as_dict(self) -> dict[str, Any]:
        """As a piece has it."""
        return self.model_dump() | {"sample": self.sample.model_dump(exclude={"count", "sweep"})}


class Prompt(Section):
    """The notes that a piece goes on from, in steps of the model's time base."""

    onset: list[int]
    pitch: list[int]
    duration: list[int]
    velocity: list[int]
    tempo: float = Field(gt=0, le=1000)
    meter: tuple[PositiveInt, PositiveInt] | None
    downbeat: int

    @classmethod
    def of(cls, notes: Notes) -> Prompt:
        header, columns = notes.header, zip(("onset", "pitch", "duration", "velocity"), notes.columns, strict=True)
        known = {"tempo": header.tempo, "meter": header.meter, "downbeat": header.downbeat}
        return cls.model_validate({name: column.tolist() for name, column in columns} | known)

    def notes(self, improviser: Improviser) -> Notes:
        """As this model counts time; impossible notes raise `CadenzaError`."""
        header = Header("", improviser.facts.base, self.tempo, self.meter, self.downbeat)
        return Notes.of(self.onset, self.pitch, self.duration, self.velocity, header)


class PieceRecord(Section):
    """All that is known of a piece; `bits_per_note` is what the notes that the model made cost it."""

    origin: Origin
    model: str
    device: str
    prompt: Prompt | None
    audio: AudioSettings
    formats: list[str]
    notes: int
    seconds: float
    bits_per_note: float
    mass_removed: float
    scores: dict[str, FiniteFloat]

    def json_bytes(self) -> bytes:
        left_out = {"origin": {"sample": {"count", "sweep"}}}
        return self.model_dump_json(indent=1, exclude=left_out).encode()


def record_of(
    improviser: Improviser, piece: Piece, model: Path, prompt: Notes | None, audio: AudioSettings,
    formats: Iterable[str], scores: dict[str, float],
) -> PieceRecord:  # fmt: skip
    """Of a piece that was made by the model at this place and written in these formats."""
    return PieceRecord(
        origin=Origin.model_validate(piece.origin),
        model=str(model.resolve()),
        device=improviser.device,
        prompt=None if prompt is None else Prompt.of(prompt),
        audio=audio,
        formats=list(formats),
        notes=len(piece.notes),
        seconds=round(piece.notes.length_seconds, 3),
        bits_per_note=round(bits_per_note(improviser, piece), 4),
        mass_removed=round(piece.removed, 6),
        scores=scores,
    )


def bits_per_note(improviser: Improviser, piece: Piece) -> float:
    """What the notes that the model made cost it."""
    return piece.nats / math.log(2) / max(1, improviser.representation.note_count(piece.own))


def read_record(path: Path) -> PieceRecord:
    """The record at a path; anything else raises `CadenzaError`."""
    try:
        found = PieceRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CadenzaError(
            f"{path}: cannot read this record ({error.strerror}); give the .json beside a piece."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "JSON"
        raise CadenzaError(
            f"{path}: not the record of a piece ({where}: {first['msg'].lower()}); give the .json that cadenza generate wrote beside one."
        ) from None
    export.known_formats(",".join(found.formats))
    return found


def model_of(path: Path, known: PieceRecord) -> Path:
    """Where the record at a path says that its model is; a model that has gone raises `CadenzaError`."""
    model = Path(known.model)
    if not model.exists():
        raise CadenzaError(
            f"{path}: its model is no longer at {model}; say where it is: cadenza generate MODEL --again {path}."
        )
    return model


def check_made_again(path: Path, known: PieceRecord, found: PieceRecord) -> None:
    """A piece that is not that of the record at a path raises `CadenzaError`; rounding alone makes none another."""
    same = (known.notes, known.seconds) == (found.notes, found.seconds)
    if not same or abs(known.bits_per_note - found.bits_per_note) > ROUNDING:
        raise CadenzaError(
            f"{path}: made again, the piece has {counted(found.notes, 'note')} in {found.seconds:g} s, and the record says {known.notes:,} in {known.seconds:g} s; it was altered (its seed or item, say) or made on another kind of machine."
        )


def formats_there(path: Path, piece: Piece) -> list[str]:
    """The formats of this very piece that lie here already; a record of another piece raises `CadenzaError`."""
    if not path.exists():
        return []
    known = read_record(path)
    if known.origin.as_dict() != piece.origin:
        raise CadenzaError(f"{path}: the record of another piece; pass --force to replace it, or another --out.")
    return known.formats
