"""One file of music to what is found in it: a worker's task, which returns what is wrong instead of raising it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cadenza.corpus.abc import ABC_SUFFIXES, abc_tunes, parse_abc
from cadenza.corpus.unpack import SourceFile
from cadenza.errors import CadenzaError
from cadenza.midi import Score, parse, read_bytes
from cadenza.notes import Notes, from_first_onset
from cadenza.settings import MidiSettings

BEATS_SHARE = 0.8
"""Share of onsets on the beat grid from which a corpus counts in beats."""


@dataclass(frozen=True)
class Found:
    """One score: notes from the first onset on, or the reason why there are none."""

    name: str
    on_grid: int
    onsets: int
    notes: Notes | None = None
    reason: str = ""
    programs: tuple[int, ...] = ()
    set_aside: str = ""


@dataclass(frozen=True)
class Reading:
    """What was found in one file; without `sha256` it could not be read at all."""

    sha256: str = ""
    found: tuple[Found, ...] = ()
    reason: str = ""


def time_unit(share: float, settings: MidiSettings) -> str:
    """The unit of time, given the share of onsets on the beat grid."""
    if settings.time_base != "auto":
        return settings.time_base
    return "beats" if share >= BEATS_SHARE else "seconds"


def read_file(task: tuple[SourceFile, MidiSettings]) -> Reading:
    """A file's digest and notes, in the unit of time that the file by itself suggests unless the settings fix it."""
    file, settings = task
    try:
        data = read_bytes(file.path, settings, file.name)
    except CadenzaError as error:
        return Reading(reason=str(error))
    digest = hashlib.sha256(data).hexdigest()
    try:
        if file.path.suffix.lower() in ABC_SUFFIXES:
            tunes = abc_tunes(data.decode("utf-8", "replace"), file.name)
            return Reading(
                digest, tuple(find(name, partial(parse_abc, text, name, settings), settings) for name, text in tunes)
            )
    except CadenzaError as error:
        return Reading(digest, reason=str(error))
    return Reading(digest, (find(file.name, partial(parse, data, file.name, settings), settings),))


def find(name: str, parsed: Callable[[], Score], settings: MidiSettings) -> Found:
    """The notes of a score, and what else it holds, or why it cannot be used."""
    on_grid = onsets = 0
    try:
        score = parsed()
        on_grid, onsets = score.on_grid()
        notes = score.notes(settings, time_unit(on_grid / max(1, onsets), settings))
        if settings.opening_silence == "drop":
            notes = from_first_onset(notes)
    except CadenzaError as error:
        return Found(name, on_grid, onsets, reason=str(error))
    return Found(name, on_grid, onsets, notes, "", tuple(score.chosen(settings)), score.set_aside(settings))
