"""Of what lengths, pitches and velocities a collection and its improvisations are.

In: lengths, and counts of notes per pitch or velocity (128 each). Out: figures; shares are in per
cent of all notes, so that collections of different sizes compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from cadenza.notes import pitch_name
from cadenza.plot import theme

Counts = npt.NDArray[Any]
Shares = npt.NDArray[np.float64]
FEW = 8
"""Up to so many different velocities are named one by one."""


def sequence_lengths(lengths: Sequence[int], unit: str, limits: tuple[int, int] | None = None) -> Figure:
    """How long the pieces are, in `unit`; the median, and the `limits` (shortest, longest) in range, are marked.

    The axis is logarithmic where some pieces are very much longer than most.
    """
    values = np.asarray(lengths, dtype=np.float64)
    with matplotlib.rc_context(theme.STYLE):
        figure, axes = theme.chart(lengths_title(values, unit), "pieces")
        if not len(values):
            theme.nothing(axes)
            return figure
        median = float(np.median(values))
        logarithmic = bool(values.min() >= 1 and values.max() > 8 * median)
        edges = bin_edges(values, logarithmic)
        axes.hist(values, list(edges), color=theme.BLUE, edgecolor=theme.CARD, linewidth=0.6)
        scale_lengths(axes, edges, logarithmic)
        axes.set_xlabel(unit)
        upright(axes, median, f"median {theme.plain(round(median, 1))}", theme.INK, 1.4)
        for limit, word in zip(limits or (), ("shortest", "longest"), strict=False):
            if edges[0] < limit < edges[-1]:
                upright(axes, limit, f"{word} allowed {limit:,}", theme.MUTED, 0.8, level=0.87)
        return figure


def lengths_title(values: Shares, unit: str) -> str:
    count = f"{len(values):,} piece{'' if len(values) == 1 else 's'}"
    if not len(values):
        return count
    low, high = int(values.min()), int(values.max())
    return f"{count} of {low:,} to {high:,} {unit}" if high > low else f"{count} of {low:,} {unit}"


def bin_edges(values: Shares, logarithmic: bool) -> Shares:
    """Edges of about twice the root of n bars, on whole numbers where bars are narrow."""
    low, high = float(values.min()), float(values.max())
    bars = int(np.clip(2 * np.sqrt(len(values)), 8, 40))
    if logarithmic:
        return np.geomspace(low, high * 1.0001, bars + 1)
    width = max(1.0, np.ceil((high - low + 1) / bars))
    edges = np.arange(low, high + width + 1, width) - 0.5
    return edges if len(edges) > 4 else np.arange(low - 2, high + 4) - 0.5


def scale_lengths(axes: Axes, edges: Shares, logarithmic: bool) -> None:
    """Plain numbers on both axes, and headroom for words."""
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(theme.plain_ticks(float(edges[0]), float(edges[-1]))))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=theme.ROUND))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, axes.get_ylim()[1] * 1.2)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=theme.ROUND))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: theme.plain(value)))


def upright(axes: Axes, x: float, text: str, colour: str, width: float, level: float = 0.98) -> None:
    """A vertical line with words on the side that has room."""
    axes.axvline(x, ymax=level, color=colour, linewidth=width, zorder=4)
    place = axes.transLimits.transform(axes.transScale.transform((x, 0)))[0]
    side, away = ("left", 4) if place < 0.6 else ("right", -4)
    axes.annotate(
        text, (x, level), (away, 0), xycoords=axes.get_xaxis_transform(), textcoords="offset points", ha=side,
        va="top", fontsize=theme.SMALL, color=colour, zorder=5,
    )  # fmt: skip


def pitches(
    learned: Counts, improvised: Counts | None = None, lowest: int | None = None, highest: int | None = None
) -> Figure:
    """How often each pitch sounds; `lowest` … `highest` marks what the instrument can play."""
    here, there = shares(learned), shares(improvised)
    used = np.flatnonzero(here + there)
    ends = [*used[[0, -1]]] if len(used) else [60, 72]
    ends += [pitch for pitch in (lowest, highest) if pitch is not None]
    low, high = max(0, min(ends) - 2), min(127, max(ends) + 2)
    with matplotlib.rc_context(theme.STYLE):
        figure, axes = compare(
            here, there if improvised is not None else None, "How often each pitch is played", low, high, 1
        )
        if not len(used):
            return figure
        ticks = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0] or [low]
        axes.set_xticks(ticks, [pitch_name(pitch) for pitch in ticks], color=theme.INK)
        for pitch in ticks:
            axes.annotate(
                f"{pitch}", (pitch, 0), (0, -23), xycoords=axes.get_xaxis_transform(), textcoords="offset points",
                ha="center", va="baseline", fontsize=theme.SMALL, color=theme.MUTED, gid="midi-number",
            )  # fmt: skip
        if lowest is not None and highest is not None:
            mark_range(axes, lowest, highest)
        return figure


def mark_range(axes: Axes, lowest: int, highest: int) -> None:
    """A thin line above the bars from the lowest to the highest playable pitch."""
    text = f"instrument: {pitch_name(lowest)} to {pitch_name(highest)}"
    axes.plot([lowest - 0.5, lowest - 0.5, highest + 0.5, highest + 0.5], [0.955, 0.98, 0.98, 0.955], transform=axes.get_xaxis_transform(), color=theme.MUTED, linewidth=0.8, gid="range")  # fmt: skip
    axes.annotate(
        text, ((lowest + highest) / 2, 0.96), xycoords=axes.get_xaxis_transform(), ha="center", va="top",
        fontsize=theme.SMALL, color=theme.MUTED,
    )  # fmt: skip


def velocities(learned: Counts, improvised: Counts | None = None, step: int = 1) -> Figure:
    """How often each velocity is played; `step` velocities are counted together."""
    here, there = grouped(shares(learned), step), grouped(shares(improvised), step)
    used = np.flatnonzero(here + there)
    few = 0 < len(used) <= FEW
    width = max(step, 3) if few else step
    with matplotlib.rc_context(theme.STYLE):
        figure, axes = compare(here, there if improvised is not None else None, "How loud the notes are", 0, 127, width)
        axes.set_xticks([1, 32, 64, 96, 127])
        axes.set_xlabel("velocity (1 softest, 127 loudest)")
        last = -20.0
        for value in used if few else ():
            if value - last >= 8:
                axes.annotate(f"{value}", (value, max(here[value], there[value])), (0, 3), textcoords="offset points", ha="center", fontsize=theme.SMALL, color=theme.INK)  # fmt: skip
                last = float(value)
        return figure


def shares(counts: Counts | None) -> Shares:
    """Per cent of all; zeros for nothing."""
    values = np.zeros(128) if counts is None else np.asarray(counts, dtype=np.float64)
    return 100 * values / max(values.sum(), 1e-300)


def grouped(values: Shares, step: int) -> Shares:
    """The sum of every `step` neighbours, at the middle one."""
    together = np.zeros(len(values))
    middles = np.minimum(np.arange(len(values)) // step * step + step // 2, len(values) - 1)
    np.add.at(together, middles, values)
    return together


def compare(here: Shares, there: Shares | None, title: str, low: int, high: int, width: int) -> tuple[Figure, Axes]:
    """Bars for the training pieces, an outline for the improvised ones, per cent of notes."""
    figure, axes = theme.chart(title, "% of notes", keyed=there is not None)
    seen = np.flatnonzero(here)
    axes.bar(seen, here[seen], width=0.86 * width, color=theme.BLUE, linewidth=0)
    if there is not None:
        outline(axes, there, width)
        keys = [Patch(color=theme.BLUE, label="training pieces"), Line2D([], [], color=theme.ORANGE, linewidth=1.6, label="improvised pieces")]  # fmt: skip
        theme.head(figure, "", keys)
    axes.set_xlim(low - 0.7 * width, high + 0.7 * width)
    top = max(here.max(), 0 if there is None else there.max())
    if not top:
        theme.nothing(axes, "no notes")
    axes.set_ylim(0, 1.18 * top or 1)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=theme.ROUND))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: theme.plain(round(value, 6))))
    return figure, axes


def outline(axes: Axes, values: Shares, width: int) -> None:
    """The upper edge of the bars that `values` would have."""
    if width > 1:
        seen = np.flatnonzero(values)
        axes.bar(seen, values[seen], width=0.86 * width, facecolor="none", edgecolor=theme.ORANGE, linewidth=1.6)
    else:
        first, last = [*np.flatnonzero(values)[[0, -1]]] if values.any() else (0, 0)
        axes.stairs(
            values[first : last + 1], np.arange(first, last + 2) - 0.5, color=theme.ORANGE, linewidth=1.3, zorder=4
        )
