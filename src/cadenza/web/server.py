"""The server: where it listens, what it says, and the browser that it opens."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import uvicorn

from cadenza.errors import CadenzaError
from cadenza.lock import STUDIO_LOCK, held
from cadenza.records import Said
from cadenza.web.app import create
from cadenza.web.safety import LOOPBACK, Door, named


def serve(folder: Path, host: str, port: int, show: bool) -> Iterator[Said]:
    """Serve the studio of a folder until interrupted; says where it is to be found. A folder has one studio at a time."""
    with held(folder / STUDIO_LOCK, "open the page of the studio that is there, or end that"):
        yield from serve_alone(folder, host, port, show)


def serve_alone(folder: Path, host: str, port: int, show: bool) -> Iterator[Said]:
    listening = listen(host, port)
    port = listening.getsockname()[1]
    token = "" if named(host) in LOOPBACK else secrets.token_urlsafe(24)
    address = f"http://{shown(host)}:{port}/" + (f"?token={token}" if token else "")
    yield Said(f"The studio of {folder.resolve()}: {address} (Ctrl-C ends it)")
    if token:
        yield Said(
            "Whoever has this address can use the studio, the files in its folder and this machine's time; what is sent is not encrypted."
        )
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    app = create(folder, Door(host, port, token))
    if show:
        threading.Timer(1.0, webbrowser.open, [address]).start()
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
    )
    with suppress(KeyboardInterrupt):  # that is how it is ended
        uvicorn.Server(config).run([listening])


def shown(host: str) -> str:
    """A host as it stands in an address."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104
        host = socket.gethostname()
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; an address that is taken, or is none, raises `CadenzaError`."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]  # fmt: skip
        found = socket.socket(family, kind, number)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        raise CadenzaError(
            f"The studio cannot listen at {host}:{port} ({error.strerror}); pass another --port, or end what is there."
        ) from None
    return found
