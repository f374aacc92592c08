"""Did it copy? How much of the training pieces a piece repeats, and whether that is more than humans do.

In: training pieces and the pieces to be measured, as `Notes` decoded from rows of one representation,
all on one time base. Out, in notes, the longest passage that a piece shares with a training piece:

* `verbatim`: the same pitches in the same rhythm (onset to onset, steps);
* `transposed`: the same intervals in the same rhythm;
* `pitches`: the same pitches, in whatever rhythm; only notes that bring something new count;
* `near`: alike though transposed, at another tempo and with some notes changed, in notes that agree; of
  those that bring nothing new, at most as many count as of the others.

A note brings nothing new if it begins together with the note before, or if it goes on with a figure: it
and the three notes before repeat intervals heard up to four notes earlier. Trills, tremolos, chromatic
scales and scales in thirds belong to nobody. A run has at least two notes. Beside them, the shares of the piece's patterns of 4, 8 and 16 notes (intervals and rhythm) found in training.

Human pieces that were held out, measured alike, are the yardstick. A piece is said to copy only where
a measure passes their highest value by a quarter, and `SHORTEST` notes: with n human pieces an equally
innocent one more would beat the bare maximum with chance 1 / (n + 1), for each measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cadenza.evaluate.alignment import FAR, Flags, Integers, Line, Seeds
from cadenza.evaluate.matching import SEPARATOR, SuffixArray
from cadenza.notes import Notes, TimeBase
from cadenza.settings import INNOCENT

MEASURES = ("verbatim", "transposed", "pitches", "near")
EXACT = MEASURES[:3]
PATTERNS = (4, 8, 16)
SHORTEST = {"verbatim": INNOCENT, "transposed": INNOCENT, "pitches": 24, "near": 24}
"""A passage of no more notes is never called a copy."""
MARGIN = 1.25
FIGURE, HEARD = 3, 4
"""A figure is so many intervals, heard again within so many notes."""
LATEST = 2**30


@dataclass(frozen=True)
class Passage:
    """Notes [start, stop) of training piece `piece` against [own_start, own_stop) of the piece measured.

    The piece measured sounds `semitones` higher; `notes` counts as its `measure` does.
    """

    piece: int
    start: int
    stop: int
    own_start: int
    own_stop: int
    semitones: int
    measure: str
    notes: int


@dataclass(frozen=True)
class Likeness:
    """What one piece of `notes` notes shares with training: `longest` and its passage by measure, shares by pattern."""

    notes: int
    longest: dict[str, int]
    shares: dict[int, float]
    passages: dict[str, Passage]

    @property
    def nearest(self) -> Passage | None:
        """The longest passage, of equal ones that of the strictest measure."""
        return max(self.passages.values(), key=lambda passage: passage.notes, default=None)


@dataclass(frozen=True, eq=False)
class TrainingIndex:
    """Training pieces made ready to be compared with; piece p begins at note `begins[p]` of the row."""

    begins: Integers
    base: TimeBase
    suffixes: dict[str, SuffixArray]
    seeds: Seeds

    @classmethod
    def of(cls, training: Sequence[Notes]) -> TrainingIndex:
        """Index the training pieces, once for all comparisons.

        >>> scale = Notes.of(range(0, 80, 10), [60, 62, 64, 65, 67, 69, 71, 72], [10] * 8, [80] * 8)
        >>> next(TrainingIndex.of([scale]).likeness([scale[2:6]])).longest
        {'verbatim': 4, 'transposed': 4, 'pitches': 4, 'near': 0}
        """
        base = training[0].header.time_base if training else TimeBase()
        row, begins = line(training, base)
        return cls(
            begins,
            base,
            {measure: SuffixArray.of(transitions(row, measure)) for measure in EXACT},
            Seeds.of(row, begins),
        )

    def likeness(self, pieces: Sequence[Notes]) -> Iterator[Likeness]:
        """Compare pieces with training, one by one."""
        for piece in pieces:
            own, _ = line([piece], self.base)
            new = fresh(own)
            found = {measure: self._exact(own, new, measure) for measure in EXACT}
            passages = {measure: passage for measure, (passage, _) in found.items() if passage}
            if near := self._near(own, new):
                passages["near"] = near
            yield Likeness(
                notes=len(piece),
                longest={measure: passages[measure].notes if measure in passages else 0 for measure in MEASURES},
                shares={size: share(found["transposed"][1], size) for size in PATTERNS},
                passages=passages,
            )

    def _exact(self, own: Line, new: Flags, measure: str) -> tuple[Passage | None, Integers]:
        """The longest run, and the length in notes of the longest one from each note but the last on (1: none)."""
        matched, where = self.suffixes[measure].longest(transitions(own, measure)[:-1])
        notes = matched + 1
        if not matched.any():
            return None, notes
        start = np.arange(len(notes))
        counted = np.pad(np.cumsum(new), (1, 0)) if measure == "pitches" else np.arange(len(new) + 1)
        value = np.where(matched > 0, counted[start + notes] - counted[start], 0)
        best = int(value.argmax())
        if not value[best]:
            return None, notes
        size, place = int(notes[best]), int(where[best])
        return self._passage(own, place, best, best + size, measure, int(value[best])), notes

    def _near(self, own: Line, new: Flags) -> Passage | None:
        found = self.seeds.best(own, new)
        if found is None:
            return None
        return self._passage(own, found.place, found.start, found.stop, "near", found.notes)

    def _passage(self, own: Line, place: int, start: int, stop: int, measure: str, notes: int) -> Passage:
        """A passage from its place in the training row."""
        piece = int(np.searchsorted(self.begins, place, side="right")) - 1
        first = place - int(self.begins[piece])
        higher = np.median(own.pitch[start:stop] - self.seeds.row.pitch[place : place + stop - start])
        return Passage(piece, first, first + stop - start, start, stop, int(higher), measure, notes)


def line(pieces: Sequence[Notes], base: TimeBase) -> tuple[Line, Integers]:
    """All pieces in a row, and the notes at which they begin."""
    size = np.array([len(piece) for piece in pieces], dtype=np.int64)
    begins = np.cumsum(size) - size
    none = np.zeros(0, dtype=np.int64)
    onset = np.concatenate([none, *(piece.onset for piece in pieces)])
    pitch = np.concatenate([none, *(piece.pitch for piece in pieces)])
    return Line.of(onset, pitch, begins[size > 0], base), begins


def transitions(notes: Line, measure: str) -> Integers:
    """From each note to the next, as one number that is equal where the measure sees no difference."""
    here, there = notes.pitch, np.append(notes.pitch[1:], 0)
    gap = np.append(notes.gap[1:], FAR)[: len(here)]
    symbol = here * 128 + there if measure != "transposed" else there - here + 128
    if measure != "pitches":
        symbol = symbol * LATEST + np.minimum(gap, LATEST - 1)
    return np.where(gap == FAR, SEPARATOR, symbol + 1)


def fresh(notes: Line) -> Flags:
    """Which notes neither go on with a figure nor begin together with the note before.

    >>> trill = Notes.of(range(8), [60, 62, 60, 62, 60, 62, 60, 64], [1] * 8, [80] * 8)
    >>> fresh(line([trill], TimeBase())[0]).tolist()
    [True, True, True, True, True, False, False, True]
    """
    interval = np.diff(notes.pitch)
    new = notes.gap > 0
    for distance in range(1, HEARD + 1):
        same = interval[distance:] == interval[:-distance]
        if len(same) >= FIGURE:
            new[distance + FIGURE :] &= ~np.lib.stride_tricks.sliding_window_view(same, FIGURE).all(axis=1)
    return new


def share(notes: Integers, size: int) -> float:
    """The share of a piece's patterns of `size` notes found in training, from the longest run at each note."""
    patterns = len(notes) - size + 2
    return float((notes >= size).sum() / patterns) if patterns > 0 else 0.0


