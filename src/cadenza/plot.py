"""Pictures: piano rolls and learning curves, as matplotlib figures and as SVG or PNG bytes.

Colours are safe for colour-blind eyes (Okabe & Ito, 2008; viridis). Pitch is shown as note names,
time in seconds.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from cadenza.notes import Notes

INK, MUTED, GRID = "#1d2733", "#66727f", "#e3e7eb"
BLUE, ORANGE, PROMPT = "#0072b2", "#d55e00", "#eef1f4"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "svg.hashsalt": "cadenza",
    "svg.fonttype": "path",
}
VELOCITY_COLOURS = LinearSegmentedColormap.from_list(
    "velocity", matplotlib.colormaps["viridis"](np.linspace(0.88, 0.05, 64))
)
NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
BLACK_KEYS = (1, 3, 6, 8, 10)


def pitch_name(pitch: int) -> str:
    """Scientific pitch notation.

    >>> pitch_name(69)
    'A4'
    """
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"


def piano_roll(notes: Notes, title: str = "", prompt_notes: int = 0) -> Figure:
    """Durations as bars, velocity as colour, note names on the axis, the prompt on a shaded ground."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 3.4), layout="constrained")
        axes = figure.add_subplot()
        step = notes.header.step_seconds
        left, right = notes.onset * step, (notes.onset + notes.duration) * step
        low, high = int(notes.pitch.min(initial=60)) - 2, int(notes.pitch.max(initial=72)) + 2
        for pitch in range(low, high + 1):
            if pitch % 12 in BLACK_KEYS:
                axes.axhspan(pitch - 0.5, pitch + 0.5, color="#f6f7f9", linewidth=0, zorder=0)
        bottom, top = notes.pitch - 0.42, notes.pitch + 0.42
        corners = np.stack(
            [
                np.stack([left, bottom], 1),
                np.stack([left, top], 1),
                np.stack([right, top], 1),
                np.stack([right, bottom], 1),
            ],
            axis=1,
        )
        bars = PolyCollection(
            list(corners),
            array=notes.velocity,
            cmap=VELOCITY_COLOURS,
            norm=Normalize(1, 127),
            edgecolors="white",
            linewidths=0.4,
            zorder=3,
        )
        axes.add_collection(bars)
        begin, end = float(left.min(initial=0)), max(float(right.max(initial=1)), float(left.min(initial=0)) + 1)
        if prompt_notes:
            shade_prompt(axes, begin, float(right[:prompt_notes].max()), high)
        axes.set_xlim(begin - 0.005 * (end - begin), end + 0.005 * (end - begin))
        axes.set_ylim(low - 0.5, high + 0.5)
        ticks = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0 or (high - low < 30 and pitch % 12 == 7)]
        axes.set_yticks(ticks, [pitch_name(pitch) for pitch in ticks])
        axes.set_xlabel("seconds")
        axes.grid(axis="x", color=GRID, linewidth=0.8, zorder=1)
        axes.tick_params(length=0)
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        scale = figure.colorbar(bars, ax=axes, pad=0.01, aspect=14, shrink=0.9, ticks=[1, 32, 64, 96, 127])
        scale.set_label("velocity")
        scale.outline.set_visible(False)
        scale.ax.tick_params(length=0, labelsize=8)
        return figure


def shade_prompt(axes: matplotlib.axes.Axes, begin: float, end: float, high: int) -> None:
    axes.axvspan(begin, end, color=PROMPT, linewidth=0, zorder=0.5)
    axes.axvline(end, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
    for place, side, text in ((end, "right", "prompt  "), (end, "left", "  continuation")):
        axes.annotate(text, (place, high), ha=side, va="center", fontsize=9, color=MUTED, zorder=4)


def learning_curve(
    steps: Sequence[int], training: Sequence[float], evaluated: Sequence[int], validation: Sequence[float]
) -> Figure:
    """Bits per note against steps: training batches smoothed, validation as measured, its best marked."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.8), layout="constrained")
        axes = figure.add_subplot()
        if len(steps):
            axes.plot(
                steps, smooth(np.asarray(training)), color=BLUE, linewidth=1.6, label="training (batches, with dropout)"
            )
        measured = [(step, bits) for step, bits in zip(evaluated, validation, strict=True) if np.isfinite(bits)]
        if measured:
            x, y = zip(*measured, strict=True)
            axes.plot(x, y, color=ORANGE, linewidth=1.8, marker="o", markersize=4, label="validation (unseen works)")
            best = int(np.argmin(y))
            axes.annotate(
                f"best {y[best]:.2f}",
                (x[best], y[best]),
                xytext=(0, -14),
                textcoords="offset points",
                ha="center",
                color=ORANGE,
                fontweight="bold",
            )
        axes.set_xlabel("step")
        axes.set_ylabel("bits per note")
        axes.set_xlim(left=0)
        shown = [*smooth(np.asarray(training))[len(training) // 20 :], *(bits for _, bits in measured)]
        if shown:
            margin = 0.12 * (max(shown) - min(shown)) + 0.1
            axes.set_ylim(min(shown) - margin, max(shown) + margin)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.tick_params(length=0)
        if measured or len(steps):
            axes.legend(frameon=False, loc="upper right")
        return figure


def smooth(values: np.ndarray) -> np.ndarray:
    """A centred running mean over a fiftieth of the values; short ends use what there is."""
    width = max(1, len(values) // 50)
    ones = np.ones(width)
    return (
        np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same") if len(values) else values
    )


def to_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as "svg" or "png"; the same figure gives the same bytes."""
    out = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(out, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return out.getvalue()
