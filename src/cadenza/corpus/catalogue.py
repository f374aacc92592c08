"""Corpora by name: what they are, their terms, and where a copy of each is on this machine.

A corpus is either part of an installed package (`fiddle`) or an archive, downloaded once into the
platform's cache folder or taken from a file, and accepted only if its music has the known SHA-256.
That digest is taken over the names and bytes of the music, not over the archive, since hosts pack
the same files into different bytes.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from cadenza.corpus.unpack import damaged, is_music, members
from cadenza.errors import CadenzaError
from cadenza.records import Progress
from cadenza.settings import nearest

BLOCK = 1 << 18
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Corpus:
    """`url`, `inside` (the folder that counts) and `sha256` describe an archive; `package` a folder in a package."""

    title: str
    licence: str
    citation: str
    program: int
    package: tuple[str, str] | None = None
    url: str = ""
    inside: str = ""
    sha256: str = ""


CORPORA = {
    "fiddle": Corpus(
        title="Ryan's Mammoth Collection: 1,059 fiddle tunes (1883), as ABC",
        licence="tunes in the public domain; encoding distributed with music21 (BSD-3-Clause)",
        citation="W. B. Ryan, Ryan's Mammoth Collection, Boston: E. Howe, 1883; M. S. Cuthbert and C. Ariza, music21, ISMIR 2010.",
        program=40,
        package=("music21", "corpus/ryansMammoth"),
    ),
    "violin-etudes": Corpus(
        title="1,021 violin performances of Kayser, Paganini and Wohlfahrt (34 hours), as MIDI",
        licence="AGPL-3.0",
        citation="N. C. Tamer, Y. Özer, M. Müller, X. Serra, High-Resolution Violin Transcription using Weak Labels, ISMIR 2023.",
        program=40,
        url="https://github.com/MTG/violin-transcription/archive/17e198cad1f355c566a26a6d58ee0559fd198ffa.tar.gz",
        inside="dataset",
        sha256="417fe4c545f60793a0776b340454f5e0c3644366eae4ac76ec3bc2afda6155a4",
    ),
}


def lookup(name: str) -> Corpus:
    if name not in CORPORA:
        raise CadenzaError(f"There is no corpus {name!r}{nearest(name, CORPORA)}; corpora: {', '.join(CORPORA)}.")
    return CORPORA[name]


def cached(name: str) -> Path:
    """Where an archive is or would be kept."""
    return user_cache_path("cadenza", appauthor=False) / f"{name}.tar.gz"


def here(name: str) -> Path | None:
    """The corpus's folder or archive, if this machine has it."""
    corpus = lookup(name)
    if corpus.package is None:
        path = cached(name)
    else:
        package, folder = corpus.package
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            return None
        path = Path(found.submodule_search_locations[0]) / folder
    return path if path.exists() else None


def get(name: str, source: Path | None = None) -> Iterator[Progress]:
    """Bring an archive into the cache, from its host or from the file `source`; yields progress, in bytes.

    The total is 0 where the host does not say. The copy in the cache is replaced only by a complete one with the right digest.
    """
    corpus = lookup(name)
    if corpus.package is not None:
        if here(name) is None:
            raise CadenzaError(
                f"Corpus {name!r} comes with the package {corpus.package[0]}; install it: pip install 'cadenza[{name}]'."
            )
        return
    target = cached(name)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield from (download(corpus.url, part) if source is None else take(source, part))
        check(name, part, str(source or corpus.url))
        part.replace(target)
    except OSError as error:
        raise CadenzaError(
            f"Cannot write {part} ({error.strerror or error}); free space or set XDG_CACHE_HOME to another folder."
        ) from None
    finally:
        with suppress(OSError):
            part.unlink()


def download(url: str, part: Path) -> Iterator[Progress]:
    again = "run the same command again, or fetch it yourself and pass --from FILE."
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as reply, open(part, "wb") as out:
            total = int(reply.headers.get("Content-Length") or 0)
            done = 0
            while block := reply.read(BLOCK):
                out.write(block)
                done += len(block)
                yield Progress("downloading", done, total)
    except urllib.error.HTTPError as error:
        error.close()
        raise CadenzaError(f"{url}: cannot download it (the host says {error.code} {error.reason}); {again}") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise CadenzaError(f"{url}: cannot download it ({getattr(error, 'reason', error)}); {again}") from None
    except http.client.HTTPException:
        raise CadenzaError(f"{url}: the download broke off; {again}") from None
    if total and done != total:
        raise CadenzaError(f"{url}: the download broke off after {done:,} of {total:,} bytes; {again}")


def take(source: Path, part: Path) -> Iterator[Progress]:
    try:
        size = source.stat().st_size
        archive = open(source, "rb")  # noqa: SIM115 - closed below; only what opening it raises is about the source
    except OSError as error:
        raise CadenzaError(
            f"{source}: cannot be read ({error.strerror}); --from takes the archive of the corpus."
        ) from None
    with archive, open(part, "wb") as out:
        shutil.copyfileobj(archive, out)
    yield Progress("copying", size, size)


def check(name: str, archive: Path, origin: str) -> None:
    """Raise unless the archive, which came from `origin`, holds the known music."""
    corpus = lookup(name)
    try:
        found = content_digest(archive, corpus.inside)
    except Exception as error:  # on damage, tarfile, zipfile and the decompressors raise many kinds
        raise damaged(origin, error) from None
    if found != corpus.sha256:
        raise CadenzaError(
            f"{origin}: its music is not that of {name} (SHA-256 {found[:12]}…, expected {corpus.sha256[:12]}…); get it from {corpus.url}."
        )


def content_digest(archive: Path, inside: str) -> str:
    """SHA-256 over the sorted names (from the folder `inside` on) and digests of an archive's music."""
    lines = []
    for member in members(archive):
        _, found, name = member.name.partition(f"/{inside}/")
        if found and is_music(name) and member.data is not None:
            lines.append(f"{hashlib.file_digest(member.data, 'sha256').hexdigest()}  {name}\n")  # type: ignore[arg-type]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
