"""What must hold of whatever a music file is turned into, however damaged the file.

In: a file's bytes and the settings to read it with. A file is read as a scan reads it; its notes go through every
representation and are written and read back. What breaks a rule raises `Unsound`, which says which.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from cadenza.corpus.packing import packed, unpacked
from cadenza.corpus.reading import Found, read_file
from cadenza.corpus.unpack import SourceFile
from cadenza.errors import CadenzaError
from cadenza.instruments import DRUMS
from cadenza.midi import parse, to_bytes
from cadenza.notes import HIGHEST, LOWEST, Notes, TimeBase
from cadenza.settings import CorpusSettings, MidiSettings
from cadenza.tokens import Representation, representation
from strict import Invalid, read_note_rows, read_study_events

SETTINGS = (
    MidiSettings(),
    MidiSettings(instrument="all", drums="keep", opening_silence="keep"),
    MidiSettings(time_base="beats", pedal="ignore"),
    MidiSettings(time_base="seconds", instrument="all"),
    MidiSettings(time_base="beats", steps_per_beat=96, instrument="all", drums="keep"),
    MidiSettings(time_base="seconds", steps_per_second=10),
)
STUDY = TimeBase("seconds", 100)
LONGEST_SECONDS = 60 * CorpusSettings().max_minutes
"""A scan leaves longer pieces out, so they never become rows."""
LONGEST_SENTENCE = 400


class Unsound(Exception):  # noqa: N818
    """A rule that was broken."""


def demand(held: bool, rule: str) -> None:
    if not held:
        raise Unsound(rule)


def check_sentence(said: str) -> None:
    """One line that ends as a sentence does."""
    demand(said.isprintable() and said.endswith(".") and len(said) <= LONGEST_SENTENCE, f"no sentence: {said[:1000]!r}")


def only_our_error(work: Callable[[], object]) -> str:
    """What the program says of its input; empty if it took it. Any other exception comes through."""
    try:
        work()
    except CadenzaError as error:
        check_sentence(str(error))
        return str(error)
    return ""


def check_music_file(data: bytes, path: Path, settings: MidiSettings) -> bool:
    """Whether the file, which is put at `path`, gives notes; all that is made of it is sound."""
    path.write_bytes(data)
    reading = read_file((SourceFile(path.name, path), settings))
    if reading.reason:
        check_sentence(reading.reason)
    for found in reading.found:
        check_found(found, settings)
    return any(found.notes is not None for found in reading.found)


def check_found(found: Found, settings: MidiSettings) -> None:
    demand((found.notes is None) == bool(found.reason), "neither notes nor a reason, or both")
    demand(0 <= found.on_grid <= found.onsets, "more onsets on the grid than there are")
    if found.notes is None:
        check_sentence(found.reason)
        return
    kept = packed(found, None)
    demand(len(found.programs) > 0 and len(kept.ears) > 0, "notes without an instrument or n-grams")
    same = zip(unpacked(kept.columns, kept.notes), found.notes.columns, strict=True)
    demand(all(np.array_equal(one, other) for one, other in same), "other notes in the store")
    check_notes(found.notes, settings)
    if found.notes.length_seconds <= LONGEST_SECONDS:
        for tokens in representations(found.notes.header.time_base):
            check_table(found.notes, tokens, settings)
    check_written(found.notes, found.programs[0])


def check_notes(notes: Notes, settings: MidiSettings) -> None:
    demand(len(notes) > 0, "no notes and no reason")
    for column, low, high in zip(notes.columns, LOWEST, HIGHEST, strict=True):
        demand(column.dtype == np.int32 and len(column) == len(notes), "columns of other kinds or lengths")
        demand(int(column.min()) >= low and int(column.max()) <= high, "a value out of range")
    onset, pitch = notes.onset.astype(np.int64), notes.pitch.astype(np.int64)
    demand(bool((np.diff(onset << 7 | pitch) > 0).all()), "notes out of order, or twice")
    order = np.lexsort((onset, pitch))
    next_onset = np.append(onset[order][1:], 0)
    overlaps = (next_onset < (onset + notes.duration)[order]) & (np.append(np.diff(pitch[order]), 1) == 0)
    demand(not overlaps.any(), "a pitch that begins again before it ends")
    if settings.opening_silence == "drop":
        demand(int(onset[0]) == 0, "silence before the first note")
    demand(10 <= notes.header.tempo <= 500, f"a tempo of {notes.header.tempo}")
    demand(notes.header.meter is None or min(notes.header.meter) > 0, f"a metre of {notes.header.meter}")


@lru_cache
def representations(base: TimeBase) -> list[Representation]:
    return [representation("notes", base), *([representation("study", base)] if base == STUDY else [])]


def check_table(notes: Notes, tokens: Representation, settings: MidiSettings) -> None:
    """A table has ids that there are, is read by the letter as by the program, and a second round trip changes nothing."""
    rows = tokens.encode(notes)
    demand(rows.dtype == np.int16 and bool(((rows >= 0) & (rows <= tokens.start_row)).all()), "ids that there are not")
    once = tokens.decode(rows)
    demand(len(once) == tokens.note_count(rows), "rows that write another number of notes")
    kept = 3 if tokens.name == "study" else 4  # a velocity moves on to the next note each time
    again = tokens.decode(tokens.encode(once))
    same = [np.array_equal(one, other) for one, other in zip(once.columns[:kept], again.columns[:kept], strict=True)]
    demand(all(same), f"{tokens.name}: a second round trip changes something")
    if len(rows) > 500 or settings.opening_silence == "keep" or tokens.base.steps not in (24, 100):
        return  # plain loops are slow, and silence has no grammar
    try:
        if tokens.name == "study":
            said = read_study_events(rows.tolist(), 0, 127, tokens.vocabulary)
        else:
            said = read_note_rows(rows.tolist(), 0, 127, tokens.base.unit)
    except Invalid as broken:
        raise Unsound(f"{tokens.name}: {broken}") from None
    heard = zip(*(column.tolist() for column in once.columns), strict=True)
    demand(sorted(said) == sorted(heard), f"{tokens.name}: read by the letter, there are other notes")


def check_written(notes: Notes, program: int) -> None:
    """What is written reads back as the same notes."""
    base = notes.header.time_base
    try:
        file = to_bytes(notes, program)
    except CadenzaError as error:
        check_sentence(str(error))
        demand(notes.length_seconds > LONGEST_SECONDS, f"music of {notes.length_seconds:,.0f} s is not written")
        return
    steps = {"steps_per_second" if base.unit == "seconds" else "steps_per_beat": base.steps}
    settings = MidiSettings.model_validate({"instrument": "all", "drums": "keep", "pedal": "ignore", **steps})
    score = parse(file, "written", settings)
    back = score.notes(settings, base.unit)
    demand(set(score.parts) == {max(program, DRUMS)}, f"program {program} is written as {sorted(score.parts)}")
    same = [np.array_equal(one, other) for one, other in zip(notes.columns, back.columns, strict=True)]
    demand(all(same), "what is written reads back as other notes")
    demand(
        notes.header.meter in (None, back.header.meter), f"a metre of {notes.header.meter} becomes {back.header.meter}"
    )
