"""Music that was uploaded: its folder, what is known of it, and the reading that goes on beside the server.

`music.json` holds the name, the state and the names of the files, `findings.json` what became of each. What is still
coming in lies in a folder whose name begins with `.incoming-`; the uploads are removed once their findings are written.
"""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

from cadenza.errors import CadenzaError
from cadenza.web.errands import Errands
from cadenza.web.folder import Studio, folders, fresh, member, read_json, slug, write_json
from cadenza.web.problems import Trouble
from cadenza.web.reading import FINDINGS, INCOMING, UNPACKED
from cadenza.web.uploads import Form

ABOUT, RECEIVED = "music.json", ".incoming-"
READ_SECONDS, SHOW_SECONDS = 1800.0, 30.0
NOTHING = "None of its files can be used; each one's reason is among the findings."


class Music:
    """All music of a studio."""

    def __init__(self, studio: Studio, errands: Errands) -> None:
        self.studio, self.errands = studio, errands
        self.one_at_a_time, self.change = threading.Lock(), threading.Lock()
        self.unwritten: dict[str, str] = {}  # why what a reading found could not be written, by id

    def begin(self) -> None:
        """Read again what was being read when the server ended; a folder that is none of its own is left alone."""
        for folder in self.studio.music.glob(f"{RECEIVED}*"):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in folders(self.studio.music):
            state = read_json(folder / ABOUT).get("state")
            if state == "reading":
                self.start_reading(folder)
            elif state:
                clear(folder, INCOMING)

    def incoming(self, name: str) -> Path:
        """A new folder for what comes in."""
        folder = self.studio.music / f"{RECEIVED}{fresh(name)}"
        (folder / INCOMING).mkdir(parents=True)
        return folder

    def add(self, received: Path, form: Form) -> str:
        """Keep what has come in and begin to read it; gives its id."""
        name = form.name or next(iter(form.names.values())).rpartition(".")[0] or "Music"
        about = {"name": name, "state": "reading", "error": "", "names": form.names, "made": time.time()}
        about["archive"] = f"{slug(name)}.zip"
        write_json(received / ABOUT, about)
        folder = received.rename(received.with_name(received.name.removeprefix(RECEIVED)))
        self.start_reading(folder)
        return folder.name

    def start_reading(self, folder: Path) -> None:
        threading.Thread(target=self.read, args=(folder,), daemon=True).start()

    def read(self, folder: Path) -> None:
        """Have the uploads read in a process of its own, one after the other."""
        state, error = "ready", ""
        with self.one_at_a_time:
            about = read_json(folder / ABOUT)
            if not about:
                return  # it was removed before its turn
            clear(folder)
            try:
                asked = {"folder": str(folder.resolve()), "names": about["names"], "archive": about["archive"]}
                found = self.errands.send("read", asked, READ_SECONDS)
                if not any(one["verdict"] == "kept" for one in found["findings"]):
                    state, error = "failed", NOTHING
            except CadenzaError as trouble:
                state, error, found = "failed", str(trouble), {"findings": []}
        with self.change:
            if self.errands.over or not folder.is_dir():
                return  # it is read again by the next server, or was removed
            try:
                write_json(folder / FINDINGS, found)
                write_json(folder / ABOUT, {**about, "state": state, "error": error})
            except CadenzaError as trouble:  # the uploads stay: the next server reads them again
                self.unwritten[folder.name] = f"{trouble} Then start the studio again."
                return
            clear(folder, INCOMING)

    def listed(self) -> list[dict[str, Any]]:
        found = [self.view(folder) for folder in folders(self.studio.music) if (folder / ABOUT).exists()]
        return sorted(found, key=lambda one: -one["made"])

    def folder(self, id: str) -> Path:  # noqa: A002
        return member(self.studio.music, id, "music")

    def view(self, folder: Path) -> dict[str, Any]:
        """What is known of it, with its findings."""
        about, findings = read_json(folder / ABOUT), read_json(folder / FINDINGS).get("findings", [])
        kept = [one for one in findings if one["verdict"] == "kept"]
        unwritten = self.unwritten.get(folder.name, "")
        state = "failed" if unwritten else about.get("state", "failed")
        return {
            "id": folder.name, "name": about.get("name", folder.name), "state": state,
            "error": unwritten or about.get("error", ""), "made": about.get("made", 0.0), "findings": findings,
            "files": len(findings) or len(about.get("names", {})), "kept": len(kept),
            "notes": sum(one["notes"] for one in kept), "works": len({one["work"] for one in kept}),
            "minutes": round(sum(one["seconds"] for one in kept) / 60, 2),
        }  # fmt: skip

    def notes(self, id: str, file: str) -> dict[str, Any]:  # noqa: A002
        """The notes of one of its files."""
        folder = self.folder(id)
        known = {one["file"] for one in read_json(folder / FINDINGS).get("findings", [])}
        if file not in known or not archive(folder).is_file():
            raise Trouble(404, "There is no such file in this music.")
        asked = {"archive": str(archive(folder).resolve()), "file": file}
        return self.errands.send("notes", asked, SHOW_SECONDS)

    def source(self, id: str) -> Path:  # noqa: A002
        """The archive to train on."""
        folder = self.folder(id)
        view = self.view(folder)
        if view["state"] != "ready":
            raise Trouble(409, "This music is still being read; wait until it is ready." if view["state"] == "reading" else f"There is nothing to train on: {view['error']}")  # fmt: skip
        return archive(folder)

    def remove(self, id: str) -> None:  # noqa: A002
        with self.change:
            shutil.rmtree(self.folder(id), ignore_errors=True)
            self.unwritten.pop(id, None)


def archive(folder: Path) -> Path:
    """All files that were read, under the names that they came with."""
    return folder / str(read_json(folder / ABOUT).get("archive", "music.zip"))


def clear(folder: Path, *names: str) -> None:
    """Remove what a reading that was broken off has left, and the folders of these names."""
    for place in [*folder.glob(f"{UNPACKED}*"), *(folder / name for name in names)]:
        shutil.rmtree(place, ignore_errors=True)
