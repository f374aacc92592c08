"""Records to a terminal: lines for what is said, bars with an estimate for what takes long, tables."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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

from cadenza.corpus.split import PARTS, VALIDATION
from cadenza.errors import CadenzaError
from cadenza.licences import UNKNOWN, Licence
from cadenza.records import Evaluation, NoteMade, Said, Started, Step
from cadenza.records import Progress as Doing

if TYPE_CHECKING:
    from cadenza.corpus import catalogue

Result = TypeVar("Result")

WORKS_SHOWN, NAMES_SHOWN = 24, 4
"""How many works of several pieces are listed, and how many pieces of each."""

COMPILING = "Compiling the loops that improvise (up to two minutes, once; later runs start at once) ..."

console = Console(highlight=False, soft_wrap=True, markup=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


class Shown:
    """Bars that are open, by what they stand for."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}
        self.began, self.notes, self.started = time.perf_counter(), 0, Started(0, 0)

    def take(self, record: object) -> None:
        match record:
            case Said(text):
                self.bars.console.print(text, markup=False)
            case CadenzaError():
                bars_on_screen = self.bars.console.is_terminal and errors.is_terminal
                (self.bars.console if bars_on_screen else errors).print(f"cadenza: {record}", markup=False)
            case NoteMade():
                emit(json.dumps(asdict(record)))
            case Doing(doing, done, total):
                self.bar(doing, done, total, "")
            case Started():
                self.began, self.notes, self.started = time.perf_counter(), 0, record
                self.bar("training", record.step, record.steps, "")
            case Step():
                self.notes += record.notes
                bits = f", {record.bits_per_note:.2f} bits per note" if self.started.figure == "bits per note" else ""
                self.bar("training", record.step, self.started.steps, f"{self.rate():,.0f} notes/s{bits}")
            case Evaluation():
                steps, made = self.started.steps, record.step - self.started.step
                left = (time.perf_counter() - self.began) / max(1, made) * (steps - record.step)
                self.bars.console.print(
                    f"Step {record.step:,} of {steps:,}: {verdict(record, self.started.figure)} ({self.rate():,.0f} notes/s, {left / 60:.1f} min left)",
                    markup=False,
                )

    def rate(self) -> float:
        return self.notes / (time.perf_counter() - self.began)

    def bar(self, doing: str, done: int, total: int, text: str) -> None:
        if doing not in self.tasks:
            self.tasks[doing] = self.bars.add_task(doing, total=total, text=text)
        self.bars.update(self.tasks[doing], completed=done, total=total, text=text)


def emit(line: str) -> None:
    """Put a line out at once; where it cannot be written, `CadenzaError`. A reader that has enough ends the program."""
    try:
        print(line, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is not tried again
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0) from None
        raise CadenzaError(
            f"The notes cannot be written ({error.strerror}); free space or send them elsewhere."
        ) from None


def announce_compiling() -> None:
    """Say on standard error, above bars, that loops are compiled, once they are and if they are."""
    from cadenza.compiling import before_compiling

    before_compiling(lambda: print(COMPILING, file=sys.stderr, flush=True))


def verdict(evaluation: Evaluation, figure: str) -> str:
    """The figure on validation; without validation, the perplexities of what is watched."""
    perplexity = evaluation.perplexity_per_token
    if VALIDATION in perplexity:
        bits = evaluation.bits_per_note[VALIDATION]
        value = f"{bits:.3f}" if figure == "bits per note" else f"{perplexity[VALIDATION]:.2f}"
        return f"validation {value} {figure}{', the best so far' if evaluation.best else ''}"
    watched = ", ".join(f"{part} {value:.2f}" for part, value in perplexity.items())
    return f"epoch {evaluation.epoch:.1f}, perplexity: {watched}" if watched else "nothing is held out to judge it by"


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


def show(records: Iterator[Any], to: Console = console) -> None:
    """Show every record; notes go to standard output, a JSON object a line."""

    def passed_on() -> Generator[Any, None, None]:
        yield from records

    finish(passed_on(), to)


def show_transfer(name: str, records: Iterator[Doing]) -> None:
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
        for record in records:
            bars.update(task, description=f"{record.doing} {name}", completed=record.done, total=record.total or None)


def show_findings(found: Mapping[str, Any]) -> None:
    """The findings of a corpus, without the entries of the files that are kept; what is long is cut short."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    for key, value in found.items():
        if key not in ("entries", "same_work", "playable"):
            table.add_row(key.replace("_", " "), in_words(value))
    console.print(table)
    show_works(found["same_work"])
    if "playable" in found:
        show_playable(found["playable"], found["kept"])
    dropped = [entry["reason"] for entry in found["entries"] if entry["reason"]]
    if dropped:
        console.print(f"\nLeft out, {len(dropped):,}:")
        for reason in dropped:
            console.print(f"  {reason}")


def show_licences(found: Sequence[Licence]) -> None:
    """Name, version and licence of each package; those that state none are counted."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("package", "version", "licence"):
        table.add_column(heading)
    for one in found:
        table.add_row(one.name, one.version, one.licence)
    console.print(table)
    unknown = [one.name for one in found if one.licence == UNKNOWN]
    if unknown:
        console.print(f"Unknown, since the package does not state it: {', '.join(unknown)}.")