@dataclass(frozen=True)
class Yardstick:
    """What `pieces` unseen human pieces share with training: the highest of each measure, the median shares."""

    highest: dict[str, int]
    shares: dict[int, float]
    pieces: int

    def limit(self, measure: str) -> float:
        """What a measure must pass to count as copying."""
        return max(float(SHORTEST[measure]), MARGIN * self.highest[measure])


def yardstick(likenesses: Sequence[Likeness]) -> Yardstick:
    """The yardstick that human pieces make."""
    return Yardstick(
        highest={measure: max((one.longest[measure] for one in likenesses), default=0) for measure in MEASURES},
        shares={size: float(np.median([one.shares[size] for one in likenesses] or [0.0])) for size in PATTERNS},
        pieces=len(likenesses),
    )


@dataclass(frozen=True)
class Verdict:
    """Whether a piece copies, by which measure how many notes, and that in a sentence."""

    copied: bool
    measure: str | None
    notes: int
    text: str


def verdict(likeness: Likeness, yardstick: Yardstick | None, names: Sequence[str] = ()) -> Verdict:
    """Judge a piece by what unseen human pieces share; without any, say what was found and accuse nobody."""
    nearest = likeness.nearest
    if nearest is None:
        return Verdict(False, None, 0, "Shares no two notes on end with a training piece.")
    if yardstick is None or not yardstick.pieces:
        text = f"Shares {described(nearest, names)}; no human piece was held out, so there is nothing to judge this by."
        return Verdict(False, nearest.measure, nearest.notes, text)
    human = yardstick.highest
    above = [one for one in likeness.passages.values() if one.notes > yardstick.limit(one.measure)]
    if above:
        worst = max(above, key=lambda passage: passage.notes)
        text = f"Copies {described(worst, names)}; unseen human pieces share at most {human[worst.measure]}."
        return Verdict(True, worst.measure, worst.notes, text)
    beyond = [one for one in likeness.passages.values() if one.notes > max(human[one.measure], SHORTEST[one.measure])]
    if beyond:
        most = max(beyond, key=lambda passage: passage.notes)
        text = f"Shares {described(most, names)}; unseen human pieces share up to {human[most.measure]}, too near to call it a copy."
        return Verdict(False, most.measure, most.notes, text)
    return Verdict(False, nearest.measure, nearest.notes, "As original as unseen human pieces.")


def described(passage: Passage, names: Sequence[str]) -> str:
    """A passage in words.

    >>> described(Passage(0, 0, 23, 5, 28, 5, "transposed", 23), ["Jig"])
    '23 notes of Jig (transposed up 5 semitones)'
    """
    name = names[passage.piece] if passage.piece < len(names) else f"training piece {passage.piece + 1}"
    size = abs(passage.semitones)
    moved = f"transposed {'up' if passage.semitones > 0 else 'down'} {size} semitone{'s' * (size != 1)}" if size else ""
    how = {"verbatim": "note for note", "pitches": "the same pitches in another rhythm", "near": "with small changes"}
    said = ", ".join(filter(None, [moved, how.get(passage.measure, "")]))
    return f"{passage.notes} notes of {name} ({said or 'note for note'})"
