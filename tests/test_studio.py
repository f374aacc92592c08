"""The studio's server: playing, sound, uploads, trainings that outlive it, and whom it refuses."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import schemathesis
import soundfile
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode
from starlette.testclient import TestClient

import cadenza
from cadenza.web.app import create
from cadenza.web.desk import Desk
from cadenza.web.folder import Studio
from cadenza.web.keepsakes import VERDICT
from cadenza.web.problems import Trouble
from cadenza.web.reading import FINDINGS, INCOMING, rows_of
from cadenza.web.safety import Door
from cadenza.web.server import listen
from cadenza.web.sessions import MOST, Session
from cadenza.web.streaming import lines
from cadenza.web.uploads import shown_name
from cadenza.web.wire import NewRun
from conftest import ROOT, Midi

API = "/api/v1"
TINY: dict[str, Any] = {
    "corpus": {"folds": 0},
    "model": {"layers": 1, "width": 32},
    "batches": {"rows": 32, "size": 4},
    "train": {"steps": 8, "evaluations": 2, "threads": 1},
    "sample": {"seconds": 6, "count": 1},
}
Row = list[float]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, smf: Midi) -> Path:
    """A studio with a trained run."""
    music, studio = tmp_path_factory.mktemp("music"), tmp_path_factory.mktemp("studio")
    for seed in range(6):
        (music / f"piece-{seed}.mid").write_bytes(smf.piece(seed, grid=1))
    cadenza.run(music, studio / "runs" / "one", preset="tiny", **TINY)
    return studio


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(create(folder, Door("testserver", 80), warm=False)) as client:
        yield client


@pytest.fixture(autouse=True)
def sessions_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """So that no test finds the studio full of another's sessions."""
    yield
    if "client" in request.fixturenames:
        desk(request.getfixturevalue("client")).sessions.open.clear()


def at(path: str) -> str:
    return f"{API}{path}"


def desk(client: TestClient) -> Desk:
    found: Desk = client.app.state.desk  # type: ignore[attr-defined]
    return found


def opened(client: TestClient, **asked: Any) -> str:
    answer = client.post(at("/sessions"), json={"model": "one", "seed": 3, **asked})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def played(client: TestClient, session: str, seconds: float) -> list[Row]:
    """All notes of a session once it has come so far."""
    desk(client).sessions.get(session).advance(seconds, 60)
    return list(client.get(at(f"/sessions/{session}")).json()["notes"])


def until_ready(look: Callable[[], dict[str, Any]], state: str, seconds: float = 120) -> dict[str, Any]:
    """What `look` finds once it is in a state."""
    deadline = time.monotonic() + seconds
    while (found := look())["state"] != state:
        assert time.monotonic() < deadline, found
        assert found["state"] != "failed", found
        time.sleep(0.1)
    return found


# Playing


def test_the_same_seed_controls_and_prompt_give_the_same_notes_and_another_seed_does_not(client: TestClient) -> None:
    asked = {"controls": {"temperature": 1.1}, "prompt": [[0.5, 70, 0.4, 80], [1.0, 72, 0.4, 90]]}
    one, again = (played(client, opened(client, **asked), 20) for _ in range(2))
    other = played(client, opened(client, **asked, seed=4), 20)
    assert one[:40] == again[:40]
    assert one[:2] == [[0.5, 70, 0.4, 80], [1.0, 72, 0.4, 90]] == other[:2]
    assert one[:40] != other[:40]


def test_steering_keeps_what_was_before_and_nothing_new_begins_earlier(client: TestClient) -> None:
    session = opened(client)
    before = played(client, session, 12)
    took = client.patch(at(f"/sessions/{session}"), json={"at": 6.5, "controls": {"top_p": 0.9}}).json()
    after = played(client, session, 14)
    kept = [note for note in before if note[0] < 6.5]
    assert (took["take"], took["notes"], took["at"]) == (1, len(kept), 6.5)
    assert took["controls"]["top_p"] == 0.9
    assert [note[:2] for note in after[: len(kept)]] == [note[:2] for note in kept]
    assert all(note[0] >= 6.5 for note in after[len(kept) :]) and len(after) > len(kept)


