"""The stages of a run, in order: each leaves its result in the folder, so a stopped run goes on with the first that is missing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import torch

from cadenza.errors import CadenzaError
from cadenza.evaluate.verdict import first_line
from cadenza.records import Record, Said
from cadenza.runs.figures import score_parts
from cadenza.runs.fit import fit
from cadenza.runs.folder import CHOICE, CONFIG, JUDGEMENT, METRICS, REPORT, SAMPLES_LIST, SCORES, TUNE, Run
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
    """The whole way, from a source to a report; stages that are done are not done again."""
    run = yield from train(source, settings, out, init, resume)
    if not (run.folder / METRICS).exists():
        yield from score_parts(run)
    if not (run.folder / SAMPLES_LIST).exists():
        yield from improvise(run)
    if not (run.folder / JUDGEMENT).exists():
        yield from judge(run)
    if (run.folder / REPORT).exists():
        yield Said(f"Report: {run.folder / REPORT}")
    else:
        yield from report(run)
    return run


def evaluate(run: Run) -> Iterator[Record]:
    """Score the model anew on every part, judge what it improvises, and write the report."""
    run.check_trained()
    yield from verify(run)
    yield from score_parts(run)
    yield from judge(run)
    yield from report(run)


def report(run: Run) -> Iterator[Record]:
    """Write the page anew, of figures that still mean something."""
    yield from verify(run)
    yield Said(f"Verdict: {first_line(run.metrics(), run.judgement()).text}")
    yield from write_report(run)


def train(
    source: str, settings: Settings, out: Path, init: Path | None = None, resume: bool = False
) -> Generator[Record, None, Run]:
    """Prepare the folder and train; an existing run is continued only with `resume`."""
    run = Run(out)
    if run.prepared and not resume:
        raise CadenzaError(f"{out}: there is a run here already; pass --resume to go on with it, or another --out.")
    if Path(source).is_dir() and Path(source).resolve() == out.resolve():
        raise CadenzaError(f"{out}: a run must not lie in the folder of its music; pass another --out.")
    if settings.train.threads:
        torch.set_num_threads(settings.train.threads)
    if run.trained:
        yield Said(f"{out} is trained to its last step; to train longer, begin another run with this one as --init.")
    elif run.prepared:
        yield Said(f"Going on with {out}, by its own {CONFIG}; settings given now are not used.")
    if run.prepared:
        yield from verify(run)
    else:
        yield from prepare(run, source, settings, init)
    if not run.trained:
        for name in (METRICS, SCORES, SAMPLES_LIST, JUDGEMENT, TUNE, REPORT):  # of an earlier state, if any
            (run.folder / name).unlink(missing_ok=True)
        if run.folds() and not (run.folder / CHOICE).exists():
            yield from cross_validate(run)
        yield from fit(run)
    return run
