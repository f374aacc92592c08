"""Errors as answers: a status and one sentence, whatever went wrong."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cadenza.errors import CadenzaError
from cadenza.web.safety import HEADERS
from cadenza.web.wire import Problem

LOG = logging.getLogger("cadenza.web")
STATUSES = {400: "impossible", 403: "refused", 404: "not there", 405: "no such method", 409: "not now", 413: "too large",
            415: "wrong type of body", 421: "another host", 422: "not valid", 429: "too many"}  # fmt: skip
RESPONSES: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": text} for status, text in STATUSES.items()
}
WORDS = {404: "There is nothing at this address.", 405: "This address does not take that method."}


class Trouble(CadenzaError):  # noqa: N818
    """What a user of the page can cause, with the status of its answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def missing(what: str) -> Trouble:
    return Trouble(404, f"There is no such {what}; it may have been removed.")


def install(app: FastAPI) -> None:
    """Every error becomes `{"detail": sentence}`."""

    @app.exception_handler(CadenzaError)
    async def of_user(request: Request, error: CadenzaError) -> JSONResponse:  # noqa: ARG001
        return problem(error.status if isinstance(error, Trouble) else 422, str(error))

    @app.exception_handler(RequestValidationError)
    async def of_request(request: Request, error: RequestValidationError) -> JSONResponse:  # noqa: ARG001
        return problem(422, sentence(error))

    @app.exception_handler(HTTPException)
    async def of_route(request: Request, error: HTTPException) -> JSONResponse:  # noqa: ARG001
        detail = WORDS.get(error.status_code, str(error.detail))
        return JSONResponse({"detail": detail}, error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def of_ours(request: Request, error: Exception) -> JSONResponse:
        LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
        detail = "Something went wrong inside the studio; its log says what."
        return JSONResponse({"detail": detail}, 500, headers=HEADERS)  # it passes by the guard, who gives them else


def problem(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)


def sentence(error: RequestValidationError) -> str:
    """The first fault in words."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    message = str(first["msg"]).rstrip(".")
    return f"{place}: {message[0].lower()}{message[1:]}."
