"""Sound is steady, unclipped and faded; pictures draw what they are given; the report holds everything."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyloudnorm
import pytest
import soundfile
from matplotlib.collections import PolyCollection

from cadenza import audio, export, midi, plot, report, synthesizer
from cadenza.corpus.scan import Entry
from cadenza.errors import CadenzaError
from cadenza.notes import Header, Notes, TimeBase
from cadenza.settings import AudioSettings


def melody(count: int = 40, velocity: int = 80, start: int = 0) -> Notes:
    onset = start + 25 * np.arange(count)
    return Notes.of(onset, 60 + np.arange(count) % 20, [24] * count, [velocity] * count, Header("melody"))


@pytest.mark.parametrize("program", [0, 40, 73])
@pytest.mark.parametrize("velocity", [10, 80, 127])
def test_sound_has_the_asked_loudness_or_the_highest_peak(program: int, velocity: int) -> None:
    settings = AudioSettings()
    samples = audio.render(midi.to_symusic(melody(velocity=velocity), program), settings)
    loudness = pyloudnorm.Meter(settings.sample_rate).integrated_loudness(samples.astype(float))
    peak = np.abs(samples).max()
    assert peak <= audio.PEAK + 1e-6
    assert loudness == pytest.approx(settings.loudness, abs=0.2) or peak == pytest.approx(audio.PEAK, rel=1e-4)


def test_sound_starts_at_once_and_fades_out() -> None:
    samples = audio.render(midi.to_symusic(melody(start=1000), 40), AudioSettings())
    loud = np.abs(samples).max(axis=1) > np.abs(samples).max() / 100
    assert loud.argmax() < 0.2 * 44_100
    assert 10 < len(samples) / 44_100 < 12.5
    assert np.abs(samples[-100:]).max() < 1e-3


@pytest.mark.parametrize("kind", sorted(audio.FORMATS))
def test_every_sound_format_can_be_read_again(kind: str) -> None:
    settings = AudioSettings()
    samples = audio.render(midi.to_symusic(melody(), 40), settings)
    back, rate = soundfile.read(io.BytesIO(audio.encode(samples, kind, settings)))
    assert rate == settings.sample_rate
    assert abs(len(back) - len(samples)) < 5000
    assert np.sqrt((back**2).mean()) == pytest.approx(float(np.sqrt((samples.astype(float) ** 2).mean())), rel=0.05)


def test_nothing_to_render_and_bad_soundfonts_are_named(tmp_path: Path) -> None:
    empty = midi.to_symusic(Notes.of([], [], [], []), 0)
    with pytest.raises(CadenzaError, match="no notes"):
        audio.render(empty, AudioSettings())
    wrong = tmp_path / "words.sf2"
    wrong.write_text("words")
    for settings in (AudioSettings(soundfont=str(tmp_path / "none.sf2")), AudioSettings(soundfont=str(wrong))):
        with pytest.raises(CadenzaError, match="soundfont"):
            audio.render(midi.to_symusic(melody(), 0), settings)


def test_a_note_that_hangs_the_synthesizer_sounds_an_octave_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesizer, "LIMIT_SECONDS", 3.0)
    score = midi.to_symusic(Notes.of([0, 50, 100], [60, 103, 64], [50] * 3, [80] * 3), 40)
    samples = audio.render(score, AudioSettings())
    assert 2 < len(samples) / 44_100 < 4
    assert [note.pitch for note in score.tracks[0].notes] == [60, 103, 64]


def test_music_that_is_too_long_is_refused_before_it_is_rendered() -> None:
    far = midi.to_symusic(Notes.of([0, 100 * 3700], [60, 60], [10, 10], [80, 80]), 0)
    with pytest.raises(CadenzaError, match=r"audio\.max_minutes"):
        audio.render(far, AudioSettings())


def bars(notes: Notes, prompt_notes: int = 0) -> PolyCollection:
    [axes, *_] = plot.piano_roll(notes, prompt_notes=prompt_notes).axes
    [found] = [item for item in axes.collections if isinstance(item, PolyCollection)]
    return found


@pytest.mark.parametrize("base", [TimeBase("seconds", 100), TimeBase("beats", 24)])
def test_a_roll_has_one_bar_per_note_where_and_as_long_as_it_sounds(base: TimeBase) -> None:
    notes = Notes.of([0, 50, 50], [60, 64, 70], [50, 25, 100], [20, 60, 120], Header(time_base=base, tempo=90))
    drawn = bars(notes)
    step = notes.header.step_seconds
    for path, onset, pitch, duration in zip(drawn.get_paths(), notes.onset, notes.pitch, notes.duration, strict=True):
        box = path.get_extents()
        assert (box.x0, box.x1) == pytest.approx((onset * step, (onset + duration) * step))
        assert (box.y0 + box.y1) / 2 == pytest.approx(pitch)
    assert np.asarray(drawn.get_array()).tolist() == [20, 60, 120]


def test_a_roll_names_notes_and_sets_the_prompt_apart() -> None:
    [axes, *_] = plot.piano_roll(melody(), prompt_notes=10).axes
    assert {"C4", "C5"} <= {label.get_text() for label in axes.get_yticklabels()}
    assert [text.get_text().strip() for text in axes.texts] == ["prompt", "continuation"]
    assert not plot.piano_roll(melody()).axes[0].texts


def test_a_learning_curve_draws_every_validation_and_marks_the_best() -> None:
    [axes] = plot.learning_curve(
        range(1, 101), np.linspace(10, 6, 100).tolist(), [25, 50, 75, 100], [9.0, 7.5, 7.1, 7.4]
    ).axes
    training, validation = axes.lines
    assert np.shape(training.get_xdata()) == (100,)
    assert np.asarray(validation.get_ydata()).tolist() == [9.0, 7.5, 7.1, 7.4]
    assert axes.texts[0].get_text() == "best 7.10"
    assert axes.get_ylabel() == "bits per note"


@pytest.mark.parametrize("notes", [melody(), Notes.of([], [], [], []), Notes.of([0], [127], [1], [1])])
def test_the_same_picture_gives_the_same_bytes(notes: Notes) -> None:
    one, other = (plot.to_bytes(plot.piano_roll(notes), "svg") for _ in range(2))
    assert one == other
    ElementTree.fromstring(one)
    assert plot.to_bytes(plot.piano_roll(notes), "png").startswith(b"\x89PNG")


def test_every_format_of_a_piece_is_written_whole(tmp_path: Path) -> None:
    paths = list(export.piece(melody(), tmp_path / "a b" / "piece", export.FORMATS, 40, AudioSettings()))
    assert [path.suffix[1:] for path in paths] == list(export.FORMATS)
    assert all(path.stat().st_size > 200 for path in paths)
    assert not list(tmp_path.rglob("*.part"))


class Tags(HTMLParser):
    """Collects tags and what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def part(**changes: object) -> dict[str, object]:
    figures: dict[str, object] = {
        "pieces": 3, "works": 2, "notes": 900, "bits_per_note": 8.25, "interval": [8.0, 8.5], "bits_per_second": 40.0,
        "perplexity_per_token": 4.2, "unigram": 10.5, "uniform": 24.1,
    }  # fmt: skip
    return figures | changes


