"""The study repeated, its events under Cadenza's trainer, and Cadenza's defaults, on the same 116 files.

Three runs of equal training time, one after the other, each by the command line. Out: `docs/study.md`
and its pictures. A run that is there already is not repeated, so an interrupted story goes on.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cadenza.batches import batches_in_epoch
from cadenza.corpus.split import VALIDATION
from cadenza.runs.folder import Run, open_run
from cadenza.runs.rules import broken_rules
from timing import ROOT, corpus, give_up, parser

PAGE, IMAGES = ROOT / "docs" / "study.md", ROOT / "docs" / "images" / "study"
RUNS = {
    "study": ("The study, repeated", ("--preset", "study")),
    "events": (
        "Its events, Cadenza's network and trainer",
        ("--set", "tokens.representation=study", "--set", "tokens.max_rows=6000", "--set", "midi.time_base=seconds",
         "--set", "midi.pedal=ignore", "--set", "midi.opening_silence=keep", "--set", "corpus.split_by=file",
         "--set", "batches.rows=256", "--set", "model.window=256"),
    ),
    "cadenza": ("Cadenza's defaults", ()),
}  # fmt: skip
PICTURES = {
    "study": ("learning_curve", "temperatures", "frequencies", "types", "sequence_lengths", "pitches", "velocities"),
    "events": ("learning_curve",),
    "cadenza": ("learning_curve", "pitches"),
}


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--minutes", type=float, default=15, help="training time of each run")
    given.add_argument("--runs", type=Path, default=ROOT / "runs" / "story", help="folder for the run folders")
    chosen = given.parse_args()
    archive, names = corpus(chosen.data, "violin-etudes.tar.gz"), corpus(chosen.data, "violin116.txt")
    runs = {}
    for name, (title, options) in RUNS.items():
        print(f"{title} …", flush=True)
        where = ["--out", str(chosen.runs / name), "--minutes", f"{chosen.minutes:g}", "--resume"]
        command = [sys.executable, "-m", "cadenza", "run", str(archive), "--files", str(names), *where, *options]
        if subprocess.run(command, check=False).returncode:
            give_up(f"The run {name!r} did not end well; docs/study.md is left as it was.")
        subprocess.run([sys.executable, "-m", "cadenza", "plot", str(chosen.runs / name)], check=True)
        runs[name] = open_run(chosen.runs / name)
    for name, stems in PICTURES.items():
        for stem in stems:
            copy(runs[name].folder / "plots" / f"{stem}.svg", f"{name}-{stem}.svg")
    for name, sample in (("study", "temperature-0.8-1"), ("cadenza", "01")):
        copy(runs[name].folder / "samples" / f"{sample}.svg", f"{name}-roll.svg")
    PAGE.write_text(story(runs, chosen.minutes), encoding="utf-8")
    print(f"Written: {PAGE.relative_to(ROOT)}")
    print(json.dumps({name: figures(run) for name, run in runs.items()}))


def copy(picture: Path, name: str) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(picture, IMAGES / name)


def figures(run: Run) -> dict[str, float]:
    """Training and held-out perplexity per scored value of the kept state."""
    metrics = run.metrics()
    train, test = (metrics[part]["perplexity_per_token"] for part in ("train", "test"))
    return {"train": round(train, 2), "held_out": round(test, 2), "ratio": round(test / train, 1)}


def curve(run: Run) -> list[dict[str, Any]]:
    return [line for line in run.log() if line["kind"] == "evaluation"]


def story(runs: Mapping[str, Run], minutes: float) -> str:
    study, ours, events = runs["study"], runs["cadenza"], runs["events"]
    evaluations = curve(study)
    held_out = [line["perplexity_per_token"]["test"] for line in evaluations]
    lowest = min(range(len(held_out)), key=held_out.__getitem__)
    test = ours.metrics()["test"]
    budget = next(text for text in study.derived() if "row-steps" in text)
    return f"""# The study, and what it did not say

This page is written by `benchmarks/study.py`; do not edit it. {machine()}, {minutes:g} minutes of training for each run.

Cadenza began from a study. It took 116 violin performances as MIDI files, wrote them as events (a note switched on, time passing, the note switched off, its velocity), trained a network of three LSTM layers on them and let it improvise. Its README quotes a **perplexity of 1.30**: to the network, each next event was almost certain. That sounds like a model that has understood music.

The same notebook prints a second number, **195.83**, for twelve pieces that the network had not been trained on. To it, each event of new music was as hard to guess as one of 196 equally likely ones. Both numbers are right. The first one says how well the network has learned its pieces by heart, the second how much music it has learned.

## Both numbers, from one run

```sh
cadenza run violin-etudes.tar.gz --preset study --files violin116.txt
```

repeats the study: its events with all their quirks, its vocabulary, its network, optimiser, windows and sampling. `cadenza corpora get violin-etudes` brings the archive. The study's files were never published; this list names 116 of the same kind, one performance of each piece, and any such list will do. The run says what its minutes allow: *{budget}*

