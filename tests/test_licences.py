"""Every package that is needed is listed with the licence that it states."""

from __future__ import annotations

import json
import re
from email.message import Message
from importlib.metadata import Distribution

import pytest

from cadenza.licences import UNKNOWN, canonical, licences, stated
from conftest import ROOT, Cadenza

SILENT = {"axe-playwright-python"}
"""Needed by tests alone; its metadata name no licence."""


def test_every_dependency_states_a_licence() -> None:
    found = licences()
    assert {one.name for one in found if one.licence == UNKNOWN} <= SILENT
    names = {canonical(one.name) for one in found}
    assert {"torch", "numpy", "symusic", "typer", "starlette", "click"} <= names
    assert "cadenza" not in names
    assert all(one.version for one in found)


class Package(Distribution):
    """Metadata without an installation."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self.fields = fields

    def read_text(self, filename: str) -> str | None:
        made = Message()
        for name, value in self.fields:
            made[name] = value
        return made.as_string() if filename == "METADATA" else None

    def locate_file(self, path: object) -> object:  # type: ignore[override]
        return path


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT"), ("License", "another")], "MIT"),
        ([("License", "BSD-3-Clause")], "BSD-3-Clause"),
        ([("License", "x" * 61), ("Classifier", "License :: OSI Approved :: MIT License")], "MIT License"),
        ([("License", "UNKNOWN"), ("Classifier", "License :: OSI Approved :: MIT License")], "MIT License"),
        ([("License", "UNKNOWN")], UNKNOWN),
        ([("Classifier", "License :: OSI Approved")], UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_the_licence_is_what_the_package_states(fields: list[tuple[str, str]], licence: str) -> None:
    assert stated(Package([("Name", "one"), *fields])) == licence


def test_the_command_lists_them_as_a_table_and_as_json(cadenza: Cadenza) -> None:
    code, out, err = cadenza("licences", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert {tuple(one) for one in found} == {("name", "version", "licence")}
    code, out, _ = cadenza("licences")
    assert code == 0
    assert all(any(line.startswith(one["name"]) for line in out.splitlines()) for one in found)


def test_the_lock_holds_every_pinned_package_but_torch() -> None:
    pinned = {line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line}
    locked = re.findall(r"^(\S+==\S+) \\$", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(locked) == {pin for pin in pinned if not pin.startswith("torch==")}
