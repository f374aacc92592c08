"""`jsb16`: four voices on a grid of sixteenths (`Jsb16thSeparated.npz`; Hadjeres et al., 2017; Huang et al., 2017).

In: the .npz file, with pieces for training, validation and test. Out: pieces of shape (N, 4), soprano first, and
their rows: an id each of soprano, alto, tenor and bass. The probability of a row is the product of its four
cells, each given all before it.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cadenza.corpus.split import TEST, TRAIN, VALIDATION
from cadenza.errors import CadenzaError
from cadenza.tokens import Rows, Schema
from repeats import after_matches, one_hot

VOICES = "soprano", "alto", "tenor", "bass"
NAMES = {TRAIN: "train", VALIDATION: "valid", TEST: "test"}
LOWEST, HIGHEST = 36, 81
"""Pitches that choirs sing."""
SILENT = HIGHEST - LOWEST + 1
"""The id of a voice that pauses."""
HARMLESS = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}  # fmt: skip
"""All that arrays of arrays need to be read; a pickle could ask for anything."""

METRES = 16, 12, 32
"""Sixteenths after which a place in the metre comes again: bars of four and three quarters, and two bars of four."""
LONGEST = 16
"""Sixteenths that a pitch has lasted; longer ones are not told apart."""
MATCHES = 8, 16
"""Rows that must agree with earlier ones for what came next there to be told."""

Voices = npt.NDArray[np.int64]
"""Ids of shape (N, 4)."""


class ArraysOnly(pickle.Unpickler):
    """Reads arrays of arrays, and refuses whatever could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return super().find_class(module, name)


def read_voices(path: Path) -> dict[str, list[Voices]]:
    """The pieces of each part; a file that is not of the family raises `CadenzaError`."""
    if not path.is_file():
        raise CadenzaError(f"{path}: there is no such file; give the path of Jsb16thSeparated.npz.")
    try:
        with zipfile.ZipFile(path) as parts:
            stored = {part: objects(parts, name) for part, name in NAMES.items()}
    except KeyError as error:
        raise CadenzaError(f"{path}: {error.args[0]}; this family has {', '.join(NAMES.values())}.") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise CadenzaError(f"{path}: not a file of voices ({(str(error) or 'cut off').splitlines()[0]}); copy it again.") from None  # fmt: skip
    return {part: list(checked(path, NAMES[part], pieces)) for part, pieces in stored.items()}


def objects(parts: zipfile.ZipFile, name: str) -> Any:
    """An array of an .npz file, with no code run."""
    with parts.open(f"{name}.npy") as file:
        np.lib.format.read_magic(file)
        _, _, dtype = np.lib.format.read_array_header_1_0(file)
        if not dtype.hasobject:
            raise ValueError(f"{name} is no list of pieces")
        return np.atleast_1d(ArraysOnly(file, encoding="latin1").load())


def checked(path: Path, part: str, pieces: Any) -> Iterator[Voices]:
    """Pieces as ids; other shapes and pitches that no voice has raise `CadenzaError`."""
    if not len(pieces):
        raise CadenzaError(f"{path}, {part}: no pieces; every part has some.")
    for number, piece in enumerate(pieces, 1):
        place = f"{path}, {part}, piece {number}"
        try:
            pitches = np.nan_to_num(np.asarray(piece, dtype=np.float64), nan=-1)
        except (TypeError, ValueError):
            raise CadenzaError(f"{place}: not a table of pitches; copy the file again.") from None
        if pitches.ndim != 2 or pitches.shape[1] != len(VOICES):
            raise CadenzaError(f"{place}: not four voices but {' × '.join(map(str, pitches.shape)) or 'a number'}; this family has sixteenths × 4.")  # fmt: skip
        sounds = pitches != -1
        if not sounds.any():
            raise CadenzaError(f"{place}: nothing sounds in its {len(pitches)} sixteenths; leave it out of the set.")
        wrong = np.argwhere(sounds & ((pitches < LOWEST) | (pitches > HIGHEST) | (pitches % 1 != 0)))
        if len(wrong):
            row, voice = wrong[0]
            raise CadenzaError(f"{place}, sixteenth {row + 1}, {VOICES[voice]}: pitch {pitches[row, voice]:g} is none of {LOWEST} to {HIGHEST}, which voices sing.")  # fmt: skip
        yield np.where(sounds, pitches - LOWEST, SILENT).astype(np.int64)


def moved(pieces: Sequence[Voices]) -> list[Voices]:
    """Every piece in every key in which each voice stays between its lowest and highest pitch in these pieces."""
    every = np.concatenate(pieces)
    low_4 = np.where(every < SILENT, every, SILENT).min(axis=0)
    high_4 = np.where(every < SILENT, every, -1).max(axis=0)
    found = []
    for piece in pieces:
        sounds = piece < SILENT
        least = (low_4 - np.where(sounds, piece, SILENT).min(axis=0)).max()
        most = (high_4 - np.where(sounds, piece, -1).max(axis=0)).min()
        found += [np.where(sounds, piece + step, SILENT) for step in range(least, most + 1)]
    return found


class VoiceRows(Schema):
    """Four fields of 46 pitches and a silence each.

    Its context says where in the metre the next row stands, how long each voice has held its pitch, how the voices lie
    above the bass, and what came next where the latest rows stood before.
    """

    name = "voices"
    unit = "cell"
    fields = VOICES
    pitch_fields = (0, 1, 2, 3)

    def __init__(self) -> None:
        super().__init__((SILENT + 1,) * 4)
        repeated = [4 * (SILENT + 1)] * len(MATCHES)
        self.context_groups = (sum(METRES), 4 * (LONGEST + 1), 3 * 12, *repeated)

    def scored(self, rows: Rows) -> npt.NDArray[np.bool_]:
        return np.ones(rows.shape, dtype=bool)

    def note_count(self, rows: Rows) -> int:
        """How many rows."""
        return len(rows)

    def context(self, rows: Rows, clock: int = 0) -> npt.NDArray[np.float32]:  # noqa: ARG002
        """What is known of each next row; the rows are those of a piece from its start."""
        rows_N4 = rows.astype(np.int64)
        place_N = np.arange(len(rows))
        changes_N4 = np.diff(rows_N4, axis=0, prepend=-1) != 0
        held_N4 = place_N[:, None] - np.maximum.accumulate(np.where(changes_N4, place_N[:, None], 0))
        above_N3 = np.where((rows_N4[:, :3] < SILENT) & (rows_N4[:, 3:] < SILENT), (rows_N4[:, :3] - rows_N4[:, 3:]) % 12, -1)  # fmt: skip
        columns = [one_hot(place_N % metre, metre) for metre in METRES]
        columns += [one_hot(held, LONGEST + 1) for held in np.minimum(held_N4, LONGEST).T]
        columns += [one_hot(above, 12) for above in above_N3.T]
        for reach in MATCHES:
            columns += [one_hot(voice, SILENT + 1) for voice in after_matches(rows_N4, reach).T]
        return np.concatenate(columns, axis=1).astype(np.float32)


def voice_rows(path: Path) -> dict[str, list[Rows]]:
    """The rows of each part; training pieces stand there in every key, as `moved` has them."""
    found = read_voices(path)
    return {part: [piece.astype(np.int16) for piece in (moved(pieces) if part == TRAIN else pieces)] for part, pieces in found.items()}  # fmt: skip