def test_controls_are_replaced_key_by_key_and_null_gives_the_models_own(client: TestClient) -> None:
    session = opened(client, controls={"top_k": 7, "temperature": 1.3})
    changed = client.patch(at(f"/sessions/{session}"), json={"at": 0, "controls": {"temperature": None, "repeats": 4}})
    controls = changed.json()["controls"]
    assert (controls["top_k"], controls["temperature"], controls["repeats"]) == (7, 0.95, 4)
    assert changed.json()["at"] == 0


def test_undo_goes_on_differently_each_time_and_each_time_the_same(client: TestClient) -> None:
    def undone() -> list[list[Row]]:
        session = opened(client)
        found = [played(client, session, 12)]
        for _ in range(2):
            client.post(at(f"/sessions/{session}/undo"), json={"at": 5.0})
            found.append(played(client, session, 12))
        return found

    first, again = undone(), undone()
    assert first == again
    assert len({json.dumps([note for note in notes if 5 <= note[0] < 12]) for notes in first}) == 3


def test_what_is_drawn_is_the_beginning_and_all_else_goes(client: TestClient) -> None:
    session = opened(client)
    played(client, session, 5)
    drawn = [[0.0, 64, 0.5, 70], [0.5, 67, 0.5, 70], [0.5, 67, 0.2, 60]]
    took = client.post(at(f"/sessions/{session}/draw"), json={"notes": drawn, "at": 3.0}).json()
    notes = played(client, session, 9)
    assert notes[:2] == drawn[:2]
    assert took["notes"] == 2
    assert notes[2][0] >= 3.0


def test_what_cannot_be_steered_to_is_one_sentence_and_changes_nothing(client: TestClient) -> None:
    session = opened(client)
    before = played(client, session, 5)
    for controls, words in (
        ({"by_field": {"pich": 1.0}}, "did you mean 'pitch'"),
        ({"novel": 1}, "novel"),
        ({"instrument": "tuba"}, "instrument"),
    ):
        answer = client.patch(at(f"/sessions/{session}"), json={"at": 4, "controls": controls})
        assert answer.status_code == 422
        assert words in answer.json()["detail"]
    assert client.get(at(f"/sessions/{session}")).json()["notes"] == before


def test_a_stream_tells_every_note_once_and_how_far_it_has_come(client: TestClient) -> None:
    session = opened(client)
    notes: list[Row] = []
    clock = -1.0

    async def listen() -> None:
        nonlocal clock
        async for block in lines(desk(client).sessions.get(session), 0, 0):
            for line in block.splitlines():
                event = json.loads(line)
                if "n" in event:
                    assert event["i"] == len(notes) and event["n"][0] >= clock
                    notes.append(event["n"])
                else:
                    assert event["clock"] >= clock
                    clock = event["clock"]
            if clock > 15:
                return

    asyncio.run(listen())
    known = client.get(at(f"/sessions/{session}")).json()["notes"]
    assert [note[:2] for note in notes] == [note[:2] for note in known[: len(notes)]]


def test_notes_are_made_no_further_ahead_than_asked_and_not_at_all_once_nobody_listens(client: TestClient) -> None:
    session = desk(client).sessions.get(opened(client))

    async def listen(ahead: float, blocks: int) -> None:
        stream = lines(session, ahead, 0)
        for _ in range(blocks):
            await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(listen(2, 3))
    few = len(session.steps)
    assert session.rows()[-2][0] < 4
    asyncio.run(listen(0, 2))
    many = len(session.steps)
    time.sleep(0.3)
    assert few < many == len(session.steps)


def test_a_second_stream_ends_the_first_and_so_does_steering(client: TestClient) -> None:
    session = desk(client).sessions.get(opened(client))

    async def listen() -> list[bytes]:
        first = lines(session, 4, 0)
        await anext(first)
        second = lines(session, 4, 0)
        await anext(second)
        ends = [[block async for block in first][-1]]
        session.steer(1.0, {})
        return [*ends, [block async for block in second][-1]]

    assert [json.loads(end) for end in asyncio.run(listen())] == [{"taken": True}] * 2


def test_no_more_sessions_than_there_is_room_for_and_idle_ones_make_room(client: TestClient) -> None:
    sessions = desk(client).sessions
    sessions.open.clear()
    for _ in range(MOST):
        last = opened(client)
    full = client.post(at("/sessions"), json={"model": "one"})
    assert full.status_code == 429 and full.json()["detail"].endswith(".")
    sessions.open[last].used -= 3600
    opened(client)
    assert client.get(at(f"/sessions/{last}")).status_code == 404
    for session in list(sessions.open):
        assert client.delete(at(f"/sessions/{session}")).status_code == 204


