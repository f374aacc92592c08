"""What comes out of a trained run: figures, samples, pictures, the report."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cadenza import audio, export, midi, plot, report
from cadenza.corpus.scan import Entry
from cadenza.corpus.split import TEST, TRAIN, VALIDATION
from cadenza.errors import CadenzaError
from cadenza.evaluate.baselines import scored_rows, uniform, unigram
from cadenza.improviser import Improviser
from cadenza.likelihood import score
from cadenza.models import device
from cadenza.records import Progress, Record, Said
from cadenza.runs.folder import CONFIG, INIT, MANIFEST, METRICS, PLOTS, REPORT, SAMPLES, SAMPLES_LIST, Run
from cadenza.settings import MidiSettings, Settings
from cadenza.train import Data

TRAIN_PIECES_SCORED = 100


def evaluate(run: Run) -> Iterator[Record]:
    """Score the kept model on every part and write `metrics.json`."""
    settings, data = run.settings(), run.data()
    torch.set_num_threads(settings.train.threads)
    improviser = run.improviser(device(settings.train.device).type)
    if improviser.manifest_sha256 != run.manifest_sha256():
        raise CadenzaError(
            f"{run.folder}: the manifest is not the one the model was trained on; restore {MANIFEST}, or train anew with another --out."
        )
    entries = [entry for entry in run.entries() if not entry.reason]
    training = scored_rows(data.tables, data.training.tolist())
    drawn = np.random.default_rng(settings.train.seed).permutation(data.training)[:TRAIN_PIECES_SCORED]
    metrics: dict[str, Any] = {"step": improviser.step, "fine_tuned": (run.folder / INIT).exists()}
    for part, pieces in ((TRAIN, np.sort(drawn)), (VALIDATION, data.validation), (TEST, run.pieces(TEST))):
        metrics[part] = None
        if len(pieces):
            yield Progress(f"scoring {part}", 0, 1)
            metrics[part] = measure(improviser, data, pieces, [entries[index] for index in pieces], training)
            yield Said(
                f"{part}: {metrics[part]['bits_per_note']:.3f} bits per note (unigram {metrics[part]['unigram']:.2f}), perplexity per token {metrics[part]['perplexity_per_token']:.2f}."
            )
    run.write(METRICS, json.dumps(metrics, indent=1).encode())


def measure(
    improviser: Improviser, data: Data, pieces: npt.NDArray[np.int64], entries: list[Entry], training: np.ndarray
) -> dict[str, Any]:
    """All figures of one part."""
    result = score(improviser.model, data.tables, data.representation, pieces)
    if not math.isfinite(result.bits_per_note):
        raise CadenzaError("The model's weights are not numbers; train it again with a lower train.learning_rate.")
    works = np.array([entry.work for entry in entries])
    held_out = scored_rows(data.tables, pieces.tolist())
    return {
        "pieces": len(pieces),
        "works": len(set(works.tolist())),
        "notes": int(result.notes_P.sum()),
        "bits_per_note": result.bits_per_note,
        "interval": result.interval(works),
        "bits_per_note_by_field": result.bits_per_note_by_field(data.representation.fields),
        "bits_per_second": result.bits_per_note
        * float(result.notes_P.sum())
        / sum(entry.length_seconds for entry in entries),
        "perplexity_per_token": result.perplexity_per_token,
        "unigram": unigram(data.representation, training, held_out),
        "uniform": uniform(data.representation, held_out),
    }


def improvise(run: Run) -> Iterator[Record]:
    """The run's own samples, as MIDI, MP3 and picture; the list of them is written last."""
    settings, improviser = run.settings(), run.improviser()
    pieces = yield from improviser.stream(settings.sample, settings.sample.count, settings.train.seed)
    made = []
    for number, piece in enumerate(pieces, 1):
        if not len(piece):
            yield Said(f"Piece {number:02d} ended before its first note and is left out.")
            continue
        stem = run.folder / SAMPLES / f"{number:02d}"
        for path in export.piece(piece, stem, ("mid", "mp3", "svg"), improviser.facts.program, settings.audio):
            yield Said(f"Wrote {path}")
        made.append({"name": stem.name, "notes": len(piece), "seconds": round(piece.length_seconds, 2)})
    run.write(SAMPLES_LIST, json.dumps(made, indent=1).encode())


