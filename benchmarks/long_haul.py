"""Ten thousand pieces on end: does the memory stay as it is?

One process loads a model through the public interface and improvises piece after piece, each of another seed, and writes
each as MIDI. A small untrained network is as good as any here. `memory_growth` is how much more the process holds at the
end than after the first tenth, by which everything is loaded, as a share of that. With `--renders`, so many of the
pieces are also written as sound and so many as pictures, and `render_growth` says the same of these.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import cadenza
from cadenza.checkpoint import Facts, fresh_model, model_bytes
from cadenza.improviser import Improviser
from cadenza.settings import MidiSettings, ModelSettings, TokenSettings
from cadenza.tokens import representation
from timing import one_thread, parser, report

GENERATIONS, RENDERS = 10_000, 1000
NOTES = 12


def main() -> None:
    one_thread()
    options = parser(__doc__)
    options.add_argument("--generations", type=int, default=GENERATIONS)
    options.add_argument("--renders", type=int, default=RENDERS)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="cadenza-long-haul-") as place:
        model = untrained(Path(place))
        improvised = growth(given.generations, lambda seed: write(model, Path(place), seed, ".mid"))
        rendered = growth(given.renders, lambda seed: write(model, Path(place), seed, ".wav", ".png"))
    report(
        [f"{name}: {before >> 20} MiB, then {after >> 20} MiB" for name, (before, after) in
         (("improvised", improvised), ("rendered", rendered))],
        {
            "generations": given.generations,
            "memory_growth": share(*improvised),
            "renders": given.renders,
            "render_growth": share(*rendered),
        },
    )  # fmt: skip


def untrained(folder: Path) -> Improviser:
    """A network with the weights that it begins with, from its file."""
    settings, facts = ModelSettings(layers=1, width=32), Facts("none", "seconds", 100, 40, 120.0, None, 55, 90)
    network = fresh_model(settings, representation("notes", facts.base), seed=0)
    path = folder / "model.safetensors"
    path.write_bytes(model_bytes(network.state_dict(), settings, TokenSettings(), MidiSettings(), facts, "", 0))
    return cadenza.load(path)


def write(model: Improviser, folder: Path, seed: int, *endings: str) -> None:
    """One short piece of a seed, as files that replace those of the seed before."""
    [piece] = model.generate(seed=seed, notes=NOTES, seconds=20)
    for ending in endings:
        assert model.save(piece, folder / f"piece{ending}").stat().st_size > 0


def growth(times: int, work: Callable[[int], None]) -> tuple[int, int]:
    """Bytes that this process holds after a tenth of the times, and after all."""
    for seed in range(times):
        if seed == max(1, times // 10):
            before = held()
        work(seed)
    return before, held()


def held() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def share(before: int, after: int) -> float:
    return round(after / before - 1, 4)


if __name__ == "__main__":
    main()
