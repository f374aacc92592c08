"""A source's files to a checked corpus: pieces, and for every file what became of it and why.

What was read lies in a store (`store`), a temporary one unless another is given; only files that the
store does not know yet, or that have changed, are read. The result follows the names of the files
alone, never the order in which they were read, so it is that of a scan from scratch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cadenza.corpus.cluster import software
from cadenza.corpus.damage import OF_DAMAGE, guarded
from cadenza.corpus.entries import Entries, Entry
from cadenza.corpus.grams import Ints
from cadenza.corpus.isolate import Casualty, Cluster, isolated_map
from cadenza.corpus.packing import Encoder, Record, read_packed
from cadenza.corpus.reading import time_unit
from cadenza.corpus.sources import Source
from cadenza.corpus.split import split_works
from cadenza.corpus.store import Store
from cadenza.corpus.stored import Pieces, StoredSets
from cadenza.errors import CadenzaError
from cadenza.instruments import program_name, program_number
from cadenza.notes import TimeBase
from cadenza.records import Progress
from cadenza.settings import CorpusSettings, MidiSettings, Settings

__all__ = ["Corpus", "Entry", "scan"]

PORTION = 512
"""Files after which what was read is safe on disk."""

ROUND = 4 * PORTION
"""Files that are handed to the workers together; bounds what waits to be taken down."""

ENTRIES = """
DROP TABLE IF EXISTS temp.entry;
CREATE TEMP TABLE entry (place INTEGER PRIMARY KEY, name TEXT, sha256 TEXT, reason TEXT, notes INTEGER,
                         length_seconds REAL, instrument TEXT, set_aside TEXT, score INTEGER);
"""

SCORES = """
SELECT file.id, file.name, file.sha256, file.reason, score.id, digest,
       score.name, score.reason, notes, length_seconds, programs, set_aside, score.number
FROM listing JOIN file ON file.id = listing.file LEFT JOIN score ON score.file = file.id
ORDER BY place, score.number
"""


class Changes(NamedTuple):
    """Files that a scan had to read, that were as it knew them, and that it knew and that are gone."""

    read: int = 0
    same: int = 0
    gone: int = 0


NOTHING = Changes()


@dataclass(frozen=True)
class Corpus:
    """Pieces as notes, all on one time base, and the entries of all files; `kept[i]` belongs to `pieces[i]`."""

    source: str
    base: TimeBase
    on_grid: float
    program: int
    pieces: Pieces
    entries: Entries = field(repr=False)
    changes: Changes = NOTHING

    @property
    def encoded(self) -> str:
        """What the tables were made by that were made as the pieces were read; empty for none."""
        return self.pieces.store.meta("tables")

    @property
    def kept(self) -> Entries:
        return self.entries.those_kept()

    @property
    def dropped(self) -> Entries:
        return self.entries.those_dropped()

    def divided(self, settings: CorpusSettings, seed: int, seen: Sequence[bool] = ()) -> Corpus:
        """The corpus with a part, or a fold, for each piece; `seen` as in `split_works`."""
        parts, folds = split_works(self.kept.work, settings, seed, np.array(seen, bool))
        return replace(self, entries=self.entries.divided(parts, folds))

    def leaving_out(self, reasons: Mapping[int, str]) -> Corpus:
        """The corpus without some pieces, by index, each with its reason."""
        if not reasons:
            return self
        stays = np.ones(len(self.pieces), bool)
        stays[list(reasons)] = False
        kept = self.kept
        said = {index: f"{kept[index].name}: {reason}" for index, reason in reasons.items()}
        return replace(self, pieces=self.pieces.where(stays), entries=self.entries.leaving_out(said))


def scan(
    source: Source, settings: Settings, store: Store | None = None, encode: Encoder | None = None
) -> Generator[Progress, None, Corpus]:
    """Read every file in isolation, decide the time base, drop what is unusable, group by work.

    A `store` keeps what was read, and what `encode` makes of each piece. A source that is a store itself
    is not read again.
    """
    if settings.midi.instrument not in ("auto", "all"):
        program_number(settings.midi.instrument)  # an unknown name is no fault of the files
    if source.store is not None:
        with guarded(source.store, *OF_DAMAGE):
            store, changes = opened(source, settings.midi), NOTHING
    else:
        store = Store.temporary() if store is None else store
        changes = yield from refresh(store, source, settings, encode)
    with guarded(store.path, *OF_DAMAGE):
        corpus = yield from assemble(store, source, settings.corpus)
    return replace(corpus, changes=changes)


def refresh(
    store: Store, source: Source, settings: Settings, encode: Encoder | None
) -> Generator[Progress, None, Changes]:
    """Bring the store up to date with the source; what there was to do.

    Workers count time as each file by itself suggests; the files that differ from the corpus as a
    whole are read again.
    """
    midi = settings.midi
    if (place := store.meta("place")) not in ("", source.place) and Path(place).exists():
        raise CadenzaError(f"{store.path.parent}: a scan of {place}; choose another --out, or remove it.")
    store.list_files(source.located())
    key = f"{dict(software())}{reading_key(midi)}{encode.key if encode else ''}"
    if store.meta("reading") != key:
        store.clear()
    store.set_meta(reading=key, midi=reading_key(midi), tables=encode.key if encode else "", complete="")
    gone, stale, refused = store.forget_others(), store.stale(), store.refused().tolist()
    with store.transaction():
        for place in refused:
            store.put(place, Record(reason=source.files[place].reason))
    read = partial(read_files, store, source, encode, settings.corpus)
    yield from read(stale, midi)
    unit = time_unit(store.on_grid(), midi)
    yield from read(store.in_other_units(unit, as_read=True), midi)
    yield from read(store.in_other_units(unit, as_read=False), midi.model_copy(update={"time_base": unit}), unit)
    if Path(source.place).is_absolute() and not Path(source.place).exists():
        raise CadenzaError(f"{source.place}: gone while it was read; bring it back and scan again.")
    program = "" if source.program is None else str(source.program)
    store.set_meta(complete="yes", unit=unit, name=source.name, place=source.place, program=program)
    return Changes(len(stale), len(source.files) - len(stale) - len(refused), gone)


def reading_key(midi: MidiSettings) -> str:
    """The settings that decide how a file is read."""
    return midi.model_dump_json()


def read_files(
    store: Store,
    source: Source,
    encode: Encoder | None,
    corpus: CorpusSettings,
    places: Ints,
    midi: MidiSettings,
    unit: str = "",
) -> Generator[Progress, None, None]:
    """Bring some of the source's files into the store, by way of isolated workers; each portion is safe once it is read."""
    done = 0
    for begin in range(0, len(places), ROUND):
        here = places[begin : begin + ROUND].tolist()
        tasks = [(source.files[place], midi, encode) for place in here]
        cluster = Cluster(corpus.scheduler, tasks[0][0].path) if corpus.backend == "dask" else None
        with store.transaction():
            for number, result in isolated_map(read_packed, tasks, corpus.workers, midi.max_seconds, cluster):
                if isinstance(result, Casualty):
                    result = Record(reason=f"{tasks[number][0].name}: {result.reason}; leave it out.")
                store.put(here[number], result, unit)
                done += 1
                if done % PORTION == 0:
                    store.keep()
                yield Progress("reading", done, len(places))


