"""Sets that likelihoods are published of: read whole, refused in one sentence, written without looking ahead."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch

from cadenza.batches import Tables, augmentation, collate
from cadenza.checkpoint import fresh_model
from cadenza.errors import CadenzaError
from cadenza.likelihood import score
from cadenza.models import Model
from cadenza.settings import AugmentSettings, ModelSettings
from cadenza.tokens import Rows, Schema

frames = pytest.importorskip("frames", reason="the benchmarks are not part of the source distribution")
pages, calibration, published, repeats, seeds, voices = map(
    pytest.importorskip, ("all", "calibration", "published", "repeats", "seeds", "voices")
)

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
    end = frames.FrameRows().end
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


CHORALE = np.array([[72, 67, 60, 48], [72, 67, 60, 48], [72, 65, 59, 50], [71, 65, 59, -1]])


def as_npz(folder: Path, name: str = "set.npz", **parts: Any) -> Path:
    path = folder / name
    pieces = objects(CHORALE.astype(float))[0]
    np.savez(path, **({"train": pieces, "valid": pieces, "test": pieces} | parts))
    return path


def test_voices_are_read_as_ids_with_silence(tmp_path: Path) -> None:
    unheard = np.where(CHORALE < 0, np.nan, CHORALE)
    read = voices.read_voices(as_npz(tmp_path, test=objects(unheard, CHORALE)[0]))
    wanted = np.where(CHORALE < 0, voices.SILENT, CHORALE - 36)
    assert [len(read[part]) for part in ("train", "validation", "test")] == [1, 1, 2]
    assert all(np.array_equal(piece, wanted) for pieces in read.values() for piece in pieces)


BAD_NPZ = [
    ({"train": objects(CHORALE[:, :3])[0]}, "train, piece 1: not four voices but 4 × 3"),
    ({"valid": objects(np.full((3, 4), np.nan))[0]}, "valid, piece 1: nothing sounds in its 3 sixteenths"),
    ({"test": objects(CHORALE, CHORALE + 12)[0]}, "test, piece 2, sixteenth 1, soprano: pitch 84 is none of 36 to 81"),
    ({"test": objects(CHORALE - 40)[0]}, "sixteenth 1, soprano: pitch 32 is none of"),
    ({"train": objects(np.where(CHORALE < 0, -5, CHORALE))[0]}, "sixteenth 4, bass: pitch -5 is none of"),
    ({"train": objects(CHORALE + 0.5)[0]}, "pitch 72.5 is none of"),
    ({"train": objects("abc")[0]}, "train, piece 1: not a table of pitches"),
    ({"train": np.empty(0, dtype=object)}, "train: no pieces"),
    ({"train": np.eye(4)}, "train is no list of pieces"),
]


@pytest.mark.parametrize(("parts", "said"), BAD_NPZ)
def test_a_wrong_npz_is_one_sentence(tmp_path: Path, parts: dict[str, Any], said: str) -> None:
    with pytest.raises(CadenzaError, match=said) as refused:
        voices.read_voices(as_npz(tmp_path, **parts))
    assert "\n" not in str(refused.value)


class Runs:
    """What a pickle can do when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_a_file_of_voices_cannot_run_code(tmp_path: Path) -> None:
    pieces = np.empty(1, dtype=object)
    pieces[0] = Runs(tmp_path / "ran")
    with pytest.raises(CadenzaError, match="is no array"):
        voices.read_voices(as_npz(tmp_path, train=pieces))
    assert not (tmp_path / "ran").exists()


def test_other_files_are_no_voices(tmp_path: Path) -> None:
    whole, cut, few = as_npz(tmp_path), tmp_path / "cut.npz", tmp_path / "few.npz"
    cut.write_bytes(whole.read_bytes()[:200])
    np.savez(few, train=objects(CHORALE)[0])
    for path, reason in {
        tmp_path / "absent.npz": "there is no such file",
        cut: "not a file of voices",
        few: "this family has train, valid, test",
    }.items():
        with pytest.raises(CadenzaError, match=reason) as refused:
            voices.read_voices(path)
        assert "\n" not in str(refused.value)


