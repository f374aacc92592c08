"""Human music drawn to stand beside improvised music: like lengths, equal numbers.

In: pieces and a random generator. Out: excerpts as long as the pieces they stand beside, and sets of them,
as places in a list.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cadenza.notes import Notes, from_first_onset

DRAWS = 200
"""Sets."""


def excerpts(pieces: Sequence[Notes], like: Sequence[Notes], rng: np.random.Generator) -> list[Notes]:
    """One excerpt of each piece, of a length drawn from those of `like`; a shorter piece is taken whole."""
    if not like or not pieces:
        return []
    lengths = rng.choice([piece.end - int(piece.onset[0]) for piece in like], len(pieces))
    return [excerpt(piece, int(length), rng) for piece, length in zip(pieces, lengths, strict=True)]


def excerpts_by_notes(pieces: Sequence[Notes], lengths: Sequence[int], rng: np.random.Generator) -> list[Notes]:
    """Human pieces cut into excerpts of the lengths of other pieces, in notes, so that like meets like.

    Each piece gives as many excerpts as fit, end to end from a random note on, all of a length drawn
    from `lengths`; a shorter piece stays whole.
    """
    cut: list[Notes] = []
    for piece in pieces:
        length = max(1, int(rng.choice(lengths))) if len(lengths) else len(piece)
        count = len(piece) // length if length else 0
        if count < 1:
            cut.append(piece)
            continue
        first = int(rng.integers(len(piece) - count * length + 1))
        cut += [
            from_first_onset(piece[slice(start, start + length)])
            for start in range(first, first + count * length, length)
        ]
    return cut


def excerpt(piece: Notes, length: int, rng: np.random.Generator) -> Notes:
    """The notes that begin within `length` steps of a random note, early enough for the piece to last."""
    latest = max(piece.end - length, int(piece.onset[0]))
    first = int(rng.integers(np.searchsorted(piece.onset, latest, side="right")))
    begin = int(piece.onset[first])
    return from_first_onset(piece[(piece.onset >= begin) & (piece.onset < begin + length)])


def draw_sets(work: npt.NDArray[np.int64], count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """`DRAWS` sets of `count` excerpts, each from works drawn with replacement; excerpt i is of `work[i]`."""
    names, place = np.unique(work, return_inverse=True)
    members = [np.flatnonzero(place == k) for k in range(len(names))]
    drawn = np.zeros((DRAWS, count), dtype=np.int64)
    for row in drawn if len(names) else ():
        pool = np.concatenate([members[k] for k in rng.integers(len(names), size=len(names))])
        row[:] = rng.choice(pool, count)
    return drawn
