"""The same run once more, from its saved settings and step counts: which figures come out the same?"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cadenza.checkpoint import with_sampling
from cadenza.errors import CadenzaError
from cadenza.lock import RUN_LOCK, held
from cadenza.records import Record, Said
from cadenza.runs.folder import INIT, MANIFEST, METRICS, MODEL, SAMPLES, Run
from cadenza.runs.prepare import prepare
from cadenza.runs.stages import carry_out
from cadenza.settings import SampleSettings

CLOSE = 1e-3
"""Figures that differ by a smaller share agree for practical purposes; other processors round otherwise."""
SHOWN = 12


def reproduce(run: Run, out: Path) -> Iterator[Record]:
    """Read the source again and train by the saved settings, in the folder `out`, which is taken up if it was begun."""
    if not (run.trained and (run.folder / METRICS).exists()):
        raise CadenzaError(
            f"{run.folder}: not a finished run, so there is nothing to compare; finish it with --resume."
        )
    if out.resolve() == run.folder.resolve():
        raise CadenzaError(f"{out}: a run cannot be reproduced in its own folder; pass another --out.")
    origin, again = run.origin(), Run(out)
    parent = run.folder / INIT
    torch.set_num_threads(run.settings().train.threads)  # which prepare() would else take from this process
    with held(out / RUN_LOCK):
        if not again.prepared:
            yield from prepare(again, origin["found_at"], run.settings(), parent if parent.exists() else None)
    if again.manifest_sha256() != run.manifest_sha256():
        raise CadenzaError(
            f"{out / MANIFEST}: not that of {run.folder}, so the music or the way it is read has changed and no figure can match; restore {origin['source']}, remove {out} and repeat, or begin a new run."
        )
    yield from carry_out(origin["found_at"], run.settings(), out, parent if parent.exists() else None, resume=True)
    yield from differences(run, again)


def differences(run: Run, again: Run) -> Iterator[Said]:
    """What is the same to the last bit, what is close, and what is not."""
    plain = [with_sampling(one.read(MODEL), SampleSettings()) for one in (run, again)]  # however it was tuned since
    yield Said(f"{MODEL}: {'the same bytes' if plain[0] == plain[1] else 'other bytes'}.")
    for name in (f"{SAMPLES}/{one['name']}.mid" for one in run.samples()):
        same = digest(run, name) == digest(again, name)
        yield Said(f"{name}: {'the same bytes' if same else 'other bytes'}.")
    before, after = (dict(numbers({"metrics": one.metrics(), "judgement": one.judgement()})) for one in (run, again))
    exact = [name for name, value in before.items() if same_number(value, after.get(name), 0)]
    close = [name for name, value in before.items() if name not in exact and same_number(value, after.get(name), CLOSE)]
    other = [name for name in {**before, **after} if name not in exact and name not in close]
    yield Said(
        f"Of {len(before):,} figures, {len(exact):,} match exactly, {len(close):,} to a thousandth, {len(other):,} do not."
    )
    for name in other[:SHOWN]:
        yield Said(f"  {name}: {before.get(name, 'missing')} before, {after.get(name, 'missing')} now")
    if len(other) > SHOWN:
        yield Said(f"  and {len(other) - SHOWN:,} more")


def digest(run: Run, name: str) -> str:
    path = run.folder / name
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in nested values, by its path.

    >>> list(numbers({"test": {"bits": 2.5, "interval": [2, 3]}}))
    [('test.bits', 2.5), ('test.interval.0', 2), ('test.interval.1', 3)]
    """
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return
    if isinstance(value, int | float):
        yield name, value
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield from numbers(inner, f"{name}.{key}" if name else str(key))


def same_number(one: float, other: float | None, tolerance: float) -> bool:
    if other is None:
        return False
    return one == other or (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=tolerance)
