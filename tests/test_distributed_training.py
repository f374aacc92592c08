"""Several processes learn what one would: the same data in the same order, the same weights but for rounding."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cadenza.likelihood import LANES, score
from cadenza.parallel import Group
from cadenza.settings import Settings
from cadenza.train import Trainer, dealt, stream
from conftest import Cadenza, Midi
from test_train import data, model, settings

TRAINING = (
    *("--preset", "tiny", "--set", "batches.size=17", "--set", "model.dropout=0", "--set", "train.precision=float32"),
    *("--set", "train.steps=24", "--set", "train.evaluations=4", "--set", "train.threads=1"),
)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [0, 1, 3])
def test_every_window_goes_to_one_process_and_none_that_is_scored_to_two(world: int, size: int) -> None:
    known, chosen = data(), settings()
    for batch in islice(stream(known, chosen), 8):
        parts = [dealt(batch, Group(rank, world), size) for rank in range(world)]
        scored = torch.cat([part.ids_BTF[part.scored_BTF.any((1, 2))] for own in parts for part in own])
        assert all(len(part.ids_BTF) <= (size or len(batch.ids_BTF)) for own in parts for part in own)
        assert sorted(map(str, scored.tolist())) == sorted(map(str, batch.ids_BTF.tolist()))
        assert all(parts)  # a process without windows takes part all the same


@pytest.mark.parametrize("trunk", ["lstm", "transformer", "study"])
def test_gradients_of_parts_add_up_to_those_of_the_batch(trunk: str) -> None:
    known, chosen = data(), settings(ramp=False)
    plain = chosen.model_copy(update={"model": chosen.model.model_copy(update={"dropout": 0.0})})

    def gradients(batch: Any, settings: Settings, group: Group) -> list[torch.Tensor]:
        trainer = Trainer(model(trunk, known, settings), known, settings, 10, group=group)
        trainer._backward(batch)
        return [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]

    in_parts = plain.model_copy(update={"train": plain.train.model_copy(update={"micro_batch": 3, "clip": 1e9})})
    plain = plain.model_copy(update={"train": plain.train.model_copy(update={"clip": 1e9})})
    for batch in islice(stream(known, plain), 3):
        whole = gradients(batch, plain, Group())
        assert whole
        shares = zip(*(gradients(batch, in_parts, Group(rank, 2)) for rank in range(2)), strict=True)
        for one, part, several in zip(whole, gradients(batch, in_parts, Group()), shares, strict=True):
            torch.testing.assert_close(part, one, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close((several[0] + several[1]) / 2, one, rtol=1e-4, atol=1e-6)


def test_what_processes_score_adds_up_to_the_figures_of_one_to_the_last_bit() -> None:
    known = data(lengths=tuple(5 + number % 40 for number in range(2 * LANES + 5)))
    chosen, pieces = settings(), np.arange(2 * LANES + 5)
    network = model("transformer", known, chosen)
    whole = score(network, known.tables, known.schema, pieces)
    parts = [score(network, known.tables, known.schema, pieces, group=Group(rank, 2)) for rank in range(2)]
    assert np.array_equal(parts[0].nats_PF + parts[1].nats_PF, whole.nats_PF)
    assert all(0 < (part.nats_PF[:, 0] > 0).sum() < len(pieces) for part in parts)


class Whole(Group):
    """A process that reads all windows, whatever its rank."""

    @property
    def share(self) -> slice:
        return slice(None)


def test_no_two_processes_drop_alike_and_the_first_drops_as_one_does() -> None:
    known, chosen = data(), settings(ramp=False)
    batch = next(stream(known, chosen))
    bits = [
        Trainer(model("lstm", known, chosen), known, chosen, 5, group=group).update(batch).bits_per_note
        for group in (Group(), Whole(0), Whole(1), Whole(2))
    ]
    assert bits[0] == bits[1]
    assert len(set(bits)) == 3


def begin(folder: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """The command line in two processes that torchrun starts."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "cadenza"]
    return subprocess.Popen(
        [*launcher, *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def end(process: subprocess.Popen[str]) -> tuple[int, list[str], list[str]]:
    """Exit code, lines of standard output, and what Cadenza itself said on standard error."""
    out, err = process.communicate(timeout=400)
    return process.returncode, out.splitlines(), [line for line in err.splitlines() if line.startswith("cadenza: ")]


def worker(process: subprocess.Popen[str], rank: int) -> int:
    """The number of the process of a rank."""
    for children in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for child in children.read_text().split():
            if f"\0RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text():
                return int(child)
    raise AssertionError(f"no rank {rank}")


def wait_for(process: subprocess.Popen[str], path: Path) -> None:
    limit = time.monotonic() + 300
    while not path.exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory, smf: Midi) -> Path:
    """Twenty-four pieces: 18 for training, so one batch of 17 windows and one of a single window an epoch."""
    folder = tmp_path_factory.mktemp("music")
    for seed in range(24):
        (folder / f"piece-{seed}.mid").write_bytes(smf.piece(seed))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, music: Path) -> Path:
    """A run of two processes, and what was said of it."""
    folder = tmp_path_factory.mktemp("together")
    code, out, said = end(begin(folder, "train", music, "--out", "run", *TRAINING))
    assert (code, said) == (0, [])
    assert len(set(out)) == len(out)  # only the first process speaks
    assert any("in each of 2 processes" in line for line in out)
    return folder / "run"


