"""What is a piece like? The features by which improvised and human music are compared.

In: `Notes`. Out: for every feature the values of a piece (one per note, per window or per piece), and their
shares in the bins of a grid. The grid belongs to the feature, never to the music that is compared; values beyond it count
in its end bins. Times are in seconds or beats, whichever the piece counts in, on a grid of eighths of a
doubling, since the ear hears ratios.

A *bar* is that of the header's metre, 4/4 where unknown, and two seconds where time is in seconds.

* *Melody*: the highest note at each onset. Intervals and repetition are those of the melody.
* *Articulation*: a note's length divided by the time to the next onset; 1 is legato.
* *Notes at once*: notes sounding, averaged over the time in which any sounds.
* *Variety of pitch classes*: Shannon entropy of the pitch classes in windows of 1 and 4 bars, each
  window one bar after the last (Wu & Yang, 2020: the Jazz Transformer on the front line).
* *Repetition*: the share of runs of four melody notes that come again, pitch by pitch, between half a
  lag and a lag later. Each lag is twice the last, so together they cover all delays, and a performer's
  freedom of tempo does no harm. Runs whose lag reaches past the last run are not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cadenza.notes import Header, Notes, TimeBase

Floats = npt.NDArray[np.float64]

RUN = 4
"""Melody notes in a run that may be repeated."""
WINDOWS = (1, 4)
LAGS = (1, 2, 4, 8)
"""Bars."""
SECONDS_PER_BAR = 2


@dataclass(frozen=True)
class Feature:
    """A grid of `bins` equal bins from `low` to `high`; of log2 of the values, if `logarithmic`.

    `figure` is for features with one value a piece, `ordered` for those where the distance between two
    values means something.
    """

    key: str
    title: str
    unit: str
    low: float
    high: float
    bins: int
    logarithmic: bool = False
    figure: bool = False
    ordered: bool = True

    @property
    def width(self) -> float:
        return (self.high - self.low) / self.bins

    @property
    def centres(self) -> Floats:
        return self.low + self.width * (np.arange(self.bins, dtype=np.float64) + 0.5)

    @property
    def edges(self) -> Floats:
        """Where bins begin and end, in the unit of the values."""
        edges = self.low + self.width * np.arange(self.bins + 1, dtype=np.float64)
        return np.exp2(edges) if self.logarithmic else edges

    def shares(self, values: Floats) -> Floats:
        """How much of a piece lies in each bin; all 0 where there is no value."""
        if not len(values):
            return np.zeros(self.bins)
        on_scale = np.log2(values) if self.logarithmic else values
        place = np.clip(np.floor((on_scale - self.low) / self.width + 1e-9), 0, self.bins - 1).astype(np.int64)
        return np.bincount(place, minlength=self.bins) / len(values)


def features(base: TimeBase) -> tuple[Feature, ...]:
    """All features of music in seconds or in beats."""
    seconds = base.unit == "seconds"
    unit = "s" if seconds else "beats"
    times = (-7, 4, 88) if seconds else (-5, 6, 88)
    windows = ("2 s", "8 s") if seconds else ("a bar", "4 bars")
    lags = ("1–2 s", "2–4 s", "4–8 s", "8–16 s") if seconds else ("½–1 bar", "1–2 bars", "2–4 bars", "4–8 bars")
    return (
        Feature("pitch", "pitch", "semitones", -0.5, 127.5, 128),
        Feature("pitch_class", "pitch class", "", -0.5, 11.5, 12, ordered=False),
        Feature("interval", "melodic interval", "semitones", -36.5, 36.5, 73),
        Feature("onset_interval", "time between onsets", unit, *times, logarithmic=True),
        Feature("duration", "length of notes", unit, *times, logarithmic=True),
        Feature("articulation", "articulation", "× time to the next onset", -4, 4, 64, logarithmic=True),
        Feature("velocity", "velocity", "", 0.5, 127.5, 127),
        Feature("range", "pitch range", "semitones", -0.5, 127.5, 128, figure=True),
        Feature("simultaneity", "notes at once", "notes", 1, 17, 320, figure=True),
        *(
            Feature(f"entropy_{bars}", f"variety of pitch classes in {window}", "bits", 0, 3.6, 72)
            for bars, window in zip(WINDOWS, windows, strict=True)
        ),
        *(
            Feature(f"repetition_{bars}", f"repetition after {lag}", "of runs", 0, 1, 50, figure=True)
            for bars, lag in zip(LAGS, lags, strict=True)
        ),
    )


def measure(notes: Notes) -> dict[str, Floats]:
    """The values of every feature, by its key; empty where the piece is too short to have any.

    >>> scale = Notes.of([0, 50, 100], [60, 62, 64], [50, 25, 50], [80, 80, 80])
    >>> measure(scale)["articulation"]
    array([1. , 0.5])
    """
    highest = np.append(np.diff(notes.onset) > 0, True)[: len(notes)]
    onset, melody = notes.onset[highest].astype(np.int64), notes.pitch[highest].astype(np.int64)
    between = np.diff(onset)
    chord = np.cumsum(highest) - highest  # which onset a note belongs to
    followed = chord < len(between)
    steps, bar = notes.header.time_base.steps, bar_steps(notes.header)
    values = {
        "pitch": notes.pitch,
        "pitch_class": notes.pitch % 12,
        "interval": np.diff(melody),
        "onset_interval": between / steps,
        "duration": notes.duration / steps,
        "articulation": notes.duration[followed] / between[chord[followed]],
        "velocity": notes.velocity,
        "range": [np.ptp(notes.pitch)] if len(notes) else [],
        "simultaneity": notes_at_once(notes),
    }
    values |= {f"entropy_{bars}": pitch_class_entropy(notes, bar, bars) for bars in WINDOWS}
    values |= {f"repetition_{bars}": repetition(onset, melody, bar * bars / 2, bar * bars) for bars in LAGS}
    return {key: np.asarray(value, dtype=np.float64) for key, value in values.items()}


def bar_steps(header: Header) -> float:
    """Steps from one bar line to the next."""
    base = header.time_base
    if base.unit == "seconds":
        return SECONDS_PER_BAR * base.steps
    numerator, denominator = header.meter or (4, 4)
    return base.steps * 4 * numerator / denominator


def notes_at_once(notes: Notes) -> Floats:
    """Sounding notes, averaged over the time in which any sounds; no value for no notes."""
    if not len(notes):
        return np.zeros(0)
    end = np.maximum.accumulate(notes.onset + notes.duration)
    silence = np.maximum(notes.onset[1:] - end[:-1], 0).sum()
    return np.array([notes.duration.sum() / (end[-1] - notes.onset[0] - silence)])


def pitch_class_entropy(notes: Notes, bar: float, bars: int) -> Floats:
    """Bits, for every window of `bars` bars that has a note; a shorter piece is one window."""
    if not len(notes):
        return np.zeros(0)
    origin = notes.header.downbeat if notes.header.time_base.unit == "beats" else notes.onset[0]
    place = np.floor((notes.onset - origin) / bar).astype(np.int64)
    place -= place[0]
    counts = np.zeros((place[-1] + 2, 12))
    np.add.at(counts, (place + 1, notes.pitch % 12), 1)
    total = np.cumsum(counts, axis=0)
    window = min(bars, place[-1] + 1)
    heard = total[window:] - total[:-window]
    heard = heard[heard.any(axis=1)]
    share = heard / heard.sum(axis=1, keepdims=True)
    return -(share * np.log2(share, out=np.zeros_like(share), where=share > 0)).sum(axis=1)


def repetition(
    onset: npt.NDArray[np.int64], melody: npt.NDArray[np.int64], near: float, far: float
) -> Floats:  # fmt: skip
    """The share of runs that come again more than `near` and at most `far` steps later; no value where none is asked."""
    count = len(melody) - RUN + 1
    if count < 1:
        return np.zeros(0)
    asked = onset[:count] + far <= onset[count - 1]
    if not asked.any():
        return np.zeros(0)
    run = np.zeros(count, dtype=np.int64)
    for k in range(RUN):
        run = run << 7 | melody[k : k + count]
    place = run << 32 | onset[:count]
    known = np.sort(place)
    after, until = (np.searchsorted(known, place[asked] + int(lag), side="right") for lag in (near, far))
    return np.array([np.mean(until > after)])


def histograms(pieces: Sequence[Notes], kinds: Sequence[Feature]) -> dict[str, Floats]:
    """For every feature, the shares of each piece (a row, summing to 1, or to 0 where it has no value)."""
    measured = [measure(piece) for piece in pieces]
    return {
        kind.key: np.array([kind.shares(values[kind.key]) for values in measured]).reshape(-1, kind.bins)
        for kind in kinds
    }