![Perplexity per event after each epoch, on training pieces and on held-out pieces](images/study/study-learning_curve.svg)

The held-out line is lowest after epoch {evaluations[lowest]["epoch"]:.0f}, at {held_out[lowest]:.2f}. After epoch {evaluations[-1]["epoch"]:.0f} the training perplexity is {evaluations[-1]["perplexity_per_token"]["train"]:.2f} (on as many training pieces as are held out; {figures(study)["train"]:.2f} on all) and the held-out one {held_out[-1]:.2f}. {further(held_out, lowest)} The whole study, at stride 1, would go on {full(study)} times as long.

## What to make of it

{table(runs)}

Perplexities compare only where the events are the same: in the two rows per event, with the same {events.metrics()["test"]["pieces"]} held-out files. The second of them changes the network and the trainer, not the music; it sets some of the training pieces aside for validation and keeps the state at which these were guessed best. The last row is what `cadenza run` does if nothing is said: a row for each note with its exact time and velocity, works kept apart, validation, the best state kept. Its unit is bits per note: {test["bits_per_note"]:.2f} on unseen works, where note frequencies alone give {test["baselines"]["unigram"]["bits_per_note"]:.2f}. The study's events have no such figure, because they do not hold the music: {study.facts().losses[0].lower()}{study.facts().losses[1:]}

![Bits per note against epochs for Cadenza's defaults](images/study/cadenza-learning_curve.svg)

{kept(curve(ours))}

## Where the study breaks the rules

Cadenza says so when it runs the preset, and in the report:

{bullets(broken_rules(study.settings()))}

## What it is made of

![The most frequent events](images/study/study-frequencies.svg)

![Types of events](images/study/study-types.svg)

![Lengths of the training pieces](images/study/study-sequence_lengths.svg)

![Pitches](images/study/study-pitches.svg)

![Velocities: the events clamp them to 60 and 100](images/study/study-velocities.svg)

## What it improvises

Every piece begins with the first ten events of a training piece, and each new event is chosen after reading the last fifty. At a low temperature the same runs come back; at a high one the events lose their order, and a note that is switched on and never off is not heard.

![Four measures of variety against temperature](images/study/study-temperatures.svg)

A piece of the study at temperature 0.8, and one of Cadenza's defaults:

![Piano roll of the study's piece](images/study/study-roll.svg)

![Piano roll of Cadenza's piece](images/study/cadenza-roll.svg)

## Do it again

```sh
python benchmarks/study.py --data ../shared/data
```
"""


def further(held_out: Sequence[float], lowest: int) -> str:
    if held_out[-1] <= 1.005 * held_out[lowest]:
        return "In so short a run it has not risen yet."
    return "Up to the lowest point, what the network learned held for new music too; from then on it learned its pieces, not their language, and with every pass the training figure looks better while the other gets worse."


def kept(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """When validation was lowest, and whether the network went on to learn by heart."""
    best, last = [line for line in evaluations if line["best"]][-1], evaluations[-1]
    if best is last:
        return "Validation was still falling at the end."
    if last["bits_per_note"][VALIDATION] <= 1.005 * best["bits_per_note"][VALIDATION]:
        return f"From epoch {best['epoch']:.0f} of {last['epoch']:.0f} on, validation hardly moves, while the training pieces are still guessed better. The state of the best validation is the one that is kept and quoted."
    return f"This network learns its pieces by heart too, if nobody looks: validation is lowest after epoch {best['epoch']:.0f} of {last['epoch']:.0f}. The state of that moment is the one that is kept and quoted, and even there the two perplexities have parted: so few pieces are soon known."


def full(run: Run) -> str:
    """How many times as many steps the asked epochs would be at the asked stride."""
    settings, data = run.settings(), run.data()
    asked = settings.batches.model_copy(update={"stride_in_force": 0, "stride": 1})
    whole = settings.train.epochs * batches_in_epoch(data.tables.lengths(data.training), asked)
    return f"{whole / settings.train.steps:.0f}"


def table(runs: Mapping[str, Run]) -> str:
    """One row a run, after the study's own two numbers."""
    rows = [
        "| | training perplexity | held-out perplexity | times as high | bits per note, held out |",
        "|---|---|---|---|---|",
        "| *The study's notebook (other files)* | *1.30* | *195.83* | *151* | |",
    ]
    for name, run in runs.items():
        metrics, found = run.metrics(), figures(run)
        bits = "" if metrics["lossy"] else f"{metrics['test']['bits_per_note']:.2f}"
        unit = metrics["unit"]
        rows.append(
            f"| {RUNS[name][0]} (per {unit}) | {found['train']:.2f} | {found['held_out']:.2f} | {found['ratio']:.1f} | {bits} |"
        )
    return "\n".join(rows)


def bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"* {text}" for text in sentences)


def machine() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()}"


if __name__ == "__main__":
    main()
