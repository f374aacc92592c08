"""Pieces to files: every write of the program that can be cut off goes through `write`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cadenza import midi
from cadenza.errors import CadenzaError
from cadenza.notes import Notes
from cadenza.settings import AudioSettings

PICTURES = ("png", "svg")
SOUNDS = ("mp3", "wav", "flac", "ogg")
FORMATS = ("mid", *SOUNDS, *PICTURES)


def write(path: Path, data: bytes, keep: bool = False) -> Path:
    """Replace `path` as a whole or not at all; with `keep`, never something else that is there.

    Failure raises `CadenzaError`.
    """
    if keep and path.exists() and path.read_bytes() != data:
        raise CadenzaError(f"{path}: there is another file of this name; pass --force to replace it, or another --out.")
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None
        raise CadenzaError(
            f"{path}: cannot write it ({error.strerror or error}); free space or choose another --out. What was there before is kept."
        ) from None
    return path


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
    formats: Iterable[str],
    program: int,
    settings: AudioSettings,
    prompt_notes: int = 0,
    keep: bool = False,
) -> Iterator[Path]:
    """Write `stem`.mid, .mp3, .png … and yield each path; sound and picture are made once."""
    samples = figure = None
    for kind in formats:
        if kind == "mid":
            data = midi.to_bytes(notes, program)
        elif kind in SOUNDS:
            from cadenza import audio

            if samples is None:
                samples = audio.render(midi.to_symusic(notes, program), settings, str(stem))
            data = audio.encode(samples, kind)
        else:
            from cadenza import plot

            figure = plot.piano_roll(notes, prompt_notes=prompt_notes) if figure is None else figure
            data = plot.to_bytes(figure, kind)
        yield write(stem.with_name(f"{stem.name}.{kind}"), data, keep)
