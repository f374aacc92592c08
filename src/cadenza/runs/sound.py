"""The sound of MIDI files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cadenza import audio, export, midi
from cadenza.errors import CadenzaError
from cadenza.records import Progress, Record, Said
from cadenza.settings import Settings
from cadenza.synthesizer import RATE


def render_files(
    files: Sequence[Path], settings: Settings, formats: str, out: Path | None, keep: bool
) -> Iterator[Record | CadenzaError]:
    """Sound of whole MIDI files, every track with its own instrument.

    Of several files, one that cannot be rendered is yielded as its error; the error raised at the end counts them.
    """
    kinds = export.known_formats(formats, export.SOUNDS)
    audio.soundfont(settings.audio)
    stems = sound_stems(files, out)
    if len(files) == 1:
        yield from render_file(files[0], stems[0], kinds, settings, keep)
        return
    failed = 0
    for number, (path, stem) in enumerate(zip(files, stems, strict=True)):
        yield Progress("rendering", number, len(files))
        try:
            yield from render_file(path, stem, kinds, settings, keep)
        except CadenzaError as error:
            failed += 1
            yield error
    yield Progress("rendering", len(files), len(files))
    if failed:
        raise CadenzaError(f"{failed} of {len(files)} files could not be rendered.")


def sound_stems(files: Sequence[Path], out: Path | None) -> list[Path]:
    """Where the sound of each file goes, without the suffix; two files for one place raise `CadenzaError`."""
    stems = [(out or path.parent) / path.stem for path in files]
    first: dict[Path, Path] = {}
    for path, stem in zip(files, stems, strict=True):
        place = stem.resolve()
        if place in first:
            raise CadenzaError(
                f"{first[place]} and {path} would be written to the same file, {stem}; rename one, or render them apart."
            )
        first[place] = path
    return stems


def render_file(path: Path, stem: Path, kinds: Sequence[str], settings: Settings, keep: bool) -> Iterator[Said]:
    score = midi.open_score(midi.read_bytes(path, settings.midi, str(path)), str(path))
    samples = audio.render(score, settings.audio, str(path))
    for kind in kinds:
        data = audio.encode(samples, kind)
        written = export.write(stem.with_name(f"{stem.name}.{kind}"), data, keep)
        silent = "" if audio.peak(samples) else "; silent: the soundfont lacks its notes"
        yield Said(f"Wrote {written} ({len(samples) / RATE:.1f} s{silent})")
