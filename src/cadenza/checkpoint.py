"""A model file that can be loaded anywhere, and cannot run code: safetensors with a header.

The header holds the format's version, the model's settings, what the corpus fixed (`Facts`), the digest of
the manifest it was trained on and, once the model was tuned, how it is best sampled. Among the weights
lies a sketch of the music that the model has seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cadenza import engine
from cadenza.corpus.grams import Hashes
from cadenza.engine.shapes import check_weights
from cadenza.errors import CadenzaError
from cadenza.notes import TimeBase
from cadenza.settings import MidiSettings, ModelSettings, SampleSettings, TokenSettings, shown
from cadenza.tokens import Representation, Schema, representation

if TYPE_CHECKING:
    from torch import Tensor

    from cadenza.models import Model
    from cadenza.sample import Reader

FORMAT, VERSION = "cadenza-model", 5
SEEN = "cadenza.seen"
"""The name, among the weights, of the sketch of the music a model has seen."""


@dataclass(frozen=True)
class Facts:
    """What a corpus fixes for its model: time base, program, usual tempo and metre, pitch range.

    `vocabulary` names the ids where the corpus decides them, `opening` holds the rows with which every
    piece begins, `losses` says what the representation cannot hold of this corpus.
    """

    source: str
    unit: str
    steps: int
    program: int
    tempo: float
    meter: tuple[int, int] | None
    lowest: int
    highest: int
    vocabulary: tuple[str, ...] = ()
    opening: tuple[tuple[int, ...], ...] = ()
    losses: str = ""

    @property
    def base(self) -> TimeBase:
        return TimeBase("beats" if self.unit == "beats" else "seconds", self.steps)


def facts_from(values: Mapping[str, Any]) -> Facts:
    """Facts as they were written; impossible ones raise `ValueError`."""
    meter = values.get("meter")
    tuples = {
        "meter": tuple(meter) if meter else None,
        "vocabulary": tuple(values.get("vocabulary", ())),
        "opening": tuple(tuple(row) for row in values.get("opening", ())),
    }
    facts = Facts(**{**values, **tuples})
    possible = facts.unit in ("seconds", "beats") and 1 <= facts.steps <= 200 and 1 <= facts.tempo <= 1000
    if not (possible and 0 <= facts.lowest <= facts.highest <= 127 and -1 <= facts.program <= 127):
        raise ValueError("impossible facts")
    if not all(isinstance(name, str) for name in facts.vocabulary):
        raise ValueError("impossible vocabulary")
    return facts


def check_opening(opening: tuple[tuple[int, ...], ...], sizes: tuple[int, ...]) -> None:
    """Rows that no piece can begin with raise `ValueError`."""
    for row in opening:
        if len(row) != len(sizes) or not all(0 <= number <= size for number, size in zip(row, sizes, strict=True)):
            raise ValueError("impossible opening")


def fresh_model(settings: ModelSettings, tokens: Schema, seed: int) -> Model:
    from cadenza.models import build

    return build(settings, tokens.sizes, tokens.context_width, seed, tokens.pitch_fields)


def model_bytes(
    weights: Mapping[str, Tensor],
    model: ModelSettings,
    tokens: TokenSettings,
    reading: MidiSettings,
    facts: Facts,
    manifest_sha256: str,
    step: int,
    seen: Hashes | None = None,
) -> bytes:
    """The file of a model, with a sketch of the music it has seen; the same model gives the same bytes."""
    header = {
        "version": VERSION,
        "model": model.model_dump(),
        "tokens": tokens.model_dump(),
        "midi": reading.model_dump(),
        "facts": asdict(facts),
        "manifest_sha256": manifest_sha256,
        "step": step,
    }
    tensors: dict[str, npt.NDArray[Any]] = {
        name: tensor.detach().cpu().contiguous().numpy() for name, tensor in weights.items()
    }
    if seen is not None:
        tensors[SEEN] = seen.view(np.int64)
    return save(tensors, {FORMAT: json.dumps(header)})  # one entry, since safetensors keeps no order


def with_sampling(file: bytes, sampling: SampleSettings) -> bytes:
    """A model's file with these settings (those that were set) as its own; the weights stay byte for byte."""
    end = 8 + int.from_bytes(file[:8], "little")
    outer = json.loads(file[8:end])
    header = json.loads(outer["__metadata__"][FORMAT]) | {"sampling": sampling.model_dump(exclude_unset=True)}
    outer["__metadata__"] = {FORMAT: json.dumps(header)}
    text = json.dumps(outer, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # safetensors wants the weights to begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + file[end:]


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model, and what it needs to improvise.

    `sampling` holds what was set for it alone, `seen` a sketch of the music it learned from or was
    chosen by (`corpus.sketch`); older files have none. PyTorch is loaded for `model` and off the CPU only.
    """

    weights: Mapping[str, npt.NDArray[np.float32]]
    settings: ModelSettings
    tokens: TokenSettings
    reading: MidiSettings
    facts: Facts
    manifest_sha256: str
    step: int
    sampling: SampleSettings = field(default_factory=SampleSettings)
    seen: Hashes | None = None
    device: str = "cpu"

    @property
    def representation(self) -> Representation:
        return representation(self.tokens.representation, self.facts.base, self.facts.vocabulary)

    @cached_property
    def model(self) -> Model:
        """The network in PyTorch."""
        import torch

        with torch.device("meta"):
            model = fresh_model(self.settings, self.representation, seed=0)
        model.load_state_dict({name: torch.from_numpy(each) for name, each in self.weights.items()}, assign=True)
        return model.to(self.device).eval()

    @cached_property
    def weights_sha256(self) -> str:
        """The digest of names and weights, which says which model a piece is of; tuning does not change it."""
        found = sha256()
        for name in sorted(self.weights):
            found.update(name.encode())
            found.update(np.ascontiguousarray(self.weights[name]).data)
        return found.hexdigest()

    def reader(self) -> Reader:
        """The network as it improvises, blank: in compiled loops on the CPU, else in PyTorch."""
        if self.device == "cpu":
            return engine.reader(self.weights, self.settings, self.representation, threads=cores())
        from cadenza.models.reader import ModelReader

        return ModelReader(self.model)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_checkpoint(path: Path, device: str = "cpu") -> Checkpoint:
    """Read a model file; anything else raises `CadenzaError` and runs nothing."""
    try:
        with open(path, "rb") as file:
            begins = file.read(4)
    except OSError as error:
        raise CadenzaError(
            f"{path}: cannot read this model ({error.strerror}); give a run folder or its model.safetensors."
        ) from None
    if begins == b"MThd":
        raise CadenzaError(
            f"{path}: a MIDI file, where a model is wanted; give a run folder or its model.safetensors (and music to go on from with --prompt)."
        )
    if begins[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise CadenzaError(f"{path}: a pickle, which could run any code and is never opened; give a model.safetensors.")
    try:
        with safe_open(path, "np") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:  # numpy lacks bfloat16: a TypeError
        raise CadenzaError(
            f"{path}: damaged or cut off ({str(error).splitlines()[0]}); copy it again or train anew."
        ) from None
    if FORMAT not in header:
        raise CadenzaError(f"{path}: not a Cadenza model; give the model.safetensors of a run.")
    try:
        fields = dict(json.loads(header[FORMAT]))
    except (ValueError, TypeError, RecursionError):  # the last where lists lie in lists without end
        raise CadenzaError(f"{path}: its header is damaged; copy it again or train anew.") from None
    return from_header(path, fields, weights, device if device == "cpu" else found(device))


def found(device: str) -> str:
    """The device of this name, looked for by PyTorch; an absent one raises `CadenzaError`."""
    from cadenza import models

    return models.device(device).type


def from_header(path: Path, header: Mapping[str, Any], weights: dict[str, npt.NDArray[Any]], device: str) -> Checkpoint:
    """The model of a header and its weights."""
    if header.get("version") != VERSION:
        raise CadenzaError(
            f"{path}: a model of format {shown(str(header.get('version')))}, this Cadenza reads {VERSION}; use the matching release or train anew."
        )
    seen = weights.pop(SEEN, None)
    try:
        settings = ModelSettings.model_validate(header["model"])
        tokens = TokenSettings.model_validate(header["tokens"])
        reading = MidiSettings.model_validate(header["midi"])
        facts = facts_from(header["facts"])
        written = representation(tokens.representation, facts.base, facts.vocabulary)
        check_opening(facts.opening, written.sizes)
        check_weights(weights, settings, written)
        sampling = SampleSettings.model_validate(header.get("sampling", {}))
        if not set(sampling.fields_named) <= set(written.fields):
            raise ValueError("impossible sampling")
        return Checkpoint(
            weights,
            settings,
            tokens,
            reading,
            facts,
            header["manifest_sha256"],
            int(header["step"]),
            sampling,
            None if seen is None else seen.view(np.uint64),
            device,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CadenzaError(
            f"{path}: its header and its weights do not fit together ({shown(str(error).splitlines()[0])}); copy it again or train anew."
        ) from None
