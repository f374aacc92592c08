"""What long work says while it goes on: records, for a terminal to print and a page to stream."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from cadenza.errors import CadenzaError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Said:
    """One line for the user: what was found, derived or written."""

    text: str


@dataclass(frozen=True)
class Progress:
    """How far a piece of work has come."""

    doing: str
    done: int
    total: int


@dataclass(frozen=True)
class Started:
    """Training begins, or goes on, after `step` of `steps` updates; `figure` is what may be shown of it."""

    step: int
    steps: int
    figure: Literal["bits per note", "perplexity per event"] = "bits per note"


@dataclass(frozen=True)
class Step:
    """One update: `bits_per_note` of its batch, with dropout, before the update."""

    step: int
    bits_per_note: float
    notes: int
    learning_rate: float


@dataclass(frozen=True)
class Evaluation:
    """Scores after `step` updates, by part; `best` if no earlier validation was lower, or if there is none."""

    step: int
    epoch: float
    best: bool
    bits_per_note: Mapping[str, float]
    perplexity_per_token: Mapping[str, float]


@dataclass(frozen=True)
class NoteMade:
    """A note of an improvised piece, the first of which is 1, as it is made."""

    piece: int
    onset_seconds: float
    pitch: int
    duration_seconds: float
    velocity: int


Record = Said | Progress | Started | Step | Evaluation | NoteMade


def outcome(records: Generator[object, None, Result]) -> Result:
    """What a generator of records returns, for callers whom the records do not concern."""
    while True:
        try:
            next(records)
        except StopIteration as done:
            result: Result = done.value
            return result


def counted(count: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "piece"), counted(1200, "piece")
    ('1 piece', '1,200 pieces')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class Stopped(CadenzaError):  # noqa: N818
    """The user interrupted; everything is saved."""

    exit_code = 130