def test_a_session_is_over_after_its_longest_time(client: TestClient) -> None:
    session = desk(client).sessions.get(opened(client))
    session.draw(session.notes_of([(1197.0, 60, 1.0, 80)]))
    session.advance(float("inf"), 60)
    assert session.ended and session.seconds <= 1200
    answer = client.post(at(f"/sessions/{session.id}/draw"), json={"notes": [[1199.5, 60, 1.0, 80]]})
    assert answer.status_code == 422 and "20 minutes" in answer.json()["detail"]


def test_a_prompt_from_a_file_is_kept_and_gone_on_from(client: TestClient, smf: Midi) -> None:
    session = opened(client)
    answer = client.post(at(f"/sessions/{session}/prompt"), files={"file": ("a b.mid", smf.piece(9, grid=1))})
    given = answer.json()["notes"]
    assert len(given) > 10 and given[0][0] == 0
    assert played(client, session, 40)[: len(given)] == given
    for data, words in ((b"words", "not a MIDI file"), (b"", "empty"), (smf.piece(1)[:50], "damaged")):
        refused = client.post(at(f"/sessions/{session}/prompt"), files={"file": ("x.mid", data)})
        assert refused.status_code == 422 and words in refused.json()["detail"]


# Sound


def sound(client: TestClient, session: str, start: float, stop: float) -> Any:
    answer = client.get(at(f"/sessions/{session}/sound"), params={"from": start, "to": stop})
    assert answer.status_code == 200, answer.text
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    assert rate == 48_000 and samples.shape[1] == 2
    assert float(answer.headers["x-length"]) == pytest.approx(len(samples) / rate, abs=1e-3)
    return samples


