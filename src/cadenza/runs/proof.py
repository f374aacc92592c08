"""The whole chain of a run, link by link: what is as it was, and whether each link speaks of those before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from cadenza.errors import CadenzaError
from cadenza.records import Said, counted
from cadenza.runs.chain import ALTERED, LINKS, MISSING, faults, files_of, listing
from cadenza.runs.folder import METRICS, MODEL, REPORT, SAMPLES, Run
from cadenza.runs.page import stated
from cadenza.runs.verification import check_parts, found_at, not_as_prepared, source_faults, source_here

OK, ABSENT, UNCOMPARED, UNLISTED = "ok", "not here", "left out", "not listed"
SHOWN = 3
"""So many files of a link are named."""


@dataclass(frozen=True)
class Finding:
    """The state of a link, and a few words on it."""

    link: str
    state: str
    text: str


def prove(run: Run) -> Iterator[Said]:
    """A line for each link, the source first; `CadenzaError` at the end unless all that is here is as it was."""
    found = []
    for finding in findings(run):
        found.append(finding)
        yield Said(f"{finding.link:<9} {finding.state:<10} {finding.text}")
    if bad := [finding.link for finding in found if finding.state not in (OK, ABSENT, UNCOMPARED)]:
        raise CadenzaError(
            f"{run.folder}: not as it was written ({', '.join(bad)}); the lines above say what is to be done."
        )


def findings(run: Run) -> Iterator[Finding]:
    """What follows from a link that is not sound is not compared with it."""
    sound = True
    for link, known in LINKS.items():
        finding = finding_of(run, link, sound)
        if finding is None:
            continue
        if link == "corpus":
            yield (
                source(run)
                if finding.state == OK
                else Finding("source", UNCOMPARED, "not compared, as what the run holds of it is not as it was.")
            )
        advice = "" if finding.state in (OK, UNLISTED) else f"; {known.remedy}"
        yield Finding(link, finding.state, f"{finding.text}{advice}.")
        sound = sound and finding.state == OK


def finding_of(run: Run, link: str, sound: bool) -> Finding | None:
    """The state of a link; of one that was never made, nothing."""
    listed, there = listing(run).get(link), files_of(run, link)
    if listed is None:
        if not there:
            return None
        return Finding(
            link,
            UNLISTED,
            f"{counted(len(there), 'file')}, {some(there)}: left by a command that was cut off, or by another program; go on with it, or with cadenza run and --resume",
        )
    found = faults(run, link)
    for state in (ALTERED, MISSING):
        if names := [name for name, fault in found.items() if fault == state]:
            return Finding(link, state, some(names))
    if sound and (wrong := contradiction(run, link)):
        return Finding(link, ALTERED, wrong)
    if added := [name for name in there if name not in listed]:
        return Finding(link, UNLISTED, f"{some(added)}: not written by the program; remove it, or move it elsewhere")
    return Finding(link, OK, counted(len(listed), "file"))


def some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def source(run: Run) -> Finding:
    """The files of the source beside the digests in the manifest."""
    here, kept = source_here(run), run.kept()
    if not here:
        return Finding(
            "source", ABSENT, f"{found_at(run)} is gone or elsewhere, so it was not compared with the manifest."
        )
    if found := dict(source_faults(run, here, kept)):
        state = ALTERED if "has changed" in found.values() else MISSING
        return Finding(
            "source", state, f"{some(list(found))} in {here}; restore it, or begin again with another --out."
        )
    return Finding("source", OK, f"{counted(len(kept), 'piece')} from {here}, as the manifest has them.")


def contradiction(run: Run, link: str) -> str:
    """What a link says of those before it and is not so; empty where all is well."""
    if link == "corpus":
        if run.settings().corpus.split_by == "work":
            check_parts(run.kept())
        return ", ".join(f"{name} is not what corpus/origin.json says" for name in not_as_prepared(run))
    if link == "model" and run.improviser().manifest_sha256 != run.manifest_sha256():
        return f"{MODEL} is of another manifest"
    if link == "figures":
        of = run.metrics()["model_sha256"], run.metrics()["manifest_sha256"]
        return (
            "" if of == (run.improviser().weights_sha256, run.manifest_sha256()) else f"{METRICS} is of another model"
        )
    if link == "pieces":
        strange = [
            name
            for name in files_of(run, link)
            if is_record(name) and model_of(run, name) != run.improviser().weights_sha256
        ]
        return f"{some(strange)}: by another model" if strange else ""
    if link == "report":
        page = run.read(REPORT).decode()
        return "".join(f"{REPORT} is of another {what}" for what, sha256 in stated(run).items() if sha256 not in page)
    return ""


def is_record(name: str) -> bool:
    """Whether a file is the record of a piece: not their list."""
    path = PurePosixPath(name)
    return path.suffix == ".json" and path.with_suffix("").as_posix() != f"{SAMPLES}/{SAMPLES}"


def model_of(run: Run, name: str) -> str:
    return str(json.loads(run.read(name))["origin"]["model_sha256"])
