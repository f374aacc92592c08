"""The report is one file that says what it must, hides what would mislead, and moves its playhead with the sound."""

from __future__ import annotations

import base64
import math
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
NAN = float("nan")
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


def model(bits: float, perplexity: float, **changes: Any) -> dict[str, Any]:
    """A model's figures on one part."""
    figures: dict[str, Any] = {
        "bits_per_note": bits, "interval": [bits - 0.25, bits + 0.25], "bits_per_note_by_field": {"pitch": 0.625 * bits, "duration": 0.375 * bits},
        "bits_per_note_on_grid": bits + 3, "bits_per_second": 5 * bits, "perplexity_per_token": perplexity, "nats_per_token": math.log(perplexity),
    }  # fmt: skip
    return figures | changes


def part(bits: float = 8.25, perplexity: float = 4.21, **changes: Any) -> dict[str, Any]:
    counted = {"pieces": 3, "works": 2, "notes": 900, "tokens": 3600}
    baselines = {"markov": model(9.5, 5.19), "unigram": model(10.75, 6.44), "uniform": model(24.125, 65.5)}
    return counted | model(bits, perplexity) | {"baselines": baselines} | changes


def metrics(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "step": 10, "fine_tuned": False, "held_out": "test", "lossy": "", "unit": "token", "resolution": "10 ms", "folds": 0,
        "train": part(7.5, 3.17), "validation": part(8.125, 4.1), "test": part(versus_markov={"difference": -1.25, "interval": [-1.5, -1.0]}),
    }  # fmt: skip
    return whole | changes


def judgement(copied: int = 0, yardstick: bool = True, **nearest: Any) -> dict[str, Any]:
    """32 pieces, of which one was kept as a sample; it copies if any does."""
    near = {
        "piece": 1,
        "name": "a.mid",
        "start": 5,
        "stop": 28,
        "own_start": 0,
        "own_stop": 23,
        "semitones": 5,
        "measure": "near",
        "notes": 23,
    }
    longest = {"verbatim": 4, "transposed": 7, "pitches": 9, "near": 23 if copied else 12}
    stick = {
        "highest": {"verbatim": 9, "transposed": 11, "pitches": 14, "near": 18},
        "shares": {"4": 0.9, "8": 0.25, "16": 0.0},
        "pieces": 40,
    }
    sample = {
        "name": "01",
        "copied": bool(copied),
        "text": "",
        "longest": longest,
        "shares": {"4": 0.875, "8": 0.5, "16": None},
        "nearest": near | nearest,
    }
    feature = {"key": "pitch", "title": "pitch", "unit": "semitones", "generated": 0.125, "floor": 0.25, "floor_high": 0.5, "inside": True,
        "overlap": 0.75, "divergence": NAN, "held_overlap": 0.875, "held_divergence": None}  # fmt: skip
    text = (
        f"{copied} of 32 pieces repeat more of a training piece than unseen human music does."
        if copied
        else "Each as original as unseen human pieces."
    )
    original = {"copied": copied, "text": text, "yardstick": stick if yardstick else None, "samples": [sample]}
    return {"pieces": 32, "originality": original, "fidelity": {"pieces": 32, "closeness": NAN, "text": "In all 1 features near.", "features": [feature, feature | {"generated": None}]}}  # fmt: skip


def picture(title: str = "Pitches") -> report.Picture:
    return report.Picture(title, f"What {title.lower()} there are.", b"<svg xmlns='http://www.w3.org/2000/svg'/>")


def sample(number: int = 1, svg: bytes = b"<svg/>", mp3: bytes = b"ID3 sound", seconds: float = 60) -> report.Sample:
    return report.Sample(f"Piece {number}", "40 notes", seconds, svg, mp3, f"{number:02d}")


def likeness(name: str = "a.mid") -> report.Likeness:
    own, training = (
        sample(seconds=4.0),
        report.Sample(name, "from 1:03, 5 semitones lower", 5.0, b"<svg/>", b"ID3 sound"),
    )
    return report.Likeness("Piece 1", "23 notes alike", own, training, 5.0)


def page(**changes: Any) -> str:
    values: dict[str, Any] = {
        "title": "Fiddle <improvised>", "metrics": metrics(), "facts": {"unit": "beats", "steps": 24},
        "settings": Settings().model_dump(), "entries": ENTRIES, "curve": picture("Learning"),
        "pictures": [picture(), picture("Velocities")], "samples": [sample()], "again": ["cadenza run x"],
        "broken_rules": [], "derived": ["Windows of 64 notes, since pieces are short."],
        "judgement": judgement(), "models": picture("Models"), "fidelity": picture("Features"), "likenesses": [likeness()],
    }  # fmt: skip
    return report.page(**values | changes)


