"""Training: `/runs`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse

from cadenza.web.desk import Desk, Here
from cadenza.web.play_routes import WAVE, block
from cadenza.web.problems import missing
from cadenza.web.runs import GOING
from cadenza.web.wire import Id, Made, NewRun, RollView, RunView, RunWhole

router = APIRouter(tags=["train"])
Step = Annotated[int, Path(ge=0, lt=2**31)]
LOOK_SECONDS, HEARTBEAT_SECONDS = 0.5, 10.0
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "server-sent events"}
}
PAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "a page"}
}
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"


@router.post("/runs", status_code=202)
def begin(here: Here, asked: NewRun) -> Made:
    """Train on music, or wait for that."""
    source = here.music.source(asked.music)
    name = asked.name.strip() or here.music.view(source.parent)["name"]
    return Made(id=here.trainings.add(asked.model_copy(update={"name": name}), source))


@router.get("/runs")
def all_runs(here: Here) -> list[RunView]:
    return [RunView.model_validate(each, extra="ignore") for each in here.runs.listed()]


@router.get("/runs/{id}")
def one_run(here: Here, id: Id) -> RunWhole:  # noqa: A002
    return RunWhole.model_validate(here.runs.whole(id), extra="ignore")


@router.get("/runs/{id}/events", response_class=StreamingResponse, responses=EVENTS)
def events(here: Here, id: Id) -> StreamingResponse:  # noqa: A002
    """The run whenever it has changed, until it ends."""
    here.studio.run(id)
    return StreamingResponse(told(here, id), media_type="text/event-stream")


async def told(here: Desk, id: str) -> AsyncIterator[str]:  # noqa: A002
    last, when = "", time.monotonic()
    while True:
        run = await to_thread.run_sync(lambda: RunWhole.model_validate(here.runs.whole(id), extra="ignore"))
        now = json.dumps(run.model_dump(mode="json"), separators=(",", ":"))
        if now != last:
            last, when = now, time.monotonic()
            yield f"event: run\ndata: {now}\n\n"
        elif time.monotonic() - when > HEARTBEAT_SECONDS:
            when = time.monotonic()
            yield ": still here\n\n"
        if run.state not in GOING:
            return
        await asyncio.sleep(LOOK_SECONDS)


@router.post("/runs/{id}/stop", status_code=202)
def stop(here: Here, id: Id) -> Made:  # noqa: A002
    here.trainings.stop(id)
    return Made(id=id)


@router.post("/runs/{id}/resume", status_code=202)
def resume(here: Here, id: Id) -> Made:  # noqa: A002
    here.trainings.resume(id)
    return Made(id=id)


@router.get("/runs/{id}/samples/{step}")
def sample(here: Here, id: Id, step: Step) -> RollView:  # noqa: A002
    here.studio.run(id)
    return RollView.model_validate(here.trainings.sample(id, step), extra="ignore")


@router.get("/runs/{id}/samples/{step}/sound", response_class=Response, responses=WAVE)
async def sample_sound(here: Here, id: Id, step: Step) -> Response:  # noqa: A002
    here.studio.run(id)
    found = here.trainings.sample(id, step)
    rows = [tuple(row) for row in found["notes"]]
    return await block(here, rows, 0.0, max(found["seconds"], 1.0), found["program"])


@router.get("/runs/{id}/report", response_class=Response, responses=PAGE)
def report(here: Here, id: Id) -> Response:  # noqa: A002
    """The report, which needs no script and may run none."""
    path = here.runs.report(id)
    if path is None:
        raise missing("report")
    return Response(path.read_bytes(), media_type="text/html", headers={"content-security-policy": REPORT_POLICY})


@router.delete("/runs/{id}", status_code=204)
def remove(here: Here, id: Id) -> None:  # noqa: A002
    """The run, its model and its report."""
    here.trainings.remove(id)
    here.runs.forget(id)
