"""The longest passage that a piece shares with others though key, tempo and some notes differ.

In: training pieces as one row of notes, and a piece. Out: the notes of both that stand against each
other. As in BLAST (Altschul et al., 1990), places that share a short *seed*, here six intervals in the
same rhythm, name the alignments worth a look; those are followed note by note, without gaps, and the
best stretch is kept. A note agrees if its pitch, moved by the seed's transposition, and its distance
in time from the note before, at the seed's tempo, agree as far as rounding to the grid allows.
Shapes: D alignments, T notes of the piece.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cadenza.notes import TimeBase
from cadenza.tokens.bins import time_values

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SEED = 6
"""Intervals that a seed spans; with one note in eight changed, such stretches are left."""
SLOWEST, FASTEST = 0.67, 1.5
CHANGED = 4
"""A note that differs costs as much as so many agreeing ones bring."""
STEADY = 8
"""So many agreeing notes on end must agree in their length together as well: the tempo does not wander."""
CARRIED = 4
"""Notes over which the rounding of a long gap is remembered, since all onsets of a chord share it."""
EXAMINED = 4096
"""Alignments of one piece that are followed: those with most seeds that end on something new."""
HITS, CELLS = 2**20, 2**19
"""Seeds, and notes of alignments, that are held in memory at once."""
FAR = 2**40
ROUNDED = 1.01


@dataclass(frozen=True)
class Alignment:
    """Training notes from `place` on against notes [start, stop) of the piece; `notes` of them agree and count."""

    place: int
    start: int
    stop: int
    semitones: int
    notes: int


@dataclass(frozen=True, eq=False)
class Line:
    """Notes in a row: `gap` is the time since the note before, `blur` how far rounding may have moved it, steps."""

    onset: Integers
    pitch: Integers
    gap: Integers
    blur: Floats

    @classmethod
    def of(cls, onset: Integers, pitch: Integers, begins: Integers, base: TimeBase) -> Line:
        """A line whose pieces begin at the notes `begins`; what comes before those is far away."""
        gap = np.diff(onset, prepend=0)
        gap[begins] = FAR
        half = half_bins(base)
        own = np.pad(np.where(gap == FAR, 0.0, half[np.clip(gap, 0, len(half) - 1)]), (CARRIED, 0))
        before = np.lib.stride_tricks.sliding_window_view(own[:-1], CARRIED).max(axis=1) if len(gap) else own[:0]
        return cls(onset, pitch, gap, own[CARRIED:] + before)

    def grams(self) -> Integers:
        """The intervals of each seed as one number."""
        interval = np.diff(self.pitch) + 128
        return np.correlate(interval, 257 ** np.arange(SEED)) if len(interval) >= SEED else interval[:0]


@dataclass(frozen=True, eq=False)
class Seeds:
    """The training row and its seeds: numbers in ascending order, and where each stands."""

    row: Line
    gram: Integers
    place: Integers

    @classmethod
    def of(cls, row: Line, begins: Integers) -> Seeds:
        gram = row.grams()
        piece = np.searchsorted(begins, np.arange(len(row.pitch)), side="right")
        place = np.flatnonzero(piece[: len(gram)] == piece[len(piece) - len(gram) :])
        place = place[np.argsort(gram[place], kind="stable")]
        return cls(row, gram[place], place)

    def best(self, piece: Line, new: Flags) -> Alignment | None:
        """The best stretch of the best alignment.

        Each alignment is cut where agreeing notes, less `CHANGED` for each other one, are most. `new`
        tells the notes that bring something new; of the others at most as many count.
        """
        here, there, tempo = self._hits(piece)
        if not len(here):
            return None
        diagonal, semitones, tempo = alignments(
            there - here, piece.pitch[here] - self.row.pitch[there], tempo, new[here + SEED]
        )
        size = max(1, CELLS // len(piece.pitch))
        parts = (slice(first, first + size) for first in range(0, len(diagonal), size))
        stretches = [self._follow(piece, new, diagonal[part], semitones[part], tempo[part]) for part in parts]
        return max(stretches, key=lambda stretch: stretch.notes)

    def _hits(self, piece: Line) -> tuple[Integers, Integers, Floats]:
        """Where seeds of the piece stand, in it and in the training row, and training time over own time."""
        gram = piece.grams()
        low = np.searchsorted(self.gram, gram, side="left")
        count = np.searchsorted(self.gram, gram, side="right") - low
        total = np.cumsum(count)
        cuts = np.searchsorted(total, np.arange(HITS, total[-1], HITS)) if len(total) else np.zeros(0, np.int64)
        parts = [self._timed(piece, part, low[part], count[part]) for part in np.split(np.arange(len(gram)), cuts)]
        here, there, tempo = (np.concatenate(column) for column in zip(*parts, strict=True))
        return here, there, tempo

    def _timed(self, piece: Line, here: Integers, low: Integers, count: Integers) -> tuple[Integers, Integers, Floats]:
        """Those hits of some places of the piece whose rhythm agrees."""
        there = self.place[np.repeat(low, count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)]
        here = np.repeat(here, count)
        row = self.row
        tempo = (row.onset[there + SEED] - row.onset[there]) / np.maximum(
            piece.onset[here + SEED] - piece.onset[here], 1
        )
        kept = (tempo >= SLOWEST) & (tempo <= FASTEST)
        here, there, tempo = here[kept], there[kept], tempo[kept]
        for note in range(1, SEED + 1):
            off = np.abs(row.gap[there + note] - tempo * piece.gap[here + note])
            kept = off <= tolerance(tempo, piece.blur[here + note])
            here, there, tempo = here[kept], there[kept], tempo[kept]
        return here, there, tempo

    def _follow(self, piece: Line, new: Flags, diagonal: Integers, semitones: Integers, tempo: Floats) -> Alignment:
        """The best stretch along some alignments."""
        row, tempo_D1 = self.row, tempo[:, None]
        place_DT = diagonal[:, None] + np.arange(len(piece.pitch))
        outside_DT = (place_DT < 0) | (place_DT >= len(row.pitch))
        place_DT[outside_DT] = 0
        gap_DT = row.gap[place_DT]
        pitch_DT = (row.pitch[place_DT] + semitones[:, None] == piece.pitch) & ~outside_DT
        allowed_DT = tolerance(tempo_D1, piece.blur)
        agrees_DT = pitch_DT & (np.abs(gap_DT - tempo_D1 * piece.gap) <= allowed_DT)
        lag_DT = row.onset[place_DT] - tempo_D1 * piece.onset
        agrees_DT[:, STEADY:] &= steady(agrees_DT, lag_DT, allowed_DT[:, STEADY:] + 1 + tempo_D1 * piece.blur[:-STEADY])
        score_DT = np.where(agrees_DT, 1, -CHANGED)
        score_DT[gap_DT == FAR] = -len(piece.pitch)
        start_D, stop_D = highest_stretches(score_DT)
        rows = np.arange(len(diagonal))
        opens_D = (start_D > 0) & pitch_DT[rows, start_D - 1]  # the first note has no gap to agree in
        agreed_D, new_D = (sums(flags_DT, start_D, stop_D) for flags_DT in (agrees_DT, agrees_DT & new))
        notes_D = np.minimum(agreed_D + opens_D, 2 * (new_D + opens_D))
        best = int(notes_D.argmax())
        start = int(start_D[best] - opens_D[best])
        place = int(diagonal[best]) + start
        return Alignment(place, start, int(stop_D[best]), int(semitones[best]), int(notes_D[best]))


def tolerance(tempo: Floats, blur: Floats) -> Floats:
    """How far a gap may be off, training steps: a step of either side, and what the piece's grid blurs."""
    return ROUNDED * np.maximum(tempo, 1) + tempo * blur