def page(metrics: dict[str, object], entries: list[Entry]) -> str:
    notes = melody()
    sample = report.Sample("Piece 01", "40 notes", plot.to_bytes(plot.piano_roll(notes), "svg"), b"ID3 sound")
    return report.page(
        title="Fiddle <improvised>", metrics={"fine_tuned": False} | metrics, facts={"unit": "beats", "steps": 24}, settings={"train": {"minutes": 5}},
        entries=entries, curve_svg=b"<svg/>", samples=[sample], again=["cadenza run x"],
    )  # fmt: skip


def test_the_report_is_one_file_without_scripts_and_escapes_names() -> None:
    evil = "<script>alert(1)</script>.mid"
    entries = [
        Entry("a.mid", notes=900, length_seconds=60, work=0, split="train"),
        Entry(evil, reason=f"{evil}: damaged (cut off); remove it."),
    ]
    text = page({"step": 10, "train": part(), "validation": part(), "test": part()}, entries)
    tags = Tags()
    tags.feed(text)
    assert "script" not in tags.tags
    assert tags.links
    assert all(link.startswith("data:") for link in tags.links)
    assert "&lt;script&gt;" in text
    assert "8.25" in text
    assert "Fiddle &lt;improvised&gt;" in text


def test_the_report_claims_nothing_where_nothing_was_held_out() -> None:
    entries = [Entry("a.mid", notes=900, length_seconds=60, work=0, split="train")]
    text = page({"step": 10, "train": part(), "validation": None, "test": None}, entries)
    assert "No held-out figure" in text
    assert not re.search(r"it needs [\d.]+ bits", text)


def test_the_report_says_first_when_nothing_was_learned() -> None:
    entries = [Entry("a.mid", notes=900, length_seconds=60, work=0, split="train")]
    text = page({"step": 10, "train": part(), "validation": part(), "test": part(bits_per_note=11.0)}, entries)
    assert text.index("has not learned yet") < text.index("<h2>")


def test_reasons_of_one_kind_are_counted_together() -> None:
    entries = [
        Entry(f"{k}.mid", reason=f"{k}.mid: {k} notes, under corpus.min_notes = 8; lower that, or remove it.")
        for k in (1, 22)
    ]
    entries.append(Entry("c.mid", reason="c.mid: the same bytes as a.mid."))
    assert report.reasons(entries) == [
        ("… notes, under corpus.min_notes = …", 2),
        ("the same bytes as another file", 1),
    ]
