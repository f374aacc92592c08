"""How far a training has come: its events, or the log of a run that was made elsewhere, as the page is told of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cadenza.corpus.split import TRAIN, VALIDATION
from cadenza.errors import CadenzaError
from cadenza.runs.folder import Run
from cadenza.web.job import EVENTS

LOSSES = 500
"""At most so many losses are told."""


@dataclass
class History:
    """What the events of a job say, read as far as they are written."""

    path: Path
    offset: int = 0
    state: str = ""
    error: str = ""
    started: float | None = None
    step: int = 0
    steps: int = 0
    rate: float | None = None
    left: float | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)

    def read(self) -> History:
        """Take in the lines that are new and whole."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
        except OSError:
            return self
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            try:
                self.take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue  # a line that was cut off when the process was killed
        return self

    def take(self, event: dict[str, Any]) -> None:
        match event["kind"]:
            case "began":
                self.started = self.started or event["time"]
                self.state, self.error, self.left, self.rate = "preparing", "", None, None
            case "state":
                self.state, self.error = event["state"], ""
            case "said":
                self.said.append(event["text"])
            case "started":
                self.step, self.steps = event["step"], event["steps"]
                self.losses = [one for one in self.losses if one[0] <= self.step]
                self.curve = [one for one in self.curve if one["step"] <= self.step]
            case "step":
                self.step, self.rate, self.left = event["step"], event["rate"], event["left"]
                self.losses.append((event["step"], event["bits"]))
                if len(self.losses) > 2 * LOSSES:
                    del self.losses[::2]
            case "evaluation":
                self.curve.append({key: event[key] for key in ("step", "epoch", "train", "validation")})
            case "sample":
                self.samples = [*(one for one in self.samples if one != event["step"]), event["step"]]
            case "ended":
                self.state, self.error, self.left = event["state"], event["error"], None
                if event["error"]:
                    self.said.append(event["error"])


def thinned(losses: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `LOSSES`, the last one among them."""
    every = -(-len(losses) // LOSSES)
    return losses[::-1][:: max(every, 1)][::-1]


def from_log(run: Run) -> History:
    """The history of a run that no job of this studio made; a damaged one says so as its error."""
    found = History(run.folder / EVENTS)
    try:
        found.state = "done" if run.trained and (run.folder / "report.html").exists() else "stopped"
        found.said = run.derived()
        found.steps = run.last_step() if run.prepared else 0
        for line in run.log():
            if line["kind"] == "step":
                found.losses.append((line["step"], line["bits_per_note"]))
            else:
                bits = line["bits_per_note"]
                point = {"train": bits.get(TRAIN), "validation": bits.get(VALIDATION)}
                found.curve.append({"step": line["step"], "epoch": line["epoch"], **point})
            found.step = line["step"]
    except (CadenzaError, KeyError, TypeError, AttributeError) as error:
        found.state, found.error = "failed", str(error) if isinstance(error, CadenzaError) else f"{run.folder.name}: its log is damaged."  # fmt: skip
    return found
