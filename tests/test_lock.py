"""One process at a time works in a folder, and a dead one is in nobody's way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cadenza import CadenzaError, lock
from cadenza.lock import RUN_LOCK, held

HOLD = "import sys, pathlib; from cadenza.lock import held\nwith held(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its input ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=-1, stdout=-1, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_by_the_number_of_the_first(tmp_path: Path) -> None:
    with holder(tmp_path / RUN_LOCK) as first:
        with (
            pytest.raises(CadenzaError, match=rf"another process \(number {first.pid}\) works here; wait"),
            held(tmp_path / RUN_LOCK),
        ):
            pass
        first.communicate("")
    with held(tmp_path / RUN_LOCK):
        assert (tmp_path / RUN_LOCK).read_text() == f"{os.getpid()}\n"


def test_the_lock_of_a_killed_process_is_not_in_the_way(tmp_path: Path) -> None:
    with holder(tmp_path / RUN_LOCK) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
    with held(tmp_path / RUN_LOCK):
        assert (tmp_path / RUN_LOCK).read_text() == f"{os.getpid()}\n" != f"{first.pid}\n"


def test_the_lock_ends_with_its_block_whatever_happened(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(tmp_path / RUN_LOCK):
        _ = 1 / 0
    with held(tmp_path / RUN_LOCK):
        pass


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CadenzaError, match=r"file: cannot write here"), held(tmp_path / "file" / RUN_LOCK):
        pass


def test_a_folder_in_which_nothing_was_made_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("mine", "new"):
        with held(tmp_path / name / RUN_LOCK):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_who_is_refused_leaves_the_lock_of_the_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the folder did not exist yet when the refused one looked."""
    path = tmp_path / "new" / RUN_LOCK
    with held(path):
        monkeypatch.setattr("cadenza.lock.opened", lambda path: (os.open(path, os.O_RDWR), [path.parent]))
        with pytest.raises(CadenzaError, match="another process"), held(path):
            pass
        assert path.exists()


def test_a_lock_that_was_removed_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opened it just before its holder removed it must not hold what nobody else sees."""
    path, real = tmp_path / "new" / RUN_LOCK, lock.opened

    def late(path: Path) -> tuple[int, list[Path]]:
        monkeypatch.setattr("cadenza.lock.opened", real)
        found = real(path)
        path.unlink()
        return found

    monkeypatch.setattr("cadenza.lock.opened", late)
    with held(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_folder_that_is_deleted_meanwhile_hides_no_error(tmp_path: Path) -> None:
    def work() -> None:
        with held(tmp_path / "new" / RUN_LOCK):
            shutil.rmtree(tmp_path / "new")
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        work()


def test_a_name_that_is_too_long_is_said(tmp_path: Path) -> None:
    with pytest.raises(CadenzaError, match="too long"), held(tmp_path / ("a" * 300) / RUN_LOCK):
        pass
