"""The studio's folder and its work beside the server: whatever breaks off, nothing is lost, left behind or taken twice."""

from __future__ import annotations

import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cadenza.web.desk import Desk
from cadenza.web.folder import Studio, read_json, write_json
from cadenza.web.problems import Trouble
from cadenza.web.uploads import Form
from cadenza.web.wire import NewRun
from conftest import Midi


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def eventually(look: Callable[[], Any], seconds: float = 240) -> Any:
    """What `look` finds, once it is something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, look
        time.sleep(0.02)
    return found


def uploaded(here: Desk, files: dict[str, bytes]) -> Path:
    """Music whose files have come in and begin to be read."""
    received = here.music.incoming("music")
    form = Form(received / "incoming", name="Mine")
    for number, (name, data) in enumerate(files.items()):
        stored = f"{number:07d}{Path(name).suffix}"
        (form.folder / stored).write_bytes(data)
        form.names[stored] = name
    return here.music.folder(here.music.add(received, form))


def state(folder: Path) -> str:
    return str(read_json(folder / "music.json").get("state"))


ASKED = NewRun(music="m", preset="tiny", minutes=1, name="Night")


def archive(here: Desk, smf: Midi) -> Path:
    """Music to train on."""
    with zipfile.ZipFile(here.studio.folder / "music.zip", "w") as out:
        for seed in range(12):
            out.writestr(f"{seed}.mid", smf.piece(seed))
    return here.studio.folder / "music.zip"


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Desk]:
    """A studio whose trainings are worked off."""
    found = Desk(Studio(tmp_path))
    found.begin()
    yield found
    found.end()


@pytest.fixture
def here(tmp_path: Path) -> Desk:
    """A studio whose trainings are not begun."""
    found = Desk(Studio(tmp_path))
    found.trainings.work = lambda: None  # type: ignore[method-assign]
    found.begin()
    return found


# Music


def test_beginning_leaves_alone_what_is_not_the_studios_own(tmp_path: Path, here: Desk) -> None:
    for name, data in {
        "music/bach/bwv1.mid": b"MThd", "music/bach/incoming/x.mid": b"1", "music/unpacked-1/x.mid": b"2",
        "music/empty.json": b"", "music/other/music.json": b"[1]", "music/other/incoming/y": b"3", "runs/notes.txt": b"4",
        "kept/letters/a.txt": b"5", "music/.hidden/x": b"6", "readme.txt": b"7",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    before = contents(tmp_path)
    Desk(Studio(tmp_path)).music.begin()
    assert contents(tmp_path) == before


def test_uploads_stay_until_their_findings_are_written(here: Desk, smf: Midi, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []

    def watched(path: Path, value: dict[str, Any]) -> None:
        if path.parent.parent == here.studio.music:
            kept.append((path.parent / "incoming" / "0000000.mid").exists())
        write_json(path, value)

    monkeypatch.setattr("cadenza.web.music.write_json", watched)
    folder = uploaded(here, {"a.mid": smf.piece(1)})
    eventually(lambda: state(folder) == "ready")
    eventually(lambda: set(contents(folder)) == {"music.json", "findings.json", "mine.zip"})
    assert kept == [True] * 3


def test_a_reading_that_died_with_its_server_is_done_again(here: Desk, smf: Midi) -> None:
    files = {f"{seed}.mid": smf.piece(seed) for seed in range(20)}
    folder = uploaded(here, files)
    eventually(lambda: list(folder.glob("unpacked-*")))
    here.end()
    assert state(folder) == "reading" and list(folder.glob("unpacked-*"))
    again = Desk(here.studio)
    again.music.begin()
    eventually(lambda: state(folder) == "ready")
    assert again.music.view(folder)["kept"] == 20
    eventually(lambda: set(contents(folder)) == {"music.json", "findings.json", "mine.zip"})
    assert not list(folder.glob("unpacked-*"))


def test_ending_leaves_no_process_and_no_thread_that_broke(here: Desk, smf: Midi) -> None:
    folders = [uploaded(here, {"a.mid": smf.piece(seed)}) for seed in range(2)]
    [process] = eventually(lambda: list(here.errands.out))
    here.end()
    eventually(lambda: not here.errands.out)
    with here.music.one_at_a_time:
        assert process.returncode is not None and [state(each) for each in folders] == ["reading"] * 2


def test_what_had_not_come_in_whole_is_gone_after_the_next_beginning(here: Desk) -> None:
    received = here.music.incoming("music")
    (received / "incoming" / "0000000.mid").write_bytes(b"MThd")
    assert not here.music.listed()
    Desk(here.studio).music.begin()
    assert not list(here.studio.music.iterdir())


def test_what_is_deleted_while_it_is_read_does_not_come_back(here: Desk, smf: Midi) -> None:
    folder = uploaded(here, {"a.mid": smf.piece(1)})
    here.music.remove(folder.name)
    with here.music.one_at_a_time:
        assert not folder.exists()


# Trainings


def failed(here: Desk, run: str) -> bool:
    return bool(here.runs.whole(run)["state"] == "failed")


def test_a_training_that_cannot_be_begun_does_not_stop_the_queue(tmp_path: Path) -> None:
    write_json(tmp_path / "jobs" / "damaged" / "job.json", {"state": "waiting"})
    write_json(tmp_path / "jobs" / "later" / "job.json", {"state": "waiting", "turn": 7})
    here = Desk(Studio(tmp_path))
    here.begin()
    for each in ("damaged", "later"):
        eventually(partial(failed, here, each))
        assert "could not be begun" in here.runs.whole(each)["error"]
    here.end()


def test_the_queue_keeps_its_order_whatever_the_clock_says(here: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for now in (2e9, 1e9, 3e9, 0.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        ids.append(here.trainings.add(ASKED, Path("m.zip")))
    again = Desk(here.studio)
    again.trainings.work = lambda: None  # type: ignore[method-assign]
    again.trainings.begin()
    assert again.trainings.waiting == ids
    last = ids.pop(0)
    again.trainings.stop(last)
    again.trainings.resume(last)
    assert again.trainings.waiting == [*ids, last]


def test_a_run_that_is_resumed_by_many_at_once_waits_once(here: Desk) -> None:
    run = here.trainings.add(ASKED, Path("m.zip"))
    here.trainings.stop(run)

    def resume(_: int) -> int:
        try:
            here.trainings.resume(run)
        except Trouble as trouble:
            return trouble.status
        return 202

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(resume, range(16))) == [202, *[409] * 15]
    assert here.trainings.waiting == [run]


@pytest.mark.slow
def test_stopping_at_once_and_twice_is_stopped_and_it_is_resumed_at_once(working: Desk, smf: Midi) -> None:
    """Also where a shell script began the studio in its background, and has interrupts ignored."""
    trainings, source = working.trainings, archive(working, smf)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    run = trainings.add(ASKED, source)

    def state() -> str:
        return str(working.runs.whole(run)["state"])

    eventually(lambda: trainings.process is not None)
    signal.signal(signal.SIGINT, before)
    trainings.stop(run)
    trainings.stop(run)
    eventually(lambda: state() == "stopped")
    trainings.resume(run)
    assert state() in ("waiting", "preparing")
    eventually(lambda: state() == "training")
    trainings.stop(run)
    with pytest.raises(Trouble, match="stop it first"):
        trainings.remove(run)
    trainings.stop(run)
    assert eventually(lambda: state() == "stopped")
    whole = working.runs.whole(run)
    assert (whole["error"], whole["playable"]) == ("", True)
    trainings.remove(run)
    assert not working.runs.listed()
