"""Works (or, if asked, files) to training, validation and test; no work is then in two of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cadenza.corpus.scan import Entry
from cadenza.settings import CorpusSettings

TRAIN, VALIDATION, TEST = PARTS = "train", "validation", "test"


def split_pieces(entries: list[Entry], settings: CorpusSettings, seed: int) -> list[Entry]:
    """Give every kept entry its part.

    Works are shuffled; the largest trains; then test and validation each take works until they hold
    their share of the pieces (at least one each from three works on, a test work alone from two).
    One work is all training: then there is no held-out figure to claim. By file, each file counts as
    a work of its own.
    """
    kept = [entry for entry in entries if not entry.reason]
    group = [entry.work for entry in kept] if settings.split_by == "work" else list(range(len(kept)))
    works, sizes = np.unique(group, return_counts=True)
    order = np.random.default_rng([seed, len(works)]).permutation(len(works))
    largest = int(sizes.argmax()) if len(works) else 0
    free = [int(place) for place in order if place != largest]
    parts = {int(work): TRAIN for work in works}
    for part, share, needed in ((TEST, settings.test, 2), (VALIDATION, settings.validation, 3)):
        wanted, taken = share * sizes.sum(), 0
        spare = int(part == TEST and settings.validation > 0 and len(works) >= 3)  # a work for validation
        while len(free) > spare and len(works) >= needed and share > 0 and taken < wanted:
            place = free.pop()
            parts[int(works[place])] = part
            taken += sizes[place]
    part_of = iter([parts[number] for number in group])
    return [entry if entry.reason else replace(entry, split=next(part_of)) for entry in entries]