def steady(agrees_DT: Flags, lag_DT: Floats, allowed_DT: Floats) -> Flags:
    """Where no `STEADY` agreeing notes on end have drifted from the tempo by more than is allowed, from `STEADY` on."""
    count_DT = np.cumsum(agrees_DT, axis=1, dtype=np.int32)
    on_end = count_DT[:, STEADY:] - count_DT[:, :-STEADY] == STEADY
    return ~on_end | (np.abs(lag_DT[:, STEADY:] - lag_DT[:, :-STEADY]) <= allowed_DT)


def highest_stretches(score_DT: Integers) -> tuple[Integers, Integers]:
    """Where the neighbours with the highest sum start and stop in each row (Kadane's method)."""
    sum_DT = np.pad(np.cumsum(score_DT, axis=1), ((0, 0), (1, 0)))
    lowest_DT = np.minimum.accumulate(sum_DT, axis=1)
    stop_D = (sum_DT - lowest_DT).argmax(axis=1)
    from_there_DT = sum_DT == np.take_along_axis(lowest_DT, stop_D[:, None], axis=1)
    from_there_DT &= np.arange(sum_DT.shape[1]) <= stop_D[:, None]
    start_D = sum_DT.shape[1] - 1 - from_there_DT[:, ::-1].argmax(axis=1)
    return start_D, stop_D


def sums(flags_DT: Flags, start_D: Integers, stop_D: Integers) -> Integers:
    """How many flags are set in each row from its start to its stop."""
    count_DT = np.pad(np.cumsum(flags_DT, axis=1, dtype=np.int64), ((0, 0), (1, 0)))
    row = np.arange(len(flags_DT))
    return count_DT[row, stop_D] - count_DT[row, start_D]


def alignments(diagonal: Integers, semitones: Integers, tempo: Floats, new: Flags) -> tuple[Integers, Integers, Floats]:
    """Every alignment that hits name, with their median tempo; of too many, those with most `new` hits."""
    order = np.lexsort((tempo, semitones, diagonal))
    diagonal, semitones, tempo = diagonal[order], semitones[order], tempo[order]
    first = np.flatnonzero(np.append(True, (np.diff(diagonal) != 0) | (np.diff(semitones) != 0)))
    middle = first + np.diff(first, append=len(order)) // 2
    chosen = np.argsort(-np.add.reduceat(new[order].astype(np.int64), first), kind="stable")[:EXAMINED]
    return diagonal[first[chosen]], semitones[first[chosen]], tempo[middle[chosen]]


def half_bins(base: TimeBase) -> Floats:
    """How far a gap of each number of steps may be from the value that stands for it in `notes` rows."""
    values = time_values(base, first=0)
    width = np.diff(values)
    widest = np.maximum(np.append(width, width[-1]), np.append(width[0], width))
    widest[widest == 1] = 0
    return widest[np.minimum(np.searchsorted(values, np.arange(values[-1] + 1)), len(values) - 1)] / 2
