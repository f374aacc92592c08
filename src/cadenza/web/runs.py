"""Runs as the page sees them: what their job says, else what their folder holds."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from cadenza.errors import CadenzaError
from cadenza.evaluate.verdict import first_line
from cadenza.runs.folder import CONFIG, LOG, METRICS, MODEL, REPORT, Run
from cadenza.web.folder import JOB, Studio, read_json
from cadenza.web.job import EVENTS
from cadenza.web.players import Players
from cadenza.web.progress import History, from_log, thinned
from cadenza.web.training import Trainings

GOING = ("waiting", "preparing", "training", "judging")


class Runs:
    """All runs of a studio; what was read once of a file that grows is kept."""

    def __init__(self, studio: Studio, trainings: Trainings, players: Players) -> None:
        self.studio, self.trainings, self.players = studio, trainings, players
        self.histories: dict[str, History] = {}
        self.logs: dict[tuple[str, tuple[int, ...]], History] = {}
        self.lock = threading.Lock()

    def listed(self) -> list[dict[str, Any]]:
        found = [self.view(*each) for each in self.studio.run_folders().items()]
        return sorted(found, key=lambda one: (-(one["started"] or 0), one["id"]))

    def view(self, id: str, folder: Path) -> dict[str, Any]:  # noqa: A002
        """What a list tells of a run, and its history."""
        job, history = read_json(self.studio.jobs / id / JOB), self.history(id, folder)
        error, playable = history.error, False
        if (folder / MODEL).is_file():
            try:
                self.players.known(folder)
                playable = True
            except CadenzaError as trouble:
                error = error or str(trouble)
        bits = [one["validation"] for one in history.curve if one["validation"] is not None]
        return {
            "id": id, "name": self.studio.name(id, folder), "state": self.state(id, history), "error": error,
            "started": history.started or began(folder), "minutes": job.get("minutes"), "step": history.step,
            "steps": history.steps, "notes_per_second": history.rate, "seconds_left": history.left,
            "bits_per_note": min(bits, default=None), "playable": playable, "history": history,
        }  # fmt: skip

    def history(self, id: str, folder: Path) -> History:  # noqa: A002
        events = self.studio.jobs / id / EVENTS
        with self.lock:
            if events.exists() or not (folder / CONFIG).exists():
                return self.histories.setdefault(id, History(events)).read()
            key = id, tuple(changed(folder / name) for name in (LOG, METRICS, REPORT, CONFIG))
            if key not in self.logs:
                self.logs = {known: each for known, each in self.logs.items() if known[0] != id}
                self.logs[key] = from_log(Run(folder))
            return self.logs[key]

    def state(self, id: str, history: History) -> str:  # noqa: A002
        """Of a job whose process is gone without a word: stopped."""
        if id in self.trainings.waiting:
            return "waiting"
        if history.state in ("done", "stopped", "failed"):
            return history.state
        if id != self.trainings.running:
            return "stopped"
        return history.state if history.state in GOING[1:] else "preparing"

    def whole(self, id: str) -> dict[str, Any]:  # noqa: A002
        """All that is known of a run."""
        folder = self.studio.run(id)
        view = self.view(id, folder)
        history: History = view["history"]
        return view | {
            "settings": settings_of(Run(folder)), "curve": history.curve, "losses": thinned(history.losses),
            "said": history.said, "samples": [{"step": step, "id": str(step)} for step in sorted(history.samples)],
            "report": (folder / REPORT).is_file(), "verdict": verdict_of(Run(folder)),
        }  # fmt: skip

    def report(self, id: str) -> Path | None:  # noqa: A002
        path = self.studio.run(id) / REPORT
        return path if path.is_file() else None

    def forget(self, id: str) -> None:  # noqa: A002
        with self.lock:
            self.histories.pop(id, None)


def settings_of(run: Run) -> dict[str, Any]:
    try:
        return run.settings().model_dump(mode="json") if run.prepared else {}
    except CadenzaError:
        return {}


def verdict_of(run: Run) -> str | None:
    """The first line of its report; none while there is none, or where its figures are damaged."""
    try:
        return first_line(run.metrics(), run.judgement()).text if (run.folder / METRICS).exists() else None
    except (CadenzaError, KeyError, TypeError):
        return None


def began(folder: Path) -> float | None:
    try:
        return (folder / CONFIG).stat().st_mtime
    except OSError:
        return None


def changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
