"""Temperature by evidence: the way of sampling whose pieces are closest to music the model has not seen.

In: a trained run with validation works. Out: `tune.json`, the choice in the header of the model's
file, and two pictures. Test pieces are not looked at.

One control after the other: the temperature, then that of each field a little lower and higher, then
top-p. Every setting improvises as many pieces from the same seeds; they are judged by their distance
(`evaluate.closeness`) to the beginnings of the validation pieces, cut to the same length, and those that
copy from the training pieces (`evaluate.originality`) are counted.
`trials` says how one is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from itertools import compress

import numpy as np
import torch

from cadenza.checkpoint import with_sampling
from cadenza.corpus.scan import Entry
from cadenza.corpus.split import TRAIN, VALIDATION
from cadenza.errors import CadenzaError
from cadenza.evaluate.draws import excerpts_by_notes
from cadenza.evaluate.fidelity import distance
from cadenza.evaluate.originality import TrainingIndex, yardstick
from cadenza.hearing import cut
from cadenza.improviser import Improviser
from cadenza.lock import RUN_LOCK, held
from cadenza.models import device
from cadenza.notes import Notes, from_first_onset, one_at_a_time
from cadenza.records import Progress, Record, Said, counted
from cadenza.runs.chain import renewed
from cadenza.runs.folder import MODEL, PLOTS, TUNE, Run
from cadenza.runs.pictures import tune_pictures, write_figure
from cadenza.runs.trials import Judge, Trial, as_dict, in_words, judged, plainest, why
from cadenza.runs.verification import verify
from cadenza.settings import SampleSettings, validate

TEMPERATURES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
FIELD_STEPS = (-0.15, 0.15)
"""What is added to the temperature for one field alone."""
NUCLEI = (0.98, 0.95, 0.9)
"""Values of top-p."""
PIECES, LONGEST_SECONDS = 64, 30.0
HUMAN_DRAWS = 20
FEWEST_WORKS = 4
"""Of fewer validation works, halves tell more of the works than of human music."""


def tune(run: Run, count: int = PIECES, seconds: float | None = None) -> Iterator[Record]:
    """Try the settings, store the choice; a run without validation pieces raises `CadenzaError`."""
    with held(run.folder / RUN_LOCK):
        yield from tuned(run, count, seconds)


def tuned(run: Run, count: int, seconds: float | None) -> Iterator[Record]:
    """`tune`, in a folder that is locked."""
    run.check_trained()
    yield from verify(run, "pieces")
    settings = run.settings()
    torch.set_num_threads(1)  # a row of eight lanes is too little work to share; a second thread would wait
    improviser = run.improviser(device(settings.train.device).type)
    run.check_model(improviser)
    check(run, count, seconds)
    validation = run.pieces(VALIDATION)
    median = float(np.median([piece.length_seconds for piece, _ in validation]))
    seconds = seconds or max(1, round(min(LONGEST_SECONDS, median)))
    yield Progress("reading the training pieces", 0, 1)
    judge = judge_of(run, validation, seconds)
    human = human_level(judge, count, settings.train.seed)
    yield Said(introduction(judge, human, count, seconds))
    trials = yield from attempts(improviser, judge, count, seconds, settings.train.seed)
    chosen = plainest(trials)
    found = {
        "step": improviser.step, "manifest_sha256": improviser.manifest_sha256, "seed": settings.train.seed,
        "pieces": count, "seconds": seconds, "validation_pieces": len(judge.reference), "human": human,
        "tried": [as_dict(trial, chosen) for trial in trials],
        "chosen": trials.index(chosen), "why": why(chosen, trials),
        "samples": [sample for trial in trials if not trial.plainness[0] for sample in trial.samples],
    }  # fmt: skip
    with renewed(run, "model", "tuning", "pictures"):
        run.write(MODEL, with_sampling(run.read(MODEL), chosen.sampling))
        yield Said(f"Wrote {run.write_json(TUNE, found)}")
        for drawn in tune_pictures(run):
            yield from write_figure(drawn.figure, run.folder / PLOTS / drawn.stem, ("svg", "png"))
    yield Said(f"{found['why']} cadenza generate uses this setting from now on, unless told otherwise.")


def check(run: Run, count: int, seconds: float | None) -> None:
    if run.folds():
        raise CadenzaError(
            f"{run.folder}: its works were dealt into folds, so there are no validation works to choose a temperature by; train anew with --set corpus.folds=0, or with more works."
        )
    if not len(run.data().validation):
        raise CadenzaError(
            f"{run.folder}: nothing was held out for validation, so no temperature can be judged; train anew on three works or more with corpus.validation above 0."
        )
    validate({"sample": {"seconds": seconds}} if seconds is not None else {})
    if count < 2:
        raise CadenzaError("The noise cannot be told from one piece; pass --pieces 2 or more.")


def judge_of(run: Run, validation: Sequence[tuple[Notes, Entry]], seconds: float) -> Judge:
    """Beginnings of validation pieces to be close to, and how much of the training pieces validation music has."""
    training = run.pieces(TRAIN)
    reference = [beginning(piece, seconds) for piece, _ in validation]
    index = TrainingIndex.of([piece for piece, _ in training])
    rng = np.random.default_rng(run.settings().train.seed)
    human = excerpts_by_notes([piece for piece, _ in validation], [len(piece) for piece in reference], rng)
    works, names = [entry.work for _, entry in validation], [entry.name for _, entry in training]
    return Judge(reference, works, index, yardstick(list(index.likeness(human))), names)


def beginning(piece: Notes, seconds: float) -> Notes:
    """A piece as if it had been improvised: from its first note on, no longer than asked."""
    limit = round(seconds / piece.header.step_seconds)
    return one_at_a_time(cut(from_first_onset(piece), limit))


def human_level(judge: Judge, count: int, seed: int) -> dict[str, float] | None:
    """Distances between halves of the validation music that share no work; None where works are few."""
    works = np.unique(judge.works)
    if len(works) < FEWEST_WORKS:
        return None
    rng, found = np.random.default_rng(seed), []
    for _ in range(HUMAN_DRAWS):
        inside = np.isin(judge.works, rng.permutation(works)[: len(works) // 2])
        one, other = (list(compress(judge.reference, side)) for side in (inside, ~inside))
        found.append(distance(one[:count], other))
    low, middle, high = np.percentile(found, [5, 50, 95]).tolist()
    return {"low": low, "median": middle, "high": high}


def introduction(judge: Judge, human: dict[str, float] | None, count: int, seconds: float) -> str:
    level = (
        f"two halves of it that share no work are {human['median']:.3f} apart ({human['low']:.3f} to {human['high']:.3f})"
        if human
        else f"it is of {counted(len(set(judge.works)), 'work')}, too few to say how near human music is to itself"
    )
    return f"Validation music: the first {seconds:g} s of {len(judge.reference):,} pieces; {level}. Each setting improvises {count} pieces as long."


def attempts(
    improviser: Improviser, judge: Judge, count: int, seconds: float, seed: int
) -> Generator[Record, None, list[Trial]]:
    """Every setting in turn; what follows is tried around the plainest so far."""
    fields = improviser.representation.fields
    stages = ["", *(fields if len(fields) > 1 else ()), "top-p"]
    total = len(TEMPERATURES) + len(FIELD_STEPS) * (len(stages) - 2) + len(NUCLEI)
    trials: list[Trial] = []
    began = time.perf_counter()
    for stage in stages:
        for sampling in variations(stage, plainest(trials).sampling if trials else SampleSettings()):
            yield Progress("trying settings", len(trials), total)
            pieces = yield from improviser.stream(
                sampling.model_copy(update={"seconds": seconds, "ending": "cut"}), range(count), seed
            )
            trial = judged(improviser.representation, judge, sampling, pieces)
            trials.append(trial)
            yield Said(in_words(trial, count))
            if len(trials) == 1:
                minutes = (time.perf_counter() - began) * (total - 1) / 60
                yield Said(
                    f"{total - 1} more settings will take about {minutes:.1f} minutes; Ctrl-C leaves the run as it was."
                )
    yield Progress("trying settings", total, total)
    return trials


def variations(stage: str, around: SampleSettings) -> Iterator[SampleSettings]:
    """What a stage tries: temperatures, top-p, or other temperatures of the field that it is named after."""
    base = around.model_dump(include={"temperature", "by_field", "top_p"}, exclude_unset=True)
    if not stage:
        yield from (SampleSettings(temperature=temperature) for temperature in TEMPERATURES)
    elif stage == "top-p":
        yield from (SampleSettings.model_validate(base | {"top_p": top_p}) for top_p in NUCLEI)
    else:
        for step in FIELD_STEPS:
            by_field = around.by_field | {stage: round(around.temperature + step, 3)}
            yield SampleSettings.model_validate(base | {"by_field": by_field})