def test_pieces_move_as_far_as_the_voices_of_all_reach() -> None:
    low = np.array([[60, 55, 50, 40]]) - 36
    high = low + 2
    pieces = voices.moved([np.concatenate([low, high - 1]), high])
    assert [piece.tolist() for piece in pieces[:2]] == [
        [*low.tolist(), *(high - 1).tolist()],
        [*(low + 1).tolist(), *high.tolist()],
    ]
    assert [piece.tolist() for piece in pieces[2:]] == [(low + step).tolist() for step in range(3)]
    silent, sung = np.array([[20, 15, voices.SILENT, 5]]), np.array([[21, 16, 10, 6]])
    higher = np.array([[21, 16, voices.SILENT, 6]])
    assert [piece.tolist() for piece in voices.moved([silent, sung])] == [
        silent.tolist(),
        higher.tolist(),
        sung.tolist(),
    ]


def test_what_came_next_is_told_where_the_latest_rows_stood_before() -> None:
    theme = np.arange(32).reshape(8, 4)
    rows = np.concatenate([theme, [[1, 2, 3, 4]], theme])
    found = repeats.after_matches(rows, 8)
    assert (found[:-1] == -1).all()
    assert found[-1].tolist() == [1, 2, 3, 4]
    assert (repeats.after_matches(theme[:3], 8) == -1).all()
    again = repeats.after_matches(np.array([[1], [2], [1], [3], [1]]), 1)
    assert again[:, 0].tolist() == [-1, -1, 2, -1, 3]


def test_the_context_of_voices_says_what_is_known_and_no_more() -> None:
    written = voices.VoiceRows()
    rng = np.random.default_rng(0)
    theme = rng.integers(0, voices.SILENT + 1, (20, 4))
    rows = np.concatenate([written.start_row[None], theme, theme, theme[:5], theme]).astype(np.int16)
    whole = written.context(rows)
    assert whole.shape == (len(rows), written.context_width)
    for stop in range(1, len(rows)):
        assert np.array_equal(written.context(rows[:stop]), whole[:stop])


@pytest.mark.parametrize("schema", [frames.FrameRows(60, 70), voices.VoiceRows()])
def test_kinds_of_context_are_hidden_as_a_whole(schema: Schema) -> None:
    rows = np.random.default_rng(0).integers(0, 11, (300, len(schema.fields))).astype(np.int16)
    change = augmentation(Tables.of([rows]), schema, np.array([0]), AugmentSettings(unheard=0.4))
    whole = schema.context(rows)
    some = change.heard(whole[None], np.random.default_rng(1))[0]
    columns = np.split(np.arange(schema.context_width), np.cumsum(schema.context_groups)[:-1])
    told = [whole[:, group].any(axis=1) for group in columns]
    hidden = [known & ~some[:, group].any(axis=1) for known, group in zip(told, columns, strict=True)]
    for group, gone in zip(columns, hidden, strict=True):
        assert np.array_equal(some[~gone][:, group], whole[~gone][:, group])
    assert sum(map(np.sum, hidden)) / sum(map(np.sum, told)) == pytest.approx(0.4, abs=0.04)


def untrained(schema: Schema) -> Model:
    """A model whose probabilities are far from even."""
    model = fresh_model(ModelSettings(trunk="lstm", layers=1, width=16), schema, seed=1)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(3)
    return model.eval()


@torch.inference_mode()
def chances(model: Model, schema: Schema, rows: Rows, row: Rows, f: int) -> list[float]:
    """Of every id of a field of the row that comes next, given the fields before it."""
    more = np.concatenate([rows, row[None]])
    batch = collate(Tables.of([more]), schema, [(0, 0, len(more))])
    hidden_BTD, _ = model(batch.ids_BTF, batch.context_BTC)
    target = torch.from_numpy(row.astype(np.int64))
    return model.heads.field(f, hidden_BTD[0, -1], batch.ids_BTF[0, -1], target).double().softmax(-1).tolist()


