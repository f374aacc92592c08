"""What goes over the wire: the bodies of requests and responses, as the page and the schema know them.

Times are seconds, pitches MIDI numbers, velocities 1…127. A note is `[onset, pitch, duration, velocity]`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cadenza.settings import PLAYED

LONGEST_SECONDS = 1200.0
"""How long one plays on."""
MOST_NOTES = 50_000
WHOLE = BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value)
"""JSON knows no difference between 1 and 1.0."""
ID = r"^[a-z0-9-]{1,64}$"

Id = Annotated[str, Path(pattern=ID, description="An id that the studio gave.")]
Seconds = Annotated[float, Field(strict=True, ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
Length = Annotated[float, Field(strict=True, gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
Pitch = Annotated[int, Field(strict=True, ge=0, le=127), WHOLE]
Velocity = Annotated[int, Field(strict=True, ge=1, le=127), WHOLE]
Note = tuple[Seconds, Pitch, Length, Velocity]
Told = Annotated[list[int | float], Field(min_length=4, max_length=4)]
"""A note in an answer, and in its schema a plain list: those who check answers by it stumble over tuples."""
NoteList = Annotated[list[Note], Field(max_length=MOST_NOTES)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32), WHOLE]
Temperature = Annotated[float, Field(strict=True, ge=0, le=10, allow_inf_nan=False)]
Name = Annotated[str, Field(strict=True, max_length=200)]


class Asked(BaseModel):
    """A request; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """What is wrong, in one sentence."""

    detail: str


class Controls(Asked):
    """How the model plays; what is left out, or null, is the model's own."""

    temperature: Temperature | None = None
    by_field: dict[str, Temperature] | None = None
    top_k: Annotated[int, Field(strict=True, ge=0, le=1000), WHOLE] | None = None
    top_p: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None
    min_p: Annotated[float, Field(strict=True, ge=0, lt=1)] | None = None
    repeats: Annotated[int, Field(strict=True, ge=0, le=1000), WHOLE] | None = None
    novel: Annotated[int, Field(strict=True, ge=0, le=1000), WHOLE] | None = None
    instrument: Literal[PLAYED] | None = None  # type: ignore[valid-type]


class NewSession(Asked):
    """A model to play with, and what it goes on from."""

    model: Annotated[str, Field(strict=True, pattern=ID)]
    seed: Seed = 0
    controls: Controls = Controls()
    prompt: NoteList = []


class Change(Asked):
    """New controls from a time on; they replace those given before, key by key."""

    at: Seconds
    controls: Controls = Controls()


class Undo(Asked):
    """The time from which all is dropped."""

    at: Seconds


class Draw(Asked):
    """The new beginning; `at` is when the model may enter, if that is after its last onset."""

    notes: NoteList
    at: Seconds = 0.0


class Keep(Asked):
    """`until` leaves out the notes that begin then or later."""

    name: Name = ""
    until: Seconds | None = None


class NewRun(Asked):
    """What to train on, and how long."""

    music: Annotated[str, Field(strict=True, pattern=ID)]
    name: Name = ""
    preset: Literal["tiny", "small", "base"] = "small"
    minutes: Annotated[float, Field(strict=True, ge=1, le=600, allow_inf_nan=False)] = 10
    seed: Seed = 0


class Made(BaseModel):
    """The id of what was made."""

    id: str


class Took(BaseModel):
    """Where the stream is to be opened again: `at` is 0 if nothing was left to go on from."""

    controls: dict[str, Any]
    take: int
    notes: int
    at: float


class SessionMade(BaseModel):
    """A session, and how it will play."""

    id: str
    controls: dict[str, Any]
    notes: list[Told]


class SessionView(BaseModel):
    """A session as it stands; the first `prompt` notes are those it goes on from."""

    id: str
    model: str
    seed: int
    take: int
    controls: dict[str, Any]
    notes: list[Told]
    prompt: int
    ended: bool


class NotesView(BaseModel):
    """Notes alone."""

    notes: list[Told]


class RollView(BaseModel):
    """Notes to be drawn, and how long they last."""

    notes: list[Told]
    seconds: float


class ModelView(BaseModel):
    """A model that can be played with."""

    id: str
    name: str
    unit: str
    program: int
    lowest: int
    highest: int
    fields: list[str]
    tempo: float
    step: int


class Finding(BaseModel):
    """What became of a file, and why."""

    file: str
    verdict: Literal["kept", "left out"]
    reason: str
    notes: int
    seconds: float
    work: int


class MusicView(BaseModel):
    """Uploaded music in figures."""

    id: str
    name: str
    files: int
    kept: int
    state: Literal["reading", "ready", "failed"]
    error: str
    notes: int
    works: int
    minutes: float


class MusicWhole(MusicView):
    """With what became of each file."""

    findings: list[Finding]


State = Literal["waiting", "preparing", "training", "judging", "done", "stopped", "failed"]


class RunView(BaseModel):
    """A run in figures; `bits_per_note` is its best on validation."""

    id: str
    name: str
    state: State
    error: str
    started: float | None
    minutes: float | None
    step: int
    steps: int
    notes_per_second: float | None
    seconds_left: float | None
    bits_per_note: float | None
    playable: bool


class CurvePoint(BaseModel):
    """An evaluation, in bits per note."""

    step: int
    epoch: float
    train: float | None
    validation: float | None


class SampleView(BaseModel):
    """Which evaluation has a sample."""

    step: int
    id: str


class RunWhole(RunView):
    """All that is told of a run."""

    settings: dict[str, Any]
    curve: list[CurvePoint]
    losses: list[list[int | float]]
    said: list[str]
    samples: list[SampleView]
    report: bool
    verdict: str | None


class Originality(BaseModel):
    """In notes, the longest passage that a training piece has as well, and that of unseen human pieces."""

    verdict: str
    longest: int
    human: int | None


class KeptView(BaseModel):
    """A kept piece in figures; `made` is in seconds since 1970."""

    id: str
    name: str
    model: str
    seed: int
    seconds: float
    notes: int
    made: float
    originality: Originality | None


class KeptWhole(BaseModel):
    """A kept piece with its notes."""

    id: str
    name: str
    model: str
    seed: int
    seconds: float
    made: float
    originality: Originality | None
    notes: list[Told]


class Comparison(BaseModel):
    """A table."""

    columns: list[str]
    rows: list[list[str | float | None]]
