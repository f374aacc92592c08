"""Words beside the right end of lines, moved apart where they would overlap.

In: labels and where they belong, points above the foot of the axes. Out: text on the axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from cadenza.plot import theme

LINE_HEIGHT = 11.5
"""Points from one line of small text to the next."""


class Label(NamedTuple):
    """`middle` is in points above the foot of the axes."""

    lines: tuple[str, ...]
    middle: float
    colour: str
    bold_last: bool = True

    @property
    def height(self) -> float:
        return LINE_HEIGHT * len(self.lines) + 3


def spread(middles: Sequence[float], heights: Sequence[float], tall: float) -> list[float]:
    """Move middles as little as is simple, so that nothing overlaps or leaves 0…`tall` if there is room.

    >>> spread([10, 12, 50], [10, 10, 10], 60)
    [10, 20.0, 50]
    """
    order = sorted(range(len(middles)), key=lambda k: middles[k])
    placed = list(middles)
    floor = 0.0
    for k in order:
        placed[k] = max(placed[k], floor + heights[k] / 2)
        floor = placed[k] + heights[k] / 2
    ceiling = tall
    for k in reversed(order):
        placed[k] = min(placed[k], ceiling - heights[k] / 2)
        ceiling = placed[k] - heights[k] / 2
    return placed


def write_labels(axes: Axes, labels: Sequence[Label], x: float, tall: float) -> None:
    """Each label at fraction `x` of the width of axes that are `tall` points high."""
    middles = spread([label.middle for label in labels], [label.height for label in labels], tall)
    for label, middle in zip(labels, middles, strict=True):
        for k, line in enumerate(label.lines):
            y = middle + LINE_HEIGHT * ((len(label.lines) - 1) / 2 - k)
            weight = "bold" if label.bold_last and k == len(label.lines) - 1 else "normal"
            axes.text(
                x, y / tall, line, transform=axes.transAxes, ha="left", va="center_baseline", fontsize=theme.SMALL,
                fontweight=weight, color=label.colour,
            )  # fmt: skip
