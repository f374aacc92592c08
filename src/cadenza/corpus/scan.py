"""A source's files to a checked corpus: pieces, and for every file what became of it and why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field, replace

from cadenza.corpus.isolate import Casualty, isolated_map
from cadenza.corpus.sources import Source
from cadenza.corpus.unpack import SourceFile
from cadenza.corpus.works import group_works
from cadenza.errors import CadenzaError
from cadenza.instruments import DRUMS, program_name
from cadenza.midi import ABC_SUFFIXES, Score, parse, parse_abc, read_bytes
from cadenza.notes import Notes, TimeBase, from_first_onset
from cadenza.settings import MidiSettings, Settings

BEATS_SHARE = 0.8
"""Share of onsets on the beat grid from which a corpus counts in beats."""


@dataclass(frozen=True)
class Progress:
    """How far a long piece of work has come."""

    doing: str
    done: int
    total: int


@dataclass(frozen=True)
class Entry:
    """One line of the manifest: a piece that is kept (`reason` empty) or a file left out."""

    name: str
    sha256: str = ""
    reason: str = ""
    notes: int = 0
    length_seconds: float = 0.0
    instrument: str = ""
    set_aside: str = ""
    work: int = -1
    split: str = ""


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
class Reading:
    """What a worker found in one file."""

    sha256: str = ""
    scores: list[Score] = field(default_factory=list)
    reason: str = ""


def scan(source: Source, settings: Settings) -> Generator[Progress, None, Corpus]:
    """Read every file in isolation, decide the time base, drop what is unusable, group by work."""
    readings: list[Reading] = [Reading(reason=file.reason) for file in source.files]
    todo = [index for index, file in enumerate(source.files) if not file.reason]
    tasks = [(source.files[index], settings.midi) for index in todo]
    results = isolated_map(read_file, tasks, settings.corpus.workers, settings.midi.max_seconds)
    for done, (number, result) in enumerate(results, 1):
        readings[todo[number]] = (
            Reading(reason=f"{source.files[todo[number]].name}: {result.reason}; remove it.")
            if isinstance(result, Casualty)
            else result
        )
        yield Progress("reading", done, len(todo))
    return assemble(source, readings, settings)


def read_file(task: tuple[SourceFile, MidiSettings]) -> Reading:
    """Worker: one file's digest and scores; what is wrong with it comes back as the reason."""
    file, settings = task
    try:
        data = read_bytes(file.path, settings, file.name)
    except CadenzaError as error:
        return Reading(reason=str(error))
    digest = hashlib.sha256(data).hexdigest()
    try:
        if file.path.suffix.lower() in ABC_SUFFIXES:
            return Reading(digest, parse_abc(data.decode("utf-8", "replace"), file.name, settings))
        return Reading(digest, [parse(data, file.name, settings)])
    except CadenzaError as error:
        return Reading(digest, reason=str(error))


def assemble(source: Source, readings: list[Reading], settings: Settings) -> Corpus:
    """Readings to a corpus; the order is that of the files."""
    grid = [score.on_grid() for reading in readings for score in reading.scores]
    share = sum(hits for hits, _ in grid) / max(1, sum(total for _, total in grid))
    unit = (
        settings.midi.time_base if settings.midi.time_base != "auto" else "beats" if share >= BEATS_SHARE else "seconds"
    )
    entries: list[Entry] = []
    pieces: list[Notes] = []
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
        for score in reading.scores:
            entry, piece, program = one_piece(score, reading.sha256, unit, settings, same_notes)
            entries.append(entry)
            if piece is not None:
                pieces.append(piece)
                programs[program] += 1
    base = pieces[0].header.time_base if pieces else TimeBase()
    main = source.program if source.program is not None else max(programs, key=lambda p: (programs[p], -p), default=0)
    return with_works(Corpus(source.name, base, share, main, pieces, entries))


def one_piece(
    score: Score, sha256: str, unit: str, settings: Settings, same_notes: dict[bytes, str]
) -> tuple[Entry, Notes | None, int]:
    """The manifest entry of a score, and its notes from the first onset on if they are kept."""
    try:
        piece = from_first_onset(score.notes(settings.midi, unit))
    except CadenzaError as error:
        return Entry(score.name, sha256, str(error)), None, 0
    chosen = score.chosen(settings.midi)
    aside = {program: len(part) for program, part in score.parts.items() if program not in chosen}
    entry = Entry(
        score.name,
        sha256,
        notes=len(piece),
        length_seconds=round(piece.length_seconds, 3),
        instrument=" + ".join(program_name(program) for program in chosen),
        set_aside=", ".join(f"{program_name(program)}: {count} notes" for program, count in aside.items()),
    )
    corpus = settings.corpus
    first = same_notes.setdefault(
        hashlib.sha256(b"".join(column.tobytes() for column in piece.columns)).digest(), score.name
    )
    if len(piece) < corpus.min_notes:
        reason = f"{len(piece)} notes, under corpus.min_notes = {corpus.min_notes}; lower that, or remove it"
    elif len(piece) > corpus.max_notes:
        reason = f"{len(piece):,} notes, over corpus.max_notes = {corpus.max_notes:,}; raise that, or cut it"
    elif piece.length_seconds > 60 * corpus.max_minutes:
        reason = f"{piece.length_seconds / 60:,.0f} minutes long, over corpus.max_minutes = {corpus.max_minutes:g}; raise that, or cut it"
    elif first != score.name:
        reason = f"the same notes as {first}"
    else:
        return entry, piece, chosen[0]
    return replace(entry, reason=f"{score.name}: {reason}."), None, DRUMS


def with_works(corpus: Corpus) -> Corpus:
    """Number the works of the kept pieces."""
    if not corpus.pieces:
        return corpus
    works = iter(group_works(corpus.pieces).tolist())
    return replace(
        corpus, entries=[entry if entry.reason else replace(entry, work=next(works)) for entry in corpus.entries]
    )
