"""A manifest's lines as entries, and what of them is held."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from cadenza.corpus.entries import Entry
from cadenza.errors import CadenzaError
from cadenza.runs.manifest import Manifest
from conftest import PEAK_KIB

ENTRIES = [
    Entry("a.mid", "0a", notes=3, work=0, split="train", fold=1),
    Entry("b.mid", "0b", reason="b.mid: empty."),
    Entry("Ü.mid", "0c", notes=5, work=1, split="validation"),
    Entry("c.mid", "0d", notes=7, work=0, split="train", fold=0),
]


def written(path: Path, entries: list[Entry]) -> Path:
    path.write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in entries), encoding="utf-8")
    return path


def test_lines_are_entries_and_their_columns(tmp_path: Path) -> None:
    manifest = Manifest.read(written(tmp_path / "manifest.jsonl", ENTRIES))
    assert list(manifest) == ENTRIES and manifest == ENTRIES and manifest[2] == ENTRIES[2]
    assert manifest[1:3] == ENTRIES[1:3] and manifest[-1] == ENTRIES[-1]
    kept = manifest.where(manifest.kept)
    assert kept == [entry for entry in ENTRIES if not entry.reason]
    assert (kept.work.tolist(), kept.part.tolist(), kept.fold.tolist()) == ([0, 1, 0], [0, 1, 0], [1, -1, 0])
    assert (kept.of("train").tolist(), kept.of("test").tolist(), kept.folds) == ([0, 2], [], 2)
    assert kept.where(kept.of("validation")) == [ENTRIES[2]] and kept.where(np.array([2, 0])) == [
        ENTRIES[3],
        ENTRIES[0],
    ]
    assert manifest != ENTRIES[:3]


def test_a_manifest_that_changes_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path / "manifest.jsonl", ENTRIES)
    assert Manifest.read(path).folds == 2
    written(path, [replace(entry, fold=7 if entry.fold else -1) for entry in ENTRIES])
    assert Manifest.read(path).folds == 8


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"name": "a.mid", "key": 1}', '{"name": "a.mid", "split": "trian"}', '{"name": "a", "work": "x"}',
             '{"name": "a", "work": 1e30}', '{"name": "a", "fold": 200}', "\n", "\x00", "[" * 100_000],
)  # fmt: skip
def test_a_line_that_is_no_entry_is_damage(tmp_path: Path, line: str) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(json.dumps(asdict(ENTRIES[0])) + "\n" + line + "\n")
    with pytest.raises(CadenzaError, match=r"manifest\.jsonl: missing or damaged \("):
        Manifest.read(path)


def test_a_manifest_that_has_gone_since_is_damage(tmp_path: Path) -> None:
    manifest = Manifest.read(path := written(tmp_path / "manifest.jsonl", ENTRIES))
    path.unlink()
    with pytest.raises(CadenzaError, match="missing or damaged"):
        list(manifest)


def test_nobody_can_alter_what_is_shared(tmp_path: Path) -> None:
    manifest = Manifest.read(written(tmp_path / "manifest.jsonl", ENTRIES))
    with pytest.raises(ValueError, match="read-only"):
        manifest.part[0] = 2


def test_an_empty_manifest_has_no_lines(tmp_path: Path) -> None:
    manifest = Manifest.read(written(tmp_path / "manifest.jsonl", []))
    assert (len(manifest), list(manifest), manifest.folds) == (0, [], 0)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux only")
def test_a_manifest_of_many_files_takes_little_memory(tmp_path: Path) -> None:
    count, limit_kib = 50_000, 8_000
    path = written(tmp_path / "manifest.jsonl", [replace(ENTRIES[0], name=f"{n}.mid", work=n) for n in range(count)])
    code = (
        f"import sys; from pathlib import Path; from cadenza.runs.manifest import Manifest; {PEAK_KIB}"
        "before = peak(); found = Manifest.read(Path(sys.argv[1])); print(len(found), peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    lines, kib = map(int, done.stdout.split())
    assert (lines, kib < limit_kib) == (count, True)
