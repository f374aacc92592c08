"""Tasks of other processes: uploads become one archive of music under the names that they came with, and findings.

Every file's name is only ever text, inside an archive; on disk it lies under a number.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cadenza import midi
from cadenza.corpus.reading import read_file
from cadenza.corpus.scan import Entry, scan
from cadenza.corpus.sources import KINDS, Source
from cadenza.corpus.unpack import SourceFile, is_archive, is_music, members, unpack
from cadenza.errors import CadenzaError
from cadenza.notes import Notes, from_first_onset
from cadenza.records import outcome
from cadenza.settings import MidiSettings, Settings, validate

INCOMING, UNPACKED, FINDINGS = "incoming", "unpacked-", "findings.json"
MOST_FILES, UNPACKED_GIGABYTES = 10_000, 0.5
PROMPT_SECONDS = 60.0
Row = tuple[float, int, float, int]


def read(asked: dict[str, Any]) -> dict[str, Any]:
    """Task: the uploads of a folder, `names` by their file, as an archive beside them; gives the findings.

    The uploads stay, so that it can be done again.
    """
    folder = Path(asked["folder"])
    with tempfile.TemporaryDirectory(prefix=UNPACKED, dir=folder) as name:
        place = Path(name)
        files, left_out = gathered(folder / INCOMING, asked["names"], place)
        if files:
            write_archive(place / asked["archive"], files)
            (place / asked["archive"]).replace(folder / asked["archive"])
        entries = outcome(scan(Source(asked["archive"], files), Settings())).entries if files else []
    return {"findings": [*map(finding, entries), *left_out]}


def gathered(incoming: Path, names: dict[str, str], place: Path) -> tuple[list[SourceFile], list[dict[str, Any]]]:
    """The music files under names that differ, archives unpacked, and what is left out at once."""
    found: list[SourceFile] = []
    left_out = []
    for number, (stored, name) in enumerate(sorted(names.items())):
        path = incoming / stored
        if is_music(name):
            found.append(SourceFile(name, path))
        elif is_archive(Path(stored)):
            inside = place / str(number)
            inside.mkdir()
            try:
                found += [
                    SourceFile(f"{name}/{file.name}", file.path, file.reason)
                    for file in unpack(path, inside, limits(place), most=MOST_FILES - len(found))
                ]
            except CadenzaError as error:
                left_out.append(refused(name, str(error).replace(str(path), name)))
        else:
            left_out.append(refused(name, f"{name}: not a music file; {KINDS}, and archives of them."))
    readable = [file for file in distinct(found) if not file.reason]
    return readable, [*(refused(file.name, file.reason) for file in found if file.reason), *left_out]


def limits(place: Path) -> Settings:
    """What an archive may unpack to, beside all that is unpacked already."""
    used = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    left = max(round(UNPACKED_GIGABYTES - used / 1e9, 3), 1e-3)
    return validate({"corpus": {"max_archive_gigabytes": left}})


def distinct(files: list[SourceFile]) -> Iterator[SourceFile]:
    """The files, of equal names the later ones with a number before the ending."""
    seen: set[str] = set()
    for file in files:
        name, number = file.name, 1
        stem, dot, suffix = file.name.rpartition(".")
        while name in seen:
            number += 1
            name = f"{stem} ({number}){dot}{suffix}"
        seen.add(name)
        yield SourceFile(name, file.path, file.reason)


def write_archive(path: Path, files: list[SourceFile]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file.path, file.name)


def finding(entry: Entry) -> dict[str, Any]:
    return {
        "file": entry.name, "verdict": "left out" if entry.reason else "kept", "reason": entry.reason,
        "notes": entry.notes, "seconds": entry.length_seconds, "work": entry.work,
    }  # fmt: skip


def refused(name: str, reason: str) -> dict[str, Any]:
    return finding(Entry(name, reason=reason))


def notes(asked: dict[str, Any]) -> dict[str, Any]:
    """Task: the notes of one file of an archive, by the name that its finding has."""
    name, settings = asked["file"], MidiSettings()
    with tempfile.TemporaryDirectory(prefix="cadenza-one-") as place:
        for member in members(Path(asked["archive"])):
            if member.data is not None and (name == member.name or name.startswith(f"{member.name}#")):
                path = Path(place) / f"one{Path(member.name).suffix.lower()}"
                path.write_bytes(member.data.read(int(settings.max_megabytes * 1e6) + 1))
                return one_of(read_file((SourceFile(member.name, path), settings)).found, name)
    raise CadenzaError(f"{name}: it is not in this music.")


def one_of(found: Any, name: str) -> dict[str, Any]:
    for one in found:
        if one.name == name and one.notes is not None:
            program = one.programs[0] if one.programs else 0
            return {"notes": rows_of(one.notes), "seconds": one.notes.length_seconds, "program": program}
    raise CadenzaError(f"{name}: it has no notes that can be shown.")


def rows_of(piece: Notes) -> list[Row]:
    """The notes in seconds."""
    step = piece.header.step_seconds
    columns = (column.tolist() for column in piece.columns)
    return [(round(on * step, 4), pitch, round(long * step, 4), loud) for on, pitch, long, loud in zip(*columns, strict=True)]  # fmt: skip


def prompt(asked: dict[str, Any]) -> dict[str, Any]:
    """Task: the first minute of a MIDI file as a model's corpus was read, in steps; what is none is an error."""
    settings = MidiSettings.model_validate(asked["reading"])
    data = midi.read_bytes(Path(asked["path"]), settings, asked["name"])
    piece = from_first_onset(midi.parse(data, asked["name"], settings).notes(settings, asked["unit"]))
    piece = piece[piece.onset * piece.header.step_seconds < PROMPT_SECONDS]
    header = piece.header
    return {"columns": [column.tolist() for column in piece.columns], "tempo": header.tempo, "meter": header.meter}
