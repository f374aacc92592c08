"""What all pictures share: colours, type, margins, and the way to bytes.

In: matplotlib figures and text. Out: figures of one look, and SVG or PNG bytes. Figures measure
inches, everything within them points (1/72 inch). Colours are safe for colour-blind eyes (Okabe &
Ito, 2008; viridis). A figure is drawn in the light colours; its SVG names them once, in a style
sheet that also has their dark values, so that one file suits a light and a dark page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

VELOCITY_CLASSES = 12
LOUD_ON_LIGHT = np.linspace(0.88, 0.05, VELOCITY_CLASSES)
LOUD_ON_DARK = np.linspace(0.28, 1.0, VELOCITY_CLASSES)
COLOURS = {  # name: on light, on dark
    "ink": ("#1d2733", "#e8ebee"),
    "muted": ("#5b6773", "#a3adb7"),
    "line": ("#e3e6e8", "#313840"),
    "card": ("#ffffff", "#1c2127"),
    "blue": ("#0072b2", "#56b4e9"),
    "orange": ("#d55e00", "#e69f00"),
    "pale": ("#b5d3e6", "#33566f"),
} | {
    f"velocity-{k}": (to_hex(matplotlib.colormaps["viridis"](light)), to_hex(matplotlib.colormaps["viridis"](dark)))
    for k, (light, dark) in enumerate(zip(LOUD_ON_LIGHT, LOUD_ON_DARK, strict=True))
}
INK, MUTED, LINE, CARD, BLUE, ORANGE, PALE, *VELOCITIES = (light for light, _ in COLOURS.values())

SIZE, SMALL = 10.0, 9.0
STYLE: dict[Any, Any] = {
    "font.size": SIZE,
    "font.family": "DejaVu Sans",
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.labelsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "legend.fontsize": SMALL,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "svg.hashsalt": "cadenza",
    "svg.fonttype": "path",
}
ROUND = [1, 2, 5, 10]
"""Ticks are these times a power of ten apart."""
WIDTH, HEIGHT = 5.0, 3.2
"""Inches of a small chart."""
EDGE = 5.0
"""Empty points around everything."""


def blank(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    return Figure(figsize=(width, height), facecolor="none")


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in points from the lower left corner."""
    inches = figure.get_size_inches() * 72
    return figure.add_axes((left / inches[0], bottom / inches[1], width / inches[0], height / inches[1]))


def head(
    figure: Figure, title: str, handles: Sequence[Artist] = (), room: float | None = None, size: float = SIZE
) -> None:
    """A title at the upper left, cut to `room` points, and under it what the colours mean."""
    width, height = figure.get_size_inches() * 72
    text = fitted(title, room or width - 2 * EDGE, size, bold=True)
    figure.text(EDGE / width, 1 - (EDGE + size) / height, text, fontsize=size, fontweight="bold", va="baseline")
    if handles:
        figure.legend(
            handles=list(handles), loc="upper left", bbox_to_anchor=(EDGE / width, 1 - (EDGE + size + 6) / height),
            ncols=len(handles), frameon=False, borderpad=0, borderaxespad=0, handlelength=1.1, handletextpad=0.5,
            columnspacing=1.4, labelcolor=MUTED,
        )  # fmt: skip


def chart(title: str, unit: str, below: float = 36, keyed: bool = False) -> tuple[Figure, Axes]:
    """A small chart of one panel, with the unit of its vertical axis over it; `keyed` leaves room for a legend."""
    width, height, left, above = 72 * WIDTH, 72 * HEIGHT, 40.0, 56.0 if keyed else 40.0
    figure = blank(WIDTH, HEIGHT)
    head(figure, title)
    axes = place(figure, left, below, width - left - 3 * EDGE, height - below - above)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    unit_above(axes, unit)
    return figure, axes


def width_of(axes: Axes) -> float:
    """The width of axes, points."""
    return float(axes.bbox.width / axes.figure.dpi * 72)