UNJUDGED: dict[str, Any] = {"judgement": None, "models": None, "fidelity": None, "likenesses": []}
OLD = {
    key: value for key, value in part().items() if key not in ("baselines", "nats_per_token", "bits_per_note_on_grid")
}
CASES = {
    "plain": page(),
    "bare": page(metrics=metrics(test=None, validation=None), samples=[], pictures=[], derived=[], **UNJUDGED),
    "lossy": page(metrics=metrics(lossy=LOSSY, unit="event"), samples=[sample(k) for k in range(14)]),
    "validated": page(metrics=metrics(held_out="validation", test=None, train=None), broken_rules=["No test works."]),
    "fine-tuned": page(metrics=metrics(fine_tuned=True), facts={"unit": "seconds", "steps": 100, "words": (1,) * 357}),
    "folds": page(metrics=metrics(folds=3, validation=None), judgement=judgement(yardstick=False)),
    "copying": page(metrics=metrics(test=part(13.5, 40.0)), judgement=judgement(3)),
    "old": page(
        metrics={
            key: value
            for key, value in metrics(train=OLD, validation=OLD, test=OLD, unit="note").items()
            if key not in ("folds", "versus_markov", "resolution")
        },
        **UNJUDGED,
    ),
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
    entries = [*ENTRIES, Entry(EVIL, reason=f"{EVIL}: damaged (cut off); leave it out.")]
    text = page(entries=entries, broken_rules=[f"Rule {EVIL}"], derived=[f"From {EVIL}"], again=[f"cadenza {EVIL}"],
        pictures=[picture(EVIL)], samples=[sample()], likenesses=[likeness(EVIL)], judgement=judgement(name=EVIL))  # fmt: skip
    assert "script" not in {tag for tag, _ in Tags(text).found}
    assert text.count("&lt;script&gt;") >= 6
    assert "Fiddle &lt;improvised&gt;" in text
    assert text.index("Rule &lt;script") < text.index("<h2")
    assert "1 file left out" in text
    assert "honest evaluation" not in page()


def test_training_and_held_out_perplexity_stand_side_by_side_as_the_first_numbers() -> None:
    numbers = re.findall(r'class="number[^"]*">([^<]+)<', page())
    assert numbers[:2] == ["3.17", "4.21"]
    assert "never quote this one alone" in page()
    assert "it needs 8.25 bits per note" in page()


def test_a_lossy_run_shows_no_bits_per_note_anywhere() -> None:
    text = CASES["lossy"]
    assert LOSSY in text
    rest = text.replace(LOSSY, "")
    assert "bits per note" not in rest.lower()
    assert not re.search(r"8\.25|7\.50|10\.75|24\.12|24\.13|41\.2|5\.16|3\.09|11\.25", re.sub(r"data:[^\"]+", "", rest))
    assert "a perplexity per event of 4.21" in text
    assert "per token" not in text
    assert "6.44" in text


def test_a_lossy_run_needs_no_bits_at_all() -> None:
    bits = ("bits_per_note", "bits_per_second", "interval", "bits_per_note_by_field", "bits_per_note_on_grid")
    bare = {name: value for name, value in part().items() if name not in bits}
    bare["baselines"] = {
        name: {"perplexity_per_token": 7.0, "nats_per_token": math.log(7)} for name in ("markov", "unigram", "uniform")
    }
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
        ({"lossy": LOSSY}, ["Perplexity only"]),
        ({"lossy": LOSSY, "test": None, "fine_tuned": True}, ["No held-out figure", "Perplexity only"]),
    ],
)
def test_warnings_come_where_they_are_due_and_before_the_figures(changes: dict[str, Any], said: list[str]) -> None:
    found = [notice.title for notice in report.notices(metrics(**changes))]
    assert len(found) == len(said)
    assert all(words in title for words, title in zip(said, found, strict=True))
    text = page(metrics=metrics(**changes))
    assert all(text.index(title) < text.index("<h2") for title in found)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("plain", "1.25 fewer than a Markov model"),
        ("folds", "1.25 fewer than a Markov model"),
        ("copying", "Overfitted"),
        ("copying", "It is no better than the bare frequencies"),
        ("copying", "It copies: 3 of 32"),
        ("bare", "Nothing was held out"),
        ("old", "it needs 8.25 bits per note."),
    ],
)
def test_the_first_line_stands_under_the_title_and_alarms_where_it_must(case: str, words: str) -> None:
    [(kind, line)] = re.findall(r'</h1>\s*<p class="first( alarm)?">(.+)</p>', CASES[case])
    assert words in line
    assert bool(kind) == (case in ("copying", "bare"))


