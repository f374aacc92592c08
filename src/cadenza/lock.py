"""One process at a time: a folder that is worked on is locked against a second process.

The operating system holds the lock (flock) for as long as the process lives, so that of a dead process is never in
the way, and no clock decides. The file itself stays, and names the last process that held it. Where there are no such
locks (Windows, some network drives) nothing is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cadenza.errors import CadenzaError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

RUN_LOCK, STUDIO_LOCK = ".lock", ".studio.lock"


@contextmanager
def held(path: Path, advice: str = "wait until it has ended, or choose another --out") -> Iterator[None]:
    """Hold the lock at `path`; one that another process (or thread) holds raises `CadenzaError`, which ends in `advice`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, held(Path(folder) / RUN_LOCK):  # doctest: +ELLIPSIS
    ...     with held(Path(folder) / RUN_LOCK):
    ...         pass
    Traceback (most recent call last):
    cadenza.errors.CadenzaError: ...: another process (number ...) works here; wait until it has ended, or choose another --out.
    """
    file, made = opened(path)
    try:
        while not (mine := taken(file)) or not is_at(file, path):
            if not mine:
                number = os.read(file, 20).decode("ascii", "replace").strip() or "unknown"
                raise CadenzaError(f"{path.parent}: another process (number {number}) works here; {advice}.")
            os.close(file)  # whoever held it has just removed it
            file, made = opened(path)
        sign(file)
        try:
            yield
        finally:
            with suppress(OSError):
                tidy(path, made)
    finally:
        with suppress(OSError):  # closed above, where the place went meanwhile
            os.close(file)


def tidy(path: Path, made: list[Path]) -> None:
    """Remove the lock and the folders made for it where nothing came of them."""
    if made and list(path.parent.iterdir()) == [path]:
        path.unlink()
        for folder in made:
            folder.rmdir()


def opened(path: Path) -> tuple[int, list[Path]]:
    """The file of the lock, and the folders made for it; a folder that cannot be written raises `CadenzaError`."""
    try:
        made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666), made
    except OSError as error:
        raise CadenzaError(
            f"{path.parent}: cannot write here ({error.strerror}); make it writable, or choose another folder."
        ) from None


def taken(file: int) -> bool:
    """Whether the lock is now ours; without locks it always is."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def is_at(file: int, path: Path) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def sign(file: int) -> None:
    """Write down whose lock it is; a full disk does not matter here."""
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        pass
