"""A model's pieces as files, and the sound of any MIDI file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cadenza import audio, export, midi
from cadenza.errors import CadenzaError
from cadenza.evaluate.variety import variety
from cadenza.models import device
from cadenza.records import Progress, Record, Said
from cadenza.runs.folder import SAMPLES, SAMPLES_LIST, Run
from cadenza.runs.provenance import record_of
from cadenza.settings import Settings

KINDS = ("mid", "mp3", "svg")
"""What a run makes of its samples."""


def improvise(run: Run) -> Iterator[Record]:
    """The run's own samples, as MIDI, MP3 and picture; the list of them is written last."""
    settings = run.settings()
    improviser = run.improviser(device(settings.train.device).type)
    sample, tokens = settings.sample, improviser.representation
    made = []
    for temperature in dict.fromkeys(sample.sweep) or (sample.temperature,):
        chosen = sample.model_copy(update={"temperature": temperature})
        pieces = yield from improviser.stream(chosen, range(sample.count), settings.train.seed)
        for number, piece in enumerate(pieces, 1):
            notes = piece.notes
            name, title = f"{number:02d}", f"Piece {number}"
            if sample.sweep:
                name, title = f"temperature-{temperature:g}-{number}", f"Temperature {temperature:g}, piece {number}"
            if not len(notes):
                yield Said(f"{title} has no notes and is left out.")
                continue
            stem = run.folder / SAMPLES / name
            for path in export.piece(notes, stem, KINDS, improviser.facts.program, settings.audio):
                yield Said(f"Wrote {path}")
            export.write(stem.with_name(f"{name}.json"), record_of(improviser, piece, run.folder, None, KINDS, {}))
            found = {
                "name": name,
                "title": title,
                "temperature": temperature,
                "notes": len(notes),
                "rows": len(piece.rows),
            }
            made.append(found | {"seconds": notes.length_seconds} | variety(tokens, piece.rows, notes))
    run.write_json(SAMPLES_LIST, made)


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
        data = audio.encode(samples, kind, settings.audio)
        written = export.write(stem.with_name(f"{stem.name}.{kind}"), data, keep)
        silent = "" if audio.peak(samples) else "; silent: the soundfont lacks its notes"
        yield Said(f"Wrote {written} ({len(samples) / settings.audio.sample_rate:.1f} s{silent})")
