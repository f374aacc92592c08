"""What one takes along: files of a session, kept pieces, comparisons of runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Response

from cadenza import midi
from cadenza.runs.comparison import compare
from cadenza.runs.folder import open_run
from cadenza.web.desk import Here
from cadenza.web.keepsakes import Take
from cadenza.web.play_routes import Time
from cadenza.web.problems import Trouble
from cadenza.web.sessions import Session
from cadenza.web.wire import Comparison, Id, Keep, KeptView, KeptWhole, Made

router = APIRouter(tags=["results"])
Kind = Literal["mid", "mp3", "wav"]
TYPES = {"mid": "audio/midi", "mp3": "audio/mpeg", "wav": "audio/wav"}
FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES.values()},
        "description": "the file",
    }
}
COLUMNS = ["run", "bits", "from", "to", "difference", "difference from", "difference to", "verdict"]


@router.post("/sessions/{id}/keep", status_code=201)
async def keep(here: Here, id: Id, asked: Keep) -> Made:  # noqa: A002
    """What was played, as a piece that can be made again."""
    session = here.sessions.get(id)
    async with session.lock:
        take = take_of(session, asked.until)
    return Made(id=await to_thread.run_sync(here.keepsakes.keep, take, asked.name.strip()))


def take_of(session: Session, until: float | None) -> Take:
    plan, take, notes = session.made(float("inf") if until is None else until)
    return Take(session.model_id, session.model, plan.settings, session.seed, take, plan.prompt, notes)


@router.get("/sessions/{id}/file.{kind}", response_class=Response, responses=FILE)
async def session_file(here: Here, id: Id, kind: Kind, until: Time | None = None) -> Response:  # noqa: A002
    """What was made, which is some seconds more than was heard; `until` leaves out notes that begin then or later."""
    session = here.sessions.get(id)
    piece = session.piece(float("inf") if until is None else until)
    if not len(piece):
        raise Trouble(409, "Nothing was played yet; play first.")
    data = midi.to_bytes(piece, session.model.program(session.sampling.instrument))
    return download(await to_thread.run_sync(here.keepsakes.rendered, data, kind), "improvisation", kind)


def download(data: bytes, name: str, kind: Kind) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}.{kind}"'}
    return Response(data, media_type=TYPES[kind], headers=headers)


@router.get("/kept")
def all_kept(here: Here) -> list[KeptView]:
    return [KeptView.model_validate(each, extra="ignore") for each in here.keepsakes.listed()]


@router.get("/kept/{id}")
def one_kept(here: Here, id: Id) -> KeptWhole:  # noqa: A002
    found = here.keepsakes.view(here.keepsakes.folder(id))
    return KeptWhole.model_validate(found | {"notes": found["rows"]}, extra="ignore")


@router.get("/kept/{id}/file.{kind}", response_class=Response, responses=FILE)
def kept_file(here: Here, id: Id, kind: Kind) -> Response:  # noqa: A002
    return download(here.keepsakes.file(id, kind), here.keepsakes.folder(id).name, kind)


@router.delete("/kept/{id}", status_code=204)
def remove(here: Here, id: Id) -> None:  # noqa: A002
    here.keepsakes.remove(id)


@router.get("/compare")
def comparison(
    here: Here, runs: Annotated[str, Query(pattern=r"^[a-z0-9-]{1,64}(,[a-z0-9-]{1,64}){1,15}$")]
) -> Comparison:
    """Runs on the same split side by side, by their ids with commas between."""
    ids = list(dict.fromkeys(runs.split(",")))
    found = compare([open_run(here.studio.run(id)) for id in ids])  # noqa: A001
    return Comparison(columns=COLUMNS, rows=[row(id, one) for id, one in zip(ids, found["runs"], strict=True)])  # noqa: A001


def row(id: str, one: dict[str, Any]) -> list[str | float | None]:  # noqa: A002
    ends = [*(one["interval"] or (None, None)), one["difference"], *(one["difference_interval"] or (None, None))]
    return [id, one["bits"], *ends, one["verdict"]]
