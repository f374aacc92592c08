"""The layout of a run folder, and what can be read from it. Every write is atomic."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_json
from safetensors import SafetensorError, safe_open

from cadenza import export
from cadenza.batches import Tables
from cadenza.checkpoint import Facts, facts_from
from cadenza.corpus.grams import Hashes
from cadenza.corpus.scan import Entry
from cadenza.corpus.split import PARTS, TEST, TRAIN, VALIDATION, Codes
from cadenza.errors import CadenzaError
from cadenza.improviser import Improviser, load_improviser
from cadenza.notes import Header, Notes
from cadenza.runs.manifest import Manifest, damaged
from cadenza.settings import Settings, validate
from cadenza.tokens import Representation, representation
from cadenza.train import Data

CONFIG, MANIFEST, CORPUS, FACTS = "config.toml", "manifest.jsonl", "corpus", "corpus/facts.json"
INIT, MODEL, STATE = "init.safetensors", "model.safetensors", "state.safetensors"
LOG, TIMINGS, METRICS, SCORES = "log.jsonl", "timings.jsonl", "metrics.json", "scores.jsonl"
SAMPLES, SAMPLES_LIST, PLOTS, REPORT = "samples", "samples/samples.json", "plots", "report.html"
TUNE, SEEN = "tune.json", "corpus/seen.npy"
ORIGIN, DERIVED = "corpus/origin.json", "corpus/derived.json"
FOLDS, CHOICE, JUDGEMENT, NEAREST = "folds", "folds/choice.json", "judgement.json", "samples/nearest"

WATCHED_PIECES = 16
"""At most so many training pieces are scored at every evaluation, for the curve; it is time not spent on training."""


@dataclass(frozen=True)
class Run:
    """The folder of one run."""

    folder: Path

    @property
    def prepared(self) -> bool:
        return (self.folder / CONFIG).exists()

    @property
    def trained(self) -> bool:
        """Whether the delivered model has come to its last step."""
        return (self.folder / MODEL).exists() and self.evaluated_step() >= self.last_step()

    def last_step(self) -> int:
        """The step at which the delivered model is finished; folds, where there are any, have chosen it."""
        return int(self.choice()["step"]) if self.folds() else self.settings().train.steps

    def folds(self) -> int:
        """Into how many folds the pieces are dealt; 0 where they are split."""
        return self.kept().folds

    def choice(self) -> dict[str, Any]:
        """The step that the folds chose for the delivered model, and the step at which each fold is read."""
        return self._json(CHOICE)

    def settings(self) -> Settings:
        try:
            found = tomllib.loads(self.read(CONFIG).decode())
        except (ValueError, RecursionError) as error:  # of numbers and lists without end
            raise self._damaged(CONFIG, error) from None
        return validate(found)

    def facts(self) -> Facts:
        return facts_from(self._json(FACTS))

    def entries(self) -> Manifest:
        with self._reading(MANIFEST):
            return Manifest.read(self.folder / MANIFEST)

    def manifest_sha256(self) -> str:
        return self.sha256(MANIFEST)

    def sha256(self, name: str) -> str:
        """The SHA-256 of a file of the run, however large; a missing one raises `CadenzaError`."""
        with self._reading(name), open(self.folder / name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def representation(self, settings: Settings | None = None) -> Representation:
        """How the pieces are written; `settings` while they are not written yet."""
        facts = self.facts()
        return representation((settings or self.settings()).tokens.representation, facts.base, facts.vocabulary)

    def tables(self) -> Tables:
        try:
            return Tables.open(self.folder / CORPUS)
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(CORPUS, error) from None

    def kept(self) -> Manifest:
        """The entries of the pieces in the tables, in their order."""
        entries = self.entries()
        return entries.where(entries.kept)

    def pieces(self, part: str = "") -> list[tuple[Notes, Entry]]:
        """The kept pieces (of one part, if given) as their rows say, on one header, and their entries."""
        tables, tokens, facts = self.tables(), self.representation(), self.facts()
        header = Header("", facts.base, facts.tempo, facts.meter)
        kept = self.kept()
        chosen = kept.of(part) if part else np.arange(len(kept))
        return [
            (tokens.decode(tables.piece(index), header), entry)
            for index, entry in zip(chosen.tolist(), kept.where(chosen), strict=True)
        ]

    def data(self, settings: Settings | None = None) -> Data:
        """What is trained on; `settings` while they are not written yet."""
        settings = settings or self.settings()
        return data_of(self.tables(), self.representation(settings), self.kept().part, settings)

    def fold_data(self, fold: int, settings: Settings | None = None) -> Data:
        """A fold is held out as validation, the others train; `settings` while they are not written yet."""
        held_out = self.kept().fold == fold
        part = np.where(held_out, PARTS.index(VALIDATION), PARTS.index(TRAIN)).astype(np.int8)
        settings = settings or self.settings()
        return data_of(self.tables(), self.representation(settings), part, settings)

    def seen(self) -> Hashes:
        """A sketch of the music that the run's model learns from or is chosen by, its parent's included."""
        try:
            return np.asarray(np.load(self.folder / SEEN), dtype=np.uint64)
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(SEEN, error) from None

    def improviser(self, device_name: str = "cpu") -> Improviser:
        loaded = load_improviser(self.folder / MODEL, device_name)
        return replace(loaded, training=lambda: self.training(loaded))

    def training(self, improviser: Improviser) -> list[Notes]:
        """The pieces that this model learned from, as their rows say; a model of another corpus raises `CadenzaError`."""
        self.check_model(improviser)
        return [piece for piece, _ in self.pieces(TRAIN)]

    def check_trained(self) -> None:
        """A run whose training has not come to its end raises `CadenzaError`: its figures would not be those of its model."""
        if not self.trained:
            raise CadenzaError(f"{self.folder}: its training is not finished; go on with cadenza run and --resume.")

    def check_model(self, improviser: Improviser) -> None:
        """A model of another corpus than the run's raises `CadenzaError`."""
        if improviser.manifest_sha256 != self.manifest_sha256():
            raise CadenzaError(
                f"{self.folder}: the manifest is not the one the model was trained on; restore {MANIFEST}, or train anew with another --out."
            )
        known, written = improviser.representation, self.representation()
        if (known.name, known.base, known.vocabulary) != (written.name, written.base, written.vocabulary):
            raise CadenzaError(
                f"{self.folder}: the model reads another vocabulary than its corpus is written in; restore the folder's files, or train anew with another --out."
            )

    def log(self, place: str = "") -> list[dict[str, Any]]:
        """The log of the delivered model, or of the training whose folder is `place`."""
        path = self.folder / place / LOG
        return self._lines(place + LOG) if path.exists() else []

    def metrics(self) -> dict[str, Any]:
        return self._json(METRICS)

    def judgement(self) -> dict[str, Any] | None:
        """What the improvised pieces are like beside human ones, once that has been measured."""
        return self._json(JUDGEMENT) if (self.folder / JUDGEMENT).exists() else None

    def scores(self) -> list[dict[str, Any]]:
        """What every model made of each held-out piece."""
        return self._lines(SCORES)

    def origin(self) -> dict[str, Any]:
        """The source and the model it began from, as they were given."""
        return self._json(ORIGIN)

    def derived(self) -> list[str]:
        """What was found and derived when the run was prepared, in sentences."""
        return list(self._json(DERIVED))

    def samples(self) -> list[dict[str, Any]]:
        """Name, temperature, length and variety of each of the run's own pieces."""
        return list(self._json(SAMPLES_LIST)) if (self.folder / SAMPLES_LIST).exists() else []

    def tuned(self) -> dict[str, Any] | None:
        """What `tune` tried and chose, if it was run."""
        return self._json(TUNE) if (self.folder / TUNE).exists() else None

    def evaluated_step(self, place: str = "") -> int:
        """The last step whose evaluation is on disk."""
        path = self.folder / place / STATE
        if not path.exists():
            return 0
        try:
            with safe_open(path, "np") as file:
                return int(file.get_tensor("progress")[1])
        except (SafetensorError, OSError) as error:
            raise self._damaged(STATE, error) from None

    def _lines(self, name: str) -> list[dict[str, Any]]:
        try:
            return [dict(json.loads(line)) for line in self.read(name).splitlines()]
        except ValueError as error:
            raise self._damaged(name, error) from None

    def _json(self, name: str) -> Any:
        try:
            return json.loads(self.read(name))
        except ValueError as error:
            raise self._damaged(name, error) from None

    def _damaged(self, name: str, error: Exception) -> CadenzaError:
        return damaged(self.folder / name, error)

    def read(self, name: str) -> bytes:
        """A file of the run; a missing one raises `CadenzaError`."""
        with self._reading(name):
            return (self.folder / name).read_bytes()

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CadenzaError(
                f"{self.folder}: not a complete run, {name} is missing ({error.strerror}); finish the run with --resume, or begin again with another --out."
            ) from None

    def write_json(self, name: str, value: Any) -> Path:
        """Plain values and dataclasses as JSON, which knows no NaN and no infinity: these become null."""
        return self.write(name, to_json(value, indent=1, inf_nan_mode="null"))

    def write(self, name: str, data: bytes) -> Path:
        return export.write(self.folder / name, data)


def data_of(tables: Tables, tokens: Representation, part: Codes, settings: Settings) -> Data:
    """What is trained on, validated with, and watched, from the part of each piece; the test pieces are watched only where
    nothing may be validated.
    """
    training, validation, test = (np.flatnonzero(part == code).astype(np.int64) for code in range(len(PARTS)))
    count = min(WATCHED_PIECES, len(training), len(test) if not settings.corpus.validation else len(validation))
    drawn = np.random.default_rng(settings.train.seed).permutation(training)[:count]
    watched = {TRAIN: np.sort(drawn)}
    if not settings.corpus.validation:
        watched[TEST] = test
    return Data(tables, tokens, training, validation, watched)


def open_run(folder: Path) -> Run:
    """An existing run folder; anything else raises `CadenzaError`."""
    run = Run(folder)
    if not run.prepared:
        raise CadenzaError(
            f"{folder}: not a run folder (there is no {CONFIG} in it); give the folder that cadenza run made."
        )
    return run