def nats(model: Model, schema: Schema, rows: Rows) -> float:
    return float(score(model, Tables.of([rows]), schema, np.array([0])).nats_PF.sum())


def test_the_sets_of_a_frame_and_what_is_no_set_have_a_probability_of_one() -> None:
    """The network is free to name keys out of order: what it wastes so counts against the published figure."""
    schema = frames.FrameRows(60, 64)
    model, before = untrained(schema), schema.write([(60, 64), (61,)])
    proper, wasted = {}, 0.0
    ahead: list[tuple[tuple[int, ...], float]] = [((), 1.0)]
    while ahead:
        keys, chance = ahead.pop()
        rows = np.concatenate([before, np.array(keys, dtype=np.int16).reshape(-1, 1)])
        for key, share in enumerate(chances(model, schema, rows, np.array([0], dtype=np.int16), 0)):
            if key == schema.end:
                proper[keys] = chance * share
            elif max(keys, default=-1) < key < schema.end:
                ahead.append(((*keys, key), chance * share))
            else:
                wasted += chance * share
    assert len(proper) == 2**5
    assert sum(proper.values()) + wasted == pytest.approx(1, abs=1e-5)
    begun = nats(model, schema, before)
    for keys, chance in proper.items():
        rows = np.concatenate([before, np.array([*keys, schema.end], dtype=np.int16)[:, None]])
        assert np.exp(begun - nats(model, schema, rows)) == pytest.approx(chance, rel=1e-3)


def test_the_four_cells_of_a_row_have_a_probability_of_one_each() -> None:
    schema = voices.VoiceRows()
    model, before = untrained(schema), np.array([[30, 20, 15, 5], [46, 21, 14, 5]], dtype=np.int16)
    row = np.array([31, 22, 14, 7], dtype=np.int16)
    found = [chances(model, schema, before, row, f) for f in range(4)]
    assert [sum(each) for each in found] == pytest.approx([1, 1, 1, 1])
    told = nats(model, schema, np.concatenate([before, row[None]])) - nats(model, schema, before)
    assert told == pytest.approx(-sum(np.log(each[key]) for each, key in zip(found, row, strict=True)), rel=1e-4)
    other = np.array([31, 22, 40, 1], dtype=np.int16)  # soprano and alto do not know of tenor and bass
    assert [chances(model, schema, before, other, f) for f in (0, 1, 2)] == found[:3]


@pytest.mark.parametrize("schema", [frames.FrameRows(60, 70), voices.VoiceRows()])
def test_no_nats_depend_on_what_comes_later(schema: Schema) -> None:
    model, rng = untrained(schema), np.random.default_rng(0)
    rows = rng.integers(0, 12 if schema.name == "frames" else voices.SILENT + 1, (60, len(schema.fields))).astype(
        np.int16
    )
    other = rows.copy()
    other[40:] = rows[:20]
    batches = [collate(Tables.of([each]), schema, [(0, 0, 60)]) for each in (rows, other)]
    with torch.inference_mode():
        one, two = (model.nats(model(each.ids_BTF, each.context_BTC)[0], each.ids_BTF, each.targets_BTF, each.scored_BTF) for each in batches)  # fmt: skip
    assert torch.equal(one[:, :40], two[:, :40])
    assert not torch.equal(one[:, 40:], two[:, 40:])


def test_the_first_frame_of_a_piece_is_not_scored() -> None:
    task = published.TASKS["frames"]
    model = untrained(task.schema)
    pieces = [task.schema.write([tuple(frame) for frame in PIECE]), task.schema.write([(60,), (61,)])]
    held = published.Held.of(task, pieces)
    assert held.units == 3 + 1
    whole = score(model, Tables.of(pieces), task.schema, np.arange(2))
    after = []
    for rows, first in zip(pieces, (5, 3), strict=True):  # the move, the pitches of the first frame, its end
        batch = collate(Tables.of([rows]), task.schema, [(0, 0, len(rows))])
        with torch.inference_mode():
            hidden_BTD, _ = model(batch.ids_BTF, batch.context_BTC)
            nats_BTF = model.nats(hidden_BTD, batch.ids_BTF, batch.targets_BTF, batch.scored_BTF)
        after.append(float(nats_BTF[0, first:].sum()))
    assert held.per_unit(model, task.schema, whole) == pytest.approx(sum(after) / 4, rel=1e-4)