def opened(source: Source, midi: MidiSettings) -> Store:
    """The store that is the source, with the files that are asked for; one that does not fit raises `CadenzaError`."""
    assert source.store is not None
    store = Store(source.store, writable=False)
    if store.meta("midi") != reading_key(midi):
        raise CadenzaError(
            f"{source.store.parent}: scanned with other settings of midi than asked for now; run cadenza scan with these, or give the music itself."
        )
    store.list_files(source.located())
    if store.meta("unit") != (unit := time_unit(store.on_grid(), midi)):
        raise CadenzaError(
            f"{source.store.parent}: these of its files count in {unit}, all of them in {store.meta('unit')}; give the music itself."
        )
    return store


def assemble(store: Store, source: Source, settings: CorpusSettings) -> Generator[Progress, None, Corpus]:
    """What is in the store as a corpus; the order is that of the files."""
    programs: Counter[int] = Counter()
    store.script(ENTRIES)
    with store.transaction():
        store.many("INSERT INTO entry VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", judged(store, settings, programs))
    kept = np.fromiter((reason == "" for (reason,) in store.ask("SELECT reason FROM entry ORDER BY place")), bool)
    scores = np.fromiter(
        (score for (score,) in store.ask("SELECT score FROM entry WHERE reason = '' ORDER BY place")), np.int64
    )
    pieces = Pieces(store, scores)
    base = pieces[0].header.time_base if len(pieces) else TimeBase()
    main = source.program if source.program is not None else max(programs, key=lambda p: (programs[p], -p), default=0)
    works = yield from StoredSets(pieces).groups(len(pieces))
    return Corpus(source.name, base, store.on_grid(), main, pieces, Entries.of(store, kept, works))


def judged(store: Store, settings: CorpusSettings, programs: Counter[int]) -> Iterator[tuple[Any, ...]]:
    """What becomes of every file and score, as rows of entries; the main programs of the pieces that are kept are counted."""
    bytes_twice, notes_twice = store.repeated("sha256"), store.repeated("digest")
    first_bytes: dict[str, tuple[int, str]] = {}
    first_notes: dict[bytes, str] = {}
    for file, name, sha256, reason, score, digest, *facts in store.ask(SCORES):
        if not reason and sha256 in bytes_twice:
            first, first_name = first_bytes.setdefault(sha256, (file, name))
            reason = f"{name}: the same bytes as {first_name}." if first != file else ""
        if reason:
            if not facts[-1]:  # of several scores, the first stands for the file
                yield name, sha256, reason, 0, 0.0, "", "", None
            continue
        found = Score(*facts[:-1])
        first_name = first_notes.setdefault(digest, found.name) if digest in notes_twice else found.name
        reason = found.reason or found.limit(settings, first_name)
        if not reason:
            programs[int(found.programs.partition(",")[0])] += 1
        yield (
            found.name,
            sha256,
            reason,
            found.notes,
            round(found.length_seconds, 3),
            instruments(found.programs),
            found.set_aside,
            score,
        )


@dataclass(frozen=True)
class Score:
    """What the store says of a score."""

    name: str
    reason: str
    notes: int
    length_seconds: float
    programs: str
    set_aside: str

    def limit(self, settings: CorpusSettings, first: str) -> str:
        """Why a score with notes is left out; empty if it is not. `first` is the name of the first with the same notes."""
        minutes = self.length_seconds / 60
        if self.notes < settings.min_notes:
            reason = f"{self.notes} notes, under corpus.min_notes = {settings.min_notes}; lower that, or leave it out"
        elif self.notes > settings.max_notes:
            reason = f"{self.notes:,} notes, over corpus.max_notes = {settings.max_notes:,}; raise that, or cut it"
        elif self.length_seconds > 60 * settings.max_minutes:
            reason = f"{minutes:,.0f} minutes long, over corpus.max_minutes = {settings.max_minutes:g}; raise that, or cut it"
        elif first != self.name:
            reason = f"the same notes as {first}"
        else:
            return ""
        return f"{self.name}: {reason}."


@lru_cache
def instruments(programs: str) -> str:
    """Program numbers in words."""
    return " + ".join(program_name(int(program)) for program in programs.split(",") if program)
