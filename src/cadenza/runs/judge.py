"""Improvised pieces beside human ones: did the model copy, and does it sound like its corpus?

Judged are the run's own samples and as many more, never written, as make `JUDGED` in all. The measure of
both questions is unseen human music, treated in the same way: held-out works, cut to the lengths of the
improvised pieces; where folds took the place of held-out works, each fold beside all the others.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from itertools import compress
from typing import Any

import numpy as np

from cadenza import export, midi, plot
from cadenza.corpus.scan import Entry
from cadenza.corpus.split import TRAIN
from cadenza.evaluate.fidelity import fidelity
from cadenza.evaluate.originality import (
    Likeness,
    Passage,
    TrainingIndex,
    Verdict,
    Yardstick,
    excerpts,
    verdict,
    yardstick,
)
from cadenza.models import device
from cadenza.notes import Header, Notes, from_first_onset
from cadenza.records import Progress, Record, Said
from cadenza.runs.folder import JUDGEMENT, NEAREST, SAMPLES, Run
from cadenza.runs.pictures import write_figure
from cadenza.settings import MidiSettings

SIDES = "own", "training"
HEARD_SECONDS = 20
"""Of a passage that an improvised piece shares with a training piece, so much is shown and heard."""
JUDGED = 32
"""Pieces judged in all; fewer say too little of a distribution."""


def judge(run: Run) -> Iterator[Record]:
    """Compare the samples with the training pieces and with unseen human music; writes `judgement.json`."""
    kept, human, own = run.kept(), human_pieces(run), own_pieces(run)
    pieces = own + (yield from more_pieces(run, len(own)))
    if not pieces:
        yield Said("There is no improvised piece to judge.")
        return
    trained = [entry.split == TRAIN for entry in kept]
    known = [*compress(human, trained)]
    index = TrainingIndex.of(known)
    names = [entry.name for entry in compress(kept, trained)]
    likenesses = yield from measured("comparing with the training pieces", index, pieces)
    pairs = list(partitions(kept))
    stick = yield from calibrated(human, pairs, [len(piece) for piece in pieces], run.settings().train.seed)
    verdicts = [verdict(one, stick, names) for one in likenesses]
    yield Progress("comparing with the collection", 0, 1)
    training, held_out = ([*compress(human, mask)] for mask in pairs[0]) if pairs else (human, [])
    works = [entry.work for entry in compress(kept, pairs[0][1])] if pairs else []
    sound = fidelity(pieces, training, held_out, run.settings().train.seed, works)
    samples = [
        {"name": one["name"]}
        | in_numbers(likeness, judged)
        | {"nearest": nearest_passage(likeness, piece, known, names)}
        for one, likeness, judged, piece in zip(run.samples(), likenesses, verdicts, own, strict=False)
    ]
    copied = sum(one.copied for one in verdicts)
    text = in_words(copied, len(pieces), stick)
    original = {"copied": copied, "text": text, "yardstick": asdict(stick) if stick else None, "samples": samples}
    for one, likeness, piece in zip(samples, likenesses, own, strict=False):
        yield from write_nearest(run, one["name"], piece, known, likeness)
    judgement = {"pieces": len(pieces), "originality": original, "fidelity": asdict(sound)}
    run.write(JUDGEMENT, json.dumps(judgement, indent=1).encode())
    yield Said(text)
    yield Said(sound.text)


def human_pieces(run: Run) -> list[Notes]:
    """All pieces of the corpus as their rows say, so that both sides stand on the same bins."""
    data, facts = run.data(), run.facts()
    header = Header("", facts.base, facts.tempo, facts.meter)
    pieces = (data.representation.decode(data.tables.piece(index), header) for index in range(len(data.tables)))
    return [from_first_onset(piece) for piece in pieces]


def own_pieces(run: Run) -> list[Notes]:
    """The run's samples, read back from their files."""
    base = run.facts().base
    steps = {f"steps_per_{base.unit.removesuffix('s')}": base.steps}
    reading = MidiSettings.model_validate({"instrument": "all", "drums": "keep", **steps})
    paths = [run.folder / SAMPLES / f"{one['name']}.mid" for one in run.samples()]
    return [midi.read(path, reading, base.unit) for path in paths]


