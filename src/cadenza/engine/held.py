"""All that a thread computes with, held where compiled loops are: handing over one object costs less than sixty arrays."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.experimental import structref

from cadenza.compiling import in_order


@structref.register
class HeldType(types.StructRef):
    """How loops see `Held`."""


class Held(structref.StructRefProxy):
    """`embedding`, `trunk` (weights and memory), `heads`, `room` and what was read `last`."""


structref.define_proxy(Held, HeldType, ["embedding", "trunk", "heads", "room", "last"])


@in_order
def hold(embedding: Any, trunk: Any, heads: Any, room: Any, last: Any) -> Any:
    """The parts as one."""
    return Held(embedding, trunk, heads, room, last)
