"""What the studio's server bears: bodies without end, other hosts, a second server, a synthesizer that is lost."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from safetensors.numpy import save
from starlette.testclient import TestClient

from cadenza.errors import CadenzaError
from cadenza.hearing import Frame
from cadenza.lock import STUDIO_LOCK, held
from cadenza.notes import Notes
from cadenza.tokens import representation
from cadenza.web import uploads
from cadenza.web.app import create
from cadenza.web.errands import BUSY
from cadenza.web.safety import LOOPBACK, Door, named
from cadenza.web.server import listen
from cadenza.web.sound import Speaker
from conftest import Cadenza, Midi

FORM = "multipart/form-data; boundary=b"
PART = '--b\r\ncontent-disposition: form-data; name="files"; filename="a.mid"\r\n\r\n'


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create(tmp_path, Door("testserver", 80), warm=False)) as client:
        yield client


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Where a real server of a folder listens."""
    listening = listen("127.0.0.1", 0)
    found = listening.getsockname()
    config = uvicorn.Config(create(tmp_path, Door(*found), warm=False), log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield found
    server.should_exit = True
    thread.join()
    listening.close()


# Bodies


def answered(
    address: tuple[str, int], path: str, headers: str, block: bytes = b"", most: int = 0
) -> tuple[int, str, int]:
    """Status and sentence of a server's answer, and how many bytes of a body of `most` it came after."""
    with socket.create_connection(address, timeout=120) as line:
        line.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\n{headers}\r\n".encode())
        sent = 0
        while sent < most and not select.select([line], [], [], 0)[0]:
            line.sendall(block)
            sent += len(block)
        head, _, body = line.recv(65536).partition(b"\r\n\r\n")
        body = body or line.recv(65536)
    return int(head.split()[1]), json.loads(body)["detail"], sent


def test_an_archive_may_be_larger_than_any_file_of_music(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LARGEST_BYTES", 10)
    answers = {name: client.post("/api/v1/music", files={"files": (name, b"x" * 20)}) for name in ("a.mid", "a.zip")}
    assert answers["a.mid"].status_code == 413 and "a.mid: larger than" in answers["a.mid"].text
    assert answers["a.zip"].status_code in (200, 201, 202)


@pytest.mark.parametrize(("path", "kind"), [("/api/v1/music", FORM), ("/api/v1/sessions", "application/json")])
def test_two_gigabytes_are_refused_before_they_come(
    address: tuple[str, int], tmp_path: Path, path: str, kind: str
) -> None:
    status, detail, _ = answered(address, path, f"content-type: {kind}\r\ncontent-length: {2 << 30}\r\n")
    assert status == 413 and "MiB" in detail and detail.endswith(".")
    assert not list((tmp_path / "music").iterdir())


@pytest.mark.parametrize(
    ("path", "kind", "first", "limit"),
    [("/api/v1/music", FORM, PART, 64 << 20), ("/api/v1/sessions", "application/json", "[", 8 << 20)],
)
def test_a_body_without_end_is_refused_where_it_is_too_large(
    address: tuple[str, int], tmp_path: Path, path: str, kind: str, first: str, limit: int
) -> None:
    headers = f"content-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n{len(first):x}\r\n{first}"
    block = f"{1 << 18:x}\r\n".encode() + b" " * (1 << 18) + b"\r\n"
    status, detail, sent = answered(address, path, headers, block, 2 << 30)
    assert status == 413 and "MiB" in detail and detail.endswith(".")
    assert limit < sent < limit + (32 << 20)
    assert not list((tmp_path / "music").iterdir())


def within_a_minute(look: Callable[[], object]) -> bool:
    """Whether something comes to be so."""
    deadline = time.monotonic() + 60
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(found)


def test_an_upload_that_breaks_off_leaves_nothing(address: tuple[str, int], tmp_path: Path) -> None:
    with socket.create_connection(address, timeout=120) as line:
        head = f"POST /api/v1/music HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\ncontent-type: {FORM}\r\ncontent-length: 9999\r\n\r\n{PART}MThd"
        line.sendall(head.encode())
        assert within_a_minute(lambda: list((tmp_path / "music").glob(".incoming-*/incoming/*.mid")))
    assert within_a_minute(lambda: not list((tmp_path / "music").iterdir()))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/api/v1/music"),
        ("POST", "/api/v1/prompt"),
        ("POST", "/api/v1/sessions/a/b/prompt"),
        ("PUT", "/x/prompt"),
    ],
)
def test_only_uploads_escape_the_limit_of_a_body(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path, content=b"x", headers={"content-type": FORM}).status_code == 415
    large = {"content-type": "application/json", "content-length": str(9 << 20)}
    assert client.request(method, path, content=b"", headers=large).status_code == 413


