"""Models that are ready to play: the latest few stay loaded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from cadenza.errors import CadenzaError
from cadenza.improviser import Improviser
from cadenza.notes import Notes
from cadenza.runs.folder import MODEL, Run
from cadenza.settings import SampleSettings
from cadenza.web.folder import Studio

LOADED = 4
Key = tuple[Path, int, int]


class Players:
    """Improvisers by the id of their run; a model that was written anew is loaded anew."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.loaded: OrderedDict[Key, Improviser] = OrderedDict()
        self.facts: dict[Path, tuple[Key | None, dict[str, Any]]] = {}
        self.lock = threading.Lock()

    def get(self, id: str) -> Improviser:  # noqa: A002
        """The model of this run; a missing, damaged or outdated one raises `CadenzaError`."""
        return self.load(self.studio.model(id))

    def load(self, run: Run) -> Improviser:
        key = stamp(run.folder / MODEL)
        with self.lock:
            if key not in self.loaded:
                self.loaded[key] = remembering(run.improviser())
            self.loaded.move_to_end(key)
            while len(self.loaded) > LOADED:
                self.loaded.popitem(last=False)
            return self.loaded[key]

    def listed(self) -> list[dict[str, Any]]:
        """What is known of every model that can be loaded."""
        found = []
        for id, folder in self.studio.run_folders().items():  # noqa: A001
            try:
                found.append({"id": id, "name": self.studio.name(id, folder), **self.known(folder)})
            except CadenzaError:
                continue  # its run says why
        return found

    def known(self, folder: Path) -> dict[str, Any]:
        """The facts of a run's model; one that cannot be loaded raises `CadenzaError`."""
        key = stamp(folder / MODEL)
        written, known = self.facts.get(folder, (None, {}))
        if written != key:
            model = self.load(Run(folder))
            facts = model.facts
            known = {
                "unit": facts.unit, "program": facts.program, "lowest": facts.lowest, "highest": facts.highest,
                "fields": list(model.representation.fields), "tempo": facts.tempo, "step": model.step,
            }  # fmt: skip
            self.facts[folder] = key, known
        return known

    def warm(self) -> None:
        """Play a little with the latest model, so that the loops are compiled before somebody waits for them."""
        models = [path / MODEL for path in self.studio.run_folders().values() if (path / MODEL).is_file()]
        for path in sorted(models, key=lambda path: -path.stat().st_mtime)[:1]:
            try:
                model = self.load(Run(path.parent))
                for extra in ({}, {"repeats": 4}, {"novel": 16}, {"instrument": "violin"}):
                    plan = model.plan(SampleSettings(rows=4, ending="never", **extra), 0)
                    list(model.as_made(plan, [0]))
            except CadenzaError:
                continue


def stamp(path: Path) -> Key:
    """What tells a file from another that takes its place; an absent one raises `CadenzaError`."""
    try:
        status = path.stat()
    except OSError:
        raise CadenzaError(f"{path.parent.name}: there is no model in it yet; let it train to its first evaluation.") from None  # fmt: skip
    return path, status.st_mtime_ns, status.st_size


def remembering(model: Improviser) -> Improviser:
    """The model with its training pieces read once, when they are first asked for."""
    reading = model.training

    @lru_cache(maxsize=1)
    def training() -> list[Notes]:
        assert reading is not None
        return list(reading())

    return replace(model, training=training)