def test_two_blocks_added_are_the_whole(client: TestClient) -> None:
    session = opened(client)
    notes = [[0.2, 60, 0.8, 90], [1.0, 64, 1.6, 3], [1.6, 67, 1.4, 100], [2.4, 71, 0.5, 80], [3.2, 72, 0.4, 80]]
    client.post(at(f"/sessions/{session}/draw"), json={"notes": notes})
    whole = sound(client, session, 0, 4)
    first, second = sound(client, session, 0, 2), sound(client, session, 2, 4)
    assert len(first) >= 4 * 48_000 and len(whole) >= 6 * 48_000
    assert np.abs(first[: 48_000 // 10]).max() < 1e-3 < np.abs(first).max()
    added = np.zeros((max(len(whole), 2 * 48_000 + len(second)), 2))
    added[: len(first)] += first
    added[2 * 48_000 : 2 * 48_000 + len(second)] += second
    apart = np.abs(added[: len(whole)] - whole)
    assert apart.max() < 0.01 * np.abs(whole).max()


def test_a_block_holds_only_what_begins_in_it(client: TestClient) -> None:
    session = opened(client)
    client.post(at(f"/sessions/{session}/draw"), json={"notes": [[0.5, 60, 3.0, 90]]})
    assert np.abs(sound(client, session, 1, 2)).max() < 1e-3
    for start, stop in ((2, 2), (3, 1), (0, 61)):
        refused = client.get(at(f"/sessions/{session}/sound"), params={"from": start, "to": stop})
        assert refused.status_code == 400


# What it bears


def test_controls_that_are_changed_wildly_are_each_answered_and_it_plays_on(client: TestClient) -> None:
    session = opened(client)
    played(client, session, 6)

    def change(number: int) -> int:
        controls = {
            "temperature": number % 11 / 5,
            "top_k": number % 7,
            "top_p": 0.1 + number % 10 / 11,
            "repeats": number % 3,
        }
        return client.patch(at(f"/sessions/{session}"), json={"at": 5.0, "controls": controls}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(change, range(200))) == {200}
    assert len(desk(client).sessions.get(session).takes()) <= 2
    notes = played(client, session, 9)
    assert notes[-1][0] > 8 and client.get(at(f"/sessions/{session}")).json()["take"] == 200


def test_a_clock_that_jumps_decides_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(client)
    played(client, session, 4)
    for now in (4e9, 0.0, -1e9):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert client.get(at(f"/sessions/{session}")).status_code == 200
        kept = client.post(at(f"/sessions/{session}/keep"), json={"until": 3.0}).json()["id"]
        assert client.get(at(f"/kept/{kept}")).json()["made"] == now
        client.delete(at(f"/kept/{kept}"))


def after_vanishing(studio: Path) -> list[tuple[int, int, float]]:
    """Threads, file descriptors and megabytes of this process, three times as sessions are played briefly and left."""
    listening = listen("127.0.0.1", 0)
    app = create(studio, Door(*listening.getsockname()), warm=False)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    sessions, base = app.state.desk.sessions, "http://{}:{}".format(*listening.getsockname())

    def play(count: int) -> tuple[int, int, float]:
        for number in range(count):
            with httpx.Client(base_url=base, timeout=60) as one:
                made = one.post(at("/sessions"), json={"model": "one", "seed": number}).json()["id"]
                with one.stream("GET", at(f"/sessions/{made}/stream")) as stream:
                    next(stream.iter_lines())
            for session in list(sessions.open.values()):
                session.used -= 3600  # as if ten minutes had gone by
            sessions.sweep()
        while server.server_state.connections or server.server_state.tasks:
            time.sleep(0.05)
        assert not sessions.open
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), resident

    found = [play(20), play(90), play(90)]
    server.should_exit = True
    thread.join()
    listening.close()
    return found


@pytest.mark.slow
def test_clients_that_vanish_leave_nothing_behind(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "runs" / "one", tmp_path / "runs" / "one")
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        began, middle, end = alone.submit(after_vanishing, tmp_path).result()
    assert end[0] <= began[0] + 2 and end[1] <= began[1]
    assert end[2] < 1.05 * middle[2]


# What is kept


def test_what_was_played_is_kept_and_can_be_made_again(client: TestClient, folder: Path, tmp_path: Path) -> None:
    session = opened(client, controls={"temperature": 1.1}, prompt=[[0.3, 70, 0.4, 80]])
    assert client.post(at(f"/sessions/{session}/keep"), json={}).status_code == 409
    played(client, session, 6)
    client.patch(at(f"/sessions/{session}"), json={"at": 3.0})
    heard = [note for note in played(client, session, 12) if note[0] < 9]
    kept = client.post(at(f"/sessions/{session}/keep"), json={"name": "../Ärger", "until": 9.0}).json()["id"]
    found = client.get(at(f"/kept/{kept}")).json()
    assert [note[:2] for note in found["notes"]] == [note[:2] for note in heard]
    assert found["name"] == "../Ärger" and re.fullmatch("rger-[0-9a-f]{6}", kept)
    [listed] = client.get(at("/kept")).json()
    assert (listed["notes"], listed["model"], listed["seed"]) == (len(heard), "one", 3)
    record = folder / "kept" / kept / "piece.json"
    cadenza_again = [sys.executable, "-m", "cadenza", "generate", "--again", str(record), "--out", str(tmp_path)]
    subprocess.run(cadenza_again, check=True, capture_output=True)
    assert (tmp_path / "piece.mid").read_bytes() == client.get(at(f"/kept/{kept}/file.mid")).content

    def judged() -> dict[str, Any]:
        return dict(client.get(at(f"/kept/{kept}")).json())

    deadline = time.monotonic() + 60
    while judged()["originality"] is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert judged()["originality"]["verdict"].endswith(".")
    sounding, rate = soundfile.read(io.BytesIO(client.get(at(f"/kept/{kept}/file.wav")).content))
    assert len(sounding) / rate > 8
    first, again = (client.get(at(f"/kept/{kept}/file.mp3")).content for _ in range(2))
    assert first == again == (folder / "kept" / kept / "piece.mp3").read_bytes()
    assert client.delete(at(f"/kept/{kept}")).status_code == 204
    assert client.get(at(f"/kept/{kept}")).status_code == 404


def test_what_was_heard_can_be_kept_right_after_steering_or_undoing(client: TestClient, folder: Path) -> None:
    session = opened(client)
    played(client, session, 8)
    client.patch(at(f"/sessions/{session}"), json={"at": 7.0, "controls": {"temperature": 1.2}})
    played(client, session, 12)
    for path, time_heard, until in (("", 10.0, 10.5), ("/undo", 6.0, 6.1), ("/undo", 6.0, 3.0)):
        send = client.post if path else client.patch
        assert send(at(f"/sessions/{session}{path}"), json={"at": time_heard}).status_code == 200
        heard = [note for note in client.get(at(f"/sessions/{session}")).json()["notes"] if note[0] < until]
        answer = client.post(at(f"/sessions/{session}/keep"), json={"until": until})
        assert answer.status_code == 201, answer.text
        kept = client.get(at(f"/kept/{answer.json()['id']}")).json()["notes"]
        assert [note[:2] for note in kept] == [note[:2] for note in heard] and heard
        client.delete(at(f"/kept/{answer.json()['id']}"))
    client.post(at(f"/sessions/{session}/draw"), json={"notes": heard})
    refused = client.post(at(f"/sessions/{session}/keep"), json={})
    assert refused.status_code == 409 and "play first" in refused.json()["detail"]


def test_a_download_ends_where_listening_did(client: TestClient, tmp_path: Path) -> None:
    session = opened(client)
    notes = played(client, session, 12)
    for until in (4.0, 9.0):
        path = tmp_path / f"{until}.mid"
        path.write_bytes(client.get(at(f"/sessions/{session}/file.mid"), params={"until": until}).content)
        written = cadenza.midi.read(path, cadenza.settings.MidiSettings(), "seconds")
        assert len(written) == len([note for note in notes if note[0] < until])
    assert client.get(at(f"/sessions/{session}/file.mid"), params={"until": 0}).status_code == 409


def test_a_verdict_that_cannot_be_written_is_shown_all_the_same(client: TestClient, folder: Path) -> None:
    session = opened(client)
    played(client, session, 6)
    with desk(client).keepsakes.one_at_a_time:
        kept = client.post(at(f"/sessions/{session}/keep"), json={}).json()["id"]
        blocked = folder / "kept" / kept / VERDICT / "in the way"
        blocked.mkdir(parents=True)
    deadline = time.monotonic() + 60
    while (found := client.get(at(f"/kept/{kept}")).json()["originality"]) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found["verdict"].endswith(".") and blocked.is_dir()
    client.delete(at(f"/kept/{kept}"))


# Uploads


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_findings_that_cannot_be_written_are_said_and_the_uploads_stay(
    client: TestClient, smf: Midi, folder: Path
) -> None:
    with desk(client).music.one_at_a_time:
        music = client.post(at("/music"), files=[("files", ("good.mid", smf.piece(20)))]).json()["id"]
        (folder / "music" / music / FINDINGS / "in the way").mkdir(parents=True)
    deadline = time.monotonic() + 60
    while (found := client.get(at(f"/music/{music}")).json())["state"] == "reading":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found["state"] == "failed" and "cannot write it" in found["error"]
    assert found["error"].endswith("start the studio again.")
    assert list((folder / "music" / music / INCOMING).iterdir())
    shutil.rmtree(folder / "music" / music / FINDINGS)
    again = Desk(Studio(folder))
    again.music.begin()
    until_ready(lambda: again.music.view(again.music.folder(music)), "ready")
    client.delete(at(f"/music/{music}"))


def test_every_uploaded_file_is_read_or_said_why_not(client: TestClient, smf: Midi, folder: Path) -> None:
    bomb = zipped({f"{number}.mid": bytes(26 << 20) for number in range(20)})
    files = [
        ("good.mid", smf.piece(20)), ("deep/er/good.mid", smf.piece(21)), ("words.mid", b"these are words"),
        ("$(rm -rf ~).mid", smf.piece(22)), ("../../x", b"?"), ("empty.mid", b""), ("bomb.zip", bomb),
        ("more.zip", zipped({"../../evil.mid": smf.piece(23), "readme.txt": b"hello"})), ("broken.tar.gz", b"\x1f\x8b.."),
    ]  # fmt: skip
    answer = client.post(at("/music"), files=[("files", file) for file in files], data={"name": "Été"})
    assert answer.status_code == 202, answer.text
    music = answer.json()["id"]
    found = until_ready(lambda: client.get(at(f"/music/{music}")).json(), "ready")
    verdicts = {one["file"]: one for one in found["findings"]}
    kept = {name for name, one in verdicts.items() if one["verdict"] == "kept"}
    assert kept == {"good.mid", "good (2).mid", "$(rm -rf ~).mid", "more.zip/../../evil.mid"}
    for name, words in (
        ("words.mid", "not a MIDI file"), ("x", "not a music file"), ("empty.mid", "empty"), ("bomb.zip", "unpacks to more"),
        ("broken.tar.gz", "damaged"),
    ):  # fmt: skip
        assert words in verdicts[name]["reason"]
    assert (found["name"], found["kept"], found["notes"]) == ("Été", 4, 240)
    notes = client.get(at(f"/music/{music}/notes"), params={"file": "$(rm -rf ~).mid"}).json()
    assert len(notes["notes"]) == 60 and notes["seconds"] > 10
    sounding = client.get(at(f"/music/{music}/sound"), params={"file": "$(rm -rf ~).mid"})
    assert sounding.status_code == 200, sounding.text
    samples, _ = soundfile.read(io.BytesIO(sounding.content))
    assert len(samples) > 10 * 48_000 and np.abs(samples).max() > 0.01
    for what in ("notes", "sound"):
        assert client.get(at(f"/music/{music}/{what}"), params={"file": "../one/config.toml"}).status_code == 404
    inside = {path.name for path in (folder / "music" / music).rglob("*")}
    assert inside == {"music.json", "findings.json", "t.zip"}
    assert client.delete(at(f"/music/{music}")).status_code == 204
    assert not (folder / "music" / music).exists()


def test_what_is_too_much_is_refused_while_it_comes_in(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted((folder / "music").iterdir())
    large = [("files", ("large.mid", bytes(65 << 20)))]
    answer = client.post(at("/music"), files=large)
    assert answer.status_code == 413 and "large.mid" in answer.json()["detail"]
    many = [("files", (f"{number}.mid", b"")) for number in range(10_001)]
    assert client.post(at("/music"), files=many).status_code == 413
    claimed = {"content-type": "multipart/form-data; boundary=x", "content-length": str(501 << 20)}
    assert client.post(at("/music"), content=b"", headers=claimed).status_code == 413
    assert sorted((folder / "music").iterdir()) == before


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"x", "text/plain", 415),
        (b"x", "multipart/form-data", 400),
        (b"junk", "multipart/form-data; boundary=b", 400),
        (b"--b\r\n", "multipart/form-data; boundary=b", 400),
        (b'--b\r\ncontent-disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n', "multipart/form-data; boundary=b", 400),
    ],
)  # fmt: skip
def test_what_is_no_form_with_files_is_one_sentence(client: TestClient, content: bytes, kind: str, status: int) -> None:
    answer = client.post(at("/music"), content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["detail"].endswith(".")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [(b"..", "file without a name"), (b"a\r\nb.mid", "a\\r\\nb.mid"), (b"\xff.mid", "�.mid"), (b"x" * 900, "x" * 192 + "…" + "x" * 7)],
)  # fmt: skip
def test_a_name_is_one_line_of_bearable_length(raw: bytes, shown: str) -> None:
    assert shown_name(raw) == shown


