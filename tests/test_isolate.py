import os
import time
from collections.abc import Sequence

import pytest

from cadenza.corpus.isolate import Casualty, isolated_map

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
    return number * number


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
            assert found[number] == Casualty(f"it crashed the reader, or kept it busy for over {HANG_SECONDS:g} s")
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
    with pytest.raises(Exception, match="un-serialize"):
        list(isolated_map(take, [1, Unreadable(), 3], 2, HANG_SECONDS))
