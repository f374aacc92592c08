"""Music: `/music`, and the beginning of a session from a file."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response

from cadenza.notes import Header, Notes, TimeBase
from cadenza.web.desk import Here
from cadenza.web.play_routes import LONGEST_BLOCK, WAVE, block
from cadenza.web.reading import INCOMING
from cadenza.web.uploads import receive
from cadenza.web.wire import Id, Made, MusicView, MusicWhole, NotesView, RollView

router = APIRouter(tags=["music"])
PROMPT_BYTES = 4 << 20
READ_SECONDS = 20.0


def form(*files: str, name: bool = False) -> dict[str, Any]:
    """What the schema says of a form with files."""
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    shape: dict[str, Any] = {"files": {"type": "array", "items": file, "minItems": 1}} if "files" in files else {"file": file}  # fmt: skip
    shape |= {"name": {"type": "string", "maxLength": 200}} if name else {}
    schema = {"type": "object", "required": list(files), "properties": shape, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@router.get("/music")
def all_music(here: Here) -> list[MusicView]:
    return [MusicView(**each) for each in here.music.listed()]


@router.post("/music", status_code=202, openapi_extra=form("files", name=True))
async def upload(here: Here, request: Request) -> Made:
    """Files and archives, to be read beside the server."""
    folder = here.music.incoming("music")
    try:
        received = await receive(request, folder / INCOMING)
        return Made(id=here.music.add(folder, received))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@router.get("/music/{id}")
def one_music(here: Here, id: Id) -> MusicWhole:  # noqa: A002
    """With what became of each file, and why."""
    return MusicWhole(**here.music.view(here.music.folder(id)))


@router.get("/music/{id}/notes")
def notes_of_file(here: Here, id: Id, file: Annotated[str, Query(max_length=1000)]) -> RollView:  # noqa: A002
    return RollView(**here.music.notes(id, file))


@router.get("/music/{id}/sound", response_class=Response, responses=WAVE)
async def sound_of_file(here: Here, id: Id, file: Annotated[str, Query(max_length=1000)]) -> Response:  # noqa: A002
    """The first minute of the notes that were read of a file."""
    found = await to_thread.run_sync(here.music.notes, id, file)
    rows = [tuple(row) for row in found["notes"]]
    return await block(here, rows, 0.0, min(max(found["seconds"], 1.0), LONGEST_BLOCK), found["program"])


@router.delete("/music/{id}", status_code=204)
def remove_music(here: Here, id: Id) -> None:  # noqa: A002
    here.music.remove(id)


@router.post("/sessions/{id}/prompt", openapi_extra=form("file"))
async def prompt(here: Here, id: Id, request: Request) -> NotesView:  # noqa: A002
    """Begin anew, after the first minute of a MIDI file."""
    session = here.sessions.get(id)
    with tempfile.TemporaryDirectory(prefix="cadenza-prompt-") as place:
        received = await receive(request, Path(place), most_files=1, most_bytes=PROMPT_BYTES)
        [(stored, name)] = received.names.items()
        model = session.model
        asked = {"path": f"{place}/{stored}", "name": name, "unit": model.facts.unit, "reading": model.reading.model_dump()}  # fmt: skip
        found = await to_thread.run_sync(here.errands.send, "prompt", asked, READ_SECONDS)
    async with session.lock:
        await to_thread.run_sync(session.follow, notes_found(session.model.facts.base, found))
    return NotesView(notes=session.rows())


def notes_found(base: TimeBase, found: dict[str, Any]) -> Notes:
    meter = tuple(found["meter"]) if found["meter"] else None
    onset, pitch, duration, velocity = (np.array(column, dtype=np.int64) for column in found["columns"])
    return Notes.of(onset, pitch, duration, velocity, Header("", base, found["tempo"], meter))
