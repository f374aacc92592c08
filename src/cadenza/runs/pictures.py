"""A run's pictures: how it learned, what it learned from, what its pieces are like at each temperature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cadenza import export, midi, plot
from cadenza.batches import batches_in_epoch
from cadenza.corpus.split import TEST, TRAIN, VALIDATION
from cadenza.evaluate.variety import variety
from cadenza.instruments import by_program
from cadenza.lock import RUN_LOCK, held
from cadenza.notes import Header, Notes
from cadenza.records import Record, Said
from cadenza.runs.chain import renewed
from cadenza.runs.folder import PLOTS, SAMPLES, Run
from cadenza.runs.folds import mean_log
from cadenza.settings import MidiSettings, TokenSettings
from cadenza.tokens import Representation, Rows
from cadenza.tokens.bins import VELOCITY_WIDTH

REFERENCE_PIECES = 100
MIDDLE = (5, 95)
"""Percentiles between which most human pieces lie."""
LABELS = {
    "unique": "different rows",
    "repetition": "share of runs of four heard before",
    "pitches": "different pitches",
    "shift_variance": "variance of time shifts (s²)",
}
ALL = MidiSettings(instrument="all", drums="keep")
NAMES = {TRAIN: "training pieces", VALIDATION: "validation pieces", TEST: "held-out pieces"}


@dataclass(frozen=True)
class Drawn:
    """A figure with its file's stem, a title and a sentence on what it shows."""

    stem: str
    title: str
    caption: str
    figure: Figure


def pictures(run: Run) -> Iterator[Drawn]:
    """All pictures that make sense for this run, the learning curve first."""
    data, samples = run.data(), run.samples()
    tokens = run.representation()
    tables = [data.tables.piece(int(index)) for index in data.training]
    settings, training = run.settings(), [piece for piece, _ in run.pieces(TRAIN)]
    improvised = [midi.read(run.folder / SAMPLES / f"{sample['name']}.mid", ALL) for sample in samples]
    yield learning_curve(run, batches_in_epoch(data.tables.lengths(data.training), settings.batches))
    yield from vocabulary_pictures(tokens, np.concatenate(tables))
    yield lengths(tokens, tables, settings.tokens)
    yield pitches(run, training, improvised)
    yield Drawn(
        "velocities",
        "Velocities",
        "How loud the notes are: bars for the training pieces, an outline for the improvised ones.",
        plot.velocities(counts(training, "velocity"), known(improvised, "velocity"), velocity_step(tokens)),
    )
    if len({sample["temperature"] for sample in samples}) > 1:
        yield temperatures(run, samples, "temperatures")
    yield from tune_pictures(run)


def learning_curve(run: Run, epoch_steps: int) -> Drawn:
    """Training and held-out pieces against epochs: the two figures of one model."""
    evaluations = mean_log(run) if run.folds() else [line for line in run.log() if line["kind"] == "evaluation"]
    steps = [line for line in run.log() if line["kind"] == "step"]
    lossy = bool(run.facts().losses)
    key, unit = ("perplexity_per_token", "perplexity per event") if lossy else ("bits_per_note", "bits per note")
    parts = [part for part in NAMES if any(part in line[key] for line in evaluations)]
    figure = plot.learning_curve(
        [line["epoch"] for line in evaluations],
        {NAMES[part]: [line[key].get(part, np.nan) for line in evaluations] for part in parts},
        unit,
        max((index for index, line in enumerate(evaluations) if line["best"]), default=None),
        batches=None
        if lossy
        else ([line["step"] / epoch_steps for line in steps], [line["bits_per_note"] for line in steps]),
    )
    caption = f"{unit.capitalize()} after every evaluation, on the held-out pieces and at most as many training pieces, against passes over the training music; lower is better."
    return Drawn("learning_curve", "How it learned", caption, figure)


def vocabulary_pictures(tokens: Representation, rows: Rows) -> Iterator[Drawn]:
    """The most frequent ids of each field and, where ids have types, how frequent these are."""
    scored = np.ones(rows.shape, bool) if tokens.vocabulary else tokens.scored(rows)
    fields = {}
    for f, field in enumerate(tokens.fields):
        count = np.bincount(rows[scored[:, f], f], minlength=tokens.sizes[f])
        order = np.argsort(-count, kind="stable")
        fields[field] = [(tokens.id_name(f, int(k)), int(count[k])) for k in order if count[k]]
    yield Drawn(
        "frequencies",
        "Most frequent values" if len(fields) > 1 else "Most frequent events",
        "What the training pieces are written with, most frequent first.",
        plot.token_frequencies(fields, len(rows)),
    )
    if tokens.vocabulary:
        types = Counter[str]()
        for name, number in zip(tokens.vocabulary, np.bincount(rows[:, 0], minlength=tokens.sizes[0]), strict=True):
            types[name.rpartition("_")[0]] += int(number)
        yield Drawn("types", "Types of events", "How many events of each type there are.", plot.event_types(types))


