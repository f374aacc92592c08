"""A run folder: the only place that ties the parts together and knows the folder's layout.

Every stage is a generator of records and leaves its result in the folder, so a run that was stopped
goes on with the first stage that is missing. No clock enters `log.jsonl`; timings have their own file.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import torch

from cadenza.errors import CadenzaError
from cadenza.records import Record, Said
from cadenza.runs.figures import evaluate
from cadenza.runs.fit import fit
from cadenza.runs.folder import CHOICE, CONFIG, METRICS, REPORT, SAMPLES_LIST, Run, open_run
from cadenza.runs.folds import cross_validate
from cadenza.runs.page import write_report
from cadenza.runs.pictures import write_plots
from cadenza.runs.prepare import prepare
from cadenza.runs.results import improvise
from cadenza.runs.verify import verify
from cadenza.settings import Settings


def carry_out(
    source: str, settings: Settings, out: Path, init: Path | None = None, resume: bool = False
) -> Generator[Record, None, Run]:
    """The whole way, from a source to a report; stages that are done are not done again."""
    run = yield from train(source, settings, out, init, resume)
    if not (run.folder / METRICS).exists():
        yield from evaluate(run)
    if not (run.folder / SAMPLES_LIST).exists():
        yield from improvise(run)
    if (run.folder / REPORT).exists():
        yield Said(f"Report: {run.folder / REPORT}")
    else:
        yield from write_report(run)
    return run


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
        yield from verify(run)
    else:
        yield from prepare(run, source, settings, init)
    if not run.trained:
        if run.folds() and not (run.folder / CHOICE).exists():
            yield from cross_validate(run)
        yield from fit(run)
    return run


__all__ = ["Run", "carry_out", "evaluate", "improvise", "open_run", "train", "write_plots", "write_report"]
