"""Write `requirements.lock`: the packages of constraints.txt with the SHA-256 of their files, as a package index states them.

In: the address of an index that speaks JSON (PEP 691), such as pip's own. Out: every pinned package but torch, whose
CPU files are other ones, with the digests of its wheels for the Pythons that Cadenza supports (of its source, where there is
no wheel). pip then takes no other file: `pip install --require-hashes --no-deps -r requirements.lock`.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
APART = {"torch"}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("Give the address of the package index: python .ci/lock.py ADDRESS")
    pins = [line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    entries = [entry(sys.argv[1], name, version) for name, version in pins if name not in APART]
    head = "# Written by .ci/lock.py from constraints.txt; torch stands apart, since its CPU files are other ones.\n"
    (ROOT / "requirements.lock").write_text(head + "".join(entries))


def entry(index: str, name: str, version: str) -> str:
    """The lines of one package."""
    files = [file for file in files_of(index, name) if version_of(file["filename"]) == version]
    wheels = [file for file in files if file["filename"].endswith(".whl") and fits(file["filename"])]
    chosen = wheels or [file for file in files if file["filename"].endswith(".tar.gz")]
    if not chosen:
        sys.exit(f"{name} {version}: the index has no file of it.")
    hashes = sorted({file["hashes"]["sha256"] for file in chosen})
    return f"{name}=={version}" + "".join(f" \\\n    --hash=sha256:{digest}" for digest in hashes) + "\n"


def files_of(index: str, name: str) -> list[dict[str, Any]]:
    project = re.sub(r"[-_.]+", "-", name).lower()
    request = urllib.request.Request(
        f"{index.rstrip('/')}/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        files: list[dict[str, Any]] = json.load(reply)["files"]
    return files


def version_of(filename: str) -> str:
    """The version in the name of a wheel or a source archive."""
    if filename.endswith(".whl"):
        return filename.split("-")[1]
    return filename.removesuffix(".tar.gz").rpartition("-")[2]


def fits(wheel: str) -> bool:
    """Whether a wheel is for CPython 3.11 to 3.13."""
    interpreters, abi, _ = wheel.removesuffix(".whl").split("-")[-3:]
    if abi == "abi3":
        return all(int(tag[3:] or 0) <= 13 for tag in interpreters.split(".") if tag.startswith("cp3"))
    return any(tag in ("py3", "cp311", "cp312", "cp313") for tag in interpreters.split("."))


if __name__ == "__main__":
    main()
