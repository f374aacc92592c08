"""Piano rolls: a bar per note, its length the duration, its colour the velocity.

In: notes. Out: a figure with time across (seconds, or minutes:seconds) and pitch up (note names and
MIDI numbers). A long piece is wrapped into rows, as music is into systems.
"""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from cadenza.notes import Notes, pitch_name
from cadenza.plot import theme

ROLL_LEFT, ROLL_RIGHT = 0.1, 0.985
"""Where the time axis begins and ends, as fractions of the picture's width."""
WIDTH, SIZE, SMALL = 6.8, 11.5, 11.0
ABOVE, TALL = 27.0, 150.0
"""Points above the notes of a roll of one row, and the points that they fill."""
ROLL_TOP, ROLL_TALL = ABOVE / (72 * WIDTH), TALL / (72 * WIDTH)
"""The same as fractions of the picture's width."""
ONE_ROW_SECONDS, ROW_SECONDS, ROWS = 75, 60, 10
LEAST_SPAN = 14
"""Semitones shown at least, so that there is always a C to name."""
BLACK_KEYS = (1, 3, 6, 8, 10)
TICK_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


def shown_seconds(notes: Notes) -> float:
    """How much of the piece its roll shows, seconds from its start.

    >>> shown_seconds(Notes.of([0], [60], [200_000], [80]))
    600.0
    """
    rows, seconds = rows_of(notes)
    return min(notes.length_seconds, rows * seconds)


def rows_of(notes: Notes) -> tuple[int, float]:
    """The number of rows and the seconds of each; several rows last a multiple of five seconds."""
    length = max(notes.length_seconds, 1.0)
    if length <= ONE_ROW_SECONDS:
        return 1, length
    rows = min(math.ceil(length / ROW_SECONDS), ROWS)
    return rows, float(min(ROW_SECONDS, 5 * math.ceil(length / rows / 5)))


def piano_roll(notes: Notes, title: str = "", prompt_notes: int = 0) -> Figure:
    """Durations as bars, velocity as colour, note names at the side, the prompt on a shaded ground.

    The time axis runs from `ROLL_LEFT` to `ROLL_RIGHT` of the width; in a single row it covers
    exactly 0 to the end of the last note (at least a second). `shown_seconds` says what is drawn.
    """
    rows, seconds = rows_of(notes)
    prompt_end = float(ends_of(notes)[:prompt_notes].max(initial=0))
    row_height, gap = max(64.0, (TALL if rows == 1 else 250) / rows), 8.0 if rows == 1 else 24.0
    above, below = ABOVE + (14 if prompt_end else 0), 22.0 + (15 if notes.length_seconds > 60 else 0)
    height = above + rows * row_height + (rows - 1) * gap + below
    width = 72 * WIDTH
    with matplotlib.rc_context(theme.STYLE | {"xtick.labelsize": SMALL, "ytick.labelsize": SMALL}):
        figure = theme.blank(WIDTH, height / 72)
        room = velocity_scale(figure)
        theme.head(figure, title, room=room, size=SIZE)
        for row in range(rows):
            bottom = below + (rows - 1 - row) * (row_height + gap)
            axes = theme.place(figure, ROLL_LEFT * width, bottom, (ROLL_RIGHT - ROLL_LEFT) * width, row_height)
            draw_row(axes, notes, row * seconds, seconds, row_height)
            if prompt_end:
                shade_prompt(axes, prompt_end)
        if notes.length_seconds > 60:
            axes.set_xlabel(time_label(notes), fontsize=SMALL, labelpad=2, loc="left")
        return figure


def time_label(notes: Notes) -> str:
    shown = shown_seconds(notes)
    if shown < notes.length_seconds - 0.5:
        return f"minutes:seconds; the first {clock(shown)} of {clock(notes.length_seconds)} are shown"
    return "minutes:seconds"


def clock(seconds: float) -> str:
    """Minutes and seconds.

    >>> clock(65)
    '1:05'
    """
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def ends_of(notes: Notes) -> np.ndarray:
    return (notes.onset.astype(np.float64) + notes.duration) * notes.header.step_seconds


def pitch_range(pitch: np.ndarray) -> tuple[int, int]:
    """The lowest and highest pitch of the picture."""
    low, high = (int(pitch.min()), int(pitch.max())) if len(pitch) else (60, 72)
    low, high = low - 1, high + 1
    missing = max(0, LEAST_SPAN - (high - low))
    low, high = low - missing // 2, high + (missing + 1) // 2
    down = max(0, high - 128) - max(0, -1 - low)
    return low - down, high - down


def draw_row(axes: Axes, notes: Notes, begin: float, seconds: float, height: float) -> None:
    """One system: keyboard ground, bars, ticks."""
    low, high = pitch_range(notes.pitch)
    semitone = height / (high - low + 1)
    axes.set_xlim(begin, begin + seconds)
    axes.set_ylim(low - 0.5, high + 0.5)
    ground(axes, low, high, min(1.0, (max(notes.length_seconds, 1.0) - begin) / seconds), semitone)
    bars(axes, notes, begin, begin + seconds, semitone)
    pitch_ticks(axes, low, high, semitone)
    time_ticks(axes, begin, begin + seconds, long=notes.length_seconds > 60)
    axes.spines[["left", "bottom"]].set_visible(False)


def ground(axes: Axes, low: int, high: int, share: float, semitone: float) -> None:
    """Darker stripes for the black keys where there is room, a line under every C where there is not."""
    for pitch in range(low, high + 1):
        if semitone >= 2.2 and pitch % 12 in BLACK_KEYS:
            axes.axhspan(pitch - 0.5, pitch + 0.5, 0, share, facecolor=theme.INK, alpha=0.035, linewidth=0, zorder=0)
        if pitch % 12 == 0:
            axes.plot([0, share], [pitch - 0.5] * 2, transform=axes.get_yaxis_transform(), color=theme.LINE, linewidth=0.8, zorder=1)  # fmt: skip


