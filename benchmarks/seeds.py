"""Figures of several seeds on the page of benchmarks: a line for each, and their mean and range.

In: what one run of `published.py` found. Out: its section of `docs/benchmarks.md`. The lines that stand there
already are kept, except one of the same task, minutes and seed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from statistics import mean
from typing import NamedTuple

import all as page

NAME = "published.py"
TARGETS = {"frames": "test below 4.65", "jsb16": "validation below 0.37"}
LINE = re.compile(r"^\| (\w+) \| ([\d.]+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$", re.MULTILINE)


class Found(NamedTuple):
    """Nats per unit on the validation and the test pieces."""

    task: str
    minutes: float
    seed: int
    valid: float
    test: float
    weights: int


def record(found: Found) -> None:
    """Write the figures into the page."""
    lines = {each[:3]: each for each in (*recorded(page.sections().get(NAME, "")), found)}
    page.write(NAME, f"{page.heading(NAME)}\n\n{table(sorted(lines.values()))}")


def recorded(section: str) -> Iterator[Found]:
    """The lines of a section."""
    for task, minutes, seed, valid, test, weights in LINE.findall(section):
        yield Found(task, float(minutes), int(seed), float(valid), float(test), int(weights))


def table(lines: Iterable[Found]) -> str:
    """One line a seed, and one for each task and time."""
    rows = [
        "| task | minutes | seed | validation | test | weights |",
        "|---|---|---|---|---|---|",
    ]
    summary = []
    for (task, minutes), some in groupby(lines, lambda each: each[:2]):
        seeds = list(some)
        rows += [f"| {task} | {minutes:g} | {each.seed} | {each.valid:.4f} | {each.test:.4f} | {each.weights} |" for each in seeds]  # fmt: skip
        figures = [f"{part} {mean(values):.4f} ({min(values):.4f} to {max(values):.4f})" for part, values in (("validation", [each.valid for each in seeds]), ("test", [each.test for each in seeds]))]  # fmt: skip
        summary.append(f"* `{task}`, {minutes:g} minutes, mean and range of {len(seeds)} seeds: {', '.join(figures)}; wanted: {TARGETS[task]}.")  # fmt: skip
    return "\n".join([*rows, "", *summary])
