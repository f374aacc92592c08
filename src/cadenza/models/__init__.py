"""Models: the contract and its implementations. `MODELS` alone knows their names."""

from __future__ import annotations

import torch

from cadenza.errors import CadenzaError
from cadenza.models.contract import FieldHeads, Heads, Model, State, Trunk
from cadenza.models.lstm import LSTMTrunk
from cadenza.models.study import LinearHeads, StudyTrunk
from cadenza.settings import ModelSettings

MODELS: dict[str, tuple[type[Trunk], type[Heads]]] = {
    "lstm": (LSTMTrunk, FieldHeads),
    "study": (StudyTrunk, LinearHeads),
}


def build(settings: ModelSettings, sizes: tuple[int, ...], context_width: int, seed: int = 0) -> Model:
    """A model with fresh weights, the same for the same seed; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        make_trunk, make_heads = MODELS[settings.trunk]
        trunk = make_trunk(settings, sizes, context_width)
        return Model(trunk, make_heads(sizes, trunk.width, settings.dropout), sizes, settings.window)


def device(name: str) -> torch.device:
    """The device called `name`; "auto" takes a GPU if there is one. An absent one raises `CadenzaError`."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there.get(name):
        raise CadenzaError(
            f"There is no device {name!r} here; devices: {', '.join(kind for kind, found in there.items() if found)}."
        )
    return torch.device(name)


__all__ = ["MODELS", "Model", "State", "build", "device"]