def bars(axes: Axes, notes: Notes, begin: float, end: float, semitone: float) -> None:
    """One path per velocity class, the loud ones on top; one shape per note would make huge files."""
    left, right = notes.onset * notes.header.step_seconds, ends_of(notes)
    seen = (left < end) & (right > begin)
    left, right, pitch, velocity = left[seen], right[seen], notes.pitch[seen], notes.velocity[seen]
    if not len(left):
        return
    points = theme.width_of(axes) / (end - begin)
    edge = 0.4 if semitone >= 3 and points * float(np.median(right - left)) >= 3 else 0.0
    for k in np.unique(velocity_class(velocity)):
        of_class = velocity_class(velocity) == k
        path = note_path(left[of_class], right[of_class], pitch[of_class], semitone)
        colour = theme.VELOCITIES[k]
        patch = PathPatch(path, facecolor=colour, edgecolor=theme.CARD, linewidth=edge, zorder=3, gid=f"velocity-{k}")
        axes.add_artist(patch)


def note_path(left: np.ndarray, right: np.ndarray, pitch: np.ndarray, semitone: float) -> Path:
    """The bars of notes as one path, at least 1.8 points high; a semitone is `semitone` points."""
    half = max(0.42, 0.9 / semitone)
    low, high = pitch - half, pitch + half
    corners = np.stack([left, low, left, high, right, high, right, low, left, low], axis=1)
    codes = np.array([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], dtype=np.uint8)
    return Path(corners.reshape(-1, 2), np.tile(codes, len(corners)))


def velocity_class(velocity: np.ndarray) -> np.ndarray:
    """0 (soft) … 11 (loud)."""
    return (velocity.astype(np.int64) - 1) * theme.VELOCITY_CLASSES // 127


def pitch_ticks(axes: Axes, low: int, high: int, semitone: float) -> None:
    """The C's by name and, lighter, by number; the G's too where there is room."""
    octaves = math.ceil(14 / (12 * semitone))
    ticks = [pitch for pitch in range(max(low, 0), min(high, 127) + 1) if pitch % (12 * octaves) == 0]
    if not ticks:
        ticks = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0][:1]
    if 5 * semitone >= 14:
        ticks += [pitch for pitch in range(max(low, 0), min(high, 127) + 1) if pitch % 12 == 7]
    axes.set_yticks(ticks, [pitch_name(pitch) for pitch in ticks], color=theme.INK)
    axes.tick_params(axis="y", pad=4 + theme.text_width("60" if high < 100 else "108", SMALL) + 3)
    for pitch in ticks:
        axes.annotate(
            f"{pitch}", (0, pitch), (-4, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
            ha="right", va="center_baseline", fontsize=SMALL - 1, color=theme.MUTED, gid="midi-number",
        )  # fmt: skip


def time_ticks(axes: Axes, begin: float, end: float, long: bool) -> None:
    """Round times, as seconds in a short piece and as minutes:seconds in one of over a minute."""
    step = next((step for step in TICK_SECONDS if (end - begin) / step <= 8), TICK_SECONDS[-1])
    ticks = np.arange(math.ceil(begin / step - 1e-6), math.floor(end / step + 1e-6) + 1) * step
    axes.set_xticks(ticks, [clock(tick) if long else f"{tick:.12g} s" for tick in ticks])
    for label, tick in zip(axes.get_xticklabels(), ticks, strict=True):
        if (end - tick) < 0.02 * (end - begin):
            label.set_horizontalalignment("right")
    axes.grid(axis="x", zorder=1)


def shade_prompt(axes: Axes, prompt_end: float) -> None:
    """A ground under what was given, and words over the place where the continuation begins."""
    begin, end = axes.get_xlim()
    if prompt_end <= begin:
        return
    axes.axvspan(begin, min(prompt_end, end), facecolor=theme.MUTED, alpha=0.12, linewidth=0, zorder=0.5, gid="prompt")
    if prompt_end > end:
        return
    axes.axvline(prompt_end, color=theme.MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
    points = theme.width_of(axes)
    left = points * (prompt_end - begin) / (end - begin)
    for text, side, room in (("prompt", "right", left), ("continuation", "left", points - left)):
        if theme.text_width(text, SMALL) + 8 <= room:
            axes.annotate(
                text, (prompt_end, 1), (-4 if side == "right" else 4, 3), xycoords=axes.get_xaxis_transform(),
                textcoords="offset points", ha=side, va="baseline", fontsize=SMALL, color=theme.MUTED,
            )  # fmt: skip


def velocity_scale(figure: Figure) -> float:
    """Twelve small squares at the upper right; returns the points left for a title."""
    width, height = figure.get_size_inches() * 72
    square, baseline = 7.0, height - theme.EDGE - SIZE
    right = ROLL_RIGHT * width - theme.text_width("127", SMALL)
    left = right - 4 - square * theme.VELOCITY_CLASSES
    for k, colour in enumerate(theme.VELOCITIES):
        corner = ((left + k * square) / width, baseline / height)
        figure.add_artist(Rectangle(corner, square / width, 8 / height, facecolor=colour, linewidth=0, transform=figure.transFigure))  # fmt: skip
    for x, text, side in ((right, "127", "left"), (left - 4, "velocity 1", "right")):
        figure.text(x / width, baseline / height, text, ha=side, va="baseline", fontsize=SMALL, color=theme.MUTED)
    return left - theme.text_width("velocity 1", SMALL) - 20
