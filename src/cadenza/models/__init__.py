"""Models: the contract and its implementations. `MODELS` alone knows their names."""

from __future__ import annotations

import time

import torch

from cadenza.errors import CadenzaError
from cadenza.models.contract import FieldHeads, Heads, Model, State, Trunk, interval_count
from cadenza.models.lstm import LSTMTrunk
from cadenza.models.study import LinearHeads, StudyTrunk
from cadenza.models.transformer import TransformerTrunk
from cadenza.settings import ModelSettings

CLEARLY = 1.4
"""How much faster low precision must be to be taken."""

MODELS: dict[str, tuple[type[Trunk], type[Heads]]] = {
    "lstm": (LSTMTrunk, FieldHeads),
    "transformer": (TransformerTrunk, FieldHeads),
    "study": (StudyTrunk, LinearHeads),
}


def build(
    settings: ModelSettings,
    sizes: tuple[int, ...],
    context_width: int,
    seed: int = 0,
    pitch_fields: tuple[int, ...] = (),
) -> Model:
    """A model with fresh weights, the same for the same seed; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        make_trunk, make_heads = MODELS[settings.trunk]
        pitches = pitch_fields if make_heads.know_intervals else ()
        trunk = make_trunk(settings, (*sizes, *(interval_count(sizes[f]) for f in pitches)), context_width)
        heads = make_heads(sizes, settings, pitches)
        return Model(trunk, heads, sizes, 0 if trunk.bounded else settings.window)


def device(name: str) -> torch.device:
    """The device called `name`; "auto" takes a GPU if there is one. An absent one raises `CadenzaError`."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there.get(name):
        raise CadenzaError(
            f"There is no device {name!r} here; devices: {', '.join(kind for kind, found in there.items() if found)}, or auto for the fastest of them."
        )
    return torch.device(name)


def fast_precision(where: torch.device) -> str:
    """bfloat16 where its matrix products are clearly faster than those of float32, as measured in a moment."""
    if where.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if where.type != "cpu":
        return "float32"
    took = {name: seconds_of_products(getattr(torch, name)) for name in ("float32", "bfloat16")}
    return "bfloat16" if took["bfloat16"] * CLEARLY < took["float32"] else "float32"


def seconds_of_products(dtype: torch.dtype) -> float:
    """The best of several times of one matrix product on the CPU."""
    one, other = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 1024, dtype=dtype)
    times = []
    for _ in range(10):
        begin = time.perf_counter()
        torch.mm(one, other)
        times.append(time.perf_counter() - begin)
    return min(times)


__all__ = ["MODELS", "Model", "State", "build", "device", "fast_precision"]
