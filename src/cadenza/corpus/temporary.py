"""The folder for temporary files, and what goes wrong there as one sentence."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cadenza.errors import CadenzaError


@contextmanager
def in_temporary() -> Iterator[None]:
    """Around what touches only the folder for temporary files: trouble there raises `CadenzaError`."""
    try:
        yield
    except OSError as error:
        raise CadenzaError(
            f"{tempfile.tempdir or 'The folder for temporary files'}: cannot work there ({error.strerror or error}); free space, or set TMPDIR to another folder."
        ) from None


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder for as long as the block lasts."""
    with in_temporary():
        made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    with made as folder:
        yield Path(folder)
