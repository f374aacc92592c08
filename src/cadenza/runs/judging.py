"""Improvised pieces beside human ones: did the model copy, and does it sound like its corpus?

Judged are the run's own samples and as many more, never written, as make `JUDGED` in all. The measure of
both questions is unseen human music, treated in the same way: held-out works, cut to the lengths of the
improvised pieces. Where folds took the place of held-out works, each fold stands beside all the others
for the first question, and the first fold beside the others for the second.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from itertools import compress
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from cadenza import export, midi, plot
from cadenza.corpus.split import PARTS, TRAIN
from cadenza.evaluate.draws import excerpts_by_notes
from cadenza.evaluate.fidelity import compare_with_corpus
from cadenza.evaluate.originality import (
    Likeness,
    Passage,
    TrainingIndex,
    Verdict,
    Yardstick,
    verdict,
    yardstick,
)
from cadenza.models import device
from cadenza.notes import Notes, from_first_onset
from cadenza.records import Progress, Record, Said
from cadenza.runs.folder import JUDGEMENT, NEAREST, SAMPLES, Run
from cadenza.runs.manifest import Manifest
from cadenza.settings import MidiSettings

SIDES = "own", "training"
HEARD_SECONDS, AROUND = 20, 8
"""Of a passage that an improvised piece shares with a training piece, so much is shown and heard, with so many
notes after it."""
JUDGED = 32
"""Pieces judged in all; fewer say too little of a distribution."""


def judge(run: Run) -> Iterator[Record]:
    """Compare the samples with the training pieces and with unseen human music; writes `judgement.json`."""
    human, own = [from_first_onset(piece) for piece, _ in run.pieces()], own_pieces(run)
    pieces = own + (yield from more_pieces(run, len(own)))
    if not pieces:
        (run.folder / JUDGEMENT).unlink(missing_ok=True)
        yield Said("There is no improvised piece to judge.")
        return
    original = yield from originality(run, human, own, pieces)
    yield Progress("comparing with the collection", 0, 1)
    near = closeness(run, human, pieces)
    shown = {"temperature", "by_field", "top_k", "top_p", "min_p", "repeats", "phrase", "novel", "sweep"}
    sampling = run.settings().sample.model_dump(include=shown)
    run.write_json(JUDGEMENT, {"pieces": len(pieces), "sampling": sampling, "originality": original, "fidelity": near})
    yield Said(original["text"])
    yield Said(near["text"])


def originality(
    run: Run, human: Sequence[Notes], own: Sequence[Notes], pieces: Sequence[Notes]
) -> Generator[Progress, None, dict[str, Any]]:
    """What the pieces, of which the run's `own` samples come first, repeat of the training pieces."""
    kept, lengths = run.kept(), [len(piece) for piece in pieces]
    trained = kept.part == PARTS.index(TRAIN)
    known, names = [*compress(human, trained)], [entry.name for entry in kept.where(trained)]
    index = TrainingIndex.of(known)
    likenesses = yield from measured("comparing with the training pieces", index, pieces)
    stick = yield from calibrated(run, human, None if run.folds() else index, lengths)
    verdicts = [verdict(one, stick, [PurePosixPath(name).name for name in names]) for one in likenesses]
    samples = []
    for number, sample in enumerate(run.samples()):
        yield Progress("rendering the nearest passages", number, len(own))
        write_nearest(run, sample["name"], own[number], known, likenesses[number])
        nearest = nearest_passage(likenesses[number], own[number], known, names)
        samples.append({"name": sample["name"], **in_numbers(likenesses[number], verdicts[number]), "nearest": nearest})
    copied = sum(one.copied for one in verdicts)
    text = in_words(copied, len(pieces), stick)
    return {"copied": copied, "text": text, "yardstick": stick, "samples": samples}


def closeness(run: Run, human: Sequence[Notes], pieces: Sequence[Notes]) -> dict[str, Any]:
    """How near the pieces are to the collection, beside unseen music of the split or of the first fold."""
    kept = run.kept()
    trained, unseen = next(partitions(kept), (np.ones(len(kept), bool), np.zeros(len(kept), bool)))
    works = kept.where(unseen).work.tolist()
    found = compare_with_corpus(
        pieces, [*compress(human, trained)], [*compress(human, unseen)], run.settings().train.seed, works
    )
    return asdict(found) | {"features": [asdict(one) | {"inside": one.inside} for one in found.features]}


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
    made = yield from improviser.stream(settings.sample, range(settings.sample.count, JUDGED), settings.train.seed)
    return [piece.notes for piece in made if len(piece.notes)]


