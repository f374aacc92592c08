"""The application: routes, the page, and what happens when the server begins and ends."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from cadenza.web import music_routes, play_routes, problems, result_routes, run_routes
from cadenza.web.desk import Desk
from cadenza.web.folder import Studio
from cadenza.web.safety import Door, Guard

STATIC = Path(__file__).parent / "static"
API = "/api/v1"


def create(folder: Path, door: Door, warm: bool = True) -> FastAPI:
    """The studio of a folder, behind a door; `warm` compiles the loops before somebody plays."""
    here = Desk(Studio(folder))
    here.begin()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001
        if warm:
            threading.Thread(target=here.warm, daemon=True).start()
        yield
        here.end()

    app = FastAPI(
        title="Cadenza's studio", version="1", openapi_url=f"{API}/openapi.json", docs_url=None, redoc_url=None,
        lifespan=life, responses=problems.RESPONSES,
    )  # fmt: skip
    app.state.desk = here
    problems.install(app)
    for each in (music_routes, run_routes, play_routes, result_routes):
        app.include_router(each.router, prefix=API)
    app.add_api_route("/", page, include_in_schema=False, methods=["GET", "HEAD"])
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, door=door)
    return app


def page() -> FileResponse:
    return FileResponse(STATIC / "index.html", media_type="text/html")