def test_five_questions_are_answered_in_their_order() -> None:
    words = re.findall(r'<h3 id="\w+">([^<]+) <span class="answer[^"]*">([^<]+)</span>', CASES["plain"])
    assert [answer for _, answer in words] == ["Yes.", "Yes.", "Yes.", "No.", "Yes."]
    assert [question for question, _ in words][3] == "Did it copy?"
    words = re.findall(r'<span class="answer( good| bad)?">([^<]+)</span></h3>', CASES["bare"])
    assert words == [(" bad", "No."), *[("", "Not measured.")] * 4]


def cells(text: str, label: str) -> list[str]:
    """The cells of all rows of that name."""
    rows = re.findall(rf'<tr[^>]*><th scope="row">{label}(?: <span[^<]*</span>)?</th>(.*?)</tr>', text)
    return [re.sub(r"<[^>]+>", " ", cell).strip() for row in rows for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]


def test_one_table_holds_every_model_on_every_part() -> None:
    text = CASES["plain"]
    assert cells(text, "Network")[:6] == [
        "7.50 7.25–7.75",
        "8.12 7.88–8.38",
        "8.25 8.00–8.50",
        "3.17",
        "4.10",
        "4.21",
    ]
    assert cells(text, "Markov model")[:3] == ["9.50 9.25–9.75"] * 3
    assert cells(text, "Blind guess")[3:6] == ["65.5"] * 3
    assert cells(text, "pitch")[2] == "5.16"
    assert re.search(r"at 10 ms throughout, the network needs 11\.25 bits per note", text)
    assert "time bins wider than 10 ms are taken as uniform inside" in text


def test_samples_stand_beside_the_human_maximum_and_are_marked_above_it() -> None:
    assert cells(CASES["plain"], "Piece 1")[:4] == ["4", "7", "9", "12"]
    assert cells(CASES["plain"], "Piece 1")[4:] == ["88\u00a0%", "50\u00a0%", "–"]
    assert cells(CASES["plain"], "Unseen human pieces, at most") == ["9", "11", "14", "18"]
    assert 'class="over"' not in CASES["plain"]
    assert re.findall(r'<td class="over">(\d+)</td>', CASES["copying"]) == ["23"]
    assert "at most" not in CASES["folds"]


def test_the_nearest_passages_are_heard_and_share_one_time_scale() -> None:
    tracks = [attributes["src"] or "" for tag, attributes in Tags(page(samples=[])).found if tag == "track"]
    own, other = (base64.b64decode(track.partition(";base64,")[2]).decode() for track in tracks)
    assert own == report.playhead(4.0, 5.0)
    assert other == report.playhead(5.0)
    assert "from 1:03, 5 semitones lower" in CASES["plain"]


def test_what_was_not_measured_is_a_dash() -> None:
    assert cells(CASES["plain"], "pitch<small>semitones</small>") == [
        "0.12", "0.25 to 0.50", "0.75 human 0.88", "– human –", "–", "0.25 to 0.50", "0.75 human 0.88", "– human –"]  # fmt: skip
    assert cells(CASES["old"], "Markov model")[:3] == ["–"] * 3
    assert not re.search(r"\bnan\b|\bNone\b(?! of)", re.sub(r"data:[^\"]+", "", " ".join(CASES.values())))


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
    tags = [tag for tag, _ in Tags(page(samples=[sample(seconds=90)], likenesses=[])).found]
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
    [track] = [attributes for tag, attributes in Tags(page(likenesses=[])).found if tag == "track"]
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
        Entry(f"{k}.mid", reason=f"{k}.mid: {k} notes, under corpus.min_notes = 8; lower that, or leave it out.")
        for k in (1, 22)
    ]
    entries.append(Entry("c.mid", reason="c.mid: the same bytes as a.mid."))
    assert report.reasons(entries) == [
        ("notes under corpus.min_notes = 8", 2),
        ("the same bytes as another file", 1),
    ]
