"""How close to human music improvised pieces are at each temperature, and which setting was chosen.

In: the settings tried, with their distances. Out: a figure: a line through the temperatures of all fields with
bars of one standard error, a dot for every other setting, a band for human music, a ring around the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from cadenza.plot import theme
from cadenza.plot.temperature import temperature_ticks


def tuning(tried: Sequence[Mapping[str, Any]], chosen: int, human: tuple[float, float] | None = None) -> Figure:
    """`tried` have "temperature", "distance", "noise" (its difference to the choice), "plain" and "copied".

    `human` is the range of distances between one part of human music and another. A distance of None
    is not drawn.
    """
    measured = [one for one in tried if one["distance"] is not None]
    with matplotlib.rc_context(theme.STYLE):
        figure, axes = theme.chart(
            "How close to unseen music", "distance to validation music; lower is closer", keyed=True
        )
        theme.head(figure, "", keys(measured, human is not None))
        if not measured:
            theme.nothing(axes)
            return figure
        if human is not None:
            axes.axhspan(*human, color=theme.PALE, linewidth=0, zorder=0.5)
        plain = sorted((one for one in measured if one["plain"]), key=lambda one: one["temperature"])
        others = [one for one in measured if not one["plain"]]
        axes.errorbar(
            *columns(plain), yerr=[one["noise"] for one in plain], color=theme.ORANGE, linewidth=2, elinewidth=1.2, marker="o", markersize=4, zorder=3,
        )  # fmt: skip
        axes.plot(*columns(others), "o", color=theme.ORANGE, markersize=4, markeredgewidth=0, alpha=0.55, zorder=3)
        axes.plot(*columns([one for one in measured if one["copied"]]), "x", color=theme.INK, markersize=7, zorder=4)
        mark(axes, tried[chosen])
        scale(axes, measured, human)
    return figure


def keys(measured: Sequence[Mapping[str, Any]], human: bool) -> list[Artist]:
    """What line, dots, crosses and band mean, as far as they occur."""
    shown: list[Artist] = [
        Line2D([], [], color=theme.ORANGE, linewidth=2, marker="o", markersize=4, label="one temperature")
    ]
    if not all(one["plain"] for one in measured):
        shown.append(
            Line2D(
                [], [], color=theme.ORANGE, marker="o", markersize=4, alpha=0.55, linestyle="", label="by field, top-p"
            )
        )
    if any(one["copied"] for one in measured):
        shown.append(Line2D([], [], color=theme.INK, marker="x", markersize=6, linestyle="", label="copies"))
    if human:
        shown.append(Patch(color=theme.PALE, linewidth=0, label="human halves"))
    return shown


def columns(tried: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    return [one["temperature"] for one in tried], [one["distance"] for one in tried]


def mark(axes: Axes, chosen: Mapping[str, Any]) -> None:
    """A ring around the choice."""
    axes.plot(
        [chosen["temperature"]], [chosen["distance"]], "o", markersize=10, markerfacecolor="none",
        markeredgecolor=theme.INK, markeredgewidth=1.2, zorder=5, gid="chosen",
    )  # fmt: skip
    axes.annotate(
        "chosen", (chosen["temperature"], chosen["distance"]), (0, -9), textcoords="offset points", ha="center", va="top",
        fontsize=theme.SMALL, color=theme.INK, zorder=6, bbox={"facecolor": theme.CARD, "alpha": 0.85, "linewidth": 0, "pad": 1.0},
    )  # fmt: skip


def scale(axes: Axes, measured: Sequence[Mapping[str, Any]], human: tuple[float, float] | None) -> None:
    """All distances with their noise, and the band; the axis begins at 0, so that a small difference looks small."""
    top = max([one["distance"] + one["noise"] for one in measured] + ([human[1]] if human else []))
    axes.set_ylim(0, 1.12 * top or 1)
    temperature_ticks(axes, np.unique([one["temperature"] for one in measured]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=theme.ROUND))
    axes.set_xlabel("temperature")
