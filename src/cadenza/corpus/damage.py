"""What goes wrong in the file of a scan store, as one sentence."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cadenza.errors import CadenzaError

OF_DAMAGE = TypeError, ValueError, AttributeError
"""What values of another type or form lead to, which only a damaged store holds."""


@contextmanager
def guarded(path: Path, *others: type[Exception]) -> Iterator[None]:
    """What goes wrong in the store's file as one sentence; `others` are errors that only a damaged one can cause here."""
    faults: tuple[type[Exception], ...] = (sqlite3.Error, UnicodeDecodeError, *others)
    try:
        yield
    except faults as error:
        raise CadenzaError(trouble(path, str(error))) from None


def trouble(path: Path, said: str) -> str:
    """What to say of the database's own words."""
    if "locked" in said:
        return f"{path}: another scan is writing it; wait until that is done, or choose another --out."
    if any(word in said for word in ("full", "I/O", "readonly", "unable to open")):
        remedy = "make it writable" if "readonly" in said else "free space"
        return f"{path}: cannot write it ({said}); {remedy}, or choose another folder."
    return f"{path}: damaged, or no scan of Cadenza ({said}); remove it and scan again."
