"""Numbers, pictures and sounds to one self-contained page without scripts.

In: plain values and bytes. Out: the text of `report.html`, which opens offline. The playhead of a
sample is a subtitle: a browser shows WebVTT cues (W3C, 2019) in step with the sound, wherever one seeks.
"""

from __future__ import annotations

import base64
import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cadenza.audio import TAIL_SECONDS
from cadenza.corpus.scan import Entry
from cadenza.evaluate import verdict
from cadenza.plot.passages import PASSAGE_TALL, PASSAGE_TOP
from cadenza.plot.roll import ONE_ROW_SECONDS, ROLL_LEFT, ROLL_RIGHT, ROLL_TALL, ROLL_TOP
from cadenza.records import counted

CUE_MS = 125
"""How long the playhead stands still."""
MANY_SAMPLES = 6
"""More than these stand in two columns, where there is room."""
LONG_LIST = 8
"""Longer lists among the settings are folded away."""
MODELS = dict(zip(verdict.MODELS, ("Network", "Markov model", "Frequencies", "Blind guess"), strict=True))
"""What the models are called that are compared."""
ALIKE = {
    "verbatim": ("Note for note", "equal in pitch and rhythm"),
    "transposed": ("In any key", "equal in rhythm and, up to the key, in pitch"),
    "pitches": ("Pitches alone", "equal in pitch, whatever the rhythm"),
    "near": ("Alike", "alike up to key, tempo and a few changed notes"),
}
"""Ways in which passages agree: heading and words."""


@dataclass(frozen=True)
class Picture:
    """A picture of the data or of the learning, with one sentence that says what it shows."""

    title: str
    caption: str
    svg: bytes


@dataclass(frozen=True)
class Sample:
    """A generated piece as the page shows it; `seconds` is what its roll spans."""

    title: str
    facts: str
    seconds: float
    roll_svg: bytes
    mp3: bytes
    name: str = ""


@dataclass(frozen=True)
class Likeness:
    """The nearest passage: a sample's, and that of a training piece; both rolls span `seconds`."""

    title: str
    facts: str
    own: Sample
    training: Sample
    seconds: float


@dataclass(frozen=True)
class Notice:
    """What a reader has to know before the figures."""

    title: str
    text: str


