"""`frames`: a piece as the set of pitches that sound in each step of time (Boulanger-Lewandowski et al., 2012).

In: a .json or .mat file of that family, with pieces for training, validation and test. Out: pieces as sorted
pitches of each frame, and their rows: one id each, the pitches of a frame upwards and then its end. The
probability of a frame is thus that of its whole set, exactly, given all frames before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cadenza.corpus.split import PARTS, TEST, TRAIN, VALIDATION
from cadenza.errors import CadenzaError
from cadenza.tokens import Rows, Schema
from repeats import after_matches, one_hot

LOWEST, HIGHEST = 21, 108
"""The keys of a piano, the columns of the family's matrices."""
NAMES = {
    ".json": {TRAIN: "train", VALIDATION: "valid", TEST: "test"},
    ".mat": {TRAIN: "traindata", VALIDATION: "validdata", TEST: "testdata"},
}
"""What the files call their parts."""

KEYS = HIGHEST - LOWEST + 1
MOVES = range(-5, 7)
"""Semitones by which training pieces are moved; an id for each stands before the first frame."""
RANKS = 16
"""Pitches of a frame whose number is told apart; the family has 15 at most."""
METRES = 3, 4, 16
"""Frames after which a place in the metre comes again."""
MATCHES = 6, 10, 15, 22
"""Ids that must agree with earlier ones for what came next there to be told."""

Frames = list[tuple[int, ...]]
"""The pitches that sound in each frame, upwards."""


def read_frames(path: Path) -> dict[str, list[Frames]]:
    """The pieces of each part; a file that is not of the family raises `CadenzaError`."""
    if path.suffix not in NAMES:
        raise CadenzaError(f"{path}: not a set of frames; give a .json or .mat file of that family.")
    if not path.is_file():
        raise CadenzaError(f"{path}: there is no such file; give the path of a set of frames.")
    stored = from_json(path) if path.suffix == ".json" else from_mat(path)
    names = NAMES[path.suffix]
    absent = [name for name in names.values() if name not in stored]
    if absent:
        raise CadenzaError(f"{path}: there is no {absent[0]} in it; this family has {', '.join(names.values())}.")
    return {part: list(checked(path, names[part], stored[names[part]])) for part in PARTS}


def from_json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CadenzaError(f"{path}: not a JSON file ({str(error).splitlines()[0]}); copy it again.") from None
    if not isinstance(found, dict):
        raise CadenzaError(f"{path}: no parts in it; this family has {', '.join(NAMES['.json'].values())}.")
    return found


def from_mat(path: Path) -> Mapping[str, Any]:
    """Matrices as lists of the pitches whose columns are not 0."""
    import scipy.io

    try:
        found = scipy.io.loadmat(path)
    except Exception as error:
        raise CadenzaError(f"{path}: not a .mat file ({str(error).splitlines()[0]}); copy it again.") from None
    wanted = [name for name in NAMES[".mat"].values() if name in found]
    return {name: [pitches_of(path, name, number, roll) for number, roll in enumerate(np.ravel(found[name]), 1)] for name in wanted}  # fmt: skip


def pitches_of(path: Path, part: str, number: int, roll: npt.NDArray[Any]) -> list[list[int]]:
    """The frames of a matrix of frames × keys."""
    shape = " × ".join(map(str, np.shape(roll)))
    if np.ndim(roll) != 2 or roll.shape[1] != KEYS or not np.isin(roll, (0, 1)).all():
        raise CadenzaError(
            f"{path}, {part}, piece {number}: not frames of {KEYS} keys that sound or not, but {shape or 'a number'}; this family has a matrix of 0 and 1 for each piece."
        )
    return [(np.flatnonzero(frame) + LOWEST).tolist() for frame in roll]


def checked(path: Path, part: str, pieces: Any) -> Iterator[Frames]:
    """Pieces as tuples, upwards; a pitch that no piano has and a piece without any raise `CadenzaError`."""
    if not isinstance(pieces, Sequence) or not pieces:
        raise CadenzaError(f"{path}, {part}: no pieces; every part of a set has some.")
    for number, piece in enumerate(pieces, 1):
        place = f"{path}, {part}, piece {number}"
        try:
            frames = [tuple(sorted({int(pitch) for pitch in frame})) for frame in piece]
        except (TypeError, ValueError):
            raise CadenzaError(
                f"{place}: not a list of frames with the numbers of pitches; copy the file again."
            ) from None
        for at, frame in enumerate(frames, 1):
            if frame and not LOWEST <= frame[0] <= frame[-1] <= HIGHEST:
                wrong = frame[0] if frame[0] < LOWEST else frame[-1]
                raise CadenzaError(
                    f"{place}, frame {at}: pitch {wrong} is none of {LOWEST} to {HIGHEST}, the keys of a piano."
                )
        if not any(frames):
            raise CadenzaError(f"{place}: nothing sounds in its {len(frames)} frames; leave it out of the set.")
        yield frames


