"""Models and sessions: `/models`, `/sessions`."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from cadenza.web.desk import Desk, Here
from cadenza.web.problems import Trouble
from cadenza.web.sessions import FULL, Session
from cadenza.web.sound import Row
from cadenza.web.streaming import lines
from cadenza.web.wire import (
    LONGEST_SECONDS,
    Change,
    Draw,
    Id,
    ModelView,
    NewSession,
    SessionMade,
    SessionView,
    Took,
    Undo,
)

router = APIRouter(tags=["play"])
Time = Annotated[float, Query(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
LONGEST_BLOCK = 60.0
NDJSON: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}, "description": "lines of JSON"}
}
WAVE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}, "description": "a WAV file"}
}


@router.get("/models")
def models(here: Here) -> list[ModelView]:
    """Every model that can be played with."""
    return [ModelView(**each) for each in here.players.listed()]


@router.post("/sessions", status_code=201)
async def open_session(here: Here, asked: NewSession) -> SessionMade:
    """Begin to play; nothing is made before the stream is opened."""
    if here.sessions.full():
        raise Trouble(429, FULL)
    session = await to_thread.run_sync(opened, here, asked)
    here.sessions.add(session)
    return SessionMade(id=session.id, controls=session.controls, notes=session.rows())


def opened(here: Desk, asked: NewSession) -> Session:
    model = here.players.get(asked.model)
    session = Session(asked.model, model, asked.seed, asked.controls.model_dump(exclude_none=True))
    if asked.prompt:
        session.take -= 1  # it is the first all the same
        session.draw(session.notes_of(asked.prompt))
    return session


@router.get("/sessions/{id}")
def session_now(here: Here, id: Id) -> SessionView:  # noqa: A002
    return view(here.sessions.get(id))


def view(session: Session) -> SessionView:
    return SessionView(
        id=session.id, model=session.model_id, seed=session.seed, take=session.take, controls=session.controls,
        notes=session.rows(), prompt=session.prompt, ended=session.ended,
    )  # fmt: skip


@router.get("/sessions/{id}/stream", response_class=StreamingResponse, responses=NDJSON)
def stream(
    here: Here,
    id: Id,  # noqa: A002
    ahead: Annotated[float, Query(ge=0, le=60, allow_inf_nan=False)] = 4,
    start: Annotated[float, Query(alias="from", ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)] = 0,
) -> StreamingResponse:
    """The session as it is played, paced in real time."""
    return StreamingResponse(lines(here.sessions.get(id), ahead, start), media_type="application/x-ndjson")


@router.patch("/sessions/{id}")
async def change(here: Here, id: Id, asked: Change) -> Took:  # noqa: A002
    """New controls from a time on."""
    session = here.sessions.get(id)
    merged = session.asked | asked.controls.model_dump(exclude_unset=True)
    return await steer(session, asked.at, merged)


@router.post("/sessions/{id}/undo")
async def undo(here: Here, id: Id, asked: Undo) -> Took:  # noqa: A002
    """Drop what begins at a time or later, and go on differently."""
    session = here.sessions.get(id)
    return await steer(session, asked.at, session.asked)


async def steer(session: Session, at: float, asked: dict[str, Any]) -> Took:
    async with session.lock:
        heard = await to_thread.run_sync(session.steer, at, asked)
        return took(session, heard)


def took(session: Session, at: float) -> Took:
    return Took(controls=session.controls, take=session.take, notes=len(session.steps), at=at)


@router.post("/sessions/{id}/draw")
async def draw(here: Here, id: Id, asked: Draw) -> Took:  # noqa: A002
    """These notes are the new beginning; all others are dropped."""
    session = here.sessions.get(id)
    async with session.lock:
        await to_thread.run_sync(lambda: session.draw(session.notes_of(asked.notes), asked.at))
        return took(session, asked.at if asked.notes else 0.0)


@router.get("/sessions/{id}/sound", response_class=Response, responses=WAVE)
async def sound(
    here: Here,
    id: Id,  # noqa: A002
    start: Annotated[float, Query(alias="from", ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)],
    stop: Annotated[float, Query(alias="to", ge=0, le=LONGEST_SECONDS + LONGEST_BLOCK, allow_inf_nan=False)],
) -> Response:
    """The notes that begin in a span, with their tails, from the span's first moment on."""
    session = here.sessions.get(id)
    program = session.model.program(session.sampling.instrument)
    return await block(here, session.rows(), start, stop, program)


async def block(here: Desk, rows: list[Row], start: float, stop: float, program: int) -> Response:
    if not start < stop <= start + LONGEST_BLOCK:
        raise Trouble(400, f"A block of sound ends after it begins, and lasts {LONGEST_BLOCK:.0f} seconds at most.")
    data = await to_thread.run_sync(here.speaker.block, rows, start, stop, program)
    seconds = (len(data) - 44) / (48_000 * 4)
    return Response(data, media_type="audio/wav", headers={"X-Length": f"{seconds:.4f}"})


@router.delete("/sessions/{id}", status_code=204)
def close(here: Here, id: Id) -> None:  # noqa: A002
    here.sessions.drop(id)
