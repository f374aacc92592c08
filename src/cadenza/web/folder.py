"""The studio's folder: `music/`, `runs/` and `kept/`, and what stands in them by id.

No part of a request becomes a path: an id is looked up among what is there.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cadenza import export
from cadenza.runs.folder import MODEL, Run
from cadenza.web.problems import missing

JOB = "job.json"
KNOWN = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True)
class Studio:
    """The folder, which is made as far as it is not there."""

    folder: Path

    def begin(self) -> None:
        for part in (self.music, self.runs, self.kept, self.jobs):
            part.mkdir(parents=True, exist_ok=True)

    @property
    def music(self) -> Path:
        return self.folder / "music"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def kept(self) -> Path:
        return self.folder / "kept"

    @property
    def jobs(self) -> Path:
        """What the trainings that were begun here say, by the id of their run."""
        return self.folder / "jobs"

    def run_folders(self) -> dict[str, Path]:
        """The folders of runs by id, those that `cadenza run` made too; of one that has not begun yet, its job's."""
        found = {identity(path.name): path for path in folders(self.runs)}
        return found | {path.name: self.runs / path.name for path in folders(self.jobs) if path.name not in found}

    def run(self, id: str) -> Path:  # noqa: A002
        path = self.run_folders().get(id)
        if path is None:
            raise missing("run")
        return path

    def name(self, id: str, folder: Path) -> str:  # noqa: A002
        """What a run is called: as its job was named, else as its folder is."""
        return str(read_json(self.jobs / id / JOB).get("name", folder.name))

    def model(self, id: str) -> Run:  # noqa: A002
        """The run with a model to play with."""
        path = self.run_folders().get(id)
        if path is None or not (path / MODEL).is_file():
            raise missing("model")
        return Run(path)


def folders(place: Path) -> list[Path]:
    """The folders in a folder, by name."""
    try:
        return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def member(place: Path, id: str, what: str) -> Path:  # noqa: A002
    """The folder of this id; an unknown one is `Trouble`."""
    found = next((path for path in folders(place) if path.name == id), None)
    if found is None:
        raise missing(what)
    return found


def identity(name: str) -> str:
    """The id of a folder's name: itself if it is one, else made of it.

    >>> identity("my-run"), identity("Étude No. 1")
    ('my-run', 'tude-no-1-f6b596cd')
    """
    return name if KNOWN.fullmatch(name) else f"{slug(name)}-{sha256(name.encode()).hexdigest()[:8]}"


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "music"


def fresh(name: str) -> str:
    """A new id that reminds of a name."""
    return f"{slug(name)}-{secrets.token_hex(3)}"


def read_json(path: Path) -> dict[str, Any]:
    """What was written there; nothing if it is absent or damaged."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    export.write(path, json.dumps(value, indent=1).encode())