# Runs


def test_a_run_made_elsewhere_is_shown_with_its_figures(client: TestClient) -> None:
    run = client.get(at("/runs/one")).json()
    assert (run["state"], run["step"], run["steps"], run["playable"], run["report"]) == ("done", 8, 8, True, True)
    assert len(run["losses"]) == 8 and run["curve"][-1]["step"] == 8
    assert run["verdict"].endswith(".") and run["bits_per_note"] > 0
    report = client.get(at("/runs/one/report"))
    assert "sandbox" in report.headers["content-security-policy"] and "<html" in report.text
    events = client.get(at("/runs/one/events")).text
    assert json.loads(events.removeprefix("event: run\ndata: ")) == run


def test_a_damaged_run_or_model_is_words(client: TestClient, folder: Path) -> None:
    for name, files in {
        "older": {"model.safetensors": b"\x80\x04junk"},
        "Größer als": {"config.toml": b"[midi]\nx = 1"},
        "half": {"config.toml": b"", "log.jsonl": b"{", "manifest.jsonl": b"?", "metrics.json": b"["},
    }.items():
        (folder / "runs" / name).mkdir()
        for file, data in files.items():
            (folder / "runs" / name / file).write_bytes(data)
    for run in client.get(at("/runs")).json():
        whole = client.get(at(f"/runs/{run['id']}"))
        assert whole.status_code == 200
        assert run["id"] == "one" or (whole.json()["error"].endswith(".") and not run["playable"])
    assert [model["id"] for model in client.get(at("/models")).json()] == ["one"]
    assert "pickle" in client.post(at("/sessions"), json={"model": "older"}).json()["detail"]
    assert client.post(at("/sessions"), json={"model": "half"}).status_code == 404
    for run in client.get(at("/runs")).json():
        if run["id"] != "one":
            assert client.delete(at(f"/runs/{run['id']}")).status_code == 204
    assert [path.name for path in (folder / "runs").iterdir()] == ["one"]


