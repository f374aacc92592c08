"""How far improvised music is from the corpus in every feature, next to unseen human music.

In: the figures of each feature. Out: a figure with a row per feature: a band from 0 to what 95 of 100 sets
of unseen human pieces stay within, with their mean, and a dot for the improvised pieces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cadenza.evaluate.fidelity import FeatureFigures
from cadenza.plot import theme

ROW, ABOVE, BELOW, NAMES, BESIDE = 17.0, 42.0, 38.0, 158.0, 26.0
"""Points: the height of a row, and the margins."""
BAND = 0.62
"""Of a row."""
REACH = 2.0
"""The axis ends at most so many times beyond the widest band; dots further out stand at its end, with their figure."""


def feature_distances(figures: Sequence[FeatureFigures]) -> Figure:
    """One row per feature; features without a distance are left out."""
    shown = [one for one in figures if math.isfinite(one.generated)]
    height = ABOVE + ROW * max(3, len(shown)) + BELOW
    with matplotlib.rc_context(theme.STYLE):
        figure = theme.blank(theme.WIDTH, height / 72)
        theme.head(figure, "Does it sound like the training music?", keys(shown))
        width = 72 * theme.WIDTH - NAMES - BESIDE
        axes = theme.place(figure, NAMES, BELOW, width, height - ABOVE - BELOW)
        if not shown:
            theme.nothing(axes)
            return figure
        end = reach(shown)
        for row, one in enumerate(shown):
            draw_row(axes, len(shown) - 1 - row, one, end)
        scale(axes, shown, end)
        return figure


def keys(shown: Sequence[FeatureFigures]) -> list[Line2D | Patch]:
    """What the colours that occur mean."""
    judged = [one for one in shown if one.compared]
    found: list[Line2D | Patch] = []
    if any(one.inside for one in judged):
        found.append(dot(theme.BLUE, "improvised"))
    if any(not one.inside for one in judged):
        found.append(dot(theme.ORANGE, "further"))
    if judged:
        found.append(Patch(color=theme.PALE, linewidth=0, label="unseen human music"))
        found.append(Line2D([], [], color=theme.BLUE, linewidth=1.2, label="its mean"))
    return found or [dot(theme.INK, "improvised")]


def dot(colour: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker="o", markersize=6, linestyle="", label=label)


def reach(shown: Sequence[FeatureFigures]) -> float:
    """Where the axis ends."""
    bands = [one.floor_high for one in shown if one.compared]
    dots = [one.generated for one in shown]
    end = min(max(dots), REACH * max(bands)) if bands and max(bands) > 0 else max(dots)
    return 1.04 * max([end, *bands]) or 1.0


def draw_row(axes: Axes, y: int, one: FeatureFigures, end: float) -> None:
    """Band, mean of the floor and dot; beyond the axis an arrow with the figure."""
    colour = theme.INK
    if one.compared:
        axes.barh(y, one.floor_high, BAND, color=theme.PALE, linewidth=0, gid="band")
        axes.plot([one.floor] * 2, [y - BAND / 2, y + BAND / 2], color=theme.BLUE, linewidth=1.2, gid="floor")
        colour = theme.BLUE if one.inside else theme.ORANGE
    if one.generated <= end:
        axes.plot([one.generated], [y], "o", color=colour, markersize=6, markeredgecolor=theme.CARD, gid="dot")
        return
    axes.plot([end], [y], ">", color=colour, markersize=6, markeredgewidth=0, clip_on=False, gid="beyond")
    figure = f"{one.generated:.{1 if one.generated < 10 else 0}f}"
    axes.annotate(figure, (end, y), (6, 0), textcoords="offset points", va="center", fontsize=theme.SMALL, color=theme.INK)  # fmt: skip


def scale(axes: Axes, shown: Sequence[FeatureFigures], end: float) -> None:
    """Names at the left, a plain axis below."""
    axes.set_xlim(0, end)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    names = [theme.fitted(one.title, NAMES - theme.EDGE - 6) for one in reversed(shown)]
    axes.set_yticks(range(len(shown)), names, color=theme.INK)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=theme.ROUND))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: theme.plain(round(value, 6))))
    axes.grid(axis="x")
    axes.set_xlabel("distance from the training music")
