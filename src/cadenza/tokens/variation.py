"""The same music in another key, upside down, at another tempo, louder or softer: variations of `notes` rows.

In and out: windows of rows (B, T, 4). All notes of a window are changed alike; rests, ends and start ids stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cadenza.tokens.bins import VELOCITY_WIDTH, Values, nearest_bin
from cadenza.tokens.contract import Mask, Rows

SHIFT, PITCH, DURATION, VELOCITY = range(4)
PITCHES, LOUDEST = 128, 128 // VELOCITY_WIDTH - 1


@dataclass(frozen=True)
class NoteVariation:
    """Changes by at most so much: `transpose` in semitones, `stretch` as a share, `velocity` in its bins.

    A share of `invert` of the windows has every interval turned round. Pitches stay inside `lowest`…`highest`,
    where a window lies there; velocities stop at the last bin. `shifts` and `durations` are the steps that
    their ids stand for.
    """

    shifts: Values
    durations: Values
    lowest: int
    highest: int
    transpose: int
    invert: float
    stretch: float
    velocity: int

    def __call__(self, rows_BTF: Rows, rng: np.random.Generator) -> Rows:
        varied = rows_BTF.copy()
        sounds_BT = rows_BTF[..., PITCH] < PITCHES
        varied[..., PITCH][sounds_BT] = self._pitches(rows_BTF[..., PITCH], sounds_BT, rng)[sounds_BT]
        louder_B1 = rng.integers(-self.velocity, self.velocity, (len(varied), 1), endpoint=True)
        varied[..., VELOCITY][sounds_BT] = np.clip(rows_BTF[..., VELOCITY] + louder_B1, 0, LOUDEST)[sounds_BT]
        slower_B1 = (1 + self.stretch) ** rng.uniform(-1, 1, (len(varied), 1))
        if self.stretch:
            for field, values in ((SHIFT, self.shifts), (DURATION, self.durations)):
                varied[..., field][sounds_BT] = stretched(rows_BTF[..., field], sounds_BT, values, slower_B1, rng)
        return chords_upwards(varied) if self.invert else varied

    def _pitches(self, pitch_BT: Rows, sounds_BT: Mask, rng: np.random.Generator) -> Values:
        """Each window turned round between its own lowest and highest pitch or not, then moved."""
        low_B1 = np.where(sounds_BT, pitch_BT, PITCHES - 1).min(axis=1, keepdims=True).astype(np.int64)
        high_B1 = np.where(sounds_BT, pitch_BT, 0).max(axis=1, keepdims=True).astype(np.int64)
        turned_B1 = rng.random(low_B1.shape) < self.invert
        down_B1 = np.clip(self.lowest - low_B1, -self.transpose, 0)
        up_B1 = np.clip(self.highest - high_B1, 0, self.transpose)
        moved_B1 = rng.integers(down_B1, up_B1, endpoint=True)
        return np.where(turned_B1, low_B1 + high_B1 - pitch_BT, pitch_BT) + moved_B1


def stretched(
    ids_BT: Rows, sounds_BT: Mask, values: Values, slower_B1: npt.NDArray[np.float64], rng: np.random.Generator
) -> Values:
    """The ids of times that are longer by these ratios, of the notes alone; what was together stays together.

    Times are rounded up or down at random, so that they are right on the average.
    """
    steps = values[ids_BT[sounds_BT]]
    longer = np.broadcast_to(slower_B1, ids_BT.shape)[sounds_BT] * steps
    rounded = np.floor(longer + rng.random(len(longer))).astype(np.int64)
    return nearest_bin(values)[np.clip(np.where(steps > 0, np.maximum(rounded, 1), 0), 0, values[-1])]


def chords_upwards(rows_BTF: Rows) -> Rows:
    """The notes of each onset from the lowest pitch up, as they are written; shifts stay in their places."""
    begins_BT = rows_BTF[..., SHIFT] != 0
    begins_BT[:, 1:] |= rows_BTF[:, :-1, PITCH] >= PITCHES
    onset_BT = np.cumsum(begins_BT, axis=1)
    lane_B1 = np.arange(len(rows_BTF))[:, None]
    order = np.lexsort((rows_BTF[..., PITCH].ravel(), (onset_BT + (onset_BT.shape[1] + 1) * lane_B1).ravel()))
    rows_BTF[..., PITCH:] = rows_BTF[..., PITCH:].reshape(-1, 3)[order].reshape(*onset_BT.shape, 3)
    return rows_BTF