def test_runs_are_compared_as_data(client: TestClient, folder: Path) -> None:
    refused = client.get(at("/compare"), params={"runs": "one,two"})
    assert refused.status_code == 404
    alone = client.get(at("/compare"), params={"runs": "one,one"})
    assert alone.status_code == 422 and "two or more" in alone.json()["detail"]


def test_a_full_queue_is_refused_and_waiting_can_be_ended(client: TestClient, tmp_path: Path) -> None:
    here = Desk(Studio(tmp_path))  # its queue is not worked off
    here.studio.begin()
    trainings, archive = here.trainings, tmp_path / "music" / "m-1" / "m.zip"
    trainings.running = "busy"
    asked = NewRun(music="m", preset="tiny", minutes=1, name="Wait")
    ids = [trainings.add(asked, archive) for _ in range(4)]
    with pytest.raises(Trouble, match="wait already") as full:
        trainings.add(asked, archive)
    assert full.value.status == 429
    assert {run["state"] for run in here.runs.listed()} == {"waiting"}
    with pytest.raises(Trouble, match="stop it first"):
        trainings.remove(ids[0])
    trainings.stop(ids[0])
    assert here.runs.whole(ids[0])["state"] == "stopped"
    trainings.resume(ids[0])
    again = Desk(Studio(tmp_path)).trainings
    again.work = lambda: None  # type: ignore[method-assign]
    again.begin()
    assert again.waiting == [*ids[1:], ids[0]]
    for each in ids:
        trainings.stop(each)
        trainings.remove(each)
    assert not here.runs.listed()