class FrameRows(Schema):
    """One field: the keys from `lowest` to `highest`, the end of a frame, and the moves.

    Its context says what is known of the frame before and of this one, and what came next where the latest ids
    stood before; with 88 keys its shape is (N, 88 + 88 + 89 + 17 + 23 + 4 × 89 + 12).
    """

    name = "frames"
    unit = "id"
    fields = ("pitch",)
    pitch_fields = (0,)

    def __init__(self, lowest: int = LOWEST, highest: int = HIGHEST) -> None:
        self.lowest, self.end = lowest, highest - lowest + 1
        super().__init__((self.end + 1 + len(MOVES),))
        known = self.end, self.end, self.end + 1, RANKS + 1, sum(METRES)
        self.context_groups = (*known, *[self.end + 1] * len(MATCHES), len(MOVES))

    def write(self, frames: Frames, move: int = 0) -> Rows:
        """Ids of shape (N, 1) of a piece that is moved by so many semitones; it must stay on the keys."""
        ids = [self.end + 1 + MOVES.index(move)]
        for frame in frames:
            ids += [pitch - self.lowest + move for pitch in frame] + [self.end]
        rows = np.array(ids, dtype=np.int16)[:, None]
        assert (rows >= 0).all()
        assert rows[1:].max() <= self.end
        return rows

    def scored(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """All but the move."""
        return rows <= self.end

    def note_count(self, rows: Rows) -> int:
        """How many frames; what figures are shared among."""
        return int((rows == self.end).sum())

    def context(self, rows: Rows, clock: int = 0) -> npt.NDArray[np.float32]:  # noqa: ARG002
        """What is known of each next id; the rows are those of a piece from its start.

        In this order: the frame before, this frame so far, the pitch of the same rank in the frame before, the
        rank, the place in three metres, what was repeated, the move.
        """
        ids = rows[:, 0].astype(np.int64)
        keys, count, sounds, frame = self.end, len(ids), ids < self.end, np.cumsum(ids == self.end)
        begun = np.maximum.accumulate(np.where(sounds, 0, np.arange(count) + 1))
        rank = np.minimum(np.arange(count) + 1 - begun, RANKS)
        roll = np.zeros((frame[-1] + 2, keys), dtype=np.float32)
        roll[frame[sounds] + 1, ids[sounds]] = 1
        so_far = np.concatenate([np.zeros((1, keys)), np.cumsum(one_hot(ids, keys), axis=0)])
        ranked = np.full((frame[-1] + 2, RANKS + 1), keys)
        ranked[frame[sounds] + 1, rank[sounds] - 1] = ids[sounds]
        moves = ids - keys - 1
        move = np.maximum.accumulate(np.where((moves >= 0) & (moves < len(MOVES)), moves, -1))
        columns = [
            roll[frame],
            so_far[1:] - so_far[begun],
            one_hot(ranked[frame, rank], keys + 1),
            one_hot(rank, RANKS + 1),
        ]
        columns += [one_hot(frame % metre, metre) for metre in METRES]
        columns += [one_hot(after_matches(ids[:, None], reach)[:, 0], keys + 1) for reach in MATCHES]
        return np.concatenate([*columns, one_hot(move, len(MOVES))], axis=1).astype(np.float32)


def frame_rows(path: Path) -> dict[str, list[Rows]]:
    """The rows of each part; training pieces stand there in every key of `MOVES` that the piano has for them."""
    written = FrameRows()
    found = read_frames(path)
    return {
        part: [written.write(piece, move) for piece in pieces for move in (fitting(piece) if part == TRAIN else (0,))]
        for part, pieces in found.items()
    }


def fitting(frames: Frames) -> list[int]:
    """The moves that leave a piece on the piano."""
    pitches = [pitch for frame in frames for pitch in frame]
    return [move for move in MOVES if min(pitches) + move >= LOWEST and max(pitches) + move <= HIGHEST]
