"""The report is one file that says what it must, hides what would mislead, and moves its playhead with the sound."""

from __future__ import annotations

import base64
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from cadenza import audio, plot, report
from cadenza.corpus.scan import Entry
from cadenza.notes import Notes
from cadenza.plot.roll import ROLL_TALL, ROLL_TOP
from cadenza.settings import Settings

EVIL = "<script>alert(1)</script>.mid"
ENTRIES = [Entry("a.mid", notes=900, length_seconds=60, work=0, split="train")]
LOSSY = "These events lose the onset of 10 % of the notes, so bits per note would not compare with anything."
VOID = ("meta", "img", "track", "link", "br", "hr", "input", "source")


class Tags(HTMLParser):
    """Collects elements and their attributes, and asserts that they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, *names: str) -> list[str]:
        return [value or "" for _, attributes in self.found for name, value in attributes.items() if name in names]


def part(**changes: Any) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "pieces": 3, "works": 2, "notes": 900, "tokens": 3600, "bits_per_note": 8.25, "interval": [8.0, 8.5],
        "bits_per_note_by_field": {"pitch": 5.125, "duration": 3.125}, "bits_per_second": 41.5,
        "perplexity_per_token": 4.21, "baselines": {
            "markov": {"bits_per_note": 8.625, "perplexity_per_token": 4.53},
            "unigram": {"bits_per_note": 10.75, "perplexity_per_token": 6.44},
            "uniform": {"bits_per_note": 24.125, "perplexity_per_token": 65.5},
        },
    }  # fmt: skip
    return figures | changes


def metrics(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "step": 10, "fine_tuned": False, "held_out": "test", "lossy": "", "unit": "note",
        "train": part(perplexity_per_token=3.17, bits_per_note=7.5), "validation": part(), "test": part(),
    }  # fmt: skip
    return whole | changes


def picture(title: str = "Pitches") -> report.Picture:
    return report.Picture(title, f"What {title.lower()} there are.", b"<svg xmlns='http://www.w3.org/2000/svg'/>")


def sample(number: int = 1, svg: bytes = b"<svg/>", mp3: bytes = b"ID3 sound", seconds: float = 60) -> report.Sample:
    return report.Sample(f"Piece {number:02d}", "40 notes", seconds, svg, mp3)


def page(**changes: Any) -> str:
    values: dict[str, Any] = {
        "title": "Fiddle <improvised>", "metrics": metrics(), "facts": {"unit": "beats", "steps": 24},
        "settings": Settings().model_dump(), "entries": ENTRIES, "curve": picture("Learning"),
        "pictures": [picture(), picture("Velocities")], "samples": [sample()], "again": ["cadenza run x"],
        "broken_rules": [], "derived": ["Windows of 64 notes, since pieces are short."],
    }  # fmt: skip
    return report.page(**values | changes)


CASES = {
    "plain": page(),
    "bare": page(metrics=metrics(test=None, validation=None), samples=[], pictures=[], derived=[]),
    "lossy": page(metrics=metrics(lossy=LOSSY, unit="event"), samples=[sample(k) for k in range(14)]),
    "validated": page(metrics=metrics(held_out="validation", test=None, train=None), broken_rules=["No test works."]),
    "fine-tuned": page(metrics=metrics(fine_tuned=True), facts={"unit": "seconds", "steps": 100, "words": (1,) * 357}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_report_is_one_well_formed_file_without_scripts(case: str) -> None:
    tags = Tags(CASES[case])
    assert not {"script", "iframe", "object", "embed", "link", "base", "form"} & {tag for tag, _ in tags.found}
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on")]
    links = tags.values("href", "src", "srcset", "poster", "action", "data", "xlink:href")
    assert links
    assert all(link.startswith("data:") for link in links)
    assert not re.search(r"@import|url\(", CASES[case])
    assert max(Counter(tags.values("id")).values()) == 1
    assert set(" ".join(tags.values("aria-labelledby")).split()) <= set(tags.values("id"))
    assert all(attributes.get("alt") for tag, attributes in tags.found if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in tags.found if tag == "video")
    assert next(tag for tag, _ in tags.found if re.fullmatch("h[1-6]", tag)) == "h1"


def test_the_report_shows_what_it_is_given_and_escapes_it() -> None:
    entries = [*ENTRIES, Entry(EVIL, reason=f"{EVIL}: damaged (cut off); remove it.")]
    text = page(entries=entries, broken_rules=[f"Rule {EVIL}"], derived=[f"From {EVIL}"], again=[f"cadenza {EVIL}"],
        pictures=[picture(EVIL)], samples=[sample()])  # fmt: skip
    assert "script" not in {tag for tag, _ in Tags(text).found}
    assert text.count("&lt;script&gt;") >= 5
    assert "Fiddle &lt;improvised&gt;" in text
    assert text.index("Rule &lt;script") < text.index("<h2")
    assert "1 file left out" in text
    assert "honest evaluation" not in page()


def test_training_and_held_out_perplexity_stand_side_by_side_as_the_first_numbers() -> None:
    numbers = re.findall(r'class="number[^"]*">([^<]+)<', page())
    assert numbers[:3] == ["3.17", "4.21", "8.25"]
    assert "never quote this one alone" in page()
    assert "it needs 8.25 bits per note" in page()


def test_a_lossy_run_shows_no_bits_per_note_anywhere() -> None:
    text = CASES["lossy"]
    assert LOSSY in text
    rest = text.replace(LOSSY, "")
    assert "bits per note" not in rest.lower()
    assert not re.search(
        r"8\.25|7\.50|10\.75|24\.12|24\.13|8\.62|8\.63|41\.5|5\.12|3\.12", re.sub(r"data:[^\"]+", "", rest)
    )
    assert "perplexity is 4.21 per event" in text
    assert "per token" not in text
    assert "6.44" in text


def test_a_lossy_run_needs_no_bits_at_all() -> None:
    bits = ("bits_per_note", "bits_per_second", "interval", "bits_per_note_by_field")
    bare = {name: value for name, value in part().items() if name not in bits}
    bare["baselines"] = {name: {"perplexity_per_token": 6.44} for name in bare["baselines"]}
    assert LOSSY in page(metrics=metrics(lossy=LOSSY, unit="event", train=bare, validation=bare, test=bare))


def test_the_report_claims_nothing_where_nothing_was_held_out() -> None:
    assert "No held-out figure" in CASES["bare"]
    assert not re.search(r"it needs [\d.]+ bits", CASES["bare"])
    assert "No piece was made" in CASES["bare"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"fine_tuned": True}, ["Fine-tuned"]),
        ({"train": part(bits_per_note=11.0), "test": part(bits_per_note=11.0)}, ["not learned yet"]),
        ({"test": part(bits_per_note=9.5)}, ["by heart"]),
        ({"test": part(perplexity_per_token=9.6)}, ["by heart"]),
        ({"test": part(perplexity_per_token=9.4, bits_per_note=8.9)}, []),
        ({"test": part(bits_per_note=11.0)}, ["not learned yet", "by heart"]),
        ({"test": part(bits_per_note=11.0), "lossy": LOSSY}, ["Perplexity only"]),
        ({"test": part(perplexity_per_token=6.5), "lossy": LOSSY}, ["Perplexity only", "not learned yet"]),
    ],
)
def test_warnings_come_where_they_are_due_and_before_the_figures(changes: dict[str, Any], said: list[str]) -> None:
    found = [notice.title for notice in report.notices(metrics(**changes))]
    assert len(found) == len(said)
    assert all(words in title for words, title in zip(said, found, strict=True))
    text = page(metrics=metrics(**changes))
    assert all(text.index(title) < text.index("<h2") for title in found)


def test_more_minutes_are_not_advised_to_a_model_that_learned_by_heart() -> None:
    assert "more minutes" in report.notices(metrics(train=part(bits_per_note=11.0), test=part(bits_per_note=11.0)))[0].text  # fmt: skip
    assert not [notice for notice in report.notices(metrics(test=part(bits_per_note=11.0))) if "more minutes" in notice.text]  # fmt: skip


def test_long_lists_among_the_facts_are_counted_and_folded() -> None:
    assert "<summary>357 values</summary>" in CASES["fine-tuned"]
    short = page(facts={"unit": "beats", "steps": 24, "meter": (6, 8)})
    assert "6, 8" in short
    assert "values</summary>" not in short


def milliseconds(stamp: str) -> int:
    minutes, seconds = stamp.split(":")
    return 60_000 * int(minutes) + round(1000 * float(seconds))


def cues(seconds: float) -> list[tuple[int, int, float]]:
    """Begin and end in milliseconds, place in per cent of the width."""
    text = report.playhead(seconds)
    assert text.startswith("WEBVTT\n\n")
    found = re.findall(r"^([\d:.]+) --> ([\d:.]+) line:0% position:([\d.]+)% align:left\n\u00a0$", text, re.MULTILINE)
    assert text.count("-->") == len(found)
    return [(milliseconds(begin), milliseconds(end), float(place)) for begin, end, place in found]


@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.0, 38.79, 60.0, 75.0])
def test_the_playhead_crosses_the_roll_once_without_gaps(seconds: float) -> None:
    steps = cues(seconds)
    begins, ends, places = (np.array(column) for column in zip(*steps, strict=True))
    assert begins[0] == 0
    assert (begins < ends).all()
    assert (begins[1:] == ends[:-1]).all()
    assert (np.diff(places) >= 0).all()
    assert len(steps) == max(1, np.ceil(1000 * seconds / report.CUE_MS)) + 1
    assert ends[-1] >= 1000 * (seconds + audio.TAIL_SECONDS)
    left, right = 100 * plot.ROLL_LEFT, 100 * plot.ROLL_RIGHT
    middle = np.minimum((begins + ends)[:-1] / 2000 / max(seconds, 1.0), 1)
    assert places[:-1] == pytest.approx(left + (right - left) * middle, abs=0.01)
    assert places[-1] == pytest.approx(left + (right - left) * min(seconds, 1.0), abs=0.1)


def test_a_roll_of_several_rows_has_no_playhead_but_its_sound() -> None:
    assert report.playhead(90) == ""
    tags = [tag for tag, _ in Tags(page(samples=[sample(seconds=90)])).found]
    assert "track" not in tags
    assert "video" in tags


@pytest.mark.parametrize("count", [1, 30, 600])
def test_the_playhead_stands_where_the_roll_draws_its_notes(count: int) -> None:
    onset = 10 * np.arange(count)
    figure = plot.piano_roll(Notes.of(onset, 60 + np.arange(count) % 24, [10] * count, [80] * count))
    box, (wide, tall) = figure.axes[0].get_position(), figure.get_size_inches()
    assert (box.x0, box.x1) == pytest.approx((plot.ROLL_LEFT, plot.ROLL_RIGHT))
    assert (1 - box.y1) * tall / wide == pytest.approx(ROLL_TOP, abs=1e-6)
    assert box.height * tall / wide == pytest.approx(ROLL_TALL, abs=1e-6)


def test_the_track_of_a_sample_is_its_playhead() -> None:
    [track] = [attributes for tag, attributes in Tags(page()).found if tag == "track"]
    kind, _, coded = (track["src"] or "").partition(";base64,")
    assert kind == "data:text/vtt;charset=utf-8"
    assert base64.b64decode(coded).decode() == report.playhead(60)
    assert "default" in track


def test_eight_minutes_of_music_stay_under_fifteen_megabytes() -> None:
    noise = np.random.default_rng(0).bytes(1_000_000)
    text = page(samples=[sample(k, noise[:150_000], noise) for k in range(8)])
    assert len(text.encode()) < 15_000_000


def test_reasons_of_one_kind_are_counted_together() -> None:
    entries = [
        Entry(f"{k}.mid", reason=f"{k}.mid: {k} notes, under corpus.min_notes = 8; lower that, or remove it.")
        for k in (1, 22)
    ]
    entries.append(Entry("c.mid", reason="c.mid: the same bytes as a.mid."))
    assert report.reasons(entries) == [
        ("notes under corpus.min_notes = 8", 2),
        ("the same bytes as another file", 1),
    ]
