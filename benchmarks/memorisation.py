"""Are copies found, and unseen human music not accused?

The violin corpus, split by work (seed 0), every piece written as `notes` rows and read back. The
training works are indexed; the validation works, cut into excerpts as long as a minute of this music,
are the yardstick; like excerpts of the unseen test works are the hosts. Into hosts go 32 notes of
random training pieces: as they are, five semitones higher, a tenth slower, or with every tenth note
changed by one or two semitones (in its place among the notes); 100 of each kind. A copy is found if
its piece is accused for a passage that overlaps it.

`planted_found` is the share found of passages in which at least 20 of the 32 notes bring something
new, as `cadenza.evaluate.originality` defines it, which holds for 85 % of all passages of this music;
`planted_found_any` is that of passages drawn without regard to this, so trills, tremolos and scales in
double stops too. `false_accusations` counts the hosts without a copy and
the whole test pieces that are accused, the latter by the whole validation pieces. `seconds` is the
time to index the whole corpus and compare 100 excerpts with it, on one thread of one process, and
`peak_gib` the most memory the process ever held.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cadenza.corpus.scan import Corpus, scan
from cadenza.corpus.sources import open_source
from cadenza.corpus.split import TEST, TRAIN, VALIDATION
from cadenza.evaluate.draws import excerpts_by_notes
from cadenza.evaluate.originality import (
    Likeness,
    TrainingIndex,
    Yardstick,
    fresh,
    line,
    verdict,
    yardstick,
)
from cadenza.notes import Notes, concatenate, from_first_onset, shift_time
from cadenza.records import outcome
from cadenza.settings import Settings
from cadenza.tokens import Representation, representation
from timing import corpus, give_up, one_thread, parser, report, seconds

KINDS = ("verbatim", "transposed", "stretched", "changed")
PLANTED = 100
LENGTH, NEW = 32, 20
SEMITONES, STRETCH, EVERY = 5, 1.1, 10
COMPARED = 100
MINUTE = 60.0
SEED = 0


def main() -> None:
    one_thread()
    options = parser(__doc__)
    options.add_argument("--seed", type=int, default=SEED, help="of the split and of all that is drawn")
    options.add_argument("--source", help="another corpus than the violin one: a folder, an archive or a name")
    given = options.parse_args()
    found = read(given.source or str(corpus(given.data, "violin-etudes.tar.gz")))
    trial = Trial(found, given.seed)
    plants = {kind: trial.found(kind, informative=True) for kind in KINDS}
    anything = {kind: trial.found(kind, informative=False) for kind in KINDS}
    accused = trial.accused(trial.hosts, trial.excerpt_yardstick) + trial.accused(
        trial.whole(TEST), trial.piece_yardstick
    )
    cut = trial.cut(trial.decoded)
    compared = cut[:: max(1, len(cut) // COMPARED)][:COMPARED]
    time = seconds(lambda: list(TrainingIndex.of(trial.decoded).likeness(compared)))
    figures = {
        "seconds": round(time, 1),
        "peak_gib": round(peak_gib(), 2),
        "planted_found": sum(plants.values()) / (PLANTED * len(KINDS)),
        "planted_found_any": sum(anything.values()) / (PLANTED * len(KINDS)),
        "false_accusations": len(accused),
    }
    report([*trial.described(), *found_lines(plants, anything), *accused], figures)


def read(source: str) -> Corpus:
    settings = Settings()
    with open_source(source, settings) as opened:
        found = outcome(scan(opened, settings))
    if not found.pieces:
        give_up(f"There is no music in {source}.")
    return found


@dataclass(frozen=True, eq=False)
class Trial:
    """One split of a corpus: what is indexed, what measures and what is judged."""

    source: Corpus
    seed: int

    @cached_property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @cached_property
    def rows(self) -> Representation:
        return representation("notes", self.source.base)

    @cached_property
    def decoded(self) -> list[Notes]:
        return [self.again(piece) for piece in self.source.pieces]

    def again(self, piece: Notes) -> Notes:
        """A piece as its rows give it back."""
        return self.rows.decode(self.rows.encode(piece), piece.header)

    @cached_property
    def parts(self) -> list[str]:
        return [entry.split for entry in self.source.divided(Settings().corpus, self.seed).kept]

    def whole(self, part: str) -> list[Notes]:
        return [piece for piece, where in zip(self.decoded, self.parts, strict=True) if where == part]

    def cut(self, pieces: list[Notes]) -> list[Notes]:
        """Excerpts as long as a minute of training music, in notes."""
        minutes = [int((piece.onset * piece.header.step_seconds < MINUTE).sum()) for piece in self.whole(TRAIN)]
        return excerpts_by_notes(pieces, minutes, self.rng)

    @cached_property
    def index(self) -> TrainingIndex:
        return TrainingIndex.of(self.whole(TRAIN))

    @cached_property
    def excerpt_yardstick(self) -> Yardstick:
        return yardstick(list(self.index.likeness(self.cut(self.whole(VALIDATION)))))

    @cached_property
    def piece_yardstick(self) -> Yardstick:
        return yardstick(list(self.index.likeness(self.whole(VALIDATION))))

    @cached_property
    def hosts(self) -> list[Notes]:
        return self.cut(self.whole(TEST))

    def accused(self, pieces: list[Notes], by: Yardstick) -> list[str]:
        """What is said of each piece that is accused."""
        verdicts = [verdict(likeness, by) for likeness in self.index.likeness(pieces)]
        return [f"{piece.header.name}: {one.text}" for piece, one in zip(pieces, verdicts, strict=True) if one.copied]

    def found(self, kind: str, informative: bool) -> int:
        """How many of `PLANTED` copies of a kind are found."""
        number = 0
        for _ in range(PLANTED):
            host = self.hosts[int(self.rng.integers(len(self.hosts)))]
            at = int(self.rng.integers(len(host) + 1))
            planted = self.again(plant(host, at, disguised(self.passage(informative), kind, self.rng)))
            number += overlaps(next(self.index.likeness([planted])), self.excerpt_yardstick, at)
        return number

    def passage(self, informative: bool) -> Notes:
        """`LENGTH` notes of a random training piece."""
        training = self.whole(TRAIN)
        while True:
            piece = training[int(self.rng.integers(len(training)))]
            start = int(self.rng.integers(max(1, len(piece) - LENGTH + 1)))
            passage = from_first_onset(piece[slice(start, start + LENGTH)])
            new = int(fresh(line([passage], self.source.base)[0]).sum())
            if len(passage) == LENGTH and (not informative or new >= NEW):
                return passage

    def described(self) -> Iterator[str]:
        yield f"{len(self.whole(TRAIN)):,} training pieces, {sum(map(len, self.whole(TRAIN))):,} notes"
        for name, by in (("excerpts", self.excerpt_yardstick), ("pieces", self.piece_yardstick)):
            yield f"{by.pieces} unseen {name} share at most {by.highest}"
        yield f"judged: {len(self.hosts)} excerpts and {len(self.whole(TEST))} pieces of test works"


def disguised(passage: Notes, kind: str, rng: np.random.Generator) -> Notes:
    onset, pitch, duration, velocity = passage.columns
    if kind == "transposed":
        pitch = np.where(pitch.max() + SEMITONES > 127, pitch - 12, pitch) + SEMITONES
    if kind == "stretched":
        onset, duration = (np.rint(column * STRETCH) for column in (onset, duration))
    if kind == "changed":
        pitch = changed(passage, rng)
    return Notes.of(onset, pitch, duration, velocity, passage.header)


def changed(passage: Notes, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Pitches with every tenth a little off, where that leaves each note in its place."""
    pitch = passage.pitch.copy()
    for note in range(EVERY - 1, len(pitch), EVERY):
        for step in rng.permutation([-2, -1, 1, 2]):
            other = pitch.copy()
            other[note] += step
            if (np.diff(passage.onset.astype(np.int64) * 128 + other) > 0).all():
                pitch = other
                break
    return pitch


def plant(host: Notes, at: int, passage: Notes) -> Notes:
    """The host with the passage before its note `at`, as far apart as the host's notes usually are."""
    gap = max(1, int(np.median(np.diff(host.onset)))) if len(host) > 1 else 1
    before, after = host[slice(0, at)], from_first_onset(host[slice(at, None)])
    start = int(before.onset[-1]) + gap if len(before) else 0
    end = start + int(passage.onset[-1]) + gap
    return concatenate([before, shift_time(passage, start), shift_time(after, end)])


def overlaps(likeness: Likeness, by: Yardstick, at: int) -> bool:
    """Whether a piece is accused, for a passage that overlaps the notes planted."""
    said = verdict(likeness, by)
    if not said.copied or said.measure is None:
        return False
    passage = likeness.passages[said.measure]
    return passage.own_start < at + LENGTH and passage.own_stop > at


def found_lines(plants: dict[str, int], anything: dict[str, int]) -> Iterator[str]:
    for kind in KINDS:
        yield f"{kind:>10}: {plants[kind]} of {PLANTED} found; {anything[kind]} of {PLANTED} of passages of any kind"


def peak_gib() -> float:
    """The most memory this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


if __name__ == "__main__":
    main()