# Whom it refuses


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {"host": "evil.example"}, 421),
        ("GET", "/api/v1/models", {"host": "testserver:81"}, 421),
        ("GET", "/api/v1/models", {"host": "localhost"}, 200),
        ("GET", "/api/v1/models", {"origin": "http://evil.example"}, 200),
        ("POST", "/api/v1/sessions", {"origin": "http://evil.example"}, 403),
        ("POST", "/api/v1/sessions", {"origin": "null"}, 403),
        ("POST", "/api/v1/sessions", {"sec-fetch-site": "cross-site"}, 403),
        ("DELETE", "/api/v1/runs/one", {"origin": "https://testserver"}, 403),
        ("POST", "/api/v1/sessions", {"origin": "http://testserver"}, 422),
        ("GET", "/api/v1/nothing", {}, 404),
        ("PUT", "/api/v1/sessions", {}, 405),
        ("GET", "/static/../app.py", {}, 404),
        ("GET", "/static/%2e%2e/app.py", {}, 404),
        ("GET", "/api/v1/runs/..%2f..%2fetc", {}, 404),
        ("GET", "/api/v1/runs/%2e%2e", {}, 422),
        ("GET", "/api/v1/runs/UPPER", {}, 422),
    ],
)
def test_only_the_studios_own_page_is_answered(
    client: TestClient, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    body: dict[str, Any] = {"json": {}} if method in ("POST", "PUT") else {}
    answer = client.request(method, path, headers=headers, **body)
    assert answer.status_code == status
    assert status == 200 or answer.json()["detail"].endswith(".")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_beyond_this_machine_a_token_is_demanded(tmp_path: Path) -> None:
    app = create(tmp_path, Door("0.0.0.0", 7878, "secret"), warm=False)
    client = TestClient(app, base_url="http://192.168.0.9:7878", follow_redirects=False)
    assert client.get("/").status_code == client.get(at("/models")).status_code == 403
    assert client.get("/?token=guess").status_code == 403
    entered = client.get("/?token=secret")
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert "HttpOnly" in entered.headers["set-cookie"] and "SameSite=Strict" in entered.headers["set-cookie"]
    assert client.get(at("/models")).status_code == 200


def test_a_fault_of_ours_is_one_sentence_without_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create(tmp_path, Door("testserver", 80), warm=False)
    monkeypatch.setattr(app.state.desk.players, "listed", lambda: 1 / 0)
    answer = TestClient(app, raise_server_exceptions=False).get(at("/models"))
    assert answer.status_code == 500
    assert "division" not in answer.text and answer.json()["detail"].endswith(".")
    assert "default-src" in answer.headers["content-security-policy"]


def test_the_schema_is_kept_to_whatever_comes(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "runs" / "one", tmp_path / "runs" / "one")
    app = create(tmp_path, Door("testserver", 80), warm=False)
    app.state.desk.errands.over = True  # what is uploaded here need not be read
    schema = schemathesis.openapi.from_asgi(at("/openapi.json"), app).exclude(path_regex="(stream|events)$")
    session = Session("one", app.state.desk.players.get("one"), 0, {})
    app.state.desk.sessions.add(session)
    operations: list[Any] = [operation.ok() for operation in schema.get_all_operations()]  # type: ignore[union-attr]
    assert len(operations) > 25
    for operation in operations:
        takes = bool(operation.body or operation.path_parameters or operation.query)
        for mode in GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if takes else []):
            keep_to(operation, mode, None)
        if "/sessions/{id}" in operation.path and operation.method != "delete":
            keep_to(operation, GenerationMode.POSITIVE, session.id)