def lengths(tokens: Representation, tables: Sequence[Rows], settings: TokenSettings) -> Drawn:
    """Notes per piece; where ids are events, events per piece within the limits."""
    if tokens.vocabulary:
        figure = plot.sequence_lengths(
            [len(rows) for rows in tables], f"{tokens.unit}s", (settings.min_rows, settings.max_rows)
        )
    else:
        figure = plot.sequence_lengths([tokens.note_count(rows) for rows in tables], "notes")
    return Drawn("sequence_lengths", "Lengths", "How long the training pieces are.", figure)


def pitches(run: Run, training: Sequence[Notes], improvised: Sequence[Notes]) -> Drawn:
    instrument = by_program(run.facts().program)
    figure = plot.pitches(
        counts(training, "pitch"),
        known(improvised, "pitch"),
        instrument.lowest if instrument else None,
        instrument.highest if instrument else None,
    )
    caption = "Which notes are played: bars for the training pieces, an outline for the improvised ones."
    return Drawn("pitches", "Pitches", caption, figure)


def temperatures(run: Run, samples: Sequence[dict[str, Any]], stem: str) -> Drawn:
    """The four measures of the study; human pieces are cut to the usual length of a sample."""
    data, kept, facts = run.data(), run.kept(), run.facts()
    part = next(part for part in (VALIDATION, TRAIN) if len(kept.of(part)))
    rows = int(np.median([sample["rows"] for sample in samples]))
    header = Header("", facts.base, facts.tempo, facts.meter)
    tables = [data.tables.piece(int(index))[:rows] for index in kept.of(part)[:REFERENCE_PIECES]]
    tokens = run.representation()
    measured = [variety(tokens, table, tokens.decode(table, header)) for table in tables]
    human = {key: np.percentile([one[key] for one in measured], MIDDLE).tolist() for key in LABELS}
    caption = f"Every dot is an improvised piece: what a higher temperature does to its variety. The middle nine tenths of the {NAMES[part]}, cut to the length of a usual improvised one, lie in the band."
    figure = plot.temperature_analysis(samples, LABELS, human, f"90 % of {NAMES[part]}")
    return Drawn(stem, "Temperatures", caption, figure)


def tune_pictures(run: Run) -> Iterator[Drawn]:
    """What was tried to tune the model, if it was."""
    found = run.tuned()
    if found is None:
        return
    if len({sample["temperature"] for sample in found["samples"]}) > 1:
        yield temperatures(run, found["samples"], "tune")
    human = found["human"]
    band = (human["low"], human["high"]) if human else None
    caption = "How far the pieces of every setting are from validation music, next to how far one half of that music is from the other; bars are one standard error of the difference from the choice."
    yield Drawn(
        "tune_distance", "The choice of temperature", caption, plot.tuning(found["tried"], found["chosen"], band)
    )


def counts(pieces: Sequence[Notes], column: str) -> npt.NDArray[np.int64]:
    """How often each value 0…127 of a column occurs in all pieces."""
    values = [getattr(piece, column) for piece in pieces]
    return np.bincount(np.concatenate([np.empty(0, np.int64), *values]).astype(np.int64), minlength=128)


def known(pieces: Sequence[Notes], column: str) -> npt.NDArray[np.int64] | None:
    return counts(pieces, column) if pieces else None


def velocity_step(tokens: Representation) -> int:
    """How many velocities share an id."""
    return 1 if tokens.vocabulary else VELOCITY_WIDTH


def write_plots(run: Run, formats: str = "svg,png", out: Path | None = None, keep: bool = False) -> Iterator[Record]:
    """The run's pictures, into `plots/` unless another folder is given, where `keep` replaces nothing else."""
    kinds = export.known_formats(formats, export.PICTURES)
    if out is None:
        with held(run.folder / RUN_LOCK), renewed(run, "pictures"):
            yield from write_pictures(run, run.folder / PLOTS, kinds)
    else:
        yield from write_pictures(run, out, kinds, keep)


def write_pictures(run: Run, folder: Path, kinds: Sequence[str], keep: bool = False) -> Iterator[Record]:
    for drawn in pictures(run):
        yield from write_figure(drawn.figure, folder / drawn.stem, kinds, keep)


def write_figure(figure: Figure, stem: Path, kinds: Sequence[str], keep: bool = False) -> Iterator[Record]:
    for kind in kinds:
        yield Said(f"Wrote {export.write(stem.with_name(f'{stem.name}.{kind}'), plot.to_bytes(figure, kind), keep)}")


def plot_file(path: Path, formats: str, out: Path | None, keep: bool) -> Iterator[Record]:
    """The piano roll of a MIDI file, all instruments together."""
    kinds = export.known_formats(formats, export.PICTURES)
    notes = midi.read(path, ALL)
    shown = plot.shown_seconds(notes)
    if shown < notes.length_seconds:
        yield Said(f"{path}: the picture shows the first {plot.clock(shown)} of {plot.clock(notes.length_seconds)}.")
    yield from write_figure(plot.piano_roll(notes, path.stem), (out or path.parent) / path.stem, kinds, keep)
