"""Tables of ids in few bytes, for a disk: each id in the smallest unsigned integer that holds all of its table's ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from cadenza.errors import CadenzaError
from cadenza.notes import Notes, TimeBase
from cadenza.tokens import REPRESENTATIONS
from cadenza.tokens.contract import Representation


def id_type(sizes: Sequence[int]) -> np.dtype[Any]:
    """The type that holds every id of fields of these sizes, and their start ids.

    >>> id_type((66, 128, 64, 32)), id_type((597,))
    (dtype('uint8'), dtype('uint16'))
    """
    return np.min_scalar_type(max(sizes))


@dataclass(frozen=True)
class Compact:
    """Notes as the bytes of their table in a representation, by its name, with all ids that it can have."""

    key: str

    def __call__(self, notes: Notes) -> bytes:
        """The table's bytes; none where the representation cannot write this time base."""
        tokens = whole(self.key, notes.header.time_base)
        return tokens.encode(notes).astype(id_type(tokens.sizes)).tobytes() if tokens else b""


@lru_cache
def whole(name: str, base: TimeBase) -> Representation | None:
    """A representation with all its ids; None where it does not know the time base."""
    try:
        return REPRESENTATIONS[name](base, ())
    except CadenzaError:
        return None
