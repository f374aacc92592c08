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
from cadenza.plot.roll import ONE_ROW_SECONDS, ROLL_LEFT, ROLL_RIGHT, ROLL_TALL, ROLL_TOP

CUE_MS = 125
"""How long the playhead stands still."""
BY_HEART_TIMES, BY_HEART_BITS = 3.0, 1.5
"""By how much unseen pieces may surprise more: held-out over training perplexity; bits per note between them."""
MANY_SAMPLES = 6
"""More than these stand in two columns, where there is room."""
LONG_LIST = 8
"""Longer lists among the settings are folded away."""


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


@dataclass(frozen=True)
class Notice:
    """What a reader has to know before the figures."""

    title: str
    text: str


def page(
    *, title: str, metrics: Mapping[str, Any], facts: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]],
    entries: Sequence[Entry], curve: Picture, pictures: Sequence[Picture], samples: Sequence[Sample],
    again: Sequence[str], broken_rules: Sequence[str], derived: Sequence[str],
) -> str:  # fmt: skip
    """The report; every text from outside is escaped.

    `metrics` holds a table per part of the split (or None), and names the part that was held out. Where
    its sentence `lossy` is not empty, bits per note are not shown at all.
    """
    environment = Environment(
        loader=PackageLoader("cadenza"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"data_uri": data_uri, "counted": counted, "perplexity": perplexity, "plain": plain}
    kept = [entry for entry in entries if not entry.reason]
    dropped = [entry for entry in entries if entry.reason]
    shown = [(sample, playhead(sample.seconds).encode()) for sample in samples]
    return environment.get_template("report.html.j2").render(
        title=title, metrics=metrics, held=metrics[metrics["held_out"]], notices=notices(metrics), facts=facts,
        settings=settings, kept=kept, dropped=dropped, reasons=reasons(dropped), parts=parts(kept),
        aside=sum(bool(entry.set_aside) for entry in kept),
        hours=sum(entry.length_seconds for entry in kept) / 3600,
        curve=curve, pictures=pictures, samples=shown, many=len(samples) > MANY_SAMPLES, again=again,
        broken_rules=broken_rules, derived=derived, long_list=LONG_LIST, bar_top=ROLL_TOP, bar_tall=ROLL_TALL,
    )  # fmt: skip


def playhead(seconds: float) -> str:
    """WebVTT that draws a bar across a piano roll while `seconds` of music sound; empty for a roll of several rows.

    One cue per `CUE_MS`, then one at the right end that outlasts the sound's tail by a second, since
    encoders pad. What the bar looks like is the page's affair.

    >>> playhead(60).splitlines()[2][:31]
    '00:00.000 --> 00:00.125 line:0%'
    """
    if seconds > ONE_ROW_SECONDS:
        return ""
    end = max(1, round(1000 * seconds))
    times = [*range(0, end, CUE_MS), end]
    steps = [(begin, until, (begin + until) / 2 / max(end, 1000)) for begin, until in itertools.pairwise(times)]
    steps.append((end, end + round(1000 * (TAIL_SECONDS + 1)), end / max(end, 1000)))
    cues = [
        f"{clock(begin)} --> {clock(until)} line:0% position:{100 * (ROLL_LEFT + (ROLL_RIGHT - ROLL_LEFT) * place):.2f}% align:left\n\u00a0"
        for begin, until, place in steps
    ]
    return "\n\n".join(["WEBVTT", *cues]) + "\n"


def clock(milliseconds: int) -> str:
    """A time as WebVTT writes it.

    >>> clock(61_005)
    '01:01.005'
    """
    return f"{milliseconds // 60_000:02d}:{milliseconds // 1000 % 60:02d}.{milliseconds % 1000:03d}"


def notices(metrics: Mapping[str, Any]) -> list[Notice]:
    """What the figures do not say by themselves, most important first."""
    held, train, lossy = metrics[metrics["held_out"]], metrics["train"], metrics["lossy"]
    found = [Notice("Perplexity only.", lossy)] if lossy else []
    if not held:
        text = "Nothing was kept apart, so nothing here says how well the model does on unseen music: the corpus holds too few works (add pieces of at least one more), or the settings hold none out."
        return [Notice("No held-out figure.", text), *found]
    if metrics["fine_tuned"]:
        text = "The works below were held out from this run, but nothing is known here of what the model it began from had seen. Where the two overlap, the figures flatter."
        found.append(Notice("Fine-tuned.", text))
    by_heart = train and learned_by_heart(train, held, bool(lossy))
    measure = "perplexity_per_token" if lossy else "bits_per_note"
    if held[measure] >= held["baselines"]["unigram"][measure]:
        text = "On unseen pieces it is no better than the bare frequencies of notes."
        found.append(Notice("The model has not learned yet.", text + ("" if by_heart else " Give it more minutes or more music.")))  # fmt: skip
    if by_heart:
        token = "event" if metrics["unit"] == "event" else "token"
        text = (
            f"On music it has never seen, each {token} is as hard to guess as one of {perplexity(held['perplexity_per_token'])} equally likely ones; on its training pieces, as one of {perplexity(train['perplexity_per_token'])}. "
            "Its improvisations may repeat what it was trained on. More works help most, then a smaller model or fewer minutes."
        )
        found.append(Notice("It has learned its training pieces by heart more than the music:", text))
    return found


def learned_by_heart(train: Mapping[str, Any], held: Mapping[str, Any], lossy: bool) -> bool:
    """Whether unseen pieces surprise the model far more than those it was trained on."""
    if held["perplexity_per_token"] > BY_HEART_TIMES * train["perplexity_per_token"]:
        return True
    return not lossy and held["bits_per_note"] - train["bits_per_note"] > BY_HEART_BITS


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a link that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def counted(count: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "piece"), counted(1200, "piece")
    ('1 piece', '1,200 pieces')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def perplexity(value: float) -> str:
    """About three figures.

    >>> perplexity(6.773), perplexity(67.73), perplexity(6773.1)
    ('6.77', '67.7', '6,773')
    """
    if not math.isfinite(value):
        return "∞"
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
