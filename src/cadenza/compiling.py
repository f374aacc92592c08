"""How loops are compiled (numba)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit
from numba.core import event


def compiled(*liberties: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a loop, with these liberties in its arithmetic, and keep it on disk where that is possible."""

    def compile_loop(loop: Callable[..., Any]) -> Any:
        how: dict[str, Any] = {"fastmath": set(liberties), "nogil": True, "error_model": "numpy"}
        try:
            made = njit(cache=True, **how)(loop)
        except RuntimeError:  # no folder to keep it in
            return njit(**how)(loop)
        if cache := getattr(made, "_cache", None):  # none, where numba is told to compile nothing
            cache.save_overload = forgiving(cache.save_overload)
        return made

    return compile_loop


def forgiving(save: Callable[..., None]) -> Callable[..., None]:
    """A loop that cannot be kept, as on a full disk, works all the same."""

    def save_if_possible(*what: Any) -> None:
        with suppress(OSError):
            save(*what)

    return save_if_possible


class FirstCompilation(event.Listener):
    """Calls `tell` before the first loop is compiled that has not been kept on disk."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.tell, self.told = tell, False

    def on_start(self, _: event.Event) -> None:
        if not self.told:
            self.told = True
            self.tell()

    def on_end(self, _: event.Event) -> None:
        """Nothing."""


def before_compiling(tell: Callable[[], None]) -> None:
    """From now on, call `tell` once, before the first loop that is compiled; never if all are kept on disk."""
    event.register("numba:compile", FirstCompilation(tell))


in_order = compiled("contract")
any_order = compiled("contract", "reassoc", "nsz", "arcp")