def more_pieces(run: Run, have: int) -> Generator[Progress, None, list[Notes]]:
    """What the model improvises after its own samples, up to `JUDGED`; nothing after a sweep of temperatures."""
    settings = run.settings()
    if settings.sample.sweep or have >= JUDGED:
        return []
    improviser = run.improviser(device(settings.train.device).type)
    made = yield from improviser.stream(settings.sample, JUDGED, settings.train.seed)
    return [piece.notes for piece in made[settings.sample.count :] if len(piece.notes)]


def partitions(kept: Sequence[Entry]) -> Iterator[tuple[list[bool], list[bool]]]:
    """(training, unseen) masks over the kept pieces: one for a split, one for every fold, none without unseen pieces."""
    folds = range(1 + max((entry.fold for entry in kept), default=-1))
    masks = [[entry.fold == fold for entry in kept] for fold in folds] or [[entry.split != TRAIN for entry in kept]]
    return (([not unseen for unseen in mask], mask) for mask in masks if any(mask))


def measured(doing: str, index: TrainingIndex, pieces: Sequence[Notes]) -> Generator[Progress, None, list[Likeness]]:
    """The likeness of each piece to the training pieces."""
    found = []
    for likeness in index.likeness(pieces):
        found.append(likeness)
        yield Progress(doing, len(found), len(pieces))
    return found


def calibrated(
    human: Sequence[Notes], pairs: Sequence[tuple[list[bool], list[bool]]], lengths: Sequence[int], seed: int
) -> Generator[Progress, None, Yardstick | None]:
    """How far unseen human music repeats what is in the training part; None without any."""
    found: list[Likeness] = []
    for training, unseen in pairs:
        cut = excerpts([*compress(human, unseen)], lengths, np.random.default_rng(seed))
        index = TrainingIndex.of([*compress(human, training)])
        found += yield from measured("comparing unseen human music", index, cut)
    return yardstick(found) if found else None


def in_numbers(likeness: Likeness, judged: Verdict) -> dict[str, Any]:
    """A sample's originality as plain values."""
    return {
        "copied": judged.copied,
        "text": judged.text,
        "longest": likeness.longest,
        "shares": likeness.shares,
    }


def nearest_passage(
    likeness: Likeness, piece: Notes, training: Sequence[Notes], names: Sequence[str]
) -> dict[str, Any] | None:
    """Where the two passages stand and how long they last, seconds, and of which file the other one is."""
    nearest = likeness.nearest
    if nearest is None:
        return None
    theirs = training[nearest.piece]
    own, other = both_passages(piece, training, nearest)
    return asdict(nearest) | {
        "name": names[nearest.piece],
        "own_at": float(piece.onset[nearest.own_start] * piece.header.step_seconds),
        "at": float(theirs.onset[nearest.start] * theirs.header.step_seconds),
        "own_seconds": own.length_seconds,
        "seconds": other.length_seconds,
    }


def both_passages(piece: Notes, training: Sequence[Notes], nearest: Passage) -> tuple[Notes, Notes]:
    """The improvised passage and that of the training piece, note against note, each from its own first note on.

    They are heard side by side, so the end of long ones is left out.
    """
    own = from_first_onset(piece[nearest.own_start : nearest.own_stop])
    other = from_first_onset(training[nearest.piece][nearest.start : nearest.stop])
    count = int(np.searchsorted(own.onset * own.header.step_seconds, HEARD_SECONDS))
    return own[slice(count)], other[slice(count)]


def in_words(copied: int, pieces: int, stick: Yardstick | None) -> str:
    """One sentence on all pieces."""
    if stick is None:
        return f"{pieces} improvised pieces were compared with the training pieces; nothing was held out to say how much likeness is usual."
    if copied:
        return f"{copied} of {pieces} improvised pieces {'repeats' if copied == 1 else 'repeat'} more of a training piece than unseen human music does."
    return f"None of {pieces} improvised pieces repeats clearly more of a training piece than unseen human music does."


def write_nearest(run: Run, name: str, piece: Notes, training: Sequence[Notes], likeness: Likeness) -> Iterator[Record]:
    """The nearest passage of a sample and of the training piece: sound and picture of each, on the same axes."""
    if likeness.nearest is None:
        return
    pair = both_passages(piece, training, likeness.nearest)
    rolls = plot.aligned_rolls(*pair, likeness.nearest.semitones)
    for side, passage, roll in zip(SIDES, pair, rolls, strict=True):
        stem = run.folder / NEAREST / f"{name}-{side}"
        for path in export.piece(passage, stem, ("mid", "mp3"), run.facts().program, run.settings().audio):
            yield Said(f"Wrote {path}")
        yield from write_figure(roll, stem, ("svg",))
