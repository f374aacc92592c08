"""Pieces to files: every write of the program that can be cut off goes through `write`."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cadenza import midi
from cadenza.errors import CadenzaError
from cadenza.notes import Notes
from cadenza.settings import AudioSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = ("png", "svg")
SOUNDS = ("mp3", "wav", "flac", "ogg")
FORMATS = ("mid", *SOUNDS, *PICTURES)


def write(path: Path, data: bytes, keep: bool = False) -> Path:
    """Replace `path` as a whole or not at all, though the power fails; with `keep`, never something else that is there.

    The bytes are on the disk before the name means them, and the name is before the next file is written, so files that
    are written in order are there in order. Failure raises `CadenzaError`.
    """
    if keep and path.exists():
        check_same(path, data)
    part = path.with_name(f"{path.name}.part")
    try:
        make_folder(path.parent)
        with open(part, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
        settle_names(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None
        raise CadenzaError(
            f"{path}: cannot write it ({error.strerror or error}); free space or choose another --out. What was there before is kept."
        ) from None
    return path


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, to last."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        settle_names(folder.parent)


def settle_names(folder: Path) -> None:
    """Put what the files of a folder are called on the disk, where a system can do that."""
    if hasattr(os, "O_DIRECTORY"):
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # which some network drives say
                raise
        finally:
            os.close(opened)


def check_same(path: Path, data: bytes) -> None:
    """Anything else at this path raises `CadenzaError`."""
    if not path.is_file() or path.read_bytes() != data:
        raise CadenzaError(f"{path}: there is another file of this name; pass --force to replace it, or another --out.")


def move(part: Path, path: Path) -> None:
    """Put a file that was written elsewhere on the same disk in the place of `path`, as a whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    except OSError as error:
        raise CadenzaError(
            f"{path}: cannot write it ({error.strerror or error}); free space or choose another --out. What was there before is kept."
        ) from None


def known_formats(text: str, allowed: Sequence[str] = FORMATS) -> list[str]:
    """``mid,mp3`` to a list, each once; a format that is not allowed raises `CadenzaError`."""
    formats = [part.strip().lower().lstrip(".") for part in text.split(",") if part.strip()]
    for kind in formats:
        if kind not in allowed:
            raise CadenzaError(f"Format {kind!r} cannot be written here; formats: {', '.join(allowed)}.")
    if not formats:
        raise CadenzaError(f"No format is given; formats: {', '.join(allowed)}.")
    return list(dict.fromkeys(formats))


def piece(
    notes: Notes,
    stem: Path,
    formats: Sequence[str],
    program: int,
    settings: AudioSettings,
    prompt_notes: int = 0,
    keep: bool = False,
) -> Iterator[Path]:
    """Write `stem`.mid, .mp3, .png … and yield each path; what `keep` forbids to replace is found before the first."""
    made = Renderings(notes, str(stem), program, settings, prompt_notes)
    paths = {kind: stem.with_name(f"{stem.name}.{kind}") for kind in formats}
    for kind, path in paths.items():
        if keep and path.exists():
            check_same(path, made.data(kind))
    for kind, path in paths.items():
        yield write(path, made.data(kind), keep)


@dataclass(frozen=True)
class Renderings:
    """A piece in any format; sound and picture are made once, when they are first asked for."""

    notes: Notes
    title: str
    program: int
    settings: AudioSettings
    prompt_notes: int

    @cached_property
    def samples(self) -> npt.NDArray[np.float32]:
        from cadenza import audio

        return audio.render(midi.to_symusic(self.notes, self.program), self.settings, self.title)

    @cached_property
    def figure(self) -> Figure:
        from cadenza import plot

        return plot.piano_roll(self.notes, prompt_notes=self.prompt_notes)

    def data(self, kind: str) -> bytes:
        """The bytes of a file of this format."""
        if kind == "mid":
            return midi.to_bytes(self.notes, self.program)
        if kind in SOUNDS:
            from cadenza import audio

            return audio.encode(self.samples, kind)
        from cadenza import plot

        return plot.to_bytes(self.figure, kind)
