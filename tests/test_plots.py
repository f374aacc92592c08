"""Pictures draw the numbers they are given, the same way every time, and suit light and dark pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.text import Text

from cadenza import plot
from cadenza.evaluate.fidelity import FeatureFigures
from cadenza.notes import Header, Notes, TimeBase
from cadenza.plot import theme
from cadenza.plot.curves import times
from cadenza.plot.labels import spread

NOBODY = Notes.of([], [], [], [])
NAN = float("nan")


def melody(count: int = 40, seconds: float = 10.0, velocity: int = 80) -> Notes:
    onset = (np.arange(count) * 100 * seconds / count).astype(int)
    return Notes.of(onset, 60 + np.arange(count) % 20, [1] * count, [velocity] * count)


def counts(**values: int) -> np.ndarray:
    filled = np.zeros(128, dtype=np.int64)
    for name, value in values.items():
        filled[int(name.removeprefix("at"))] = value
    return filled


def drawn(axes: Axes) -> list[tuple[int, float, float, float]]:
    """Velocity class, pitch, begin and end of every bar of a roll, in order of class."""
    found = []
    for patch in axes.patches:
        if isinstance(patch, PathPatch) and str(patch.get_gid()).startswith("velocity-"):
            for corners in np.asarray(patch.get_path().vertices).reshape(-1, 5, 2):
                (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
                found.append((int(str(patch.get_gid())[9:]), (y0 + y1) / 2, x0, x1))
    return found


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def bars(axes: Axes) -> list[float]:
    """The heights of upright bars."""
    return [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]


def tick_labels(axes: Axes, axis: str) -> list[str]:
    return [label.get_text() for label in (axes.get_xticklabels() if axis == "x" else axes.get_yticklabels())]


SAMPLES = [
    {"temperature": t, "unique": 10 * t + k, "repetition": NAN} for t in (0.5, 1.0, 1.5) for k in range(3)
]  # fmt: skip
LABELS = {"unique": "different events", "repetition": "runs heard before (%)"}
TRIED = [
    {"temperature": t, "distance": d, "noise": 0.02, "plain": plain, "copied": copied}
    for t, d, plain, copied in ((0.8, 0.5, True, 3), (1.0, 0.4, True, 0), (1.2, 0.6, True, 0), (1.0, 0.45, False, 1), (1.0, 0.35, False, 0))
]  # fmt: skip
EPOCHS = [0, 1, 2, 3]
FOUR_MODELS = {
    "network": {"training": (7.5, 7.3, 7.7), "validation": (8.2, 7.9, 8.5), "test": (8.4, 8.1, 8.7)},
    "Markov model": {"training": (6.1, 6.0, 6.2), "validation": (9.2, 8.9, 9.5), "test": (9.4, NAN, NAN)},
    "frequencies": {"training": (10.5, 10.3, 10.7), "test": (10.4, 10.1, 10.7)},
    "blind guess": {"training": (24.1, NAN, NAN), "validation": (24.1, NAN, NAN), "test": (24.1, NAN, NAN)},
}


ODD = np.arange(20) % 2 == 1
"""Every other note of two passages agrees."""


def feature(title: str, generated: float, floor: float = 0.2, high: float = 0.4) -> FeatureFigures:
    return FeatureFigures(title, title, "", generated, floor, high, NAN, NAN, NAN, NAN)


FEATURES = [feature("near", 0.1), feature("variety of pitch classes in 8 s", 0.6), feature("far", 127.4)]
DRIFT = {"training pieces": [200, 20, 4, 1.3], "held-out pieces": [210, 60, 80, 195.83]}

PICTURES: dict[str, Callable[[], Figure]] = {
    "roll": lambda: plot.piano_roll(melody(), "étude $x$ 你好", prompt_notes=10),
    "rolls": lambda: plot.piano_roll(melody(2000, 300)),
    "perplexity": lambda: plot.learning_curve(EPOCHS, DRIFT, "perplexity per event", 1, (EPOCHS, EPOCHS)),
    "bits": lambda: plot.learning_curve(EPOCHS, {"training pieces": [9, 8, 7, 6], "test": [9, NAN, 9]}, "bits per note", 2),
    "tokens": lambda: plot.token_frequencies({"event": [("C4", 5), ("D4", 1)]}, 6),
    "fields": lambda: plot.token_frequencies({name: [("a", 3), ("b", 2)] for name in "abcd"}, 5),
    "types": lambda: plot.event_types({"note": 5, "shift": 20_000}),
    "lengths": lambda: plot.sequence_lengths([10, 20, 30, 5000], "notes", (8, 4000)),
    "pitches": lambda: plot.pitches(counts(at60=3, at72=1), counts(at61=2), 55, 103),
    "velocities": lambda: plot.velocities(np.arange(128), np.ones(128), 4),
    "temperature": lambda: plot.temperature_analysis(SAMPLES, LABELS, {"unique": (7, 9)}, "90 % of validation pieces"),
    "tuning": lambda: plot.tuning(TRIED, 4, (0.2, 0.3)),
    "tuning without a human level": lambda: plot.tuning(TRIED[:3], 1),
    "models": lambda: plot.compare_models(FOUR_MODELS, "bits per note"),
    "perplexities": lambda: plot.compare_models(FOUR_MODELS, "perplexity per event"),
    "own passage": lambda: plot.aligned_rolls(melody(), melody(30), ODD, 5)[0],
    "nearest passage": lambda: plot.aligned_rolls(melody(), melody(30), ODD, -50)[1],
    "features": lambda: plot.feature_distances(FEATURES),
    "no floor": lambda: plot.feature_distances([feature("near", 0.1, NAN, NAN), feature("far", 3, NAN, NAN)]),
}  # fmt: skip

EMPTY: dict[str, Callable[[], Figure]] = {
    "roll": lambda: plot.piano_roll(NOBODY, prompt_notes=3),
    "one note": lambda: plot.piano_roll(Notes.of([0], [127], [1], [1])),
    "lowest note": lambda: plot.piano_roll(Notes.of([0], [0], [1], [127])),
    "curve": lambda: plot.learning_curve([], {}, "perplexity per event", None),
    "no numbers": lambda: plot.learning_curve([0, 1], {"training pieces": [NAN, NAN]}, "bits per note", 1),
    "no perplexity": lambda: plot.learning_curve([0], {"training pieces": [float("inf")], "test": [0]}, "perplexity per event", 5, ([], [])),
    "one point": lambda: plot.learning_curve([0], {"held-out pieces": [3.0]}, "perplexity per event", 0),
    "all equal": lambda: plot.learning_curve([0, 1], {"held-out pieces": [3.0, 3.0]}, "perplexity per event", 0),
    "enormous": lambda: plot.learning_curve([0, 1], {"training pieces": [1e30, 1.0], "test": [1e30, 1e29]}, "perplexity per event", 0),
    "only batches": lambda: plot.learning_curve([], {}, "bits per note", None, ([0.1, 0.2], [5.0, 4.0])),
    "tokens": lambda: plot.token_frequencies({}, 0),
    "empty field": lambda: plot.token_frequencies({"pitch": []}, 0),
    "empty fields": lambda: plot.token_frequencies({"pitch": [], "duration": [("1 s", 0)]}, 0),
    "types": lambda: plot.event_types({}),
    "zero types": lambda: plot.event_types({"note": 0}),
    "lengths": lambda: plot.sequence_lengths([], "notes"),
    "one length": lambda: plot.sequence_lengths([7], "notes", (8, 100)),
    "zero lengths": lambda: plot.sequence_lengths([0, 0, 5], "notes"),
    "pitches": lambda: plot.pitches(counts(), counts()),
    "one pitch": lambda: plot.pitches(counts(at127=4), counts()),
    "velocities": lambda: plot.velocities(counts(), None, 32),
    "temperature": lambda: plot.temperature_analysis([], {}),
    "one sample": lambda: plot.temperature_analysis([{"temperature": 1.0, "unique": 0.0}], LABELS, {"unique": (NAN, NAN)}),
    "tuning": lambda: plot.tuning([], 0),
    "nothing measured": lambda: plot.tuning([{**TRIED[0], "distance": None, "noise": None}], 0, (0.1, 0.2)),
    "one setting": lambda: plot.tuning([{**TRIED[0], "distance": 0.0, "noise": 0.0}], 0),
    "models": lambda: plot.compare_models({}, "bits per note"),
    "no figures": lambda: plot.compare_models({"network": {"test": (NAN, NAN, NAN)}, "Markov model": {}}, "bits per note"),
    "one model": lambda: plot.compare_models({"network": {"test": (3.0, 3.0, 3.0)}}, "perplexity per event"),
    "no passage": lambda: plot.aligned_rolls(NOBODY, NOBODY, ODD[:0])[0],
    "one passage": lambda: plot.aligned_rolls(NOBODY, melody(3), ODD[:0], 12)[1],
    "features": lambda: plot.feature_distances([]),
    "no distance": lambda: plot.feature_distances([feature("near", NAN)]),
    "all zero": lambda: plot.feature_distances([feature("near", 0, 0, 0)]),
    "floor of zero": lambda: plot.feature_distances([feature("far", 1, 0, 0)]),
}  # fmt: skip


@pytest.mark.parametrize("make", [*PICTURES.values(), *EMPTY.values()], ids=[*PICTURES, *(f"empty {x}" for x in EMPTY)])
def test_the_same_picture_gives_the_same_bytes(make: Callable[[], Figure]) -> None:
    figure = make()
    one, other = plot.to_bytes(figure, "svg"), plot.to_bytes(make(), "svg")
    assert one == other == plot.to_bytes(figure, "svg")
    ElementTree.fromstring(one)
    assert plot.to_bytes(figure, "png").startswith(b"\x89PNG")


@pytest.mark.parametrize("make", PICTURES.values(), ids=PICTURES)
def test_an_svg_has_light_and_dark_colours_and_a_clear_ground(make: Callable[[], Figure]) -> None:
    svg = plot.to_bytes(make(), "svg").decode()
    [style] = re.findall(r"<style>(.*?)</style>", svg)
    rest = svg.replace(style, "")
    light, dark = style.split("@media screen and (prefers-color-scheme:dark)")
    for name in set(re.findall(r"var\(--([\w-]+)\)", rest)):
        assert (f"--{name}:{theme.COLOURS[name][0]}" in light) and (f"--{name}:{theme.COLOURS[name][1]}" in dark)
    assert "var(--ink)" in rest
    assert not [light for light, _ in theme.COLOURS.values() if light in rest]
    assert not re.findall(r"(?:fill|stroke): #", rest)
    [ground] = re.findall(r'<g id="patch_1">(.*?)</g>', rest, re.DOTALL)
    assert "fill: none" in ground


def test_every_theme_colour_is_its_own_and_can_be_seen() -> None:
    def light(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        low, high = sorted((light(one), light(other)))
        return (high + 0.05) / (low + 0.05)

    assert len({light for light, _ in theme.COLOURS.values()}) == len(theme.COLOURS)
    for side in (0, 1):
        ground = theme.COLOURS["card"][side]
        assert all(contrast(theme.COLOURS[name][side], ground) >= 4.5 for name in ("ink", "muted"))
        assert all(contrast(theme.COLOURS[name][side], ground) >= 3 for name in ("blue", "orange"))
        shades = [contrast(theme.COLOURS[f"velocity-{k}"][side], ground) for k in range(theme.VELOCITY_CLASSES)]
        assert shades == sorted(shades)


@pytest.mark.parametrize("make", PICTURES.values(), ids=PICTURES)
def test_no_text_leaves_the_picture_or_is_tiny(make: Callable[[], Figure]) -> None:
    figure = make()
    figure.draw_without_rendering()
    drawn_box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(drawn_box.x0, drawn_box.y0, width - drawn_box.x1, height - drawn_box.y1) >= -0.01
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        assert not text.get_text() or float(text.get_fontsize()) / 72 / width * 400 >= 8, text.get_text()


@pytest.mark.parametrize("base", [TimeBase("seconds", 100), TimeBase("beats", 24)])
def test_a_roll_has_one_bar_per_note_where_and_as_long_as_it_sounds(base: TimeBase) -> None:
    notes = Notes.of([0, 50, 50], [60, 64, 70], [50, 25, 100], [20, 60, 120], Header(time_base=base, tempo=90))
    [axes] = plot.piano_roll(notes).axes
    step = notes.header.step_seconds
    expected = [(1, 60, 0, 50 * step), (5, 64, 50 * step, 75 * step), (11, 70, 50 * step, 150 * step)]
    assert np.asarray(drawn(axes)) == pytest.approx(np.asarray(expected))


@pytest.mark.parametrize("seconds", [0.3, 12.34, 75.0])
def test_the_time_axis_of_one_row_is_exactly_where_a_playhead_expects_it(seconds: float) -> None:
    notes = Notes.of([0], [60], [round(seconds * 100)], [80])
    for prompt, title in ((0, ""), (1, "A title")):
        [axes] = plot.piano_roll(notes, title, prompt).axes
        assert axes.get_xlim() == pytest.approx((0, max(seconds, 1)))
        place = axes.get_position()
        assert (place.x0, place.x1) == pytest.approx((plot.ROLL_LEFT, plot.ROLL_RIGHT))
    assert plot.shown_seconds(notes) == pytest.approx(seconds)


@pytest.mark.parametrize(("seconds", "rows", "each"), [(76, 2, 40), (120, 2, 60), (179, 3, 60), (600, 10, 60), (5000, 10, 60)])  # fmt: skip
def test_a_long_roll_is_wrapped_into_rows_of_one_length(seconds: int, rows: int, each: int) -> None:
    notes = Notes.of([0, (seconds - 1) * 100], [60, 64], [100, 100], [80, 80])
    axes = plot.piano_roll(notes).axes
    assert [row.get_xlim() for row in axes] == [(k * each, (k + 1) * each) for k in range(rows)]
    assert plot.shown_seconds(notes) == min(seconds, 600)
    assert len({row.get_ylim() for row in axes}) == 1
    assert len(drawn(axes[-1])) == (1 if seconds <= 600 else 0)
    assert ("10:00 of 83:20" in axes[-1].get_xlabel()) == (seconds == 5000)


def test_a_note_across_two_rows_is_drawn_in_both() -> None:
    notes = Notes.of([3900, 7900], [60, 60], [200, 100], [80, 80])
    first, second = plot.piano_roll(notes).axes
    assert [bar[2:] for bar in drawn(first)] == [(39.0, 41.0)]
    assert [bar[2:] for bar in drawn(second)] == [(39.0, 41.0), (79.0, 80.0)]


def test_a_roll_names_notes_by_name_and_number_and_times_by_their_unit() -> None:
    [axes] = plot.piano_roll(melody()).axes
    assert {"C4", "C5", "G4"} <= set(tick_labels(axes, "y"))
    assert {"60", "72", "67"} <= set(texts(axes))
    assert tick_labels(axes, "x") == ["0 s", "2 s", "4 s", "6 s", "8 s"]
    [longer] = plot.piano_roll(melody(seconds=70)).axes
    assert tick_labels(longer, "x")[:3] == ["0:00", "0:10", "0:20"]


def test_a_roll_sets_the_prompt_apart() -> None:
    [axes] = plot.piano_roll(melody(), prompt_notes=20).axes
    assert {"prompt", "continuation"} <= set(texts(axes))
    [ground] = [patch for patch in axes.patches if patch.get_gid() == "prompt"]
    assert ground.get_extents().transformed(axes.transData.inverted()).intervalx == pytest.approx((0, 4.76))
    assert "prompt" not in texts(plot.piano_roll(melody()).axes[0])


def test_a_learning_curve_draws_every_finite_value_and_names_the_lines_at_their_ends() -> None:
    [axes] = plot.learning_curve(EPOCHS, DRIFT | {"test (unseen works)": [NAN, 50]}, "perplexity per event", 1).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert np.asarray(lines["training pieces"].get_ydata()).tolist() == DRIFT["training pieces"]
    assert np.asarray(lines["held-out pieces"].get_ydata()).tolist() == DRIFT["held-out pieces"]
    assert np.asarray(lines["test (unseen works)"].get_xydata()).tolist() == [[1, 50]]
    assert {"training pieces", "1.30", "held-out pieces", "195.83", "(unseen works)", "kept 60.00"} <= set(texts(axes))
    assert axes.get_yscale() == "log"
    assert tick_labels(axes, "y") == ["1", "2", "5", "10", "20", "50", "100", "200"]


@pytest.mark.parametrize(
    ("last", "unit", "words"),
    [((1.3, 195.83), "perplexity per event", "× 150"), ((1.3, 1.9), "perplexity per event", None), ((6, 8.1), "bits per note", "+ 2.1 bits"), ((6, 6.9), "bits per note", None)],
)  # fmt: skip
def test_a_wide_gap_between_known_and_unseen_music_has_a_bracket(
    last: tuple[float, float], unit: str, words: str | None
) -> None:
    figures = {"training pieces": [9.0, last[0]], "held-out pieces": [9.0, last[1]]}
    [axes] = plot.learning_curve([0, 1], figures, unit, None).axes
    assert [text for text in texts(axes) if text.startswith(("×", "+"))] == ([words] if words else [])
    assert len([line for line in axes.lines if line.get_gid() == "bracket"]) == (1 if words else 0)


def test_the_kept_state_is_ringed_on_the_curve_of_unseen_music() -> None:
    [axes] = plot.learning_curve([0, 5, 10], {"training pieces": [9, 8, 7], "test": [9, 8.5, 8.9]}, "bits per note", 1).axes  # fmt: skip
    [ring] = [line for line in axes.lines if line.get_gid() == "kept"]
    assert np.asarray(ring.get_xydata()).tolist() == [[5, 8.5]]


def test_batches_are_smoothed_thinned_and_keep_their_mean() -> None:
    x, y = np.linspace(0, 10, 20_000), np.random.default_rng(0).normal(5, 1, 20_000)
    [axes] = plot.learning_curve([0, 10], {}, "bits per note", None, (x.tolist(), y.tolist())).axes
    [line] = axes.lines
    shown = np.asarray(line.get_ydata())
    assert len(shown) == 600
    assert shown.mean() == pytest.approx(5, abs=0.05)
    assert shown.std() < 0.1


@given(st.lists(st.tuples(st.floats(0, 160), st.floats(10, 30)), max_size=5))
def test_labels_never_overlap(labels: list[tuple[float, float]]) -> None:
    middles, heights = [one for one, _ in labels], [two for _, two in labels]
    placed = spread(middles, heights, 160)
    spans = sorted((middle - height / 2, middle + height / 2) for middle, height in zip(placed, heights, strict=True))
    assert all(one[1] <= other[0] + 1e-6 for one, other in pairwise(spans))
    assert all(top <= 160 + 1e-6 and (foot >= -1e-6 or sum(heights) > 160) for foot, top in spans)


@pytest.mark.parametrize(("ratio", "words"), [(1.62, "1.6"), (23.4, "23"), (150.64, "150"), (12345.0, "12,000"), (9.96, "10")])  # fmt: skip
def test_factors_have_about_two_digits(ratio: float, words: str) -> None:
    assert times(ratio) == words


def test_the_most_frequent_values_come_with_their_share() -> None:
    values = [(f"Note {k}", 100 - k) for k in range(30)]
    [axes] = plot.token_frequencies({"event": values}, 1000).axes
    assert [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)] == [100 - k for k in range(20)]
    assert tick_labels(axes, "y") == [f"Note {k}" for k in range(20)]
    assert texts(axes)[:2] == ["10.0 %", "9.9 %"]
    panels = plot.token_frequencies(dict.fromkeys("abcd", values), 1000).axes
    assert [len(tick_labels(axes, "y")) for axes in panels] == [8] * 4
    assert len({axes.get_position().x0 for axes in panels}) == len({axes.get_position().y0 for axes in panels}) == 2


def test_event_types_are_sorted_and_counted() -> None:
    [axes] = plot.event_types({"note": 250, "shift": 1750}).axes
    assert tick_labels(axes, "y") == ["shift", "note"]
    assert texts(axes) == ["87.5 %   1,750", "12.5 %   250"]


@pytest.mark.parametrize("lengths", [[5], [1, 2, 3], list(range(100, 400)), [10] * 50 + [9000], [0, 0, 500]])
def test_every_length_is_counted_once(lengths: list[int]) -> None:
    [axes] = plot.sequence_lengths(lengths, "notes", (2, 300)).axes
    assert sum(bars(axes)) == len(lengths)
    assert (axes.get_xscale() == "log") == (max(lengths) == 9000)
    [median] = [line for line in axes.lines if line.get_color() == theme.INK]
    assert np.asarray(median.get_xdata())[0] == np.median(lengths)
    low, high = axes.get_xlim()
    assert sum("allowed" in text for text in texts(axes)) == sum(low < limit < high for limit in (2, 300))


def test_pitches_are_shares_of_both_kinds_of_music() -> None:
    [axes] = plot.pitches(counts(at60=3, at72=1), counts(at62=2), 55, 103).axes
    assert bars(axes) == [75.0, 25.0]
    [outline] = [patch for patch in axes.patches if hasattr(patch, "get_data")]
    assert (list(outline.get_data().values), outline.get_data().edges[0]) == ([100.0], 61.5)
    assert tick_labels(axes, "x") == ["C4", "C5", "C6", "C7"]
    assert {"60", "72", "84", "96", "instrument: G3 to G7"} <= set(texts(axes))
    assert axes.get_xlim()[0] < 55 < 103 < axes.get_xlim()[1]


def test_velocities_are_counted_together_by_step_and_named_where_few() -> None:
    [axes] = plot.velocities(np.ones(128), None, 32).axes
    assert bars(axes) == pytest.approx([25.0] * 4)
    [few] = plot.velocities(counts(at64=1, at80=3)).axes
    assert bars(few) == [25.0, 75.0]
    assert texts(few)[-2:] == ["64", "80"]
    assert len(bars(plot.velocities(np.ones(128)).axes[0])) == 128


def test_temperatures_show_every_sample_their_mean_and_the_band_of_human_pieces() -> None:
    figure = plot.temperature_analysis(
        SAMPLES, LABELS, {"unique": (7, 9), "repetition": (0, 1)}, "90 % of unseen pieces"
    )
    unique, repetition = figure.axes
    dots, mean = unique.lines
    assert np.asarray(dots.get_xydata()).tolist() == [[one["temperature"], one["unique"]] for one in SAMPLES]
    assert np.asarray(mean.get_xydata()).tolist() == [[0.5, 6], [1, 11], [1.5, 16]]
    [band] = [patch for patch in unique.patches if isinstance(patch, Rectangle)]
    assert (band.get_y(), band.get_y() + band.get_height()) == (7, 9)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["an improvised piece", "mean", "90 % of unseen pieces"]
    assert texts(unique)[0] == "different events"
    assert "nothing to show" in texts(repetition)


def test_a_tune_shows_every_setting_the_choice_and_the_human_level() -> None:
    figure = plot.tuning(TRIED, 4, (0.2, 0.3))
    [axes] = figure.axes
    ends = [np.asarray(line.get_xydata()).tolist() for line in axes.lines]
    assert [[0.8, 0.5], [1.0, 0.4], [1.2, 0.6]] in ends
    assert [[1.0, 0.45], [1.0, 0.35]] in ends
    [ring] = [line for line in axes.lines if line.get_gid() == "chosen"]
    assert np.asarray(ring.get_xydata()).tolist() == [[1.0, 0.35]]
    [crosses] = [line for line in axes.lines if line.get_marker() == "x"]
    assert np.asarray(crosses.get_xydata()).tolist() == [[0.8, 0.5], [1.0, 0.45]]
    [band] = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.2, 0.3))
    assert axes.get_ylim()[0] == 0


def test_features_stand_beside_the_band_of_unseen_music() -> None:
    [axes] = plot.feature_distances([*FEATURES, feature("unknown", NAN), feature("unjudged", 0.3, NAN, NAN)]).axes
    assert tick_labels(axes, "y") == ["unjudged", "far", "variety of pitch classes in 8 s", "near"]
    dots = [line for line in axes.lines if line.get_gid() == "dot"]
    assert [np.asarray(dot.get_xydata()).tolist() for dot in dots] == [[[0.1, 3]], [[0.6, 2]], [[0.3, 0]]]
    assert [dot.get_color() for dot in dots] == [theme.BLUE, theme.ORANGE, theme.INK]
    assert [bar.get_width() for bar in axes.patches if bar.get_gid() == "band" and isinstance(bar, Rectangle)] == [
        0.4
    ] * 3
    [beyond] = [line for line in axes.lines if line.get_gid() == "beyond"]
    assert np.asarray(beyond.get_xydata()).tolist() == [[axes.get_xlim()[1], 1]]
    assert texts(axes) == ["127"]


def test_a_huge_piece_is_drawn_as_few_paths() -> None:
    rng = np.random.default_rng(0)
    many = 20_000
    notes = Notes.of(rng.integers(0, 50_000, many), rng.integers(21, 109, many), rng.integers(5, 99, many), rng.integers(1, 128, many))  # fmt: skip
    figure = plot.piano_roll(notes)
    assert sum(len(drawn(axes)) for axes in figure.axes) >= many
    assert all(len(axes.patches) < 120 for axes in figure.axes)
    assert len(plot.to_bytes(figure, "svg")) < 3_000_000


@pytest.mark.parametrize("name", plot.__all__)
def test_the_package_has_what_it_names(name: str) -> None:
    value: Any = getattr(plot, name)
    assert value is not None


def bars_of(axes: Axes, kind: str) -> list[tuple[float, float, float]]:
    """Begin, end and pitch of the notes of a passage that agree, or do not."""
    corners = [
        np.asarray(patch.get_path().vertices).reshape(-1, 5, 2)
        for patch in axes.patches
        if isinstance(patch, PathPatch) and patch.get_gid() == kind
    ]
    return [
        (float(one[:, 0].min()), float(one[:, 0].max()), float(one[:4, 1].mean())) for shape in corners for one in shape
    ]


@pytest.mark.parametrize("semitones", [0, -5, 12])
def test_passages_stand_on_the_same_axes_and_mark_what_agrees(semitones: int) -> None:
    own = Notes.of([0, 100, 200, 300], [60, 62, 64, 65], [100] * 4, [80] * 4)
    other = Notes.of([0, 110, 220, 330], np.array([60, 62, 63, 65]) - semitones, [110] * 4, [80] * 4)
    agree = np.array([True, True, False, True])
    [first], [second] = (figure.axes for figure in plot.aligned_rolls(own, other, agree, semitones))
    assert first.get_xlim() == second.get_xlim() == (0, plot.passage_seconds(own, other)) == (0, 4.4)
    assert np.subtract(first.get_ylim(), semitones) == pytest.approx(second.get_ylim())
    assert first.get_position().bounds == second.get_position().bounds
    assert [pitch for _, _, pitch in bars_of(first, "agreeing")] == [60, 62, 65]
    assert bars_of(first, "other") == [(2.0, 3.0, 64.0)]
    assert bars_of(second, "other")[0] == pytest.approx((2.2, 3.3, 63.0 - semitones))


def dots(axes: Axes, part: str) -> list[float]:
    return [float(np.asarray(line.get_xdata())[0]) for line in axes.lines if line.get_gid() == f"dot-{part}"]


def test_models_have_a_dot_per_part_a_whisker_per_interval_and_an_arrow_where_they_are_far_off() -> None:
    [axes] = plot.compare_models(FOUR_MODELS, "bits per note").axes
    assert dots(axes, "training") == [7.5, 6.1, 10.5]
    assert dots(axes, "validation") == [8.2, 9.2]
    assert dots(axes, "test") == [8.4, 9.4, 10.4]
    whiskers = [line.get_xdata() for line in axes.lines if line.get_gid() == "interval-test"]
    assert [np.asarray(ends).tolist() for ends in whiskers] == [[8.1, 8.7], [10.1, 10.7]]
    assert texts(axes) == ["24.1 →"] * 3
    assert axes.get_xlim()[1] < 12
    near = {
        name: {"test": (value, NAN, NAN)} for name, value in (("network", 8.0), ("Markov model", 9.0), ("other", 9.5))
    }
    assert texts(plot.compare_models(near, "bits per note").axes[0]) == []
