"""Every setting of Cadenza, in frozen models, one per consumer, in the order of the modules.

In: nested values. Out: one validated `Settings`. A wrong key or value is a `CadenzaError` naming the nearest key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from cadenza.errors import CadenzaError
from cadenza.settings.sampling import BY_FIELD, LENGTHS, LONGEST, PLAYED, SampleSettings
from cadenza.settings.section import Section, nearest, shown

__all__ = [
    "BY_FIELD", "HEAD_WIDTH", "INNOCENT", "LENGTHS", "LONGEST", "PLAYED", "AudioSettings", "AugmentSettings", "BatchSettings",
    "CorpusSettings", "MidiSettings", "ModelSettings", "SampleSettings", "Section", "Settings", "TokenSettings",
    "TrainSettings", "nearest", "shown", "validate",
]  # fmt: skip

HEAD_WIDTH = 32
"""Columns of an attention head."""
INNOCENT = 16
"""A passage of no more notes that a training piece has as well is never called a copy."""


class MidiSettings(Section):
    """How a file becomes notes."""

    instrument: str = Field(
        "auto",
        coerce_numbers_to_str=True,
        description="auto (the one with most notes in a file), all, or a General MIDI name or program number.",
    )
    drums: Literal["drop", "keep"] = Field("drop", description="What happens to percussion tracks.")
    pedal: Literal["extend", "ignore"] = Field("extend", description="Whether the sustain pedal lengthens notes.")
    time_base: Literal["auto", "seconds", "beats"] = Field(
        "auto", description="Count time in seconds (performances) or beats (scores)."
    )
    opening_silence: Literal["drop", "keep"] = Field(
        "drop", description="What happens to the silence before the first note of a piece."
    )
    steps_per_second: int = Field(100, ge=10, le=200, description="Time grid of performances, steps per second.")
    steps_per_beat: int = Field(24, ge=4, le=96, description="Time grid of scores, steps per quarter note.")
    max_megabytes: float = Field(32, gt=0, description="Largest file that is read, megabytes.")
    max_seconds: float = Field(20, gt=0, le=86_400, description="Longest time one file may take to read, seconds.")


class CorpusSettings(Section):
    """Which pieces are kept, and how they are split."""

    files: str = Field(
        "", description="A text file that lists the files to take, one name a line; empty takes all of the source."
    )
    min_notes: int = Field(8, ge=1, description="Pieces with fewer notes are left out.")
    max_notes: int = Field(100_000, ge=1, description="Pieces with more notes are left out.")
    max_minutes: float = Field(180, gt=0, description="Longer pieces are left out, minutes.")
    max_archive_gigabytes: float = Field(
        8, gt=0, description="An archive that unpacks to more is refused, gigabytes (of a zip, only its music counts)."
    )
    validation: float = Field(0.1, ge=0, lt=0.5, description="Share of the pieces held out for validation.")
    test: float = Field(0.1, ge=0, lt=0.5, description="Share of the pieces held out for the final test.")
    split_by: Literal["work", "file"] = Field(
        "work", description="What stays together in a split; by file, one work may be in several parts."
    )
    folds: int = Field(
        5,
        ge=0,
        le=20,
        description="At most so many leave-works-out folds, where a test part would not hold one work; 0 always splits.",
    )
    workers: int = Field(0, ge=0, description="Reading processes; 0 takes one per core.")
    backend: Literal["loky", "dask"] = Field(
        "loky", description="Who reads files: processes of this machine (loky), or an existing Dask cluster (dask)."
    )
    scheduler: str = Field(
        "",
        description="Address of the scheduler of that cluster, all of whose machines see the same files, such as tcp://host:8786.",
    )

    @model_validator(mode="after")
    def cluster_has_address(self) -> CorpusSettings:
        if (self.backend == "dask") != bool(self.scheduler):
            raise ValueError("--backend dask and --scheduler ADDRESS go together, such as --scheduler tcp://host:8786")
        return self


class TokenSettings(Section):
    """How notes become ids."""

    representation: Literal["notes", "study"] = Field("notes", description="The table of ids that stands for a piece.")
    min_rows: int = Field(1, ge=1, description="Pieces of fewer rows are left out.")
    max_rows: int = Field(10_000_000, ge=1, description="Pieces of more rows are left out.")


class BatchSettings(Section):
    """How ids become training batches."""

    rows: int = Field(128, ge=2, description="Longest window, rows.")
    size: int = Field(16, ge=1, description="Windows in a batch.")
    stride: int = Field(
        0, ge=0, description="Rows from one window to the next, which then overlap; 0 cuts pieces without overlap."
    )
    stride_in_force: int = Field(
        0, ge=0, description="The wider stride with which train.epochs fit into the minutes; 0 is the stride itself."
    )


class AugmentSettings(Section):
    """How a training window differs each time it is read; what is held out never does.

    A run derives `invert` and `blank` from how often it reads each work, unless they are set.
    """

    transpose: int = Field(6, ge=0, le=24, description="Other keys, at most so many semitones up or down.")
    invert: float = Field(0.3, ge=0, le=1, description="Share of the windows that are turned upside down.")
    stretch: float = Field(
        0.2, ge=0, le=1, description="Other tempi, at most this share faster or slower; for performances only."
    )
    velocity: int = Field(
        16,
        ge=0,
        le=64,
        description="Other dynamics, at most this much louder or softer, in steps of 4; for performances only.",
    )
    blank: float = Field(0.15, ge=0, lt=1, description="Share of the ids that are hidden from the network.")
    unheard: float = Field(
        0.0, ge=0, lt=1, description="Share of what else the network is told (where the beat is, say) that is hidden."
    )


class ModelSettings(Section):
    """The network."""

    trunk: Literal["transformer", "lstm", "study"] = Field("transformer", description="The sequence model.")
    layers: int = Field(4, ge=1, le=64, description="Layers of the trunk.")
    width: int = Field(192, ge=8, le=8192, description="Hidden units of a layer.")
    head_layers: int = Field(
        0,
        ge=0,
        le=16,
        description="Layers that what predicts each field has beyond its first; those of the study have none.",
    )
    dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of activations dropped in training; derived from how often each work is read, unless set.",
    )
    window: int = Field(
        0,
        ge=0,
        description="Rows the network looks back on; a transformer takes 128 unless told, the others 0, the whole piece.",
    )

    @model_validator(mode="before")
    @classmethod
    def default_window(cls, values: Any) -> Any:
        bounded = isinstance(values, Mapping) and values.get("trunk", "transformer") == "transformer"
        return {"window": 128, **values} if bounded else values

    @model_validator(mode="after")
    def transformer_has_window(self) -> ModelSettings:
        if self.trunk == "transformer":
            if self.window < 2:
                raise ValueError("a transformer looks back on 2 rows at least; set model.window")
            if self.width % HEAD_WIDTH:
                raise ValueError(f"the width of a transformer is a multiple of {HEAD_WIDTH}; set model.width")
        return self


class TrainSettings(Section):
    """The optimisation."""

    minutes: float = Field(
        10, gt=0, description="Wall time for training, minutes; the number of steps is derived from it."
    )
    steps: int = Field(0, ge=0, description="Number of steps; 0 derives it from the minutes.")
    epochs: int = Field(
        0,
        ge=0,
        description="Passes over the windows; where the minutes are too few, the stride grows. 0 is no aim.",
    )
    micro_batch: int = Field(
        0,
        ge=0,
        description="Windows that go through the network at once, the gradients of a batch being added up; 0 takes all that a process has of it.",
    )
    optimiser: Literal["adamw", "adam"] = Field("adamw", description="How gradients move the weights.")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="How the learning rate goes on.")
    average: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="The model is a mean of the weights over the latest share of the steps; 0 takes the last weights.",
    )
    ramp: bool = Field(
        True, description="Whether dropout and hidden ids grow from none to their shares over the steps."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Of matrix products in training; auto takes bfloat16 where that is faster."
    )
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(
        1.0, ge=0, description="Weight decay; ten times the usual, as a small corpus is read often."
    )
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    evaluations: int = Field(12, ge=1, description="How often validation is scored during a run.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Where the network runs; auto takes a GPU if there is one."
    )
    threads: int = Field(0, ge=0, description="Threads for the network on a CPU; 0 takes one per core.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the split, the weights and the order of the data.")


class AudioSettings(Section):
    """How notes become sound."""

    soundfont: str = Field("", description="Path of an SF2 file; empty takes the one that comes with pretty_midi.")
    max_minutes: float = Field(60, gt=0, description="Longer music is not rendered, minutes.")
    loudness: float = Field(-18.0, ge=-60, le=-5, description="Integrated loudness, LUFS (ITU-R BS.1770).")


class Settings(Section):
    """All sections together.

    >>> Settings().model.layers
    4
    """

    midi: MidiSettings = MidiSettings()
    corpus: CorpusSettings = CorpusSettings()
    tokens: TokenSettings = TokenSettings()
    batches: BatchSettings = BatchSettings()
    augment: AugmentSettings = AugmentSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    sample: SampleSettings = SampleSettings()
    audio: AudioSettings = AudioSettings()


def validate(values: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Check nested values; the first fault becomes one sentence."""
    for section, entries in values.items():
        if section not in Settings.model_fields:
            raise CadenzaError(
                f"There is no section {shown(repr(section))}{nearest(section, Settings.model_fields)}; sections: {', '.join(Settings.model_fields)}."
            )
        if not isinstance(entries, Mapping):
            raise CadenzaError(f"{section!r} is not a section here; write its settings as {section}.key = value.")
        known = section_fields(section)
        for key in entries:
            if key not in known:
                raise CadenzaError(
                    f"There is no setting {section}.{shown(key)}{nearest(key, known)}; {section} has: {', '.join(known)}."
                )
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = shown(".".join(str(part) for part in first["loc"]))
        if first["type"] == "value_error":  # of a whole section
            raise CadenzaError(f"{place}: {first['ctx']['error']}.") from None
        by_field = BY_FIELD.get(place.removeprefix("sample.")) if isinstance(first["input"], Mapping) else None
        hint = f" (sample.{by_field} takes those of single fields)" if by_field else ""
        raise CadenzaError(
            f"{place} = {shown(repr(first['input']))}: {first['msg'][0].lower()}{first['msg'][1:]}{hint}."
        ) from None


def section_fields(section: str) -> Mapping[str, Any]:
    model = Settings.model_fields[section].annotation
    assert isinstance(model, type) and issubclass(model, Section)
    return model.model_fields
