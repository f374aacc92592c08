"""Keys in order, whether they fit into memory or not, and by whichever sort."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cadenza.corpus import sorting
from cadenza.corpus.sorting import PARTS, Sorter
from cadenza.corpus.works import group_works
from cadenza.errors import CadenzaError
from cadenza.notes import Notes


@pytest.fixture(params=[0, 1 << 16], ids=["compiled", "numpy"])
def either_sort(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "MANY", request.param)


@pytest.mark.usefixtures("either_sort")
@pytest.mark.parametrize("held", [0, 3, 1000, 1 << 20])
@pytest.mark.parametrize("bits", [1, 2, 8, 9, 33, 63, 64])
def test_keys_come_out_in_order_and_equal_ones_together(monkeypatch: pytest.MonkeyPatch, bits: int, held: int) -> None:
    monkeypatch.setattr(sorting, "HELD", held)
    rng = np.random.default_rng(bits)
    portions = [rng.integers(0, 2**bits, size, dtype=np.uint64, endpoint=False) for size in (0, 1, 700, 0, 1500, 2)]
    portions.append(portions[2][:100])
    with Sorter(bits) as sorter:
        for portion in portions:
            sorter.add(portion.copy())
        parts = list(sorter)
    np.testing.assert_array_equal(np.concatenate(parts), np.sort(np.concatenate(portions)))
    full = [part for part in parts if len(part)]
    assert all(one[-1] < other[0] for one, other in pairwise(full))
    assert len(parts) == (1 if held > 5000 else PARTS)


@pytest.mark.usefixtures("either_sort")
def test_no_keys_are_no_keys() -> None:
    with Sorter(64) as sorter:
        assert [part.tolist() for part in sorter] == [[]]


def melodies() -> list[Notes]:
    """Eight works, each in four keys."""
    found = []
    for work in range(8):
        steps = np.random.default_rng(work).integers(-4, 5, 80)
        for key in range(4):
            pitch = np.clip(60 + key + np.cumsum(steps), 30, 100)
            found.append(Notes.of(np.arange(80) * 20, pitch, [15] * 80, [80] * 80))
    return found


@pytest.mark.usefixtures("either_sort")
@pytest.mark.parametrize("held", [50, 1 << 20])
def test_works_are_the_same_however_keys_are_sorted(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(sorting, "HELD", held)
    assert group_works(melodies()).tolist() == [work for work in range(8) for _ in range(4)]


def test_a_full_disk_while_keys_are_written_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        """A file on a disk without room."""

        def seek(self, place: int) -> None:
            pass

        def write(self, _: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(sorting, "HELD", 1)
    with Sorter(64) as sorter:
        sorter.file.close()
        sorter.file = Full()  # type: ignore[assignment]
        sorter.add(np.arange(9, dtype=np.uint64))
        with pytest.raises(CadenzaError, match="No space left"):
            list(sorter)


def test_loops_work_where_nothing_is_to_be_compiled() -> None:
    code = (
        "import numpy as np; from cadenza.corpus.radix import by_digits; print(by_digits(np.array([3, 1], np.uint64)))"
    )
    told = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=told)
    assert (done.stdout, done.stderr) == ("[1 3]\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="a file's size is limited by the system's own means")
def test_loops_that_cannot_be_kept_on_disk_work_all_the_same(tmp_path: Path) -> None:
    code = (
        "import resource, signal; import numpy as np; from cadenza.compiling import in_order;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100));"
        "import cadenza.engine.kernels as kernels; loop = in_order(kernels.put.py_func); out = np.zeros(3, np.float32);"
        "loop(np.ones(3, np.float32), out); print(out.sum(), len(loop.stats.cache_misses))"
    )
    empty = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=empty)
    assert (done.stdout, done.stderr) == ("3.0 1\n", "")
