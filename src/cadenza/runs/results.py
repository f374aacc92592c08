"""A model's pieces as files, and the sound of any MIDI file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cadenza import audio, export, midi, report
from cadenza.errors import CadenzaError
from cadenza.evaluate.variety import variety
from cadenza.improviser import Improviser
from cadenza.models import device
from cadenza.records import Progress, Record, Said
from cadenza.runs.folder import SAMPLES, SAMPLES_LIST, Run
from cadenza.sample import check_fields
from cadenza.settings import SampleSettings, Settings
from cadenza.tokens.contract import in_words


def improvise(run: Run) -> Iterator[Record]:
    """The run's own samples, as MIDI, MP3 and picture; the list of them is written last."""
    settings = run.settings()
    improviser = run.improviser(device(settings.train.device).type)
    sample, tokens = settings.sample, improviser.representation
    made = []
    for temperature in dict.fromkeys(sample.sweep) or (sample.temperature,):
        chosen = sample.model_copy(update={"temperature": temperature})
        pieces = yield from improviser.stream(chosen, sample.count, settings.train.seed)
        for number, (notes, rows) in enumerate(pieces, 1):
            name, title = f"{number:02d}", f"Piece {number}"
            if sample.sweep:
                name, title = f"temperature-{temperature:g}-{number}", f"Temperature {temperature:g}, piece {number}"
            if not len(notes):
                yield Said(f"{title} has no notes and is left out.")
                continue
            stem = run.folder / SAMPLES / name
            for path in export.piece(notes, stem, ("mid", "mp3", "svg"), improviser.facts.program, settings.audio):
                yield Said(f"Wrote {path}")
            found = {"name": name, "title": title, "temperature": temperature, "notes": len(notes), "rows": len(rows)}
            made.append(found | {"seconds": notes.length_seconds} | variety(tokens, rows, notes))
    run.write_json(SAMPLES_LIST, made)


def generate_files(
    improviser: Improviser, settings: Settings, seed: int, prompt: Path | None, formats: str, out: Path, keep: bool
) -> Iterator[Record]:
    """Improvise and write every piece in every format; what `settings.sample` leaves unset is the model's own."""
    kinds = export.known_formats(formats)
    if set(kinds) & set(export.SOUNDS):
        audio.soundfont(settings.audio)
    sampling = improviser.settled(settings.sample)
    check_fields(sampling, improviser.representation.fields)
    yield Said(f"{origins_in_words(sampling, settings.sample, improviser.sampling)}.")
    notes = None
    if prompt is not None:
        notes, aside = improviser.read_prompt(prompt)
        if aside:
            yield Said(f"{prompt}: set aside {aside}.")
        if unknown := improviser.representation.unknown(notes):
            yield Said(f"{prompt}: {in_words(unknown, improviser.representation.unit)}")
    elif opening := len(improviser.opening):
        yield Said(f"Each piece begins with {opening} rows of a training piece; --prompt gives another beginning.")
    pieces = yield from improviser.stream(sampling, sampling.count, seed, notes)
    for number, (piece, _) in enumerate(pieces, 1):
        if not len(piece):
            yield Said(f"Piece {number:02d} ended before its first note and is left out.")
            continue
        stem = out / f"seed{seed}-{number:02d}"
        prompt_notes = len(notes) if notes is not None else 0
        for path in export.piece(piece, stem, kinds, improviser.facts.program, settings.audio, prompt_notes, keep):
            yield Said(f"Wrote {path} ({report.counted(len(piece), 'note')}, {piece.length_seconds:.1f} s)")


def controls(sampling: SampleSettings) -> dict[tuple[str, str], str]:
    """The temperature and every control that does something, in words; by setting and field."""
    shown = {("temperature", ""): f"temperature {sampling.temperature:g}"}
    shown |= {("by_field", field): f"{field} {value:g}" for field, value in sampling.by_field.items()}
    for key in ("top_k", "top_p", "min_p"):
        if getattr(sampling, key) != getattr(SampleSettings(), key):
            shown[key, ""] = f"{key.replace('_', '-')} {getattr(sampling, key):g}"
    if sampling.repeats:
        shown["repeats", ""] = f"phrases of {sampling.phrase} notes heard again {sampling.repeats} times at most"
    if sampling.novel:
        shown["novel", ""] = f"{sampling.novel} notes on end of a training piece at most"
    return shown


def controls_in_words(sampling: SampleSettings) -> str:
    """A way of sampling, for the middle of a sentence.

    >>> controls_in_words(SampleSettings(temperature=0.9, by_field={"pitch": 1.1}, top_p=0.95))
    'temperature 0.9, pitch 1.1, top-p 0.95'
    """
    return ", ".join(controls(sampling).values())


def origins_in_words(used: SampleSettings, given: SampleSettings, own: SampleSettings) -> str:
    """Every control in force and where it comes from.

    >>> given, own = SampleSettings(by_field={"pitch": 1.2}), SampleSettings(temperature=0.9, top_p=0.95)
    >>> origins_in_words(SampleSettings(temperature=0.9, by_field={"pitch": 1.2}, top_p=0.95), given, own)
    'Temperature 0.9 (tuned for this model), pitch 1.2 (given), top-p 0.95 (tuned for this model)'
    """
    words = (f"{text} ({source_of(*control, given, own)})" for control, text in controls(used).items())
    return ", ".join(words).capitalize()


def source_of(key: str, field: str, given: SampleSettings, own: SampleSettings) -> str:
    for name, settings in (("given", given), ("tuned for this model", own)):
        if key in settings.model_fields_set and (not field or field in settings.by_field):
            return name
    return "the default"


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
