"""Pieces on request: as files, each with a record of how it was made, or note by note as they come."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cadenza import export
from cadenza.errors import CadenzaError
from cadenza.improviser import Improviser, Piece
from cadenza.notes import Notes
from cadenza.records import NoteMade, Progress, Record, Said, counted
from cadenza.runs.controls import origins_in_words
from cadenza.runs.provenance import PieceRecord, bits_per_note, check_made_again, formats_there, record_of
from cadenza.sample import check_fields
from cadenza.settings import AudioSettings, SampleSettings, Settings
from cadenza.tokens.contract import in_words

DEFAULT_FORMATS = "mid,mp3"


@dataclass(frozen=True)
class Place:
    """Where pieces go, and as what; `keep` leaves other files of the same name alone."""

    folder: Path
    formats: str | None
    keep: bool
    audio: AudioSettings

    @property
    def kinds(self) -> list[str]:
        """The formats; an unknown one, or sound without a soundfont, raises `CadenzaError`."""
        kinds = export.known_formats(DEFAULT_FORMATS if self.formats is None else self.formats)
        if set(kinds) & set(export.SOUNDS):
            from cadenza import audio

            audio.soundfont(self.audio)
        return kinds


@dataclass(frozen=True)
class Asked:
    """A model, where it was found, and what it is to go on from; `settings.sample` need not be settled."""

    improviser: Improviser
    model: Path
    settings: Settings
    seed: int
    prompt: Path | None


def generate(asked: Asked, place: Place, best_of: int) -> Iterator[Record]:
    """Improvise and write every piece in every format; of `best_of` times as many the best, if that is above 1."""
    kinds = place.kinds
    improviser = asked.improviser
    sampling, prompt = yield from ready(asked)
    items = range(sampling.count * best_of)
    pieces = yield from improviser.stream(sampling, items, asked.seed, prompt)
    sounding = [piece for piece in pieces if improviser.representation.note_count(piece.own)]
    if left_out := len(pieces) - len(sounding):
        are = "is" if left_out == 1 else "are"
        yield Said(
            f"{counted(left_out, 'piece')} ended before the first note of {'its' if left_out == 1 else 'their'} own and {are} left out."
        )
    if best_of == 1 or not sounding:
        chosen: list[tuple[Piece, dict[str, float]]] = [(piece, {}) for piece in sounding]
    else:
        chosen = yield from best_pieces(improviser, sounding, sampling.count)
    for piece, scores in chosen:
        stem = place.folder / f"seed{asked.seed}-{piece.item + 1:02d}"
        yield from write(asked, piece, prompt, scores, kinds, place, stem)


def ready(asked: Asked) -> Generator[Record, None, tuple[SampleSettings, Notes | None]]:
    """The settings in force and the prompt; says what they are."""
    improviser = asked.improviser
    sampling = improviser.settled(asked.settings.sample)
    check_fields(sampling, improviser.representation.fields)
    yield Said(f"{origins_in_words(sampling, asked.settings.sample, improviser.sampling)}.")
    prompt = None
    if asked.prompt is not None:
        prompt, taken = improviser.read_prompt(asked.prompt, sampling.instrument)
        if taken:
            yield Said(f"{asked.prompt}: {taken}.")
        if unknown := improviser.representation.unknown(prompt):
            yield Said(f"{asked.prompt}: {in_words(unknown, improviser.representation.unit)}")
    elif opening := len(improviser.opening):
        yield Said(f"Each piece begins with {opening} rows of a training piece; --prompt gives another beginning.")
    return sampling, prompt


def best_pieces(
    improviser: Improviser, pieces: Sequence[Piece], count: int
) -> Generator[Record, None, list[tuple[Piece, dict[str, float]]]]:
    """The best by `evaluate.ranking`, with their scores."""
    from cadenza.evaluate.ranking import best, scores

    training: Sequence[Notes] = []
    if improviser.training is None:
        yield Said(
            "Ranked by likelihood alone; a run folder in place of a model file also tells closeness and originality."
        )
    else:
        yield Progress("reading the training pieces", 0, 1)
        training = improviser.training()
    yield Progress("ranking", 0, 1)
    found = scores([piece.notes for piece in pieces], [bits_per_note(improviser, piece) for piece in pieces], training)
    chosen = best(found, count)
    yield Said(
        f"The best {len(chosen)} of {len(pieces)}: score {', '.join(f'{score:.2f}' for score in found['score'][chosen])}."
    )
    return [(pieces[place], {name: float(values[place]) for name, values in found.items()}) for place in chosen]


def write(
    asked: Asked, piece: Piece, prompt: Notes | None, scores: dict[str, float], kinds: Sequence[str],
    place: Place, stem: Path,
) -> Iterator[Said]:  # fmt: skip
    """A piece in every format, then its record, which keeps the formats that were there."""
    improviser, notes, path = asked.improviser, piece.notes, stem.with_name(f"{stem.name}.json")
    there = formats_there(path, piece) if place.keep else []
    program, begun = improviser.program(piece.origin["sample"]["instrument"]), 0 if prompt is None else len(prompt)
    for written in export.piece(notes, stem, kinds, program, place.audio, begun, place.keep):
        yield Said(f"Wrote {written} ({counted(len(notes), 'note')}, {notes.length_seconds:.1f} s)")
    formats = dict.fromkeys([*there, *kinds])
    record = record_of(improviser, piece, asked.model, prompt, place.audio, formats, scores)
    export.write(path, record.json_bytes())


def again(path: Path, known: PieceRecord, improviser: Improviser, model: Path, place: Place) -> Iterator[Record]:
    """Make the piece of a record, read from `path`, once more; another model, or an altered record, raises `CadenzaError`."""
    origin, formats = known.origin, ",".join(known.formats) if place.formats is None else place.formats
    place = replace(place, formats=formats, audio=known.audio)
    if improviser.weights_sha256 != origin.model_sha256:
        raise CadenzaError(
            f"{path}: made by another model ({origin.model_sha256[:12]}…) than {model} ({improviser.weights_sha256[:12]}…); give the model that made it: cadenza generate MODEL --again {path.name}."
        )
    kinds = place.kinds
    prompt = known.prompt.notes(improviser) if known.prompt else None
    asked = Asked(improviser, model, Settings(), origin.seed, None)
    [piece] = yield from improviser.stream(origin.sample, [origin.item], origin.seed, prompt)
    if piece.origin["made_by"] != origin.made_by:
        yield Said(f"{path}: made by {origin.made_by}, this is {piece.origin['made_by']}; the piece may differ.")
    elif piece.origin != origin.as_dict():
        raise CadenzaError(f"{path}: its prompt or its settings were altered; give the record as it was written.")
    else:
        check_made_again(path, known, record_of(improviser, piece, model, prompt, place.audio, kinds, known.scores))
    yield from write(asked, piece, prompt, known.scores, kinds, place, place.folder / path.stem)


def stream(asked: Asked) -> Iterator[Record]:
    """Every note as soon as it is there, those of a piece's last stretch together; no file is written."""
    improviser = asked.improviser
    sampling, prompt = yield from ready(asked)
    plan = improviser.plan(sampling, asked.seed, prompt)
    for item, notes in improviser.as_made(plan, range(sampling.count)):
        step = notes.header.step_seconds
        for onset, pitch, duration, velocity in zip(*(column.tolist() for column in notes.columns), strict=True):
            yield NoteMade(item + 1, round(onset * step, 4), pitch, round(duration * step, 4), velocity)