def show_works(groups: Sequence[Sequence[str]]) -> None:
    """Which pieces are the same work, as far as there is room."""
    if not groups:
        return
    console.print(f"\nWorks of several pieces, {len(groups):,} (all of them: --json):")
    for names in groups[:WORKS_SHOWN]:
        more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
        console.print(f"  {len(names):,}: {', '.join(names[:NAMES_SHOWN])}{more}")
    if len(groups) > WORKS_SHOWN:
        console.print(f"  and {len(groups) - WORKS_SHOWN:,} more works")


def show_playable(playable: Mapping[str, Any], pieces: int) -> None:
    """How much of a corpus its instrument can play, and what stands against the rest, with a place to look at."""
    console.print(
        f"\nPlayable on the {playable['instrument']}: {playable['share_of_notes']:.2%} of the notes; in full, {playable['pieces_in_full']:,} of {pieces:,} pieces."
    )
    for one in playable["objections"]:
        console.print(
            f"  {one['notes']:,} {one['reason']}, for example {one['pitch']} at {one['seconds']:.1f} s of {one['piece']}"
        )


def in_words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{str(key).replace('_', ' ')} {in_words(each)}" for key, each in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def show_metrics(metrics: Mapping[str, Any]) -> None:
    """A row per figure and model, a column per part; no bits per note where the representation loses notes."""
    parts = [metrics[part] for part in PARTS if metrics[part]]
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for part in PARTS:
        if metrics[part]:
            table.add_column(part, justify="right")
    for key in ("works", "pieces", "notes"):
        table.add_row(key, *(f"{part[key]:,}" for part in parts))
    shown = [(f"perplexity per {metrics['unit']}", "perplexity_per_token", 2)]
    if not metrics["lossy"]:
        shown += [("bits per note", "bits_per_note", 3), (f"bits per note, {metrics['resolution']}", "bits_per_note_on_grid", 3), ("bits per second", "bits_per_second", 1)]  # fmt: skip
    for title, figure, decimals in shown:
        for name, rows in models_of(title, parts).items():
            table.add_row(name, *(f"{row[figure]:.{decimals}f}" for row in rows))
            if name == title or "Markov" in name:
                table.add_row("  95 % interval" if name == title else "    95 % interval", *(in_range(row["intervals"], figure, decimals) for row in rows))  # fmt: skip
        if figure == "bits_per_note":
            table.add_row("  minus Markov", *(difference(part["versus_markov"]) for part in parts))
    console.print(table)
    if metrics["lossy"]:
        console.print(metrics["lossy"])


def show_comparison(found: Mapping[str, Any]) -> None:
    """A row per run, the first one being what the others are measured against."""
    console.print(
        f"{found['part']}: {found['pieces']:,} pieces of {found['works']:,} works; {found['unit']}, lower is better. "
        f"A Markov model needs {found['markov']:.3f}."
    )
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("run", "bits", "95 % interval", "difference", "95 % interval", "verdict"):
        table.add_column(name, justify="left" if name in ("run", "verdict") else "right")
    for number, one in enumerate(found["runs"]):
        differs = (f"{one['difference']:+.3f}", ends(one["difference_interval"], "+.3f"), one["verdict"])
        table.add_row(one["run"], f"{one['bits']:.3f}", ends(one["interval"], ".3f"), *(differs if number else ()))
    console.print(table)


def ends(interval: tuple[float, float] | None, form: str) -> str:
    """Both ends of an interval; there is none over a single work."""
    return " to ".join(format(end, form) for end in interval) if interval else "one work"


def models_of(title: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Line by line, the network under the figure's own name, then the baselines; a table of each part."""
    names = {"markov": "  Markov", "unigram": "  unigram", "uniform": "  uniform"}
    return {title: list(parts)} | {label: [part["baselines"][name] for part in parts] for name, label in names.items()}


def in_range(intervals: Mapping[str, tuple[float, float]] | None, figure: str, decimals: int) -> str:
    return "–".join(f"{end:.{decimals}f}" for end in intervals[figure]) if intervals else "one work"


def difference(versus: Mapping[str, Any]) -> str:
    """Bits per note more (+) or fewer (-) than the Markov model, and the 95 % interval of that."""
    interval = " to ".join(f"{end:+.2f}" for end in versus["interval"] or ())
    return f"{versus['difference']:+.2f}" + (f" ({interval})" if interval else "")


def show_corpora(known: Mapping[str, tuple[catalogue.Corpus, Path | None]]) -> None:
    for name, (corpus, path) in known.items():
        console.print(
            f"{name}\n  {corpus.title}\n  Licence: {corpus.licence}\n  Cite: {corpus.citation}\n  {f'Here: {path}' if path else f'Not here yet: cadenza corpora get {name}'}\n"
        )
