"""The chain of a run: what every file held when the program had written it, as `chain.json` in its folder.

Each link is a set of files that one stage makes from the links before it. While a stage works its link is not listed,
so a run that was cut off is unfinished, not altered; what is listed and differs was altered by something else.
This finds accidents and carelessness. Whoever computes all digests anew is not found out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from cadenza.errors import CadenzaError
from cadenza.runs.folder import (
    CONFIG,
    CORPUS,
    FOLDS,
    INIT,
    JUDGEMENT,
    LOG,
    MANIFEST,
    METRICS,
    MODEL,
    NEAREST,
    PLOTS,
    REPORT,
    SAMPLES,
    SCORES,
    STATE,
    TIMINGS,
    TUNE,
    Run,
)

CHAIN = "chain.json"
RESTORE = "restore it, or begin again with another --out"
RESUME = "restore it, or make it anew with cadenza run and --resume"
MISSING, ALTERED = "missing", "altered"


@dataclass(frozen=True)
class Link:
    """Files and folders (which end in /), what is to be done where they are not as they were, and the links that state them."""

    places: tuple[str, ...]
    remedy: str
    followers: tuple[str, ...] = ()


LINKS = {
    "corpus": Link((MANIFEST, CONFIG, f"{CORPUS}/", INIT), RESTORE),
    "model": Link((MODEL, STATE, LOG, TIMINGS, f"{FOLDS}/"), RESTORE),
    "pieces": Link((f"{SAMPLES}/",), RESUME, ("judgement", "report")),
    "figures": Link((METRICS, SCORES), RESUME, ("report",)),
    "judgement": Link((JUDGEMENT, f"{NEAREST}/"), RESUME, ("report",)),
    "tuning": Link((TUNE,), "restore it, or make it anew with cadenza tune"),
    "pictures": Link((f"{PLOTS}/",), "make it anew with cadenza report"),
    "report": Link((REPORT,), "make it anew with cadenza report"),
}
"""In the order in which they follow from each other."""

Listing = dict[str, dict[str, str]]
"""SHA-256 by file, by link."""


def listing(run: Run) -> Listing:
    """What is listed; a list that the program did not write raises `CadenzaError`."""
    path = run.folder / CHAIN
    if not path.exists():
        return {}
    try:
        data = run.read(CHAIN)
        found: Listing = json.loads(data)
        if (
            isinstance(found, dict)
            and as_bytes(found) == data
            and set(found) <= set(LINKS)
            and all(isinstance(one, dict) for one in found.values())
        ):
            return found
    except (ValueError, TypeError):
        pass
    raise CadenzaError(
        f"{path}: altered since it was written; restore it, or remove it and go on with cadenza run and --resume, which makes all after the model anew."
    )


def as_bytes(found: Listing) -> bytes:
    """The one way in which a list is written."""
    return json.dumps(found, indent=1, sort_keys=True).encode() + b"\n"


def files_of(run: Run, link: str) -> list[str]:
    """What lies in the places of a link, names within the folder."""
    names = (path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file())
    return sorted(name for name in names if link_of(name) == link)


def remove_parts(run: Run) -> None:
    """Remove what is left of writes to the run's files that were cut off."""
    for path in run.folder.rglob("*.part"):
        if link_of(path.relative_to(run.folder).as_posix().removesuffix(".part")):
            path.unlink()


def link_of(name: str) -> str:
    """The link that a file belongs to, or nothing: by the longest place that fits.

    >>> link_of("samples/01.mid"), link_of("samples/nearest/01-own.svg"), link_of("notes.txt")
    ('pieces', 'judgement', '')
    """
    fitting = [
        (len(place), link)
        for link, known in LINKS.items()
        for place in known.places
        if name == place or (place.endswith("/") and name.startswith(place))
    ]
    return max(fitting)[1] if fitting and not name.endswith(".part") else ""


def digest(path: Path) -> str:
    """SHA-256 of a file; empty where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def seal(run: Run, *links: str) -> None:
    """List what the links hold now."""
    made = {link: {name: digest(run.folder / name) for name in files_of(run, link)} for link in links}
    run.write(CHAIN, as_bytes(listing(run) | made))


def drop(run: Run, *links: str) -> None:
    """List these links no longer."""
    before = listing(run)
    if left_out := set(links) & set(before):
        run.write(CHAIN, as_bytes({link: files for link, files in before.items() if link not in left_out}))


@contextmanager
def renewed(run: Run, *links: str) -> Iterator[None]:
    """Links that are made anew in this block: neither they nor what states them are listed until it has ended well."""
    drop(run, *links, *(follower for link in links for follower in LINKS[link].followers))
    yield
    seal(run, *links)


def faults(run: Run, link: str) -> dict[str, str]:
    """Listed files that are `MISSING` or `ALTERED`."""
    found = {}
    for name, sha256 in listing(run).get(link, {}).items():
        if digest(run.folder / name) != sha256:
            found[name] = ALTERED if (run.folder / name).exists() else MISSING
    return found


def intact(run: Run, link: str) -> bool:
    """Whether a link is listed, and all of it as it was."""
    return link in listing(run) and not faults(run, link)


def check(run: Run, until: str) -> None:
    """A fault of a link before this one raises `CadenzaError`: what followed from it would mean nothing."""
    for link in list(LINKS)[: list(LINKS).index(until)]:
        for name, fault in faults(run, link).items():
            raise fault_of(run, link, name, fault)


def fault_of(run: Run, link: str, name: str, fault: str) -> CadenzaError:
    return CadenzaError(
        f"{run.folder / name}: {fault} since it was written, so what follows from it would mean nothing; {LINKS[link].remedy}."
    )
