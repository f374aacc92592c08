"""A model's pieces as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cadenza import export
from cadenza.improviser import Improviser
from cadenza.records import Record, Said, counted
from cadenza.sample import check_fields
from cadenza.settings import SampleSettings, Settings
from cadenza.tokens.contract import in_words


def generate_files(
    improviser: Improviser, settings: Settings, seed: int, prompt: Path | None, formats: str, out: Path, keep: bool
) -> Iterator[Record]:
    """Improvise and write every piece in every format; what `settings.sample` leaves unset is the model's own."""
    kinds = export.known_formats(formats)
    if set(kinds) & set(export.SOUNDS):
        from cadenza import audio

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
            yield Said(f"Wrote {path} ({counted(len(piece), 'note')}, {piece.length_seconds:.1f} s)")


def controls(sampling: SampleSettings) -> dict[tuple[str, str], str]:
    """The temperature and every control that does something, in words; by setting and field."""
    shown = {("temperature", ""): f"temperature {sampling.temperature:g}"}
    shown |= {("by_field", field): f"{field} {value:g}" for field, value in sampling.by_field.items()}
    for key in ("top_k", "top_p", "min_p"):
        if getattr(sampling, key) != getattr(SampleSettings(), key):
            shown[key, ""] = f"{key.replace('_', '-')} {getattr(sampling, key):g}"
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
