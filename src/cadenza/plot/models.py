"""A network beside models without one: how hard each part of the music is to guess.

In: for every model and part its figure with a 95 % interval. Out: a figure with one row per model, a dot
per part and a whisker per interval, on one axis (bits per note, or perplexity on a logarithmic axis).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from cadenza.plot import theme

Estimate = tuple[float, float, float]
"""A figure and the ends of its interval; what is unknown is NaN."""

ROW, ABOVE, BELOW = 46.0, 44.0, 36.0
"""Points: the height of a model's row, and the room over and under all rows."""
STEP = 11.0
"""Points between the dots of a row."""
LOOKS: dict[str, dict[str, Any]] = {
    "training": {"color": theme.BLUE, "markerfacecolor": theme.BLUE},
    "validation": {"color": theme.ORANGE, "markerfacecolor": theme.CARD},
    "test": {"color": theme.ORANGE, "markerfacecolor": theme.ORANGE},
}
FAR = 1.6
"""A model that is so many times further off than all others stands at the edge, with an arrow."""


def compare_models(figures: Mapping[str, Mapping[str, Estimate]], unit: str) -> Figure:
    """`figures` by model, then by part ("training", "validation", "test"); lower is better.

    Figures that are no numbers are left out; `unit` is "bits per note" or begins with "perplexity".
    """
    known = {name: finite(parts) for name, parts in figures.items()}
    rows = {name: parts for name, parts in known.items() if parts}
    left = theme.EDGE + 8 + max((theme.text_width(name, theme.SIZE) for name in rows), default=0)
    width, tall = 72 * theme.WIDTH, ROW * max(len(rows), 2)
    with matplotlib.rc_context(theme.STYLE):
        figure = theme.blank(theme.WIDTH, (ABOVE + tall + BELOW) / 72)
        parts = [part for part in LOOKS if any(part in row for row in rows.values())]
        title = f"{unit[:1].upper()}{unit[1:]}: further left is better"
        theme.head(figure, title, [dot(part) for part in parts])
        axes = theme.place(figure, left, BELOW, width - left - 3 * theme.EDGE, tall)
        if not rows:
            theme.nothing(axes, "nothing was measured yet")
            return figure
        end = scale(axes, rows, unit.startswith("perplexity"))
        for place, row in enumerate(rows.values()):
            draw_row(axes, len(rows) - 1 - place, row, parts, end)
        name_rows(axes, list(rows), unit)
        return figure


def finite(parts: Mapping[str, Estimate]) -> dict[str, Estimate]:
    return {part: estimate for part, estimate in parts.items() if math.isfinite(estimate[0])}


def dot(part: str) -> Line2D:
    return Line2D([], [], linestyle="", marker="o", markersize=6, markeredgewidth=1.4, label=part, **LOOKS[part])


def scale(axes: Axes, rows: Mapping[str, Mapping[str, Estimate]], logarithmic: bool) -> float:
    """The axis around all rows; if one lies far behind the others, around those. Returns where it ends."""
    ends = [max(value for estimate in row.values() for value in estimate if math.isfinite(value)) for row in rows.values()]  # fmt: skip
    low = min(value for row in rows.values() for estimate in row.values() for value in estimate if math.isfinite(value))
    measure = math.log if logarithmic and low > 0 else float
    *others, furthest = sorted(ends)
    near = others[-1] if others and measure(furthest) - measure(low) > FAR * (measure(others[-1]) - measure(low)) else furthest  # fmt: skip
    if measure is math.log:
        margin = max((near / low) ** 0.08, 1.05)
        axes.set_xscale("log")
        axes.set_xlim(low / margin, near * margin)
        axes.xaxis.set_major_locator(FixedLocator(theme.plain_ticks(low / margin, near * margin)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        margin = max(0.08 * (near - low), 0.1)
        axes.set_xlim(low - margin, near + margin)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=theme.ROUND))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: theme.plain(round(value, 6))))
    return near


def draw_row(axes: Axes, y: int, row: Mapping[str, Estimate], parts: list[str], end: float) -> None:
    """Dots one under the other in the order of `parts`, each with its whisker."""
    for k, part in enumerate(parts):
        if part not in row:
            continue
        value, low, high = row[part]
        place, look = y + STEP / ROW * ((len(parts) - 1) / 2 - k), LOOKS[part]
        if value > end:
            axes.annotate(
                f"{value:,.1f} →", (1, place), (theme.EDGE, 0), xycoords=axes.get_yaxis_transform(),
                textcoords="offset points", ha="right", va="center_baseline", fontsize=theme.SMALL, color=look["color"],
                gid=f"beyond-{part}",
            )  # fmt: skip
            continue
        if math.isfinite(low) and math.isfinite(high):
            axes.plot([low, min(high, end)], [place] * 2, color=look["color"], linewidth=2, solid_capstyle="round", gid=f"interval-{part}")  # fmt: skip
        axes.plot([value], [place], marker="o", markersize=6, markeredgewidth=1.4, linestyle="", zorder=3, gid=f"dot-{part}", **look)  # fmt: skip


def name_rows(axes: Axes, names: list[str], unit: str) -> None:
    """Names at the left, the first one bold, and a thin line between rows."""
    axes.set_ylim(-0.5, max(len(names), 2) - 0.5 if len(names) > 1 else 0.5)
    axes.set_yticks(range(len(names) - 1, -1, -1), names, fontsize=theme.SIZE, color=theme.INK)
    axes.get_yticklabels()[0].set_fontweight("bold")
    for place in range(1, len(names)):
        axes.axhline(place - 0.5, color=theme.LINE, linewidth=0.8, zorder=0)
    axes.set_xlabel(unit)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
