"""`report.html`, from what lies in a run folder."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

from cadenza import plot, report
from cadenza.evaluate.fidelity import FeatureFigures
from cadenza.evaluate.verdict import figure
from cadenza.records import Record, Said, counted
from cadenza.runs.folder import MANIFEST, METRICS, NEAREST, PLOTS, REPORT, SAMPLES, Run
from cadenza.runs.pictures import Drawn, pictures, write_figure
from cadenza.runs.rules import broken_rules

LIKENESSES = 4
"""Samples whose nearest passage is shown, the most alike ones."""
PARTS = {"train": "training", "validation": "validation", "test": "test"}


def write_report(run: Run) -> Iterator[Record]:
    """Draw the pictures anew and write the page."""
    settings, facts, metrics, judgement = run.settings(), run.facts(), run.metrics(), run.judgement()
    drawn = list(pictures(run))
    evidence = {"models": models(metrics)} | ({"fidelity": fidelity(judgement)} if judgement else {})
    for picture in (*drawn, *evidence.values()):
        for _ in write_figure(picture.figure, run.folder / PLOTS / picture.stem, ("svg", "png")):
            pass
    curve, *others = map(as_picture, drawn)
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
        judgement=judgement,
        models=as_picture(evidence["models"]),
        fidelity=as_picture(evidence["fidelity"]) if judgement else None,
        likenesses=list(likenesses(run, judgement)) if judgement else [],
        digests=stated(run),
    )
    yield Said(f"Report: {run.write(REPORT, text.encode())}")


def stated(run: Run) -> dict[str, str]:
    """SHA-256 of what the page is about, by what it is."""
    return {
        "weights of the model": run.improviser().weights_sha256,
        MANIFEST: run.manifest_sha256(),
        METRICS: sha256(run.read(METRICS)).hexdigest(),
    }


def as_picture(drawn: Drawn) -> report.Picture:
    return report.Picture(drawn.title, drawn.caption, plot.to_bytes(drawn.figure, "svg"))


def models(metrics: Mapping[str, Any]) -> Drawn:
    """All models on all parts, in bits per note unless these would mislead."""
    lossy = bool(metrics["lossy"])
    key, unit = ("perplexity_per_token", "perplexity per event") if lossy else ("bits_per_note", "bits per note")
    shown = {
        name: {word: estimate(metrics[part], key, model) for part, word in PARTS.items()}
        for model, name in report.MODELS.items()
    }
    caption = "How hard the music is to guess for each model: music it learned from, and music it did not."
    if not lossy:
        caption += " Lines are 95 % intervals."
    return Drawn("models", "The network beside simple models", caption, plot.compare_models(shown, unit))


def estimate(part: Mapping[str, Any] | None, key: str, model: str) -> tuple[float, float, float]:
    """A figure and its interval, where there is one."""
    table = (part or {}) if model == "network" else (part or {}).get("baselines", {}).get(model, {})
    low, high = (table.get("interval") if key == "bits_per_note" else None) or (math.nan, math.nan)
    return figure(part, key, model), low, high


def fidelity(judgement: Mapping[str, Any]) -> Drawn:
    """Every feature's distance beside its floor."""
    known = [field.name for field in fields(FeatureFigures)]
    tables: list[dict[str, Any]] = [
        {name: math.nan if one.get(name) is None else one[name] for name in known}
        for one in judgement["fidelity"]["features"]
    ]
    figures = [FeatureFigures(**table) for table in tables]
    caption = "How far the improvised pieces are from the training music in each feature, beside unseen human music."
    return Drawn("fidelity", "Feature by feature", caption, plot.feature_distances(figures))


def likenesses(run: Run, judgement: Mapping[str, Any]) -> Iterator[report.Likeness]:
    """The most alike passages with their sound; those whose files are gone are left out."""
    found = {one["name"]: one for one in judgement["originality"]["samples"] if one.get("nearest")}
    order = sorted(found.values(), key=lambda one: (not one["copied"], -one["nearest"]["notes"]))[:LIKENESSES]
    titles = {sample["name"]: sample["title"] for sample in run.samples()}
    for one in order:
        stem, near, title = f"{NEAREST}/{one['name']}", one["nearest"], titles.get(one["name"], one["name"])
        paths = [f"{stem}-{side}.{kind}" for side in ("own", "training") for kind in ("svg", "mp3")]
        if "at" not in near or not all((run.folder / path).exists() for path in paths):
            continue
        own_roll, own_sound, roll, sound = map(run.read, paths)
        yield report.Likeness(
            title,
            f"{near['notes']} notes {report.ALIKE[near['measure']][1]}",
            report.Sample(title, f"from {plot.clock(near['own_at'])}", near["own_seconds"], own_roll, own_sound),
            report.Sample(
                PurePosixPath(near["name"]).name,
                f"from {plot.clock(near['at'])}{transposed(near['semitones'])}",
                near["seconds"],
                roll,
                sound,
            ),
            max(near["own_seconds"], near["seconds"], 1.0),
        )


def transposed(semitones: int) -> str:
    """How a passage lies that the improvised one is `semitones` above, after a comma.

    >>> transposed(5), transposed(-1), transposed(0)
    (', 5 semitones lower', ', 1 semitone higher', '')
    """
    if not semitones:
        return ""
    return f", {counted(abs(semitones), 'semitone')} {'lower' if semitones > 0 else 'higher'}"


def again(run: Run) -> list[str]:
    """The commands that repeat the run and make more of it."""
    folder = shlex.quote(str(run.folder))
    return [
        f"cadenza reproduce {folder}",
        f"cadenza generate {folder} -n 8 --seconds 60 --out more",
    ]


def shown_sample(run: Run, sample: dict[str, Any]) -> report.Sample:
    roll, sound = (run.read(f"{SAMPLES}/{sample['name']}.{kind}") for kind in ("svg", "mp3"))
    facts = f"{sample['notes']:,} notes · {sample['seconds']:.0f} s"
    return report.Sample(sample["title"], facts, sample["seconds"], roll, sound, sample["name"])