def page(
    *, title: str, metrics: Mapping[str, Any], facts: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]],
    entries: Sequence[Entry], curve: Picture, pictures: Sequence[Picture], samples: Sequence[Sample],
    again: Sequence[str], broken_rules: Sequence[str], derived: Sequence[str],
    judgement: Mapping[str, Any] | None = None, models: Picture | None = None, fidelity: Picture | None = None,
    likenesses: Sequence[Likeness] = (), digests: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """The report; every text from outside is escaped, and what was not measured is a dash.

    `metrics` holds a table per part of the split (or None), and names the part that was held out. Where
    its sentence `lossy` is not empty, bits per note are not shown at all.
    """
    environment = Environment(
        loader=PackageLoader("cadenza"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"data_uri": data_uri, "counted": counted, "number": number, "perplexity": perplexity, "plain": plain}  # fmt: skip
    kept = [entry for entry in entries if not entry.reason]
    dropped = [entry for entry in entries if entry.reason]
    return environment.get_template("report.html.j2").render(
        title=title, metrics=metrics, held=verdict.held_out(metrics), notices=notices(metrics), facts=facts,
        settings=settings, kept=kept, dropped=dropped, reasons=reasons(dropped), parts=parts(kept),
        aside=sum(bool(entry.set_aside) for entry in kept),
        hours=sum(entry.length_seconds for entry in kept) / 3600,
        curve=curve, pictures=pictures, samples=[(sample, cues(sample.seconds)) for sample in samples],
        many=len(samples) > MANY_SAMPLES, again=again, digests=digests or {}, broken_rules=broken_rules, derived=derived, long_list=LONG_LIST,
        bar_top=ROLL_TOP, bar_tall=ROLL_TALL, passage_top=PASSAGE_TOP, passage_tall=PASSAGE_TALL,
        judgement=judgement, models=models, fidelity=fidelity,
        likenesses=[(one, [(side, cues(side.seconds, one.seconds)) for side in (one.own, one.training)]) for one in likenesses],
        first=verdict.first_line(metrics, judgement), answers=answers(metrics, judgement, settings),
        figure=verdict.figure, model_names=MODELS, alike=ALIKE, titles={sample.name: sample.title for sample in samples},
    )  # fmt: skip


def answers(
    metrics: Mapping[str, Any], judgement: Mapping[str, Any] | None, settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, verdict.Answer]:
    """The five questions of "Can I believe it?"."""
    return {
        "tested": verdict.fairly_tested(metrics, settings["corpus"]["split_by"] == "work"),
        "remembered": verdict.remembered(metrics),
        "beats": verdict.beats(metrics),
        "copies": verdict.copies(judgement),
        "sounds": verdict.sounds(judgement),
    }


def cues(seconds: float, span: float | None = None) -> bytes:
    return playhead(seconds, span).encode()


def playhead(seconds: float, span: float | None = None) -> str:
    """WebVTT that draws a bar across a piano roll while `seconds` of music sound; empty for a roll of several rows.

    The roll spans `span` seconds, those of the music unless given.

    One cue per `CUE_MS`, then one at the right end that outlasts the sound's tail by a second, since
    encoders pad. What the bar looks like is the page's affair.

    >>> playhead(60).splitlines()[2][:31]
    '00:00.000 --> 00:00.125 line:0%'
    """
    if seconds > ONE_ROW_SECONDS:
        return ""
    end = max(1, round(1000 * seconds))
    whole = max(1000 * span if span else end, 1000)
    times = [*range(0, end, CUE_MS), end]
    steps = [(begin, until, (begin + until) / 2 / whole) for begin, until in itertools.pairwise(times)]
    steps.append((end, end + round(1000 * (TAIL_SECONDS + 1)), end / whole))
    lines = [
        f"{clock(begin)} --> {clock(until)} line:0% position:{100 * (ROLL_LEFT + (ROLL_RIGHT - ROLL_LEFT) * place):.2f}% align:left\n\u00a0"
        for begin, until, place in steps
    ]
    return "\n\n".join(["WEBVTT", *lines]) + "\n"


def clock(milliseconds: int) -> str:
    """A time as WebVTT writes it.

    >>> clock(61_005)
    '01:01.005'
    """
    return f"{milliseconds // 60_000:02d}:{milliseconds // 1000 % 60:02d}.{milliseconds % 1000:03d}"


def notices(metrics: Mapping[str, Any]) -> list[Notice]:
    """What has to be known of the figures and is not in the first line."""
    held = verdict.held_out(metrics)
    found = []
    if not held:
        text = "The corpus holds too few works (add pieces of at least one more), or the settings hold none out."
        found.append(Notice("No held-out figure.", text))
    if metrics["lossy"]:
        found.append(Notice("Perplexity only.", metrics["lossy"]))
    if held and metrics["fine_tuned"]:
        text = "The works below were held out from this run, but nothing is known here of what the model it began from had seen. Where the two overlap, the figures flatter."
        found.append(Notice("Fine-tuned.", text))
    return found


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a link that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def number(value: float | None, digits: int = 2, sign: str = "") -> str:
    """A figure, or a dash where there is none.

    >>> number(8.254), number(None), number(math.nan), number(0.1, 1, "+")
    ('8.25', '–', '–', '+0.1')
    """
    if value is None or math.isnan(value):
        return "–"
    return f"{value:{sign},.{digits}f}" if math.isfinite(value) else "∞"


def perplexity(value: float) -> str:
    """About three figures.

    >>> perplexity(6.773), perplexity(67.73), perplexity(6773.1)
    ('6.77', '67.7', '6,773')
    """
    if not math.isfinite(value):
        return number(value)
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def plain(value: object) -> str:
    """A setting as people write it.

    >>> plain(True), plain((4, 4)), plain("")
    ('yes', '4, 4', '–')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value)) or "–"
    return "–" if value is None or value == "" else str(value)


def reasons(dropped: Sequence[Entry]) -> list[tuple[str, int]]:
    """Reasons without their file names and figures, most frequent first."""
    return Counter(short_reason(entry) for entry in dropped).most_common()


def short_reason(entry: Entry) -> str:
    """What kind of reason a file was left out for."""
    text = entry.reason.removeprefix(f"{entry.name}: ")
    for same in ("the same bytes", "the same notes"):
        if text.startswith(same):
            return f"{same} as another file"
    if limit := re.match(r"[\d,.]+ (\w+)[^,]*, (over|under) ([^;]*)", text):
        return " ".join(limit.groups())
    text = text.split(" : ")[-1].split(")")[0] if text.startswith("damaged ABC") else re.split(r"[;(]", text)[0]
    return re.sub(r"\d+", "…", text).strip(" .")


def parts(kept: Sequence[Entry]) -> list[tuple[str, int, int, int]]:
    """Part, works, pieces and notes of each part of the split."""
    rows = []
    for part in ("train", "validation", "test"):
        members = [entry for entry in kept if entry.split == part]
        rows.append((part, len({entry.work for entry in members}), len(members), sum(entry.notes for entry in members)))
    return rows
