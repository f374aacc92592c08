import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cadenza.corpus.isolate import Casualty, isolated_map, run_alone
from cadenza.corpus.worker import SPARE_BYTES, work_into
from cadenza.errors import CadenzaError

HANG_SECONDS = 1.5

Task = tuple[str, int]


def carry_out(task: Task) -> int:
    """Worker: the square of a number, or what the word says."""
    word, number = task
    match word:
        case "abort":
            os.abort()
        case "exit":
            os._exit(3)
        case "hang":
            time.sleep(600)
        case "fill":
            bytearray(2 * SPARE_BYTES)
    return number * number


def much(size: int) -> bytes:
    """Worker: so many bytes."""
    return bytes(size)


def killed_meanwhile(size: int) -> bytes:
    """Worker: as `much`, but it will be killed while it hands over what is large."""
    if size > 1000:
        threading.Timer(0.2, os.kill, (os.getpid(), 9)).start()
    return bytes(size)


class Unreadable:
    """Cannot be unpickled, so that no worker ever begins with it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.strerror, ("no number",)


def take(item: object) -> object:
    return item


def results(words: Sequence[str], workers: int = 2) -> dict[int, int | Casualty]:
    tasks = [(word, number) for number, word in enumerate(words)]
    pairs = list(isolated_map(carry_out, tasks, workers, HANG_SECONDS))
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def check(found: dict[int, int | Casualty], words: Sequence[str]) -> None:
    """Every good item has its result, and only the others are casualties."""
    assert sorted(found) == list(range(len(words)))
    for number, word in enumerate(words):
        if word:
            assert found[number] == Casualty.after(HANG_SECONDS)
        else:
            assert found[number] == number * number


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_item_has_one_result(workers: int) -> None:
    words = [""] * 100
    check(results(words, workers), words)


def test_no_items_have_no_results() -> None:
    assert results([]) == {}


@pytest.mark.parametrize(("fault", "place"), [("abort", 0), ("exit", 60), ("hang", 31)])
def test_only_the_item_that_ends_its_worker_is_lost(fault: str, place: int) -> None:
    words = [""] * 60
    words.insert(place, fault)
    check(results(words), words)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process so")
def test_an_item_that_wants_too_much_memory_is_lost_without_its_worker() -> None:
    words = [""] * 40
    words[11] = words[12] = "fill"
    found = results(words)
    assert {place for place, one in found.items() if isinstance(one, Casualty)} == {11, 12}
    assert found[11] == Casualty("it takes more than 1 GiB of memory to read")


def test_several_faults_among_good_items_lose_only_themselves() -> None:
    words = [""] * 63
    words[7], words[30], words[52] = "abort", "hang", "exit"
    check(results(words, 3), words)


def test_two_faults_side_by_side_lose_only_themselves() -> None:
    words = [""] * 62
    words[20], words[21] = "abort", "exit"
    check(results(words), words)


def test_an_item_alone_may_fail() -> None:
    check(results(["abort"]), ["abort"])


def test_nothing_but_faults_are_all_lost() -> None:
    words = ["abort", "exit", "abort", "exit", "abort"]
    check(results(words), words)


def test_what_no_worker_can_begin_with_ends_the_run() -> None:
    with pytest.raises(CadenzaError, match=r"end before they begin \(.*un-serialize"):
        list(isolated_map(take, [1, Unreadable(), 3], 2, HANG_SECONDS))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process so")
def test_what_other_items_hold_is_not_counted_against_one() -> None:
    """Their results wait in the worker until its batch is done."""
    found = dict(isolated_map(much, [SPARE_BYTES // 8] * 12, 2, 20))
    assert {len(one) if isinstance(one, bytes) else one for one in found.values()} == {SPARE_BYTES // 8}


def test_a_worker_that_is_killed_while_it_hands_over_a_result_is_not_waited_for() -> None:
    sizes = [0] * 40 + [SPARE_BYTES // 5] + [0] * 40
    found = dict(isolated_map(killed_meanwhile, sizes, 2, HANG_SECONDS))
    assert found.pop(40) in (Casualty.after(HANG_SECONDS), bytes(sizes[40]))  # the kill may come too late
    assert found == {place: b"" for place in range(81) if place != 40}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process so")
def test_memory_can_be_left_unbounded() -> None:
    found = run_alone(carry_out, ("fill", 7), 60, spare=None)
    assert found == 49


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_results_for_which_there_is_no_room_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "0").symlink_to("/dev/full")
    with pytest.raises(CadenzaError, match=r"cannot work there .No space left on device.; free space, or set TMPDIR"):
        work_into(tmp_path / "0", much, [(0, 10_000)], 20)


def test_no_place_for_temporary_files_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(CadenzaError, match=r"gone: cannot work there \(No such file .* TMPDIR"):
        results([""])
