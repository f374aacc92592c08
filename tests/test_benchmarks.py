"""The arithmetic of the benchmarks, and how they wait, where those are at hand."""

import math
import sys
import time

import numpy as np
import pytest
import torch

from cadenza.notes import Notes, TimeBase
from cadenza.tokens import representation

gpt2 = pytest.importorskip("gpt2", reason="the benchmarks are not part of the source distribution")
first_note = pytest.importorskip("first_note")
speedrun = pytest.importorskip("speedrun")
study_network = pytest.importorskip("study_network")

ROWS = representation("notes", TimeBase())
PIECE = Notes.of(onset=[0, 30, 30, 1200], pitch=[60, 64, 67, 72], duration=[30, 40, 50, 60], velocity=[80, 1, 127, 60])


def test_flattening_keeps_every_scored_id() -> None:
    rows = ROWS.encode(PIECE)
    tokens, fields = study_network.flatten(ROWS, rows)
    first_ids = np.cumsum([0, *ROWS.sizes[:-1]])
    assert len(tokens) == ROWS.scored(rows).sum()
    assert (tokens - first_ids[fields]).tolist() == rows[ROWS.scored(rows)].tolist()
    assert tokens.max() < sum(ROWS.sizes)
    assert fields[:5].tolist() == [0, 1, 2, 3, 0]


def test_the_windows_of_the_study_stay_inside_pieces() -> None:
    pieces = [torch.arange(start, start + length) for start, length in ((0, 51), (1000, 50), (2000, 60))]
    windows = study_network.Windows(pieces)
    assert len(windows) == 1 + 0 + 10
    for ids, targets in (windows[i] for i in range(len(windows))):
        assert len(ids) == len(targets) == study_network.WINDOW
        assert (targets - ids == 1).all()


def test_the_carried_state_scores_pieces_as_one_pass_does() -> None:
    torch.manual_seed(0)
    network = study_network.Network(20)
    pieces = [torch.randint(20, (length,)) for length in (700, 1300)]
    together = study_network.token_nats(network, pieces)
    for nats, piece in zip(together, pieces, strict=True):
        with torch.inference_mode():
            logits, _ = network(piece[None, :-1])
        alone = torch.nn.functional.cross_entropy(logits[0], piece[1:], reduction="none")
        assert np.allclose(nats[: len(alone)], alone, atol=1e-5)


@pytest.mark.parametrize("length", [1, 511, 512, 513, 767, 768, 769, 2600])
def test_gpt2_scores_every_token_once_with_half_a_window_before_it(length: int) -> None:
    times = np.zeros(length, int)
    for begin, counted in gpt2.scored_windows(length):
        assert begin < length
        assert begin == 0 or counted - begin >= gpt2.BLOCK // 2
        times[counted : min(begin + gpt2.BLOCK, length)] += 1
    assert (times == 1).all()


@pytest.mark.parametrize("wanted", [1_000_000, 1_560_000, 2_080_000, 4_000_000])
def test_gpt2_comes_in_the_wanted_size(wanted: int) -> None:
    layers, width = gpt2.shape(1026, wanted)
    assert width % gpt2.HEADS == 0
    assert abs(gpt2.parameters(1026, layers, width) / wanted - 1) <= gpt2.TOLERANCE


def test_a_peer_is_matched_at_the_first_evaluation_at_or_below_its_best() -> None:
    curve = [(1.0, 9.5), (2.0, 9.0), (3.0, 9.2), (4.0, 8.0)]
    assert speedrun.first_at_or_below(curve, 9.0) == 2.0
    assert speedrun.first_at_or_below(curve, 7.0) is None


def test_points_of_evaluation_end_with_the_whole_time() -> None:
    for points in (speedrun.OUR_POINTS, speedrun.PEER_POINTS):
        assert math.isclose(points[-1], 1) and points == sorted(points)


def test_the_first_note_is_waited_for_and_no_longer() -> None:
    lines = """print('{"piece": 1}\\n{"piece": 1, "pitch": 67}', flush=True)"""
    began = time.monotonic()
    first_note.wait_for_note([sys.executable, "-c", f"import time; {lines}; time.sleep(3600)"])
    assert time.monotonic() - began < 600


def test_a_stream_without_notes_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        first_note.wait_for_note([sys.executable, "-c", "print('{}'); raise SystemExit(7)"])
    assert "exit code 7 before it had printed a note" in capsys.readouterr().err
