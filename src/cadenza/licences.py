"""The licences of everything that Cadenza needs, as the installed packages state them (`importlib.metadata`).

In: nothing. Out: name, version and licence of each package of the dependency tree that is installed, Cadenza's own extras
included. What a package states is repeated, not judged; one that states nothing has the licence `UNKNOWN`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution

UNKNOWN = "unknown"
REQUIREMENT = re.compile(r"^([\w.-]+)\s*(?:\[([^\]]*)\])?")
EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)""")
LONGEST = 60
"""Characters of a licence's name; what is longer is its whole text."""


@dataclass(frozen=True)
class Licence:
    """What one package states."""

    name: str
    version: str
    licence: str


def licences(root: str = "cadenza") -> list[Licence]:
    """Of every installed package that `root` or one of its extras needs, by name, without `root`."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = list(needed(distribution(root), None))
    while todo:
        name, extras = todo.pop()
        key = canonical(name)
        if (key, extras) in seen:
            continue
        seen.add((key, extras))
        try:
            found[key] = distribution(name)
        except PackageNotFoundError:  # of an extra or a system that is not this one
            continue
        todo += needed(found[key], extras)
    found.pop(canonical(root), None)
    return [Licence(one.name, one.version, stated(one)) for _, one in sorted(found.items())]


def canonical(name: str) -> str:
    """A name as indexes compare it (PEP 503).

    >>> canonical("Jinja2"), canonical("typing_extensions")
    ('jinja2', 'typing-extensions')
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(package: Distribution, extras: frozenset[str] | None) -> Iterator[tuple[str, frozenset[str]]]:
    """Names and extras that a package needs with these extras of its own; None stands for all of them."""
    for text in package.requires or ():
        requirement, _, marker = text.partition(";")
        asked = EXTRA.search(marker)
        if asked and extras is not None and asked[1] not in extras:
            continue
        if match := REQUIREMENT.match(requirement):
            yield match[1], frozenset(filter(None, (match[2] or "").replace(" ", "").split(",")))


def stated(package: Distribution) -> str:
    """The licence expression (PEP 639), else the short name, else the classifiers.

    A field that holds a whole text gives its first line.
    """
    about = package.metadata
    if "License-Expression" in about:
        return about["License-Expression"]
    classified = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or ()
        if line.startswith("License ::") and line.count("::") > 1
    ]
    field = about["License"].strip() if "License" in about else ""
    if field and field.upper() != "UNKNOWN" and len(field) <= LONGEST:
        return field
    if classified:
        return ", ".join(classified)
    return field.splitlines()[0][:LONGEST] if field and field.upper() != "UNKNOWN" else UNKNOWN