def test_a_model_of_another_version_is_words(client: TestClient, tmp_path: Path) -> None:
    for name, version in (("older", 1), ("newer", 99)):
        (tmp_path / "runs" / name).mkdir()
        data = save({"weights": np.zeros(1)}, {"cadenza-model": json.dumps({"version": version})})
        (tmp_path / "runs" / name / "model.safetensors").write_bytes(data)
        answer = client.post("/api/v1/sessions", json={"model": name})
        assert answer.status_code == 422 and f"format {version}, this Cadenza reads" in answer.json()["detail"]
        run = client.get(f"/api/v1/runs/{name}").json()
        assert f"format {version}" in run["error"] and not run["playable"]
    assert client.get("/api/v1/models").json() == []
    assert len(client.get("/api/v1/runs").json()) == 2


# Hosts


@pytest.mark.parametrize(
    ("listens", "asked", "status"),
    [
        ("LocalHost", "localhost:7878", 200),
        ("localhost", "LOCALHOST:7878", 200),
        ("127.0.0.1", "[0:0:0:0:0:0:0:1]:7878", 200),
        ("My-Machine.local", "my-machine.local:7878", 403),
        ("FE80:0:0:0::0001", "[fe80::1]:7878", 403),
        ("fe80::1", "[FE80:0::1]:7878", 403),
        ("fe80::1", "[fe80::2]:7878", 421),
        ("fe80::1", "fe80::1:7878", 421),
        ("localhost", "localhost:99999", 421),
        ("localhost", "localhost", 421),
        ("localhost", "localhost:7878:7878", 421),
        ("localhost", "localhost:٧٨٧٨", 421),
        ("localhost", "", 421),
    ],
)
def test_a_host_is_known_however_it_is_written(tmp_path: Path, listens: str, asked: str, status: int) -> None:
    here = named(listens) in LOOPBACK
    client = TestClient(create(tmp_path, Door(listens, 7878, "" if here else "secret"), warm=False))
    answer = client.get("/api/v1/music", headers=[(b"host", asked.encode())])
    assert answer.status_code == status


@pytest.mark.parametrize("cookie", ["cadenza-80=secret", "a=b; cadenza-80=secret; c", 'x="; cadenza-80=secret'])
def test_the_token_is_found_among_other_cookies(tmp_path: Path, cookie: str) -> None:
    client = TestClient(create(tmp_path, Door("testserver", 80, "secret"), warm=False))
    assert client.get("/api/v1/music", headers={"cookie": cookie}).status_code == 200
    for wrong in (cookie.replace("secret", "guess"), cookie.replace("cadenza-80", "cadenza-81"), "ä=ö"):
        assert client.get("/api/v1/music", headers=[(b"cookie", wrong.encode())]).status_code == 403


# A second server


def test_a_folder_has_one_studio_at_a_time(tmp_path: Path, cadenza: Cadenza) -> None:
    holder = "import sys; from cadenza.lock import *; from pathlib import Path\nwith held(Path(sys.argv[1])): print(flush=True); input()"
    lock = tmp_path / STUDIO_LOCK
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        code, out, err = cadenza("studio", "--folder", tmp_path, "--port", "0", "--no-open")
        assert (code, out) == (2, "")
        assert err.count("\n") == 1 and f"number {other.pid}" in err and "open the page" in err
        other.kill()
    with held(lock):  # that of a dead process is not in the way
        assert lock.exists()


# Work in other processes