SMALL = {"batches": {"rows": 64, "size": 2}, "model": {"layers": 1, "width": 32, "window": 64}}


@pytest.mark.parametrize(("name", "write", "unit"), [("frames", as_json, "frame"), ("jsb16", as_npz, "cell")])
def test_one_command_prints_the_protocol_and_the_figures(
    name: str, write: Any, unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.setitem(published.TASKS, name, replace(published.TASKS[name], settings=SMALL))
    monkeypatch.setattr(pages, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    command = [
        "published.py",
        name,
        "--data",
        str(write(tmp_path)),
        "--minutes",
        "0.01",
        "--seed",
        "2",
        "--threads",
        "1",
        "--record",
    ]
    monkeypatch.setattr(sys, "argv", command)
    published.main()
    *lines, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert list(figures) == [f"valid_nats_per_{unit}", f"test_nats_per_{unit}"]
    assert figures[f"valid_nats_per_{unit}"] == figures[f"test_nats_per_{unit}"] > 0  # the parts are one piece here
    said = "\n".join(lines)
    for wanted in (
        f"nats per {unit}",
        "validation 1 pieces",
        "weights, one model",
        "0.01 minutes",
        "seed 2",
        "as quoted",
    ):
        assert wanted in said
    [found] = seeds.recorded((tmp_path / "benchmarks.md").read_text())
    assert (found.task, found.minutes, found.seed, found.test) == (name, 0.01, 2, figures[f"test_nats_per_{unit}"])


def test_seeds_are_kept_on_the_page_with_their_mean_and_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    runs = [seeds.Found("frames", 30, seed, 4.5 + seed / 10, 4.6 + seed / 10, 7) for seed in (1, 0, 2)]
    for each in (*runs, seeds.Found("jsb16", 45, 0, 0.36, 0.37, 8), seeds.Found("frames", 30, 1, 4.4, 4.3, 7)):
        seeds.record(each)
    page = (tmp_path / "benchmarks.md").read_text()
    assert [found[:3] for found in seeds.recorded(page)] == [
        ("frames", 30, 0),
        ("frames", 30, 1),
        ("frames", 30, 2),
        ("jsb16", 45, 0),
    ]
    assert (
        "`frames`, 30 minutes, mean and range of 3 seeds: validation 4.5333 (4.4000 to 4.7000), test 4.5667 (4.3000 to 4.8000)"
        in page
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--minutes", "0"], "--minutes and --threads must be more than 0"),
        (["--minutes", "nan"], "--minutes and --threads must be more than 0"),
        (["--threads", "0"], "--minutes and --threads must be more than 0"),
        (["--seed", "-1"], "--seed at least 0"),
        ([], "there is no such file"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_code_2(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["published.py", "frames", "--data", "absent.json", *options])
    with pytest.raises(SystemExit) as ended:
        published.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert "\n" not in told


def test_a_temperature_divides_all_logits_and_the_best_of_the_grid_is_kept() -> None:
    schema = voices.VoiceRows()
    model, rng = untrained(schema), np.random.default_rng(0)
    rows = rng.integers(0, voices.SILENT + 1, (40, 4)).astype(np.int16)
    last = np.array([31, 22, 14, 7], dtype=np.int16)
    before = np.log(chances(model, schema, rows, last, 3))
    cold = nats(model, schema, rows)
    found = calibration.calibrate(model, schema, [rows])
    assert nats(model, schema, rows) < cold  # random music, of which a network with large weights is too sure
    assert found[3] > 1
    after = np.log(chances(model, schema, rows, last, 3))
    assert before - before[0] == pytest.approx((after - after[0]) * found[3], abs=1e-3)
