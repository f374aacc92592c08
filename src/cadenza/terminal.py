"""Records to a terminal: lines for what is said, bars with an estimate for what takes long, tables."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from cadenza.corpus import catalogue
from cadenza.records import Evaluation, Said, Started, Step
from cadenza.records import Progress as Doing

Result = TypeVar("Result")

console = Console(highlight=False, soft_wrap=True, markup=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


class Shown:
    """Bars that are open, by what they stand for."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}
        self.began, self.notes, self.first, self.steps = time.perf_counter(), 0, 0, 0

    def take(self, record: object) -> None:
        match record:
            case Said(text):
                self.bars.console.print(text, markup=False)
            case Doing(doing, done, total):
                self.bar(doing, done, total, "")
            case Started(step, steps):
                self.began, self.notes, self.first, self.steps = time.perf_counter(), 0, step, steps
                self.bar("training", step, steps, "")
            case Step():
                self.notes += record.notes
                self.bar(
                    "training",
                    record.step,
                    self.steps,
                    f"{self.rate():,.0f} notes/s, {record.bits_per_note:.2f} bits per note",
                )
            case Evaluation(step, bits, best):
                left = (time.perf_counter() - self.began) / max(1, step - self.first) * (self.steps - step)
                verdict = (
                    f"validation {bits:.3f} bits per note{', the best so far' if best else ''}"
                    if bits == bits
                    else "no validation"
                )
                self.bars.console.print(
                    f"Step {step:,} of {self.steps:,}: {verdict} ({self.rate():,.0f} notes/s, {left / 60:.1f} min left)",
                    markup=False,
                )

    def rate(self) -> float:
        return self.notes / (time.perf_counter() - self.began)

    def bar(self, doing: str, done: int, total: int, text: str) -> None:
        if doing not in self.tasks:
            self.tasks[doing] = self.bars.add_task(doing, total=total, text=text)
        self.bars.update(self.tasks[doing], completed=done, total=total, text=text)


def finish(records: Generator[Any, None, Result], to: Console = console) -> Result:
    """Show every record and return what the generator returns; bars are for terminals only."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=to, transient=True, disable=not to.is_terminal) as bars:
        shown = Shown(bars)
        while True:
            try:
                shown.take(next(records))
            except StopIteration as done:
                result: Result = done.value
                return result


def show(records: Iterator[Any]) -> None:
    """Show every record."""

    def passed_on() -> Generator[Any, None, None]:
        yield from records

    finish(passed_on())


def show_transfer(name: str, transfers: Iterator[catalogue.Transfer]) -> None:
    """A bar in bytes."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
    ) as bars:
        task = bars.add_task(name)
        for transfer in transfers:
            bars.update(task, completed=transfer.done, total=transfer.total or None)


def show_findings(found: Mapping[str, Any]) -> None:
    """The findings of a corpus, without the entries of the files that are kept."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    for key, value in found.items():
        if key != "entries":
            table.add_row(key.replace("_", " "), in_words(value))
    console.print(table)
    dropped = [entry["reason"] for entry in found["entries"] if entry["reason"]]
    if dropped:
        console.print(f"\nLeft out, {len(dropped):,}:")
        for reason in dropped:
            console.print(f"  {reason}")


def in_words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{str(key).replace('_', ' ')} {in_words(each)}" for key, each in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def show_metrics(metrics: Mapping[str, Any]) -> None:
    """Bits per note of every part, with intervals and baselines."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in (
        "part",
        "works",
        "pieces",
        "notes",
        "bits per note",
        "95 %",
        "unigram",
        "uniform",
        "bits per second",
        "perplexity per token",
    ):
        table.add_column(title, justify="left" if title == "part" else "right")
    for part in ("train", "validation", "test"):
        if row := metrics[part]:
            interval = "–".join(f"{end:.2f}" for end in row["interval"]) if row["interval"] else "one work"
            figures = (
                f"{row['bits_per_note']:.3f}",
                interval,
                f"{row['unigram']:.2f}",
                f"{row['uniform']:.2f}",
                f"{row['bits_per_second']:.1f}",
                f"{row['perplexity_per_token']:.2f}",
            )
            table.add_row(part, f"{row['works']:,}", f"{row['pieces']:,}", f"{row['notes']:,}", *figures)
    console.print(table)


def show_corpora(known: Mapping[str, tuple[catalogue.Corpus, Path | None]]) -> None:
    for name, (corpus, path) in known.items():
        console.print(
            f"{name}\n  {corpus.title}\n  Licence: {corpus.licence}\n  Cite: {corpus.citation}\n  {f'Here: {path}' if path else f'Not here yet: cadenza corpora get {name}'}\n"
        )
