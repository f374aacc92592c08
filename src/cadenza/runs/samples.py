"""The pieces that a run improvises with its own model."""

from __future__ import annotations

from collections.abc import Iterator

from cadenza import export
from cadenza.evaluate.variety import variety
from cadenza.models import device
from cadenza.records import Record, Said
from cadenza.runs.folder import SAMPLES, SAMPLES_LIST, Run
from cadenza.runs.provenance import record_of

KINDS = ("mid", "mp3", "svg")
"""What a run makes of its samples."""


def improvise(run: Run) -> Iterator[Record]:
    """Write every piece as MIDI, MP3 and picture with its record, and the list of them last."""
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
            for path in export.piece(notes, stem, KINDS, improviser.program(sample.instrument), settings.audio):
                yield Said(f"Wrote {path}")
            export.write(
                stem.with_name(f"{name}.json"),
                record_of(improviser, piece, run.folder, None, settings.audio, KINDS, {}).json_bytes(),
            )
            known = {
                "name": name,
                "title": title,
                "temperature": temperature,
                "notes": len(notes),
                "rows": len(piece.rows),
            }
            made.append(known | {"seconds": notes.length_seconds} | variety(tokens, piece.rows, notes))
    run.write_json(SAMPLES_LIST, made)
