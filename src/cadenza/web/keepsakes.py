"""Improvisations that were kept: a MIDI file, the record of how it was made, and whether it copies.

A piece is made once more to be kept, from what its session is a function of, so that `cadenza generate --again` makes the
same bytes.
"""

from __future__ import annotations

import base64
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from cadenza import export, midi
from cadenza.errors import CadenzaError
from cadenza.improviser import Improviser, Piece
from cadenza.notes import Notes
from cadenza.records import outcome
from cadenza.runs.provenance import read_record, record_of
from cadenza.settings import AudioSettings, SampleSettings
from cadenza.web.errands import Errands
from cadenza.web.folder import Studio, folders, fresh, member, read_json, write_json
from cadenza.web.problems import Trouble
from cadenza.web.reading import rows_of

PIECE, SOUND, RECORD, ABOUT, VERDICT = "piece.mid", "piece.mp3", "piece.json", "kept.json", "originality.json"
RENDER_SECONDS, COMPARE_SECONDS = 120.0, 900.0


class Take(NamedTuple):
    """All that a session's music follows from, and how many of its notes are meant."""

    model_id: str
    model: Improviser
    sampling: SampleSettings
    seed: int
    take: int
    prompt: Notes | None
    notes: int

    def piece(self) -> Piece:
        """The same notes once more."""
        sampling = self.sampling.model_copy(update={"notes": self.notes})
        [piece] = outcome(self.model.stream(sampling, [self.take], self.seed, self.prompt))
        return piece


class Keepsakes:
    """All that was kept in a studio."""

    def __init__(self, studio: Studio, errands: Errands) -> None:
        self.studio, self.errands = studio, errands
        self.one_at_a_time, self.change = threading.Lock(), threading.Lock()
        self.unwritten: dict[str, dict[str, Any]] = {}  # verdicts that could not be written, by id

    def begin(self) -> None:
        """Compare what the last server did not come to."""
        for folder in folders(self.studio.kept):
            if not (folder / VERDICT).exists():
                self.start_comparing(folder)

    def keep(self, take: Take, name: str) -> str:
        """Write a piece and its record; its id."""
        if take.notes <= (0 if take.prompt is None else len(take.prompt)):
            raise Trouble(409, "Nothing was improvised yet that could be kept; play first.")
        piece = take.piece()
        run = self.studio.run(take.model_id)
        folder = self.studio.kept / fresh(name or "piece")
        record = record_of(take.model, piece, run, take.prompt, AudioSettings(), ("mid",), {})
        data = midi.to_bytes(piece.notes, take.model.program(take.sampling.instrument))
        export.write(folder / PIECE, data)
        export.write(folder / RECORD, record.json_bytes())
        about = {
            "name": name or folder.name,
            "model": take.model_id,
            "notes": rows_of(piece.notes),
            "made": time.time(),
        }
        write_json(folder / ABOUT, about)
        self.start_comparing(folder)
        return folder.name

    def start_comparing(self, folder: Path) -> None:
        threading.Thread(target=self.compare, args=(folder,), daemon=True).start()

    def compare(self, folder: Path) -> None:
        """Whether it copies, in a process of its own, one after the other."""
        with self.one_at_a_time:
            try:
                run = self.studio.model(read_json(folder / ABOUT).get("model", "")).folder
                asked = {"run": str(run.resolve()), "piece": str((folder / PIECE).resolve())}
                found = self.errands.send("originality", asked, COMPARE_SECONDS)
            except CadenzaError as error:
                found = {
                    "verdict": f"It could not be compared with the training pieces: {error}",
                    "longest": 0,
                    "human": None,
                }
        with self.change:
            if self.errands.over or not folder.is_dir():
                return  # the next server compares it, or it was removed
            try:
                write_json(folder / VERDICT, found)
            except CadenzaError:  # it is known until the server ends; the next one compares again
                self.unwritten[folder.name] = found

    def folder(self, id: str) -> Path:  # noqa: A002
        return member(self.studio.kept, id, "kept piece")

    def listed(self) -> list[dict[str, Any]]:
        found = []
        for folder in folders(self.studio.kept):
            try:
                found.append(self.view(folder))
            except CadenzaError:
                continue  # damaged: it is left where it is
        return sorted(found, key=lambda one: -one["made"])

    def view(self, folder: Path) -> dict[str, Any]:
        """What is known of a piece; a damaged record raises `CadenzaError`."""
        about, record = read_json(folder / ABOUT), read_record(folder / RECORD)
        rows = about.get("notes", [])
        return {
            "id": folder.name, "name": about.get("name", folder.name), "model": about.get("model", ""),
            "seed": record.origin.seed, "seconds": record.seconds, "notes": record.notes,
            "made": about.get("made", 0.0), "rows": rows, "originality": read_json(folder / VERDICT) or self.unwritten.get(folder.name),
        }  # fmt: skip

    def file(self, id: str, kind: str) -> bytes:  # noqa: A002
        """The piece as MIDI or as sound; an MP3 is made once."""
        folder = self.folder(id)
        made = folder / SOUND
        if kind == "mp3" and made.is_file():
            return made.read_bytes()
        data = self.rendered((folder / PIECE).read_bytes(), kind)
        with self.change:
            if kind == "mp3" and folder.is_dir():
                with suppress(CadenzaError):  # then it is made again
                    export.write(made, data)
        return data

    def rendered(self, data: bytes, kind: str) -> bytes:
        """A MIDI file, or the sound of it, made in a process of its own."""
        if kind == "mid":
            return data
        asked = {"midi": base64.b64encode(data).decode(), "kind": kind}
        return base64.b64decode(self.errands.send("render", asked, RENDER_SECONDS)["file"])

    def remove(self, id: str) -> None:  # noqa: A002
        with self.change:
            shutil.rmtree(self.folder(id), ignore_errors=True)
            self.unwritten.pop(id, None)
