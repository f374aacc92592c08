"""The stages of a run, in order: each leaves its result in the folder, so a stopped run goes on with the first that is missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from cadenza.errors import CadenzaError
from cadenza.evaluate.verdict import first_line
from cadenza.lock import RUN_LOCK, held
from cadenza.parallel import outline, together
from cadenza.records import Record, Said
from cadenza.runs.chain import ALTERED, LINKS, drop, fault_of, faults, intact, remove_parts, renewed, seal
from cadenza.runs.figures import score_parts
from cadenza.runs.fit import fit
from cadenza.runs.folder import (
    CHOICE,
    CONFIG,
    FOLDS,
    JUDGEMENT,
    METRICS,
    REPORT,
    SAMPLES_LIST,
    SCORES,
    STATE,
    TUNE,
    Run,
)
from cadenza.runs.folds import cross_validate
from cadenza.runs.judging import judge
from cadenza.runs.page import write_report
from cadenza.runs.prepare import prepare
from cadenza.runs.samples import improvise
from cadenza.runs.verification import verify
from cadenza.settings import Settings


def carry_out(
    source: str, settings: Settings, out: Path, init: Path | None = None, resume: bool = False
) -> Generator[Record, None, Run]:
    """The whole way, from a source to a report; stages that are done are not done again.

    Of several processes the first one alone goes on after training.
    """
    with locked(out):
        run = yield from trained(source, settings, out, init, resume)
        if outline().rank:
            return run
        for link, stage in (("figures", score_parts), ("pieces", improvise), ("judgement", judge)):
            yield from made(run, link, stage)
        if intact(run, "report") and intact(run, "pictures"):
            yield Said(f"Report: {run.folder / REPORT}")
        else:
            yield from reported(run)
    return run


def made(run: Run, link: str, stage: Callable[[Run], Iterator[Record]]) -> Iterator[Record]:
    """Do a stage unless what it makes is there, as it was."""
    if intact(run, link):
        return
    for name, fault in faults(run, link).items():
        yield Said(f"{run.folder / name}: {fault} since it was written; it is made anew.")
    with renewed(run, link):
        yield from stage(run)


def evaluate(run: Run) -> Iterator[Record]:
    """Score the model anew on every part, judge what it improvises, and write the report."""
    with held(run.folder / RUN_LOCK):
        run.check_trained()
        yield from verify(run, "figures")
        with renewed(run, "figures"):
            yield from score_parts(run)
        with renewed(run, "judgement"):
            yield from judge(run)
        yield from reported(run)


def report(run: Run) -> Iterator[Record]:
    """Write the page anew, of figures that still mean something."""
    with held(run.folder / RUN_LOCK):
        yield from reported(run)


def reported(run: Run) -> Iterator[Record]:
    """`report`, in a folder that is locked."""
    yield from verify(run, "pictures")
    yield Said(f"Verdict: {first_line(run.metrics(), run.judgement()).text}")
    with renewed(run, "pictures", "report"):
        yield from write_report(run)


def train(
    source: str, settings: Settings, out: Path, init: Path | None = None, resume: bool = False
) -> Generator[Record, None, Run]:
    """Prepare the folder and train; an existing run is continued only with `resume`."""
    with locked(out):
        return (yield from trained(source, settings, out, init, resume))


def locked(folder: Path) -> AbstractContextManager[None]:
    """The lock of a run's folder, which the first of several processes holds for all."""
    return nullcontext() if outline().rank else held(folder / RUN_LOCK)


def trained(
    source: str, settings: Settings, out: Path, init: Path | None, resume: bool
) -> Generator[Record, None, Run]:
    """`train`, in a folder that is locked.

    Of several processes the first one alone prepares the folder and has something to say.
    """
    run, to_train = Run(out), False
    with together(settings.train.device) as group:
        if not group.rank:
            to_train = yield from ready(run, source, settings, init, resume)
        if group.anyone(to_train):
            training = fit(run, group)
            if group.rank:
                deque(training, maxlen=0)
            else:
                with renewed(run, "model"):
                    yield from training
    return run


def ready(run: Run, source: str, settings: Settings, init: Path | None, resume: bool) -> Generator[Record, None, bool]:
    """Prepare the folder up to the training of the model that is delivered; whether that is still to be done."""
    out = run.folder
    if run.prepared and not resume:
        raise CadenzaError(f"{out}: there is a run here already; pass --resume to go on with it, or another --out.")
    if Path(source).is_dir() and Path(source).resolve() == out.resolve():
        raise CadenzaError(f"{out}: a run must not lie in the folder of its music; pass another --out.")
    if settings.train.threads:
        torch.set_num_threads(settings.train.threads)
    if run.prepared:
        yield from taken_up(run)
    elif any((out / name).exists() for name in (STATE, FOLDS)):
        raise CadenzaError(
            f"{out}: it was trained, but its {CONFIG} is missing; copy it back, or choose another --out."
        )
    else:
        yield from prepare(run, source, settings, init)
    if not intact(run, "corpus"):
        seal(run, "corpus")
    if run.trained and intact(run, "model"):
        return False
    for name in (METRICS, SCORES, SAMPLES_LIST, JUDGEMENT, TUNE, REPORT):  # of an earlier state, if any
        (run.folder / name).unlink(missing_ok=True)
    drop(run, *set(LINKS) - {"corpus"})
    if run.folds() and not (run.folder / CHOICE).exists():
        yield from cross_validate(run)
    return True


def taken_up(run: Run) -> Iterator[Record]:
    """Look over a folder that is prepared, and remove what was left of a write that was cut off."""
    if run.trained:
        yield Said(
            f"{run.folder} is trained to its last step; to train longer, begin another run with this one as --init."
        )
    else:
        yield Said(f"Going on with {run.folder}, by its own {CONFIG}; settings given now are not used.")
    remove_parts(run)
    yield from verify(run, "model")
    for name, fault in faults(run, "model").items():
        if fault == ALTERED:  # what is missing is made anew
            raise fault_of(run, "model", name, fault)
