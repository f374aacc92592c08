"""Numbers, pictures and sounds to one self-contained page without scripts.

In: plain values and bytes. Out: the text of `report.html`, which opens offline.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cadenza.corpus.scan import Entry


@dataclass(frozen=True)
class Sample:
    """A generated piece as the page shows it."""

    title: str
    facts: str
    roll_svg: bytes
    mp3: bytes


def page(
    *, title: str, metrics: Mapping[str, Any], facts: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]],
    entries: Sequence[Entry], curve_svg: bytes, samples: Sequence[Sample], again: Sequence[str],
) -> str:  # fmt: skip
    """The report; every text from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("cadenza"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "base64": lambda data: base64.b64encode(data).decode(),
        "number": lambda value: f"{value:,}",
    }
    kept = [entry for entry in entries if not entry.reason]
    dropped = [entry for entry in entries if entry.reason]
    return environment.get_template("report.html.j2").render(
        title=title, metrics=metrics, facts=facts, settings=settings, kept=kept, dropped=dropped,
        reasons=reasons(dropped), parts=parts(kept), aside=sum(bool(entry.set_aside) for entry in kept),
        hours=sum(entry.length_seconds for entry in kept) / 3600, curve_svg=curve_svg, samples=samples, again=again,
    )  # fmt: skip


def reasons(dropped: Sequence[Entry]) -> list[tuple[str, int]]:
    """Reasons without their file names and figures, most frequent first."""
    return Counter(short_reason(entry) for entry in dropped).most_common()


def short_reason(entry: Entry) -> str:
    """What kind of reason a file was left out for."""
    text = entry.reason.removeprefix(f"{entry.name}: ")
    for same in ("the same bytes", "the same notes"):
        if text.startswith(same):
            return f"{same} as another file"
    text = (
        text.split(";")[0].split("(")[0] if not text.startswith("damaged ABC") else text.split(" : ")[-1].split(")")[0]
    )
    return "".join("…" if letter.isdigit() else letter for letter in text).replace("……", "…").strip(" .")


def parts(kept: Sequence[Entry]) -> list[tuple[str, int, int, int]]:
    """Part, works, pieces and notes of each part of the split."""
    rows = []
    for part in ("train", "validation", "test"):
        members = [entry for entry in kept if entry.split == part]
        rows.append((part, len({entry.work for entry in members}), len(members), sum(entry.notes for entry in members)))
    return rows
