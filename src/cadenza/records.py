"""What long work says while it goes on: records, for a terminal to print and a page to stream."""

from __future__ import annotations

from dataclasses import dataclass

from cadenza.errors import CadenzaError


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
    """Training begins, or goes on, after `step` of `steps` updates."""

    step: int
    steps: int


@dataclass(frozen=True)
class Step:
    """One update: `bits_per_note` of its batch, with dropout, before the update."""

    step: int
    bits_per_note: float
    notes: int
    learning_rate: float


@dataclass(frozen=True)
class Evaluation:
    """Validation after `step` updates; `best` if no earlier one was lower."""

    step: int
    bits_per_note: float
    best: bool


Record = Said | Progress | Started | Step | Evaluation


class Stopped(CadenzaError):  # noqa: N818
    """The user interrupted; everything is saved."""

    exit_code = 130
