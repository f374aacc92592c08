"""`report.html`, from what lies in a run folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from cadenza import plot, report
from cadenza.records import Record, Said
from cadenza.runs.folder import CONFIG, PLOTS, REPORT, SAMPLES, Run
from cadenza.runs.pictures import pictures, write_figure
from cadenza.runs.rules import broken_rules


def write_report(run: Run) -> Iterator[Record]:
    """Draw the pictures anew and write the page."""
    settings, facts, metrics = run.settings(), run.facts(), run.metrics()
    drawn = list(pictures(run))
    for picture in drawn:
        yield from write_figure(picture.figure, run.folder / PLOTS / picture.stem, ("svg", "png"))
    curve, *others = [report.Picture(each.title, each.caption, plot.to_bytes(each.figure, "svg")) for each in drawn]
    text = report.page(
        title=f"{facts.source.replace('-', ' ').capitalize()}, improvised",
        metrics=metrics,
        facts=asdict(facts),
        settings=settings.model_dump(),
        entries=run.entries(),
        curve=curve,
        pictures=others,
        samples=[shown_sample(run, sample) for sample in run.samples()],
        again=again(run),
        broken_rules=list(broken_rules(settings)),
        derived=run.derived(),
    )
    yield Said(f"Report: {run.write(REPORT, text.encode())}")


def again(run: Run) -> list[str]:
    """The commands that repeat the run and make more of it."""
    origin = run.origin()
    init = f" --init {shlex.quote(origin['init'])}" if origin["init"] else ""
    folder, config = shlex.quote(str(run.folder)), shlex.quote(str(run.folder / CONFIG))
    return [
        f"cadenza run {shlex.quote(origin['source'])} --config {config}{init} --out {folder}-again",
        f"cadenza generate {folder} -n 8 --seconds 60 --out more",
    ]


def shown_sample(run: Run, sample: dict[str, Any]) -> report.Sample:
    roll, sound = (run.read(f"{SAMPLES}/{sample['name']}.{kind}") for kind in ("svg", "mp3"))
    facts = f"{sample['notes']:,} notes · {sample['seconds']:.0f} s"
    return report.Sample(sample["title"], facts, sample["seconds"], roll, sound)