def keep_to(operation: Any, mode: GenerationMode, session: str | None) -> None:
    """Some requests of a kind; with a session of which there is one, what means nothing to it may be refused.

    In a form all is text, so nothing there has the wrong type.
    """
    names = ["positive_data_acceptance"] if session else []
    names += ["negative_data_rejection"] if operation.path.endswith("/music") else []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
        phases=[Phase.generate],
    )
    def one(case: Any) -> None:
        if session:
            case.path_parameters["id"] = session
        case.call_and_validate(excluded_checks=CHECKS.get_by_names(names) if names else None)

    one()


# A server of its own


class Server:
    """A studio in a process, as the command line begins it."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "cadenza", "studio", "--folder", str(folder), "--port", "0", "--no-open"]
        env = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT)
        assert self.process.stdout is not None
        found = re.search(r"http://[^/ ]+/", self.process.stdout.readline())
        assert found is not None
        self.client = httpx.Client(base_url=found[0], timeout=60)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                self.client.get("/api/v1/models")
                return
            except httpx.TransportError:
                time.sleep(0.1)

    def run(self, id: str) -> dict[str, Any]:  # noqa: A002
        return dict(self.client.get(at(f"/runs/{id}")).json())

    def end(self, number: int = signal.SIGINT) -> int:
        self.client.close()
        self.process.send_signal(number)
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def test_a_training_outlives_its_server_and_goes_on(tmp_path: Path, smf: Midi) -> None:
    server = Server(tmp_path)
    files = [("files", (f"{seed}.mid", smf.piece(seed))) for seed in range(12)]
    music = server.client.post(at("/music"), files=files).json()["id"]
    until_ready(lambda: dict(server.client.get(at(f"/music/{music}")).json()), "ready")
    asked = {"music": music, "preset": "tiny", "minutes": 1, "name": "Over night"}
    run = server.client.post(at("/runs"), json=asked).json()["id"]
    until_ready(lambda: server.run(run), "training")
    deadline = time.monotonic() + 60
    while not server.run(run)["samples"] and time.monotonic() < deadline:
        time.sleep(0.2)
    reached = server.run(run)
    step = reached["samples"][0]["step"]
    assert len(server.client.get(at(f"/runs/{run}/samples/{step}")).json()["notes"]) > 3
    assert reached["losses"] and reached["curve"] and reached["notes_per_second"] > 0
    assert server.client.delete(at(f"/runs/{run}")).status_code == 409
    server.end(signal.SIGKILL)

    server = Server(tmp_path)
    try:
        again = server.run(run)
        assert again["state"] == "stopped" and again["step"] >= reached["step"] and again["curve"]
        assert server.client.post(at(f"/runs/{run}/resume")).status_code == 202
        until_ready(lambda: server.run(run), "training")
        assert server.run(run)["step"] >= step
        assert server.client.post(at(f"/runs/{run}/stop")).status_code == 202
        assert until_ready(lambda: server.run(run), "stopped")["playable"]
    finally:
        assert server.end() == 0


def test_rows_in_seconds_are_those_of_the_notes() -> None:
    piece = cadenza.notes.Notes.of([0, 50], [60, 62], [25, 50], [80, 81])
    assert rows_of(piece) == [(0.0, 60, 0.25, 80), (0.5, 62, 0.5, 81)]
