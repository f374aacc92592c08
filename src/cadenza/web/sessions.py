"""Playing: a session holds what was played so far, and makes more when asked.

It is a function of the model, the seed, the take, the controls and the notes it goes on from: whoever steers cuts the
notes at a time, and the next take goes on from those that remain.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cadenza.improviser import Improviser, Plan
from cadenza.notes import Header, Notes, from_first_onset, one_at_a_time
from cadenza.sample import check_fields
from cadenza.settings import SampleSettings, validate
from cadenza.web.problems import Trouble, missing
from cadenza.web.wire import LONGEST_SECONDS

MOST, IDLE_SECONDS = 16, 600.0
FULL = f"{MOST} sessions are open already; close one, or wait until one has been idle for ten minutes."
ROWS = 200_000
SHOWN = ("temperature", "by_field", "top_k", "top_p", "min_p", "repeats", "novel", "instrument")
Row = tuple[float, int, float, int]


class Session:
    """One player and one model; `lock` is held while notes are made or replaced."""

    def __init__(self, model_id: str, model: Improviser, seed: int, asked: dict[str, Any]) -> None:
        self.id = f"s-{secrets.token_hex(6)}"
        self.model_id, self.model, self.seed = model_id, model, seed
        self.header = Header("", model.facts.base, model.facts.tempo, model.facts.meter)
        self.asked, self.take, self.streams = asked, -1, 0
        self.past: list[tuple[Plan, int]] = []
        self.lock = asyncio.Lock()
        self.touch()
        self.begin(self.notes_of([]), asked, 0.0)

    def touch(self) -> None:
        self.used = time.monotonic()

    def begin(self, prompt: Notes, asked: dict[str, Any], entry: float) -> None:
        """Another take goes on from these notes; what is impossible raises `CadenzaError` and changes nothing."""
        plan = self.planned(prompt, asked, entry)
        if not len(prompt):
            self.header = plan.header
        self.asked, self.plan, self.take = asked, plan, self.take + 1
        self.steps = [tuple(row) for row in np.stack(prompt.columns, axis=1).tolist()]
        self.prompt, self.ended = len(prompt), False
        self.source: Iterator[tuple[int, Notes]] | None = None
        self.streams += 1  # whoever listens is told that it goes on elsewhere

    def planned(self, prompt: Notes, asked: dict[str, Any], entry: float) -> Plan:
        given = {
            "seconds": LONGEST_SECONDS, "ending": "never", "rows": ROWS, "entry": entry if len(prompt) else 0.0,
            **{key: value for key, value in asked.items() if value is not None},
        }  # fmt: skip
        settings = self.model.settled(validate({"sample": given}).sample)
        check_fields(settings, self.model.representation.fields)
        if len(prompt) and prompt.onset[-1] * self.header.step_seconds >= LONGEST_SECONDS - 1:
            raise Trouble(422, f"One plays for at most {LONGEST_SECONDS / 60:.0f} minutes; begin anew.")
        return self.model.plan(settings, self.seed, prompt if len(prompt) else None)

    @property
    def sampling(self) -> SampleSettings:
        return self.plan.settings

    @property
    def controls(self) -> dict[str, Any]:
        """Those in force."""
        return self.sampling.model_dump(include=set(SHOWN))

    @property
    def step_seconds(self) -> float:
        return self.header.step_seconds

    @property
    def known(self) -> float:
        """No note that is still to come begins before this time."""
        if self.ended:
            return np.inf
        return float(self.steps[-1][0] * self.step_seconds) if self.steps else 0.0

    @property
    def seconds(self) -> float:
        return max((self.row(step)[0] + self.row(step)[2] for step in self.steps[-256:]), default=0.0)

    def row(self, step: Sequence[int]) -> Row:
        """A note in seconds."""
        onset, pitch, duration, velocity = step
        return round(onset * self.step_seconds, 4), pitch, round(duration * self.step_seconds, 4), velocity

    def rows(self, first: int = 0) -> list[Row]:
        return [self.row(step) for step in self.steps[first:]]

    def piece(self, until: float = np.inf) -> Notes:
        """What is there so far, of the notes that begin before `until`."""
        columns = np.array(self.steps, dtype=np.int64).reshape(-1, 4)
        columns = columns[columns[:, 0] * self.step_seconds < until - 1e-6]
        onset, pitch, duration, velocity = columns.T
        return one_at_a_time(Notes.of(onset, pitch, duration, velocity, self.header))

    def notes_of(self, rows: Sequence[Row]) -> Notes:
        """Notes in seconds on the model's clock; no pitch sounds twice at a time."""
        columns = np.array(rows, dtype=np.float64).reshape(-1, 4)
        onset, duration = (np.rint(columns[:, place] / self.step_seconds).astype(np.int64) for place in (0, 2))
        pitch, velocity = (columns[:, place].astype(np.int64) for place in (1, 3))
        return one_at_a_time(Notes.of(onset, pitch, np.maximum(duration, 1), velocity, self.header))

    def advance(self, until: float, budget: float) -> None:
        """Make notes until all that begin before `until` are known, or this time is over, seconds."""
        deadline = time.perf_counter() + budget
        if self.source is None:
            self.source = self.model.as_made(self.plan, [self.take])
        while not self.ended and self.known < until and time.perf_counter() < deadline:
            made = next(self.source, None)
            if made is None:
                self.ended = True
            else:
                self.steps += [tuple(row) for row in np.stack(made[1].columns, axis=1).tolist()]

    def takes(self) -> list[tuple[Plan, int]]:
        """The take that plays, after those that made what it goes on from."""
        return [*self.past, (self.plan, self.take)]

    def made(self, until: float) -> tuple[Plan, int, int]:
        """The take that made the last note that begins before `until`, and how many notes there are up to it."""
        notes = len(self.piece(until))
        plan, take = next((each for each in reversed(self.takes()) if given(each[0]) < notes), (self.plan, self.take))
        return plan, take, notes

    def steer(self, at: float, asked: dict[str, Any]) -> float:
        """Drop what begins at a time or later and go on otherwise; where the music is heard from then on."""
        kept = self.piece(at)
        past = [(plan, take) for plan, take in self.takes() if given(plan) < len(kept)]
        self.begin(kept, asked, at)
        self.past = past
        return at if len(kept) else 0.0

    def draw(self, notes: Notes, at: float = 0.0) -> None:
        """These notes are the new beginning, and the model enters after them, at a time or later."""
        self.begin(notes, self.asked, at)
        self.past = []

    def follow(self, prompt: Notes) -> None:
        """Begin anew, after this music and at its tempo."""
        before, self.header = self.header, prompt.header
        try:
            self.begin(from_first_onset(prompt), self.asked, 0.0)
            self.past = []
        except Exception:
            self.header = before
            raise


def given(plan: Plan) -> int:
    """How many notes a take goes on from."""
    return 0 if plan.prompt is None else len(plan.prompt)


class Sessions:
    """All that are open."""

    def __init__(self) -> None:
        self.open: dict[str, Session] = {}
        self.change = threading.RLock()

    def add(self, session: Session) -> Session:
        with self.change:
            if self.full():
                raise Trouble(429, FULL)
            self.open[session.id] = session
        return session

    def full(self) -> bool:
        with self.change:
            self.sweep()
            return len(self.open) >= MOST

    def get(self, id: str) -> Session:  # noqa: A002
        with self.change:
            self.sweep()
            if id not in self.open:
                raise missing("session")
            self.open[id].touch()
            return self.open[id]

    def drop(self, id: str) -> None:  # noqa: A002
        with self.change:
            session = self.get(id)
            session.streams += 1
            del self.open[session.id]

    def sweep(self) -> None:
        """Close what nobody has used for long."""
        oldest = time.monotonic() - IDLE_SECONDS
        for session in [each for each in self.open.values() if each.used < oldest]:
            del self.open[session.id]