def test_reading_takes_nobodys_turn_and_others_are_told_that_it_is_busy(
    tmp_path: Path, smf: Midi, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    errands = client.app.state.desk.errands  # type: ignore[attr-defined]
    monkeypatch.setattr("cadenza.web.errands.WAIT_SECONDS", 0.1)
    for _ in range(2):
        assert errands.slots.acquire(blocking=False)
    files = [("files", ("a.mid", smf.piece(1)))]
    music = client.post("/api/v1/music", files=files).json()["id"]
    while client.get(f"/api/v1/music/{music}").json()["state"] == "reading":
        time.sleep(0.05)
    assert client.get(f"/api/v1/music/{music}").json()["state"] == "ready"
    shown = {"file": "a.mid"}
    busy = client.get(f"/api/v1/music/{music}/notes", params=shown)
    assert (busy.status_code, busy.json()["detail"]) == (429, BUSY)
    errands.slots.release()
    assert len(client.get(f"/api/v1/music/{music}/notes", params=shown).json()["notes"]) == 60
    assert errands.slots.acquire(blocking=False)


BLOCK = [(0.1, 60, 0.5, 90)], 0.0, 1.0, 0


def test_a_synthesizer_that_is_lost_is_begun_anew_and_nobodys_block_with_it() -> None:
    speaker = Speaker()
    wanted = speaker.block(*BLOCK)
    first = speaker.begun()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(speaker.block, *BLOCK) for _ in range(8)]
        first.renderer.kill()
        assert all(each.result() == wanted for each in waiting)
    assert speaker.begun() is not first
    speaker.end()
    speaker.warm()
    with pytest.raises(CadenzaError, match="ending"):
        speaker.block(*BLOCK)


DIES_HALFWAY = """
import os, struct
def serve(channel):
    channel.recv()
    os.write(channel.fileno(), struct.pack("!i", 1000) + b"half of it")
"""


def test_a_synthesizer_that_dies_in_the_middle_of_a_block_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dies_halfway.py").write_text(DIES_HALFWAY)
    monkeypatch.syspath_prepend(tmp_path)
    speaker = Speaker()
    with monkeypatch.context() as patch:
        patch.setattr("cadenza.web.sound.serve", import_module("dies_halfway").serve)
        with pytest.raises(CadenzaError, match="broke down"):
            speaker.block(*BLOCK)
    assert speaker.block(*BLOCK)
    speaker.end()


def test_a_block_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    speaker = Speaker()
    wanted = speaker.block(*BLOCK)
    stuck = speaker.begun().renderer
    assert stuck.pid is not None
    os.kill(stuck.pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr("cadenza.web.sound.LIMIT_SECONDS", 0.2)
        with pytest.raises(CadenzaError, match="in time"):
            speaker.block(*BLOCK)
    assert not stuck.is_alive()
    assert speaker.block(*BLOCK) == wanted
    speaker.end()


def test_a_block_that_is_being_rendered_does_not_hold_up_the_end() -> None:
    speaker = Speaker()
    speaker.warm()
    process = speaker.begun().renderer
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(speaker.block, *BLOCK) for _ in range(2)]
        speaker.end()
        for each in waiting:
            with pytest.raises(CadenzaError, match="ending"):
                each.result()
    assert not process.is_alive()


# Listening


def test_notes_that_the_prompt_holds_are_found_without_a_table_of_all_pairs() -> None:
    rng = np.random.default_rng(0)

    def some(count: int) -> Notes:
        return Notes.of(
            rng.integers(0, 5000, count),
            rng.integers(50, 60, count),
            rng.integers(1, 99, count),
            rng.integers(1, 127, count),
        )

    def of(prompt: Notes, notes: Notes) -> Notes:
        tokens = representation("notes", prompt.header.time_base)
        return Frame(tokens, prompt.header, prompt, tokens.encode(prompt), 0, 10**6).unprompted(notes)

    prompt, notes = some(30), some(400)
    kept = [
        note
        for note in zip(*(column.tolist() for column in notes.columns), strict=True)
        if not any(p == note[1] and on + long > note[0] for on, p, long, _ in zip(*prompt.columns, strict=True))
    ]
    assert list(zip(*(column.tolist() for column in of(prompt, notes).columns), strict=True)) == kept and kept
    prompt, notes = some(50_000), some(50_000)
    tracemalloc.start()
    of(prompt, notes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6
