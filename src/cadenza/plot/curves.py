"""Learning curves: how well the music of training and unseen music is foretold, epoch by epoch.

In: epochs and one figure per epoch for each kind of music (perplexity per event, or bits per note).
Out: a figure whose lines carry their names and last values; perplexity stands on a logarithmic axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from cadenza.plot import theme
from cadenza.plot.labels import Label, write_labels

Values = npt.NDArray[np.float64]
LEFT, BELOW, ABOVE = 40.0, 34.0, 40.0
NAME_ROOM, BRACKET = 84.0, 14.0
"""Points: for a name at the end of a line, and for the bracket before it."""
WIDE_RATIO, WIDE_BITS = 1.5, 1.0
"""A gap between training and unseen music that is larger gets a bracket."""


class Curve(NamedTuple):
    """The finite points of one figure."""

    name: str
    x: Values
    y: Values

    @property
    def colour(self) -> str:
        return theme.BLUE if self.trained else theme.ORANGE

    @property
    def trained(self) -> bool:
        return self.name.startswith("training")


def learning_curve(
    epochs: Sequence[float],
    figures: Mapping[str, Sequence[float]],
    unit: str,
    best: int | None,
    batches: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Figure:
    """One line per figure; `best` is the index of the epoch that was kept.

    `figures` may be shorter than `epochs` and hold NaN, which is skipped; a name that begins with
    "training" is music the model learned from, every other is unseen. `unit` is "perplexity per
    event" or "bits per note". `batches` (epochs, values) is smoothed and drawn pale.
    """
    logarithmic = unit.startswith("perplexity")
    curves = [finite(name, epochs, values, logarithmic) for name, values in figures.items()]
    curves = [curve for curve in curves if len(curve.x)]
    behind = smoothed(finite("training batches", *batches, logarithmic)) if batches else None
    drawn = [*curves, behind] if behind and len(behind.x) else curves
    tall = 72 * theme.HEIGHT - BELOW - ABOVE
    with matplotlib.rc_context(theme.STYLE):
        figure = theme.blank(theme.WIDTH, (tall + BELOW + ABOVE) / 72)
        theme.head(figure, heading(curves, unit, logarithmic))
        right = BRACKET + NAME_ROOM if drawn else theme.EDGE
        axes = theme.place(figure, LEFT, BELOW, 72 * theme.WIDTH - LEFT - right, tall)
        if not drawn:
            theme.nothing(axes, "nothing was measured yet")
            return figure
        draw(axes, curves, drawn)
        scale(axes, drawn, unit, logarithmic)
        name_ends(axes, drawn, bracket(axes, curves, logarithmic, tall), tall)
        if best is not None and 0 <= best < len(epochs):
            mark(axes, curves, float(epochs[best]), tall)
        return figure


def finite(name: str, x: Sequence[float], y: Sequence[float], logarithmic: bool) -> Curve:
    """A curve without what cannot be drawn; the longer of x and y is cut."""
    length = min(len(x), len(y))
    across, up = np.asarray(x[:length], dtype=np.float64), np.asarray(y[:length], dtype=np.float64)
    kept = np.isfinite(across) & np.isfinite(up) & (np.nan_to_num(up) > 0 if logarithmic else True)
    return Curve(name, across[kept], up[kept])


def smoothed(curve: Curve) -> Curve:
    """A centred running mean over a fiftieth of the values, thinned to what a picture can show."""
    if not len(curve.y):
        return curve
    half, count = len(curve.y) // 100, len(curve.y)
    total = np.concatenate([[0.0], np.cumsum(curve.y)])
    first, last = np.maximum(np.arange(count) - half, 0), np.minimum(np.arange(count) + half + 1, count)
    mean = (total[last] - total[first]) / (last - first)
    shown = np.unique(np.linspace(0, count - 1, min(count, 600)).astype(int))
    return Curve(curve.name, curve.x[shown], mean[shown])


def pair(curves: list[Curve]) -> tuple[Curve, Curve] | None:
    """The training pieces and the first kind of unseen music, if both were measured."""
    trained = [curve for curve in curves if curve.trained and "batch" not in curve.name]
    unseen = [curve for curve in curves if not curve.trained]
    return (trained[0], unseen[0]) if trained and unseen else None


def heading(curves: list[Curve], unit: str, logarithmic: bool) -> str:
    """What is seen: the two kinds of music part ways, or simply the figure and its unit."""
    both = pair(curves)
    if both:
        trained, unseen = both
        rise = unseen.y[-1] / unseen.y.min() > 1.05 if logarithmic else unseen.y[-1] - unseen.y.min() > 0.1
        if rise and trained.y[-1] < trained.y[0]:
            return "Training music gets easier, unseen music harder"
    return f"{unit[:1].upper()}{unit[1:]}: lower is better"


def draw(axes: Axes, curves: list[Curve], drawn: list[Curve]) -> None:
    for curve in drawn:
        pale = "batch" in curve.name
        many = len(curve.x) > 30
        axes.plot(
            curve.x, curve.y, color=theme.PALE if pale else curve.colour, linewidth=1.2 if pale else 2.0,
            marker=None if many or (pale and len(curve.x) > 1) else "o", markersize=4, zorder=2 if pale else 3,
            linestyle=style(curve, curves), solid_capstyle="round", label=curve.name, clip_on=pale,
        )  # fmt: skip


def style(curve: Curve, curves: list[Curve]) -> str | tuple[int, tuple[int, int]]:
    """A second kind of unseen music is dashed."""
    unseen = [other for other in curves if not other.trained]
    return (0, (4, 2)) if curve in unseen[1:] else "-"


def scale(axes: Axes, drawn: list[Curve], unit: str, logarithmic: bool) -> None:
    """Axes from the first to the last epoch and around all values, with plain numbers."""
    y = np.concatenate([curve.y[len(curve.y) // 20 if "batch" in curve.name else 0 :] for curve in drawn])
    x = np.concatenate([curve.x for curve in drawn])
    low, high = float(y.min()), float(y.max())
    if logarithmic:
        margin = max((high / low) ** 0.07, 1.05)
        low, high = low / margin, high * margin
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(FixedLocator(theme.plain_ticks(low, high)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        margin = max(0.08 * (high - low), 0.05)
        low, high = low - margin, high + margin
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=theme.ROUND))
    axes.set_ylim(low, high)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: theme.plain(value)))
    first, last = float(x.min()), float(x.max())
    whole = all(float(value).is_integer() for curve in drawn for value in curve.x[[0, -1]])
    axes.set_xlim((first, last) if last > first else (first - 0.5, first + 0.5))
    across = MaxNLocator(6, integer=whole, steps=theme.ROUND) if last > first else FixedLocator([first])
    axes.xaxis.set_major_locator(across)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: theme.plain(round(value, 6))))
    axes.set_xlabel("epoch")
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    theme.unit_above(axes, unit)


def height_of(axes: Axes, value: float, tall: float) -> float:
    """Points above the foot of the axes."""
    return float(axes.transLimits.transform(axes.transScale.transform((0, value)))[1]) * tall


def bracket(axes: Axes, curves: list[Curve], logarithmic: bool, tall: float) -> list[Label]:
    """A line between the last values of training and unseen music where they lie far apart, and its label."""
    both = pair(curves)
    if not both:
        return []
    trained, unseen = (float(curve.y[-1]) for curve in both)
    gap = unseen / trained if logarithmic else unseen - trained
    if gap <= (WIDE_RATIO if logarithmic else WIDE_BITS):
        return []
    low, high = (height_of(axes, value, tall) for value in (trained, unseen))
    x, caps = [1 + points / theme.width_of(axes) for points in (5, 9)], [low / tall, high / tall]
    axes.plot(
        [x[0], x[1], x[1], x[0]], [caps[0], *caps, caps[1]], transform=axes.transAxes, color=theme.INK, linewidth=0.9,
        clip_on=False, gid="bracket",
    )  # fmt: skip
    return [Label((f"× {times(gap)}" if logarithmic else f"+ {gap:.1f} bits",), (low + high) / 2, theme.INK)]


def times(ratio: float) -> str:
    """A factor with about two digits.

    >>> times(150.64), times(1.62), times(23.4)
    ('150', '1.6', '23')
    """
    if ratio < 9.95:
        return f"{ratio:.1f}"
    digits = len(str(int(ratio)))
    return f"{int(round(ratio, 2 - digits)):,}" if ratio < 1e6 else f"{ratio:.0e}"


def name_ends(axes: Axes, drawn: list[Curve], others: list[Label], tall: float) -> None:
    """Name and last value of every line beside its end, without overlaps."""
    labels = list(others)
    for curve in drawn:
        pale = "batch" in curve.name
        value = () if pale else (f"{curve.y[-1]:,.2f}" if curve.y[-1] < 1e6 else theme.plain(curve.y[-1]),)
        parts = curve.name.replace(" (", "\n(").split("\n")
        lines = (*(line for part in parts for line in theme.wrapped(part, NAME_ROOM)), *value)
        middle = height_of(axes, float(curve.y[-1]), tall)
        labels.append(Label(lines, middle, theme.MUTED if pale else curve.colour, bold_last=not pale))
    write_labels(axes, labels, 1 + BRACKET / theme.width_of(axes), tall)


def mark(axes: Axes, curves: list[Curve], epoch: float, tall: float) -> None:
    """A ring around the state that was kept, on the curve of unseen music if there is one."""
    curve = next((curve for curve in sorted(curves, key=lambda one: one.trained) if epoch in curve.x), None)
    if curve is None:
        return
    place = int(np.flatnonzero(curve.x == epoch)[0])
    x, y = float(curve.x[place]), float(curve.y[place])
    axes.plot(
        [x], [y], "o", markersize=9, markerfacecolor="none", markeredgecolor=theme.INK, markeredgewidth=1.2, zorder=5,
        clip_on=False, gid="kept",
    )  # fmt: skip
    begin, end = axes.get_xlim()
    side = "left" if x - begin < 0.15 * (end - begin) else "right" if end - x < 0.15 * (end - begin) else "center"
    foot = height_of(axes, y, tall)
    others = [height_of(axes, float(np.interp(x, one.x, one.y)), tall) for one in curves if one is not curve]
    crowded = foot < 24 or any(-4 < foot - other < 26 for other in others)
    axes.annotate(
        "kept" if place == len(curve.x) - 1 else f"kept {y:,.2f}", (x, y), (0, 9 if crowded else -9),
        textcoords="offset points", ha=side, va="bottom" if crowded else "top", fontsize=theme.SMALL, color=theme.INK,
        zorder=6, bbox={"facecolor": theme.CARD, "alpha": 0.85, "linewidth": 0, "pad": 1.0},
    )  # fmt: skip
