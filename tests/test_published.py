"""Sets that likelihoods are published of: read whole, refused in one sentence, written without looking ahead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from cadenza.errors import CadenzaError

frames = pytest.importorskip("frames", reason="the benchmarks are not part of the source distribution")

PIECE = [[60, 64, 67], [], [59, 62, 67, 71], [60]]


def as_json(folder: Path, **parts: Any) -> Path:
    path = folder / "set.json"
    path.write_text(json.dumps({"train": [PIECE], "valid": [PIECE], "test": [PIECE]} | parts))
    return path


def as_mat(folder: Path, **parts: Any) -> Path:
    roll = np.zeros((len(PIECE), 88))
    for at, frame in enumerate(PIECE):
        roll[at, np.array(frame, dtype=int) - 21] = 1
    pieces = np.empty((1, 2), dtype=object)
    pieces[0, 0] = pieces[0, 1] = roll
    path = folder / "set.mat"
    scipy.io.savemat(path, {"traindata": pieces, "validdata": pieces, "testdata": pieces} | parts)
    return path


def objects(*rolls: Any) -> Any:
    pieces = np.empty((1, len(rolls)), dtype=object)
    for at, roll in enumerate(rolls):
        pieces[0, at] = roll
    return pieces


def test_both_forms_hold_the_same_pieces(tmp_path: Path) -> None:
    read, other = frames.read_frames(as_json(tmp_path)), frames.read_frames(as_mat(tmp_path))
    wanted = [tuple(frame) for frame in PIECE]
    assert read == {part: [wanted] for part in ("train", "validation", "test")}
    assert other == {part: [wanted, wanted] for part in read}


BAD_JSON = [
    ({"valid": None}, "valid: no pieces"),
    ({"test": []}, "test: no pieces"),
    ({"train": [PIECE, [[60], [20]]]}, "train, piece 2, frame 2: pitch 20 is none of 21 to 108"),
    ({"train": [[[60], [200]]]}, "pitch 200 is none of"),
    ({"train": [[[], []]]}, "train, piece 1: nothing sounds in its 2 frames"),
    ({"train": [7]}, "piece 1: not a list of frames"),
    ({"train": [[["C4"]]]}, "piece 1: not a list of frames"),
]


@pytest.mark.parametrize(("parts", "said"), BAD_JSON)
def test_a_wrong_json_is_one_sentence(tmp_path: Path, parts: dict[str, Any], said: str) -> None:
    with pytest.raises(CadenzaError, match=said) as refused:
        frames.read_frames(as_json(tmp_path, **parts))
    assert "\n" not in str(refused.value)


BAD_MAT = [
    ({"traindata": objects(np.zeros((5, 87)))}, "traindata, piece 1: not frames of 88 keys .* but 5 × 87"),
    ({"traindata": objects(np.full((5, 88), 0.5))}, "piece 1: not frames of 88 keys"),
    ({"testdata": objects(np.zeros((5, 88)))}, "testdata, piece 1: nothing sounds in its 5 frames"),
    ({"validdata": np.zeros((0, 0))}, "validdata: no pieces"),
    ({"validdata": np.eye(3)}, "validdata, piece 1: not frames"),
]


@pytest.mark.parametrize(("parts", "said"), BAD_MAT)
def test_a_wrong_mat_is_one_sentence(tmp_path: Path, parts: dict[str, Any], said: str) -> None:
    with pytest.raises(CadenzaError, match=said) as refused:
        frames.read_frames(as_mat(tmp_path, **parts))
    assert "\n" not in str(refused.value)


def test_other_files_are_one_sentence(tmp_path: Path) -> None:
    others = tmp_path / "others.mat"
    scipy.io.savemat(others, {"training": np.eye(3)})
    damaged, text, listed, wrong = (tmp_path / name for name in ("cut.mat", "set.txt", "list.json", "cut.json"))
    damaged.write_bytes(as_mat(tmp_path).read_bytes()[:300])
    text.write_text("60 64")
    listed.write_text("[]")
    wrong.write_text("{")
    said = {
        others: "there is no traindata in it",
        damaged: "not a .mat file",
        text: "not a set of frames",
        listed: "no parts in it",
        wrong: "not a JSON file",
        tmp_path / "absent.mat": "there is no such file",
    }
    for path, reason in said.items():
        with pytest.raises(CadenzaError, match=reason) as refused:
            frames.read_frames(path)
        assert "\n" not in str(refused.value)


def test_rows_are_the_pitches_upwards_and_the_end_of_each_frame() -> None:
    rows = frames.FrameRows().write([tuple(frame) for frame in PIECE], 2)
    end = frames.END
    assert rows[1:, 0].tolist() == [41, 45, 48, end, end, 40, 43, 48, 52, end, 41, end]
    assert frames.FrameRows().note_count(rows) == 4
    assert frames.FrameRows().scored(rows).sum() == len(rows) - 1


def test_the_context_of_frames_says_what_is_known_and_no_more() -> None:
    written = frames.FrameRows()
    rows = np.concatenate([written.start_row[None], written.write([tuple(frame) for frame in PIECE], 2)])
    whole = written.context(rows)
    assert whole.shape == (len(rows), written.context_width)
    for stop in range(1, len(rows)):
        assert np.array_equal(written.context(rows[:stop]), whole[:stop])
    before, so_far, same_rank, rank, *_ = np.split(whole, np.cumsum([88, 88, 89, 17]), axis=1)
    at = 8  # the start, the move, a frame of three, its end, an empty one, 59 and 62: next comes 67
    assert (np.flatnonzero(before[at]).size, np.flatnonzero(so_far[at]).tolist()) == (0, [40, 43])
    assert (same_rank[at].argmax(), rank[at].argmax()) == (88, 2)
    at = 11  # the third frame has ended: next comes the lowest of the last
    assert np.flatnonzero(before[at]).tolist() == [40, 43, 48, 52]
    assert (so_far[at].any(), same_rank[at].argmax(), rank[at].argmax()) == (False, 40, 0)
