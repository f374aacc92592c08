"""A session as it is played: lines of JSON, made no further ahead than is asked for."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Mapping

from anyio import to_thread

from cadenza.web.sessions import Session

SLICE_SECONDS, BEAT_SECONDS = 0.1, 0.2
"""The most that is made at a stretch; from one line on the clock to the next."""


async def lines(session: Session, ahead: float, start: float) -> AsyncIterator[bytes]:
    """Notes that begin at `start` or later as they come due, each once, and how far all are known.

    `ahead` is by how many seconds notes come early; 0 makes them as fast as can be. A later stream ends this one.
    """
    session.streams += 1
    mine, began = session.streams, time.monotonic()
    sent = next((i for i, step in enumerate(session.steps) if session.row(step)[0] >= start - 1e-6), len(session.steps))
    while True:
        session.touch()
        due = time.monotonic() - began + start + ahead if ahead else math.inf
        work = asyncio.ensure_future(make(session, mine, due))
        while not (await asyncio.wait([work], timeout=BEAT_SECONDS))[0]:
            yield line({"clock": start})  # the loops are still being compiled
        work.result()
        if session.streams != mine:
            yield line({"taken": True})
            return
        known, first = min(session.known, due), sent
        while sent < len(session.steps) and session.row(session.steps[sent])[0] < due:
            sent += 1
        notes = [line({"i": i, "n": session.row(session.steps[i])}) for i in range(first, sent)]
        done = session.ended and sent == len(session.steps)
        last = {"end": session.seconds} if done else {"clock": round(max(known, start), 4)}
        yield b"".join([*notes, line(last)])
        if done:
            return
        if session.known >= due:
            await asyncio.sleep(BEAT_SECONDS)


async def make(session: Session, mine: int, due: float) -> None:
    """A slice of work, unless somebody else plays this session now."""
    async with session.lock:
        if session.streams == mine and session.known < due:
            await to_thread.run_sync(session.advance, due, SLICE_SECONDS)


def line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
