"""Likelihoods that were published, by one command, with the protocol beside the figure.

`frames` takes a set of the form of Boulanger-Lewandowski et al. (2012), one of its .mat files or
`jsb-chorales-quarter.json`: nats per frame, natural logarithm, the set of pitches of a frame as one outcome, pooled over all
frames but the first of each piece. `jsb16` takes `Jsb16thSeparated.npz`: nats per cell, a cell being one voice of one
sixteenth, soprano, alto, tenor, bass, each given all before it, pooled over all cells.

The models, the trainer and the likelihood are Cadenza's own; the representations are `frames.py` and `voices.py`.
Each evaluated state of the second half is given a temperature on the validation pieces (`calibration.py`); the one that is
best there is kept and scored once on the test pieces. Nothing is downloaded. The minutes are the most that training may take, its own evaluations included; calibration comes on top:
`frames` reads a small set twice in every key, `jsb16` has 750 steps, and more would be known by heart.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import seeds
from cadenza import models
from cadenza.batches import Tables
from cadenza.checkpoint import fresh_model
from cadenza.corpus.split import PARTS, TEST, TRAIN, VALIDATION
from cadenza.errors import CadenzaError
from cadenza.likelihood import Score, score
from cadenza.models import Model
from cadenza.planning import plan
from cadenza.presets import Layer, build, merge
from cadenza.records import Evaluation
from cadenza.settings import Settings
from cadenza.tokens import Rows, Schema
from cadenza.train import Data, Trainer
from calibration import calibrate
from frames import FrameRows, frame_rows
from timing import give_up, needs, report
from voices import VoiceRows, voice_rows


class Published(NamedTuple):
    """A figure of the literature; of another split, unit or task it says so."""

    source: str
    figure: str
    remark: str


@dataclass(frozen=True)
class Task:
    """What is read, how it is learned, and what the figure means.

    `rows` reads the pieces of each part, the training pieces in every key; `opening` is the beginning of a piece
    that is not scored, `units` says among how many the nats of a piece are shared.
    """

    schema: Schema
    rows: Callable[[Path], dict[str, list[Rows]]]
    opening: Callable[[Rows], Rows] | None
    units: Callable[[Rows], int]
    unit: str
    scored: str
    augmentation: str
    settings: Layer
    literature: Sequence[Published]


FRAMES, VOICES = FrameRows(), VoiceRows()


def first_frame(rows: Rows) -> Rows:
    """Up to the end of the first frame."""
    return rows[: int(np.argmax(rows[:, 0] == FRAMES.end)) + 1]


TASKS = {
    "frames": Task(
        schema=FRAMES,
        rows=frame_rows,
        opening=first_frame,
        units=lambda rows: FRAMES.note_count(rows) - 1,
        unit="frame",
        scored="all frames but the first of each piece",
        augmentation="every training piece in twelve keys, the network told which; held-out pieces as they are",
        settings={
            "batches": {"rows": 512, "size": 2},
            "augment": {"blank": 0.1, "unheard": 0.2},
            "model": {"layers": 3, "window": 512, "dropout": 0.35},
            "train": {"epochs": 2},
        },
        literature=(
            Published("Boulanger-Lewandowski et al. (2012), RNN-NADE", "5.56", "JSB chorales, joint, as quoted"),
            Published("Johnson (2017), BALSTM", "5.05", "JSB chorales, joint, as quoted"),
            Published("Bai et al. (2018), TCN", "8.10", "JSB chorales, every key by itself, as quoted"),
            Published("RRU (2021)", "7.72", "JSB chorales, every key by itself, as quoted"),
        ),
    ),
    "jsb16": Task(
        schema=VOICES,
        rows=voice_rows,
        opening=None,
        units=lambda rows: rows.size,
        unit="cell",
        scored="all cells",
        augmentation="every training piece in every key in which its voices stay within the ranges of the training pieces",
        settings={
            "batches": {"rows": 128, "size": 8},
            "augment": {"blank": 0.1, "unheard": 0.2},
            "model": {"layers": 4, "head_layers": 3, "window": 128, "dropout": 0.3},
            "train": {"steps": 750, "learning_rate": 4e-3, "weight_decay": 2.0},
        },
        literature=(
            Published("Huang et al. (2017), Coconet in order of time", "0.436", "validation, as quoted"),
            Published("Huang et al. (2018), Music Transformer", "0.335", "validation, as quoted"),
            Published("Peracha (2019), TonicNet", "0.220", "given a chord label of the same step, so no likelihood of the notes; 0.396 with the label's cost"),
        ),
    ),
}  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("task", choices=TASKS)
    options.add_argument("--data", type=Path, required=True, metavar="FILE", help="the set")
    options.add_argument("--minutes", type=float, default=30, help="of training")
    options.add_argument("--seed", type=int, default=0, help="of the weights and of the order of the data")
    options.add_argument("--threads", type=int, default=2, help="of the network")
    options.add_argument("--record", action="store_true", help="write the figures into docs/benchmarks.md")
    given = options.parse_args()
    if not (0 < given.minutes < math.inf and given.seed >= 0 and given.threads > 0):
        give_up("--minutes and --threads must be more than 0 and --seed at least 0, for example --minutes 30 --seed 1.")
    needs(("scipy",))
    torch.set_num_threads(given.threads)
    try:
        measure(TASKS[given.task], given)
    except CadenzaError as error:
        give_up(str(error))


def measure(task: Task, given: argparse.Namespace) -> None:
    """Train for the minutes, keep the state of the best validation, and print its figures."""
    rows = task.rows(given.data)
    train = {"minutes": given.minutes, "seed": given.seed, "precision": models.fast_precision(torch.device("cpu"))}
    settings = build("small", None, (), **merge(task.settings, {"train": train}))
    held = {part: Held.of(task, rows[part]) for part in (VALIDATION, TEST)}
    data = data_of(task.schema, rows)
    model = fresh_model(settings.model, task.schema, given.seed)
    weights = sum(weight.numel() for weight in model.parameters())
    print("\n".join(protocol(task, given, rows, settings, weights)), flush=True)
    began = time.perf_counter()
    fitting = plan(model, data, settings).steps
    trainer = Trainer(model, data, settings, min(settings.train.steps or fitting, fitting))
    kept = Tempered(math.inf, model, "", 0)
    for record in trainer.records():
        if isinstance(record, Evaluation):
            found = held[VALIDATION].per_unit(trainer.average, task.schema, trainer.scores[VALIDATION])
            passed = (time.perf_counter() - began) / 60
            print(f"step {record.step:,} of {trainer.steps:,}, {passed:.1f} minutes: validation {found:.4f}", flush=True)  # fmt: skip
            if 2 * record.step >= trainer.steps:
                kept = min(kept, Tempered.of(trainer, task, held[VALIDATION]), key=lambda each: each.nats)
    minutes = (time.perf_counter() - began) / 60
    print(f"Kept: step {kept.step:,}, temperatures {kept.temperatures}", flush=True)
    valid, test = (each.per_unit(kept.model, task.schema, score_of(kept.model, task.schema, each.pieces)) for each in held.values())  # fmt: skip
    if given.record:
        seeds.record(seeds.Found(given.task, given.minutes, given.seed, valid, test, weights))
    figures = {f"valid_nats_per_{task.unit}": round(valid, 4), f"test_nats_per_{task.unit}": round(test, 4)}
    report(result(task, figures, minutes), figures)


@dataclass(frozen=True)
class Held:
    """Held-out pieces, what of them is not scored, and among how many units their nats are shared."""

    pieces: Sequence[Rows]
    openings: Sequence[Rows]
    units: int

    @classmethod
    def of(cls, task: Task, pieces: Sequence[Rows]) -> Held:
        openings = [task.opening(piece) for piece in pieces] if task.opening else []
        return cls(pieces, openings, sum(map(task.units, pieces)))

    def per_unit(self, model: Model, schema: Schema, whole: Score) -> float:
        """Nats per unit of whole pieces. An opening is given no later row, so its own nats can be taken away."""
        begun = score_of(model, schema, self.openings).nats_PF.sum() if self.openings else 0.0
        return float(whole.nats_PF.sum() - begun) / self.units


class Tempered(NamedTuple):
    """A state of the second half of training with temperatures of its own, and its nats per unit on validation."""

    nats: float
    model: Model
    temperatures: str
    step: int

    @classmethod
    def of(cls, trainer: Trainer, task: Task, held: Held) -> Tempered:
        model = copy.deepcopy(trainer.average)
        temperatures = ", ".join(f"{each:g}" for each in calibrate(model, task.schema, held.pieces))
        nats = held.per_unit(model, task.schema, score_of(model, task.schema, held.pieces))
        return cls(nats, model, temperatures, trainer.step)


def score_of(model: Model, schema: Schema, pieces: Sequence[Rows]) -> Score:
    return score(model, Tables.of(pieces), schema, np.arange(len(pieces)))


def data_of(schema: Schema, rows: Mapping[str, Sequence[Rows]]) -> Data:
    tables = Tables.of([*rows[TRAIN], *rows[VALIDATION]])
    learned = len(rows[TRAIN])
    return Data(tables, schema, np.arange(learned), np.arange(learned, len(tables)))


def protocol(
    task: Task, given: argparse.Namespace, rows: Mapping[str, Sequence[Rows]], settings: Settings, weights: int
) -> list[str]:
    """What the figure stands for."""
    parts = "; ".join(f"{part} {len(rows[part]):,} pieces, {sum(map(task.units, rows[part])):,} {task.unit}s" for part in PARTS)  # fmt: skip
    shape = settings.model
    return [
        f"{given.task}: {given.data.name}, nats per {task.unit} (natural logarithm) over {task.scored}",
        parts,
        f"Training: {task.augmentation}.",
        f"Network: {shape.trunk}, {shape.layers} × {shape.width}, {weights:,} weights, one model.",
        f"At most {given.minutes:g} minutes on {given.threads} thread{'' if given.threads == 1 else 's'}, seed {given.seed}; the states of {settings.train.evaluations} evaluations, those of the second half, are given temperatures on the validation pieces, the best there is kept, the test pieces are scored once.",
    ]


def result(task: Task, figures: Mapping[str, float], minutes: float) -> list[str]:
    """The figures under what was published."""
    rows = [*task.literature, *(Published(f"Cadenza, {minutes:.0f} minutes", f"{value:.3f}", name.partition("_")[0]) for name, value in figures.items())]  # fmt: skip
    return [f"{each.figure:>8}  {each.source} ({each.remark})" for each in rows]


if __name__ == "__main__":
    main()