def partitions(kept: Manifest) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """(training, unseen) masks over the kept pieces: one for a split, one for every fold, none without unseen pieces."""
    masks = [kept.fold == fold for fold in range(kept.folds)] or [kept.part != PARTS.index(TRAIN)]
    return ((~mask, mask) for mask in masks if mask.any())


def measured(doing: str, index: TrainingIndex, pieces: Sequence[Notes]) -> Generator[Progress, None, list[Likeness]]:
    """The likeness of each piece to the training pieces."""
    found = []
    for likeness in index.likeness(pieces):
        found.append(likeness)
        yield Progress(doing, len(found), len(pieces))
    return found


def calibrated(
    run: Run, human: Sequence[Notes], known: TrainingIndex | None, lengths: Sequence[int]
) -> Generator[Progress, None, Yardstick | None]:
    """How far unseen human music repeats what is in the training part, whose index may be `known`; None without any."""
    found: list[Likeness] = []
    for training, unseen in partitions(run.kept()):
        cut = excerpts_by_notes([*compress(human, unseen)], lengths, np.random.default_rng(run.settings().train.seed))
        index = known or TrainingIndex.of([*compress(human, training)])
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
    """Where the passages shown stand and how long they last, seconds, and of which file the other one is."""
    nearest = likeness.nearest
    if nearest is None:
        return None
    own, other = both_passages(piece, training[nearest.piece], nearest)
    return asdict(nearest) | {
        "name": names[nearest.piece],
        "own_at": float(own.onset[0] * own.header.step_seconds),
        "at": float(other.onset[0] * other.header.step_seconds),
        "own_seconds": from_first_onset(own).length_seconds,
        "seconds": from_first_onset(other).length_seconds,
    }


def both_passages(piece: Notes, training: Notes, nearest: Passage) -> tuple[Notes, Notes]:
    """From where the passages begin, the improvised piece and the training piece, until some notes after them.

    They are heard one after the other, so the end of long ones is left out.
    """
    stop = min(nearest.own_stop + AROUND, len(piece)) - 1
    until = min(int(piece.onset[stop]), int(piece.onset[nearest.own_start]) + round(HEARD_SECONDS / piece.header.step_seconds))  # fmt: skip
    own = piece[slice(nearest.own_start, int(np.searchsorted(piece.onset, until, side="right")))]
    return own, training[slice(nearest.start, nearest.start + len(own))]


def agreeing(own: Notes, other: Notes, nearest: Passage) -> npt.NDArray[np.bool_]:
    """Which notes of both, counted from where they begin, belong to the passage and agree in pitch."""
    count = min(len(own), len(other))
    inside = np.arange(count) < nearest.own_stop - nearest.own_start
    return np.asarray(inside & (own.pitch[:count] == other.pitch[:count] + nearest.semitones))


def in_words(copied: int, pieces: int, stick: Yardstick | None) -> str:
    """One sentence on all pieces."""
    if stick is None:
        return f"{pieces} improvised pieces were compared with the training pieces; nothing was held out to say how much likeness is usual."
    if copied:
        return f"{copied} of {pieces} improvised pieces {'repeats' if copied == 1 else 'repeat'} more of a training piece than unseen human music does."
    return f"None of {pieces} improvised pieces repeats clearly more of a training piece than unseen human music does."


def write_nearest(run: Run, name: str, piece: Notes, training: Sequence[Notes], likeness: Likeness) -> None:
    """The nearest passage of a sample and of the training piece: sound and picture of each, on the same axes."""
    if likeness.nearest is None:
        return
    pair = [from_first_onset(one) for one in both_passages(piece, training[likeness.nearest.piece], likeness.nearest)]
    agree = agreeing(pair[0], pair[1], likeness.nearest)
    rolls = plot.aligned_rolls(pair[0], pair[1], agree, likeness.nearest.semitones)
    for side, passage, roll in zip(SIDES, pair, rolls, strict=True):
        stem = run.folder / NEAREST / f"{name}-{side}"
        for _ in export.piece(passage, stem, ("mid", "mp3"), run.facts().program, run.settings().audio):
            pass
        export.write(stem.with_name(f"{stem.name}.svg"), plot.to_bytes(roll, "svg"))