def unit_above(axes: Axes, unit: str, left: float = 40) -> None:
    """What the vertical axis counts, written level and over it, from where its `left` margin begins."""
    axes.annotate(
        unit,
        (0, 1),
        (EDGE - left, 6),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=SMALL,
        color=MUTED,
    )


def nothing(axes: Axes, text: str = "nothing to show") -> None:
    """Empty axes that say so."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=SMALL)
    axes.set_axis_off()


@cache
def drawable(bold: bool) -> frozenset[int]:
    """The characters the font has."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")))
    return frozenset(font.get_charmap())


def text_width(text: str, size: float = SMALL, bold: bool = False) -> float:
    """Points that one line of text takes."""
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=size)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] if text else 0.0


def fitted(text: str, room: float, size: float = SMALL, bold: bool = False) -> str:
    """One line that the font can draw, cut with "…" to `room` points.

    >>> fitted("Étude", 100), fitted("A very long name", 40)
    ('Étude', 'A very…')
    """
    shown = "".join(letter if ord(letter) in drawable(bold) else "□" for letter in " ".join(text[:200].split()))
    if text_width(shown, size, bold) <= room:
        return shown
    while shown and text_width(f"{shown}…", size, bold) > room:
        shown = shown[:-1].rstrip()
    return f"{shown}…"


def wrapped(text: str, room: float, size: float = SMALL) -> list[str]:
    """Lines of at most `room` points, broken at spaces."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        lines[-1:] = [joined] if lines and text_width(joined, size) <= room else [*lines[-1:], word]
    return [fitted(line, room, size) for line in lines]


def plain_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: 1, 2, 5, 10 …; only powers of ten over three decades and more.

    >>> plain_ticks(1, 60), plain_ticks(0.9, 120_000)
    ([1.0, 2.0, 5.0, 10.0, 20.0, 50.0], [1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0])
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    digits = (1, 2, 5) if np.log10(high / low) < 3 else (1,)
    ticks = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
    ticks = [tick for tick in ticks if low <= tick <= high]
    if len(ticks) < 3:
        ticks = [
            float(tick)
            for tick in matplotlib.ticker.MaxNLocator(5, steps=ROUND).tick_values(low, high)
            if low <= tick <= high
        ]
    return ticks[:: 1 + len(ticks) // 10]


def plain(value: float) -> str:
    """A number as people write it.

    >>> plain(20_000), plain(0.5), plain(1e9)
    ('20,000', '0.5', '1e9')
    """
    return f"{value:.0e}".replace("e+0", "e").replace("e+", "e") if value >= 1e6 else f"{value:,.12g}"


def to_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as "svg" (clear ground, light and dark) or "png" (light, on white).

    The same figure gives the same bytes.
    """
    out = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        if kind == "svg":
            unsaid = {"Date": None, "Creator": None, "Format": None, "Type": None}
            figure.savefig(out, format="svg", facecolor="none", metadata=unsaid)
            return adaptive(out.getvalue().decode()).encode()
        figure.savefig(out, format=kind, dpi=200, facecolor=CARD, metadata={"Software": None})
    return out.getvalue()


def adaptive(svg: str) -> str:
    """Theme colours by name, with a style sheet that gives both their values; paths to 1/100 point."""
    names = {light: name for name, (light, _) in COLOURS.items()}
    svg = re.sub(r'(?<= d=")[^"]+', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda hex_: f"var(--{names[hex_[0]]})" if hex_[0] in names else hex_[0], svg)
    used = [name for name in COLOURS if f"var(--{name})" in svg]
    light, dark = (";".join(f"--{name}:{COLOURS[name][side]}" for name in used) for side in (0, 1))
    style = f"<style>svg{{{light}}}@media screen and (prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    begin = svg.index(">", svg.index("<svg")) + 1
    return svg[:begin] + style + svg[begin:]