def difference(one: Path, other: Path, part: str = "model.") -> float:
    """The largest difference of any weight."""
    first, second = (load_file(folder / "state.safetensors") for folder in (one, other))
    names = [name for name in first if name.startswith(part)]
    assert names
    return max(float((first[name] - second[name]).abs().max()) for name in names)


def lines(run: Path, kind: str) -> list[dict[str, Any]]:
    return [one for one in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if one["kind"] == kind]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(trained: Path, music: Path, tmp_path: Path, cadenza: Cadenza) -> None:
    code, _, err = cadenza("train", music, "--out", "run", *TRAINING)
    assert (code, err) == (0, "")
    alone = tmp_path / "run"
    assert [step["notes"] for step in lines(trained, "step")] == [step["notes"] for step in lines(alone, "step")]
    for kind in ("step", "evaluation"):
        for one, other in zip(lines(trained, kind), lines(alone, kind), strict=True):
            assert one["step"] == other["step"]
            assert one["bits_per_note"] == pytest.approx(other["bits_per_note"], rel=1e-5)
    assert difference(trained, alone) < 1e-4
    assert (trained / "corpus/rows.npy").read_bytes() == (alone / "corpus/rows.npy").read_bytes()


@pytest.mark.slow
@on_linux
def test_a_signal_to_any_process_stops_all_after_one_step_and_resuming_repeats_the_whole(
    trained: Path, music: Path, tmp_path: Path
) -> None:
    command = ("train", music, "--out", "run", *TRAINING)
    process = begin(tmp_path, *command)
    wait_for(process, tmp_path / "run/state.safetensors")
    os.kill(worker(process, 1), signal.SIGTERM)
    code, _, said = end(process)
    assert code != 0
    [sentence] = said
    step = lines(tmp_path / "run", "step")[-1]["step"]
    assert step < 24
    assert sentence.startswith(f"cadenza: Stopped after step {step} of 24; everything is saved.")
    code, out, said = end(begin(tmp_path, *command, "--resume"))
    assert (code, said) == (0, [])
    assert "settings given now are not used" in out[0]
    assert difference(trained, tmp_path / "run", "") == 0
    assert (tmp_path / "run/log.jsonl").read_bytes() == (trained / "log.jsonl").read_bytes()


@pytest.mark.slow
@on_linux
def test_a_process_that_is_killed_ends_all(music: Path, tmp_path: Path) -> None:
    process = begin(tmp_path, "train", music, "--out", "run", *TRAINING, "--set", "train.steps=100000")
    wait_for(process, tmp_path / "run/config.toml")
    os.kill(worker(process, 1), signal.SIGKILL)
    code, _, said = end(process)
    assert code != 0
    assert len(said) <= 1  # torchrun, which sees it too, may end the other before it can speak
    assert all("Another process of this training has ended" in sentence for sentence in said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("train", "nowhere"), "There is no folder"), (("inspect", "nowhere"), "torchrun is for run, train, demo")],
)
def test_what_ends_all_processes_is_said_once(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    code, out, said = end(begin(tmp_path, *arguments))
    assert (code, out) == (1, [])
    assert len(said) == 1
    assert words in said[0]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
