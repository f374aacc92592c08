"""Music files out of an archive, into a private folder, under names made here.

No member's own name or link ever reaches the file system, so nothing is written elsewhere. What the
members claim to hold is added up first, and what is written is counted, so an archive that would
explode is refused.
"""

from __future__ import annotations

import math
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from cadenza.corpus.abc import ABC_SUFFIXES
from cadenza.errors import CadenzaError
from cadenza.midi import MIDI_SUFFIXES
from cadenza.settings import Settings

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
LONGEST_HEADER = 1 << 20
"""Bytes of what a tar archive says of a file; tarfile takes all of it into memory."""
ZIP_BEGINS = b"PK\3\4"
MUSIC_SUFFIXES = MIDI_SUFFIXES + ABC_SUFFIXES


@dataclass(frozen=True)
class SourceFile:
    """A music file: its name within the source, and where to read it; `reason`, a sentence, if that cannot be."""

    name: str
    path: Path
    reason: str = ""


@dataclass(frozen=True)
class Member:
    """A file in an archive; `data`, open until the next member, is None where it cannot, or need not, be read."""

    name: str
    size: int
    data: IO[bytes] | None


def unpack(
    archive: Path, folder: Path, settings: Settings, inside: str = "", most: float = math.inf
) -> list[SourceFile]:
    """Write the archive's music files (those below a folder `inside` if given) into `folder`.

    A damaged or exploding archive, or one of more than `most` files, raises `CadenzaError`.
    """
    limit = int(settings.corpus.max_archive_gigabytes * 1e9)
    largest = int(settings.midi.max_megabytes * 1e6)
    found: list[SourceFile] = []
    claimed = 0
    try:
        for count, member in enumerate(members(archive), 1):
            claimed += member.size
            if count > most:
                raise CadenzaError(f"{archive}: it holds more than {most:,} files; unpack it and take fewer.")
            if claimed > limit:
                raise CadenzaError(
                    f"{archive}: it unpacks to more than {limit / 1e9:g} GB; raise corpus.max_archive_gigabytes if you trust it."
                )
            if not is_music(member.name) or (inside and f"/{inside}/" not in member.name):
                continue
            name = printable(member.name)
            path = folder / f"{len(found):07d}{Path(name).suffix.lower()}"
            reason = ""
            if member.data is None:
                reason = f"{name}: it is encrypted in the archive; unpack it yourself."
            elif member.size > largest:
                reason = f"{name}: {member.size / 1e6:,.0f} MB, over midi.max_megabytes = {settings.midi.max_megabytes:g}; raise that, or leave it out."
            else:
                with open(path, "wb") as out:
                    copy(member.data, out, largest)
            found.append(SourceFile(name, path, reason))
    except CadenzaError:
        raise
    except Exception as error:  # on damage, tarfile, zipfile and the decompressors raise many kinds
        raise damaged(str(archive), error) from None
    return found


def damaged(archive: str, error: Exception) -> CadenzaError:
    """What to say of an archive whose reading ended in `error`."""
    if isinstance(error, OSError) and error.errno:
        return CadenzaError(
            f"{archive}: cannot unpack it ({error.strerror}); free space, or check the path and its permissions."
        )
    why = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
    return CadenzaError(f"{archive}: damaged, or not an archive ({why}); get it again.")


def members(archive: Path) -> Iterator[Member]:
    """The files of a zip or tar archive, in its order; links and devices are passed over."""
    with open(archive, "rb") as start:
        is_zip = archive.suffix.lower() == ".zip" or start.read(4) == ZIP_BEGINS
    if is_zip:
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if info.is_dir() or not is_music(info.filename):
                    continue
                if info.flag_bits & 1:
                    yield Member(info.filename, info.file_size, None)
                else:
                    with zipped.open(info) as data:
                        yield Member(info.filename, info.file_size, data)
    else:
        with tarfile.open(archive, tarinfo=Entry) as tarred:
            for entry in tarred:
                if entry.size < 0:  # by an extended header
                    raise tarfile.ReadError(f"a file of {entry.size:,} bytes")
                if entry.isfile():
                    yield Member(entry.name, entry.size, tarred.extractfile(entry))
            assert tarred.fileobj is not None
            tarred.fileobj.seek(tarred.offset)
            if tarred.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged header for the end
                raise tarfile.ReadError(f"no header at byte {tarred.offset:,}")


class Entry(tarfile.TarInfo):
    """A header of a tar archive; one that leads backwards, or to a name of megabytes, is damage."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        entry = super().frombuf(buf, encoding, errors)
        names = (
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.SOLARIS_XHDTYPE,
        )
        if entry.size < 0 or (entry.type in names and entry.size > LONGEST_HEADER):
            raise tarfile.ReadError(f"a header of {entry.size:,} bytes")
        return entry


def copy(source: IO[bytes], target: IO[bytes], most: int) -> None:
    """Copy, at most one byte more than `most`, so that a lying size is noticed when the file is read."""
    while most >= 0 and (block := source.read(min(1 << 20, most + 1))):
        target.write(block)
        most -= len(block)


def is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def is_music(name: str) -> bool:
    """Whether the name ends like music; macOS resource forks (``._name``) do not count."""
    return name.lower().endswith(MUSIC_SUFFIXES) and not name.rpartition("/")[2].startswith("._")


def printable(name: str) -> str:
    """The name on one line: control characters and undecodable bytes as escapes.

    >>> printable("two\\nlines")
    'two\\\\nlines'
    """
    if name.isprintable():
        return name
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in name
    )
