"""A source's files to a checked corpus: pieces, and for every file what became of it and why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import partial

from cadenza.corpus.abc import ABC_SUFFIXES, abc_tunes, parse_abc
from cadenza.corpus.isolate import Casualty, isolated_map
from cadenza.corpus.sources import Source
from cadenza.corpus.unpack import SourceFile
from cadenza.corpus.works import Grams, group_grams, interval_grams
from cadenza.errors import CadenzaError
from cadenza.instruments import program_name, program_number
from cadenza.midi import Score, parse, read_bytes
from cadenza.notes import Notes, TimeBase, from_first_onset
from cadenza.records import Progress
from cadenza.settings import CorpusSettings, MidiSettings, Settings

BEATS_SHARE = 0.8
"""Share of onsets on the beat grid from which a corpus counts in beats."""


@dataclass(frozen=True)
class Entry:
    """One line of the manifest: a piece that is kept (`reason` empty) or a file left out.

    `fold` is the fold that holds the piece out, where all pieces train and folds give the figures.
    """

    name: str
    sha256: str = ""
    reason: str = ""
    notes: int = 0
    length_seconds: float = 0.0
    instrument: str = ""
    set_aside: str = ""
    work: int = -1
    split: str = ""
    fold: int = -1


@dataclass(frozen=True)
class Corpus:
    """Pieces as notes, all on one time base, and the entries of all files; `kept[i]` belongs to `pieces[i]`."""

    source: str
    base: TimeBase
    on_grid: float
    program: int
    pieces: list[Notes]
    entries: list[Entry] = field(repr=False)

    @property
    def kept(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.reason]

    @property
    def dropped(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.reason]


@dataclass(frozen=True)
class Found:
    """One score as its worker leaves it: notes from the first onset on, or the reason why there are none."""

    name: str
    on_grid: int
    onsets: int
    notes: Notes | None = None
    reason: str = ""
    programs: tuple[int, ...] = ()
    set_aside: str = ""
    grams: Grams = ()


@dataclass(frozen=True)
class Reading:
    """What a worker found in one file."""

    sha256: str = ""
    found: tuple[Found, ...] = ()
    reason: str = ""


def scan(source: Source, settings: Settings) -> Generator[Progress, None, Corpus]:
    """Read every file in isolation, decide the time base, drop what is unusable, group by work.

    Workers count time as each file by itself suggests; the files that differ from the corpus as a
    whole are read again.
    """
    if settings.midi.instrument not in ("auto", "all"):
        program_number(settings.midi.instrument)  # an unknown name is no fault of the files
    readings = {index: Reading(reason=file.reason) for index, file in enumerate(source.files)}
    readable = [index for index, reading in readings.items() if not reading.reason]
    readings |= yield from read_files(source, readable, settings.midi, settings)
    found = [one for reading in readings.values() for one in reading.found]
    share = sum(one.on_grid for one in found) / max(1, sum(one.onsets for one in found))
    unit = time_unit(share, settings.midi)
    other = [
        index
        for index, reading in readings.items()
        if any(one.notes and one.notes.header.time_base.unit != unit for one in reading.found)
    ]
    readings |= yield from read_files(source, other, settings.midi.model_copy(update={"time_base": unit}), settings)
    return assemble(source, list(readings.values()), share, settings)


def read_files(
    source: Source, indices: list[int], midi: MidiSettings, settings: Settings
) -> Generator[Progress, None, dict[int, Reading]]:
    """The readings of some of the source's files, by index."""
    tasks = [(source.files[index], midi) for index in indices]
    readings: dict[int, Reading] = {}
    for number, result in isolated_map(read_file, tasks, settings.corpus.workers, midi.max_seconds):
        if isinstance(result, Casualty):
            result = Reading(reason=f"{tasks[number][0].name}: {result.reason} (midi.max_seconds); remove it.")
        readings[indices[number]] = result
        yield Progress("reading", len(readings), len(indices))
    return readings


def time_unit(share: float, settings: MidiSettings) -> str:
    """The unit of time, given the share of onsets on the beat grid."""
    if settings.time_base != "auto":
        return settings.time_base
    return "beats" if share >= BEATS_SHARE else "seconds"


def read_file(task: tuple[SourceFile, MidiSettings]) -> Reading:
    """Worker: one file's digest and notes; what is wrong with it comes back as the reason."""
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
    return Found(
        name,
        on_grid,
        onsets,
        notes,
        "",
        tuple(score.chosen(settings)),
        score.set_aside(settings),
        interval_grams(notes),
    )


def assemble(source: Source, readings: list[Reading], share: float, settings: Settings) -> Corpus:
    """Readings to a corpus; the order is that of the files."""
    entries: list[Entry] = []
    pieces: list[Notes] = []
    grams: list[Grams] = []
    programs: Counter[int] = Counter()
    same_bytes: dict[str, str] = {}
    same_notes: dict[bytes, str] = {}
    for file, reading in zip(source.files, readings, strict=True):
        reason = reading.reason
        if not reason and reading.sha256 in same_bytes:
            reason = f"{file.name}: the same bytes as {same_bytes[reading.sha256]}."
        if reason:
            entries.append(Entry(file.name, reading.sha256, reason))
            continue
        same_bytes[reading.sha256] = file.name
        for found in reading.found:
            entry = judge(found, reading.sha256, settings.corpus, same_notes)
            entries.append(entry)
            if found.notes is not None and not entry.reason:
                pieces.append(found.notes)
                grams.append(found.grams)
                programs[found.programs[0]] += 1
    base = pieces[0].header.time_base if pieces else TimeBase()
    main = source.program if source.program is not None else max(programs, key=lambda p: (programs[p], -p), default=0)
    return with_works(Corpus(source.name, base, share, main, pieces, entries), grams)


def judge(found: Found, sha256: str, corpus: CorpusSettings, same_notes: dict[bytes, str]) -> Entry:
    """The manifest entry of a score, with the reason if it is left out."""
    piece = found.notes
    if piece is None:
        return Entry(found.name, sha256, found.reason)
    digest = hashlib.sha256(b"".join(column.tobytes() for column in piece.columns)).digest()
    first = same_notes.setdefault(digest, found.name)
    reason = ""
    if len(piece) < corpus.min_notes:
        reason = f"{len(piece)} notes, under corpus.min_notes = {corpus.min_notes}; lower that, or remove it"
    elif len(piece) > corpus.max_notes:
        reason = f"{len(piece):,} notes, over corpus.max_notes = {corpus.max_notes:,}; raise that, or cut it"
    elif piece.length_seconds > 60 * corpus.max_minutes:
        reason = f"{piece.length_seconds / 60:,.0f} minutes long, over corpus.max_minutes = {corpus.max_minutes:g}; raise that, or cut it"
    elif first != found.name:
        reason = f"the same notes as {first}"
    return Entry(
        found.name,
        sha256,
        f"{found.name}: {reason}." if reason else "",
        notes=len(piece),
        length_seconds=round(piece.length_seconds, 3),
        instrument=" + ".join(program_name(program) for program in found.programs),
        set_aside=found.set_aside,
    )


def with_works(corpus: Corpus, grams: list[Grams]) -> Corpus:
    """Number the works of the kept pieces."""
    if not corpus.pieces:
        return corpus
    works = iter(group_grams(grams).tolist())
    return replace(
        corpus, entries=[entry if entry.reason else replace(entry, work=next(works)) for entry in corpus.entries]
    )
