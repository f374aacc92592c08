"""Which events music is made of, as horizontal bars.

In: counts of named values. Out: figures; shares are in per cent of all events.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure

from cadenza.plot import theme

WIDTH = 5.0
BAR, ABOVE = 15.0, 28.0
"""Points from one horizontal bar to the next, and for the title."""
MOST_ALONE, MOST_TOGETHER = 20, 8
"""Values shown of one field, and of each of several."""


def token_frequencies(fields: Mapping[str, Sequence[tuple[str, int]]], total: int) -> Figure:
    """The most frequent values of each field, most frequent first, with their share of `total` events."""
    most = MOST_ALONE if len(fields) <= 1 else MOST_TOGETHER
    panels = {field: list(values)[:most] for field, values in fields.items()} or {"": []}
    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    panel_height = BAR * max(1, *(len(values) for values in panels.values())) + 18
    height = ABOVE + rows * panel_height + (rows - 1) * 10 + 6
    with matplotlib.rc_context(theme.STYLE):
        figure = theme.blank(WIDTH, height / 72)
        theme.head(
            figure, f"Most frequent of {total:,} events" if columns == 1 else f"Most frequent values in {total:,} rows"
        )
        width = (72 * WIDTH - 2 * theme.EDGE - (columns - 1) * 14) / columns
        for k, (field, values) in enumerate(panels.items()):
            left = theme.EDGE + (k % columns) * (width + 14)
            top = height - ABOVE - (k // columns) * (panel_height + 10)
            figure.text(left / (72 * WIDTH), (top - 9) / height, theme.fitted(field, width), fontsize=theme.SMALL, color=theme.MUTED)  # fmt: skip
            words = [percent(count / total) if total else "" for _, count in values]
            horizontal_bars(figure, values, words, (left, top - 16, width))
        return figure


def event_types(counts: Mapping[str, int]) -> Figure:
    """How often each type of event occurs: share and number."""
    total = sum(counts.values())
    values = sorted(counts.items(), key=lambda item: -item[1])
    height = ABOVE + BAR * max(1, len(values)) + 8
    with matplotlib.rc_context(theme.STYLE):
        figure = theme.blank(WIDTH, height / 72)
        theme.head(figure, f"Types of the {total:,} events")
        words = [f"{percent(count / total)}   {count:,}" if total else "0" for _, count in values]
        horizontal_bars(figure, values, words, (theme.EDGE, height - ABOVE, 72 * WIDTH - 2 * theme.EDGE))
        return figure


def horizontal_bars(
    figure: Figure, values: Sequence[tuple[str, int]], words: Sequence[str], corner: tuple[float, float, float]
) -> None:
    """Named bars from the upper left `corner` (left, top, width: points), with words at their ends."""
    left, top, width = corner
    names = [theme.fitted(name, 0.45 * width) for name, _ in values]
    before = max((theme.text_width(name) for name in names), default=0) + 5
    after = max((theme.text_width(word) for word in words), default=0) + 5
    height = BAR * max(1, len(values))
    axes = theme.place(figure, left + before, top - height, width - before - after, height)
    axes.spines[:].set_visible(False)
    if not values:
        theme.nothing(axes)
        return
    longest = max(1, *(count for _, count in values))
    axes.barh(range(len(values)), [count for _, count in values], height=0.7, color=theme.BLUE, linewidth=0)
    axes.set_xlim(0, longest)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks(range(len(values)), names, color=theme.INK)
    axes.tick_params(axis="y", pad=5)
    for k, (word, (_, count)) in enumerate(zip(words, values, strict=True)):
        axes.annotate(word, (count, k), (5, 0), textcoords="offset points", va="center_baseline", fontsize=theme.SMALL, color=theme.MUTED)  # fmt: skip


def percent(share: float) -> str:
    """A share of one, in words for people.

    >>> percent(0.1234), percent(0.0001), percent(0)
    ('12.3 %', '< 0.1 %', '0 %')
    """
    if share <= 0:
        return "0 %"
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"