def write_plots(run: Run, formats: str = "svg,png", out: Path | None = None) -> Iterator[Record]:
    """The run's pictures, into `plots/` unless another folder is given."""
    log = run.log()
    steps = [line for line in log if line["kind"] == "step"]
    evaluations = [line for line in log if line["kind"] == "evaluation" and line["bits_per_note"] is not None]
    figure = plot.learning_curve(
        [line["step"] for line in steps], [line["bits_per_note"] for line in steps],
        [line["step"] for line in evaluations], [line["bits_per_note"] for line in evaluations],
    )  # fmt: skip
    for kind in export.known_formats(formats, export.PICTURES):
        path = (out or run.folder / PLOTS) / f"learning_curve.{kind}"
        yield Said(f"Wrote {export.write(path, plot.to_bytes(figure, kind))}")


def write_report(run: Run) -> Iterator[Record]:
    """`report.html`, from what lies in the folder."""
    yield from write_plots(run)
    settings, facts = run.settings(), run.facts()
    text = report.page(
        title=f"{facts.source.replace('-', ' ').capitalize()}, improvised",
        metrics=run.metrics(),
        facts=asdict(facts),
        settings=settings.model_dump(),
        entries=run.entries(),
        curve_svg=(run.folder / PLOTS / "learning_curve.svg").read_bytes(),
        samples=[shown_sample(run, **sample) for sample in run.samples()],
        again=again(run),
    )
    yield Said(f"Report: {run.write(REPORT, text.encode())}")


def again(run: Run) -> list[str]:
    """The commands that repeat the run and make more of it."""
    origin = run.origin()
    init = f" --init {shlex.quote(origin['init'])}" if origin["init"] else ""
    folder, config = shlex.quote(str(run.folder)), shlex.quote(str(run.folder / CONFIG))
    return [
        f"cadenza run {shlex.quote(origin['source'])} --config {config}{init} --out {folder}-again",
        f"cadenza generate {folder} -n 8 --seconds 60 --out more",
    ]


def shown_sample(run: Run, name: str, notes: int, seconds: float) -> report.Sample:
    roll, sound = (run.read(f"{SAMPLES}/{name}.{kind}") for kind in ("svg", "mp3"))
    return report.Sample(f"Piece {name}", f"{notes:,} notes, {seconds:.0f} s", roll, sound)


def generate_files(
    improviser: Improviser, settings: Settings, seed: int, prompt: Path | None, formats: str, out: Path, keep: bool
) -> Iterator[Record]:
    """Improvise and write every piece in every format."""
    kinds = export.known_formats(formats)
    notes = None
    if prompt is not None:
        notes, aside = improviser.read_prompt(prompt)
        if aside:
            yield Said(f"{prompt}: set aside {aside}.")
    pieces = yield from improviser.stream(settings.sample, settings.sample.count, seed, notes)
    for number, piece in enumerate(pieces, 1):
        if not len(piece):
            yield Said(f"Piece {number:02d} ended before its first note and is left out.")
            continue
        stem = out / f"seed{seed}-{number:02d}"
        prompt_notes = len(notes) if notes is not None else 0
        for path in export.piece(piece, stem, kinds, improviser.facts.program, settings.audio, prompt_notes, keep):
            yield Said(f"Wrote {path} ({len(piece):,} notes, {piece.length_seconds:.1f} s)")


def render_files(
    files: Sequence[Path], settings: Settings, formats: str, out: Path | None, keep: bool
) -> Iterator[Record]:
    """Sound of whole MIDI files, every track with its own instrument."""
    kinds = export.known_formats(formats, export.SOUNDS)
    for path in files:
        score = midi.open_score(midi.read_bytes(path, settings.midi, str(path)), str(path))
        if not score.note_num():
            raise CadenzaError(f"{path}: there are no notes to render; give a MIDI file with at least one.")
        samples = audio.render(score, settings.audio)
        for kind in kinds:
            data = audio.encode(samples, kind, settings.audio)
            written = export.write((out or path.parent) / f"{path.stem}.{kind}", data, keep)
            yield Said(f"Wrote {written} ({len(samples) / settings.audio.sample_rate:.1f} s)")


def plot_file(path: Path, formats: str, out: Path | None, keep: bool) -> Iterator[Record]:
    """The piano roll of a MIDI file, all instruments together."""
    notes = midi.read(path, MidiSettings(instrument="all", drums="keep"))
    figure = plot.piano_roll(notes, path.stem)
    for kind in export.known_formats(formats, export.PICTURES):
        written = export.write((out or path.parent) / f"{path.stem}.{kind}", plot.to_bytes(figure, kind), keep)
        yield Said(f"Wrote {written}")
