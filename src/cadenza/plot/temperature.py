"""What the temperature of sampling does to improvised pieces.

In: some figures of every sample, and its temperature. Out: a figure with one panel per figure: a dot
per sample, a line through the means, and a band in which most human pieces lie.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from cadenza.plot import theme

PANEL, GAP, LEFT, ABOVE, BELOW = 106.0, 42.0, 36.0, 58.0, 36.0
"""Points: the height of a panel, what lies between two, and the margins."""


def temperature_analysis(
    samples: Sequence[Mapping[str, float]],
    labels: Mapping[str, str],
    human: Mapping[str, tuple[float, float]] | None = None,
    whose: str = "human pieces",
) -> Figure:
    """One panel per key of `labels` (its title, with the unit); every sample has these keys and "temperature".

    `human` gives the range of the same figures in human pieces, `whose` says in which.
    """
    rows = math.ceil(max(1, len(labels)) / 2)
    width, height = 72 * theme.WIDTH, ABOVE + rows * PANEL + (rows - 1) * GAP + BELOW
    with matplotlib.rc_context(theme.STYLE):
        figure = theme.blank(theme.WIDTH, height / 72)
        theme.head(figure, "Higher temperature, freer choice: what changes", keys(whose if human else None))
        panel = (width - 2 * LEFT - 2 * theme.EDGE) / 2
        for k, (key, label) in enumerate(labels.items()):
            row, column = divmod(k, 2)
            bottom = height - ABOVE - (row + 1) * PANEL - row * GAP
            axes = theme.place(figure, LEFT + column * (panel + LEFT), bottom, panel, PANEL)
            theme.unit_above(axes, theme.fitted(label, panel + LEFT - 12), LEFT)
            draw_panel(axes, samples, key, (human or {}).get(key))
            if k + 2 >= len(labels):
                axes.set_xlabel("temperature")
        return figure


def keys(whose: str | None) -> list[Artist]:
    """What dot, line and band mean."""
    shown: list[Artist] = [
        Line2D(
            [], [], color=theme.ORANGE, marker="o", markersize=4, alpha=0.55, linestyle="", label="an improvised piece"
        ),
        Line2D([], [], color=theme.ORANGE, linewidth=2, label="mean"),
    ]
    if whose:
        shown.append(Patch(color=theme.PALE, linewidth=0, label=whose))
    return shown


def draw_panel(axes: Axes, samples: Sequence[Mapping[str, float]], key: str, human: tuple[float, float] | None) -> None:
    """Dots, their means and the band of human pieces; values that are no numbers are left out."""
    points = np.array([(one["temperature"], one[key]) for one in samples if key in one], dtype=np.float64).reshape(
        -1, 2
    )
    points = points[np.isfinite(points).all(axis=1)]
    axes.spines["left"].set_visible(False)
    if not len(points):
        theme.nothing(axes)
        return
    temperatures = np.unique(points[:, 0])
    means = [points[points[:, 0] == value, 1].mean() for value in temperatures]
    axes.plot(points[:, 0], points[:, 1], "o", color=theme.ORANGE, markersize=4, markeredgewidth=0, alpha=0.55)
    axes.plot(temperatures, means, color=theme.ORANGE, linewidth=2, solid_capstyle="round")
    top = float(points[:, 1].max())
    if human is not None and np.isfinite(human).all():
        axes.axhspan(*human, color=theme.PALE, linewidth=0, zorder=0.5)
        top = max(top, human[1])
    low = min(0.0, float(points[:, 1].min()))
    axes.set_ylim(low, low + (1.12 * (top - low) or 1))
    temperature_ticks(axes, temperatures)


def temperature_ticks(axes: Axes, temperatures: np.ndarray) -> None:
    """A tick at every temperature that was tried, as far as there is room."""
    low, high = float(temperatures[0]), float(temperatures[-1])
    margin = 0.06 * (high - low) or 0.1
    axes.set_xlim(low - margin, high + margin)
    if len(temperatures) <= 6 and min(np.diff(temperatures), default=1) > 0.13 * (high - low):
        axes.xaxis.set_major_locator(FixedLocator(list(temperatures)))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=theme.ROUND))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=theme.ROUND))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: theme.plain(round(value, 6))))
    axes.grid(axis="y")
