"""Presets, and how a preset, a TOML file and assignments become one `Settings`; later ones win."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cadenza.errors import CadenzaError
from cadenza.settings import BY_FIELD, ModelSettings, Settings, nearest, shown, validate

Layer = dict[str, dict[str, Any]]
"""Values by section and key."""

PRESETS: dict[str, Layer] = {
    "tiny": {"model": {"layers": 2, "width": 128}},
    "small": {},
    "base": {
        "batches": {"rows": 256, "size": 16},
        "model": {"layers": 6, "width": 384, "window": 256},
        "train": {"learning_rate": 1e-3},
    },
    "large": {
        "batches": {"rows": 512, "size": 64},
        "model": {"layers": 12, "width": 768, "window": 512},
        "train": {"learning_rate": 6e-4},
    },
    "study": {
        "midi": {"time_base": "seconds", "steps_per_second": 100, "pedal": "ignore", "opening_silence": "keep"},
        "corpus": {"split_by": "file", "validation": 0.0, "test": 0.1},
        "tokens": {"representation": "study", "min_rows": 10, "max_rows": 6000},
        "batches": {"rows": 50, "size": 16, "stride": 1},
        "augment": {"transpose": 0, "invert": 0, "stretch": 0, "velocity": 0, "blank": 0},
        "model": {"trunk": "study", "layers": 3, "width": 256, "dropout": 0.3, "window": 50},
        "train": {
            "minutes": 15, "epochs": 10, "evaluations": 10, "optimiser": "adam", "schedule": "constant",
            "learning_rate": 1e-3, "weight_decay": 1e-5, "clip": 1.0, "average": 0, "ramp": False, "precision": "float32",
        },
        "sample": {
            "opening": 10, "masks": False, "rows": 1000, "count": 2, "sweep": (0.3, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0),
        },
    },
}  # fmt: skip
"""What differs from the defaults; `study` repeats the work that Cadenza began from (docs/study.md)."""


def build(
    preset: str = "small",
    config: Path | None = None,
    assignments: Iterable[str] = (),
    **sections: Mapping[str, Any],
) -> Settings:
    """Layer preset, TOML file, assignments and keyword sections into one `Settings`.

    >>> build("tiny", assignments=["train.minutes=2"]).train.minutes
    2.0
    """
    if preset not in PRESETS:
        raise CadenzaError(f"There is no preset {preset!r}{nearest(preset, PRESETS)}; presets: {', '.join(PRESETS)}.")
    given: Layer = {}
    layers: list[Mapping[str, Any]] = [*map(parse_assignment, assignments), sections]
    for layer in layers:
        given = merge(given, layer)
    saved = overlay(PRESETS[preset], read_toml(config) if config is not None else {})
    return validate(overlay(saved, given))


def overlay(lower: Layer, upper: Mapping[str, Any]) -> Layer:
    """`merge`, but a window that was meant for another trunk goes."""
    merged = merge(lower, upper)
    if trunk_of(merged) != trunk_of(lower) and "window" not in upper["model"]:
        merged["model"].pop("window", None)
    return merged


def merge(lower: Layer, upper: Mapping[str, Any]) -> Layer:
    """The values of both; where both have one, the upper."""
    merged = {section: dict(values) for section, values in lower.items()}
    for section, values in upper.items():
        if not isinstance(values, Mapping):
            raise CadenzaError(
                f"{shown(repr(section))} is not in a section; write it as section.key{nearest(section, Settings.model_fields)}."
            )
        merged.setdefault(section, {}).update(values)
    return merged


def trunk_of(layer: Layer) -> str:
    return str(layer.get("model", {}).get("trunk", ModelSettings().trunk))


def parse_assignment(text: str) -> dict[str, dict[str, Any]]:
    """``section.key=value`` as a nested mapping; the value is read as TOML, else as text.

    >>> parse_assignment("midi.instrument=violin")
    {'midi': {'instrument': 'violin'}}
    """
    path, equals, value = text.partition("=")
    section, dot, key = path.strip().partition(".")
    if not (equals and dot and section and key):
        raise CadenzaError(
            f"{shown(repr(text))} is not an assignment; write section.key=value, for example train.minutes=5."
        )
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # tomllib lets through those of numbers and lists without end
        parsed = value.strip()
    return {section: {key: parsed}}


def parse_control(control: str, text: str) -> dict[str, Any]:
    """``0.9``, ``pitch=1.1,duration=0.8`` or both as the settings of sampling that they stand for.

    >>> parse_control("temperature", "0.9,pitch=1.1")
    {'temperature': 0.9, 'by_field': {'pitch': 1.1}}
    """
    kind, number_kind = (int, "whole number") if control == "top_k" else (float, "number")
    option = control.replace("_", "-")
    given: dict[str, float] = {}
    for part in text.split(","):
        field, equals, value = part.rpartition("=")
        field = field.strip()
        try:
            number = kind(value)
        except ValueError:
            number = None
        if number is None or (equals and not field) or "=" in field:
            raise CadenzaError(
                f"{part.strip()!r} is no {option}; write a {number_kind} or field=number, with commas between, for example {EXAMPLES[control]}."
            )
        if field in given:
            raise CadenzaError(f"{text!r} gives {field or f'the {option}'} twice; give it once.")
        given[field] = number
    fields = {field: number for field, number in given.items() if field}
    return ({control: given[""]} if "" in given else {}) | ({BY_FIELD[control]: fields} if fields else {})


EXAMPLES = {
    "temperature": "0.9 or pitch=1.1,duration=0.8",
    "top_k": "20 or pitch=5,duration=10",
    "top_p": "0.95 or pitch=0.9,velocity=1",
    "min_p": "0.05 or pitch=0.02",
}


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CadenzaError(
            f"{path}: cannot read these settings ({error.strerror}); give the path of a TOML file."
        ) from None
    except (ValueError, RecursionError) as error:  # tomllib lets through those of numbers and lists without end
        why = str(error).splitlines()[0]
        raise CadenzaError(f"{path}: not a TOML file ({why}); see the guide for an example.") from None
