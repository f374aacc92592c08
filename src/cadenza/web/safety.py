"""Who may speak to the server, and what browsers are told of every answer.

A page of another site must not use the studio through the user's browser: the host must be known by name (against DNS
rebinding), and what changes something must come from the studio's own page. Beyond this machine a token is demanded.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
LARGEST_JSON = 8 << 20
"""Bytes of a JSON body."""
TOO_LARGE = f"The request is larger than {LARGEST_JSON >> 20} MiB; send less."
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
UPLOADS = re.compile(r"/api/v1/(music|sessions/[^/]+/prompt)")
"""The paths where a POST has a form with files."""
HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?")
"""Name and port."""


@dataclass(frozen=True)
class Door:
    """Where the server listens; `token` is empty on this machine alone."""

    host: str
    port: int
    token: str = ""

    @property
    def cookie(self) -> str:
        return f"cadenza-{self.port}"

    def knows(self, host: str) -> bool:
        """Whether a Host header is one of ours; where a server listens to all addresses, its token guards it."""
        if self.token and named(self.host) in ("0.0.0.0", "::", ""):  # noqa: S104
            return True
        parts = HOST.fullmatch(host)
        return (
            parts is not None and int(parts[2] or 80) == self.port and named(parts[1]) in {*LOOPBACK, named(self.host)}
        )


def named(host: str) -> str:
    """A host in small letters, or the address that it is at its shortest, so that equal ones are equal.

    >>> named("LocalHost"), named("[0:0:0:0:0:0:0:1]"), named("FE80::0001")
    ('localhost', '::1', 'fe80::1')
    """
    bare = host.lower().removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare


class Refused(Exception):  # noqa: N818
    """A request that is not answered, with its status and a sentence."""

    def __init__(self, status: int, detail: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


class Guard:
    """Stands before the application."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self.check(scope)
            receive = limited(scope, receive)
        except Refused as refused:
            await answer(send, refused)
            return
        await self.app(scope, receive, with_headers(send))

    def check(self, scope: Scope) -> None:
        """What may not pass raises `Refused`."""
        headers = Headers(scope=scope)
        if not self.door.knows(headers.get("host", "")):
            raise Refused(421, f"This studio answers to localhost:{self.door.port} only; open that address.")
        if scope["method"] not in ("GET", "HEAD"):
            check_origin(headers)
            check_content(scope, headers)
        if self.door.token:
            self.check_token(scope, headers)

    def check_token(self, scope: Scope, headers: Headers) -> None:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and hmac.compare_digest(given.encode(), self.door.token.encode()):
            cookie = f"{self.door.cookie}={self.door.token}; HttpOnly; SameSite=Strict; Path=/"
            raise Refused(303, "", [("location", "/"), ("set-cookie", cookie)])
        held = cookie_parser(headers.get("cookie", "")).get(self.door.cookie, "")
        if not hmac.compare_digest(held.encode(), self.door.token.encode()):
            raise Refused(403, "Open the whole address that was printed when the studio began, with its token.")


def check_origin(headers: Headers) -> None:
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{headers.get('host', '').lower()}":
        raise Refused(403, "Only the studio's own page may ask for this.")
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "Only the studio's own page may ask for this.")


def check_content(scope: Scope, headers: Headers) -> None:
    """A body is JSON, or a form where files are taken."""
    empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if scope["method"] not in ("POST", "PUT", "PATCH") or (empty and not kind):
        return
    wanted = "multipart/form-data" if takes_files(scope) else "application/json"
    if kind != wanted:
        raise Refused(415, f"This takes {wanted}, not {kind or 'a body of no type'}.")
    if wanted == "application/json" and claimed(headers) > LARGEST_JSON:
        raise Refused(413, TOO_LARGE)


def takes_files(scope: Scope) -> bool:
    return scope["method"] == "POST" and UPLOADS.fullmatch(scope["path"]) is not None


def claimed(headers: Headers) -> int:
    """How long a body says it is; 0 where it does not, or not in digits."""
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() and len(length) < 20 else 0


def limited(scope: Scope, receive: Receive) -> Receive:
    """A body that gives no length, or a false one, is refused where JSON is too large; forms count for themselves."""
    if takes_files(scope):
        return receive
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LARGEST_JSON:
            raise HTTPException(413, TOO_LARGE)
        return message

    return counting


def with_headers(send: Send) -> Send:
    """Every answer carries `HEADERS`, unless it has its own."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


async def answer(send: Send, refused: Refused) -> None:
    body = json.dumps({"detail": refused.detail}).encode() if refused.detail else b""
    headers = [("content-type", "application/json"), ("content-length", str(len(body))), *refused.headers]
    raw = [(name.encode(), value.encode()) for name, value in headers]
    await with_headers(send)({"type": "http.response.start", "status": refused.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
