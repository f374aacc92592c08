"""The reading order of the program is its import order; nothing here but this list knows it."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT

SOURCE = ROOT / "src" / "cadenza"

READING_ORDER = (
    "errors",
    "lock",
    "licences",
    "settings",
    "presets",
    "records",
    "compiling",
    "notes",
    "instruments",
    "playability",
    "midi",
    "corpus",
    "tokens",
    "engine",
    "batches",
    "models",
    "parallel",
    "likelihood",
    "train",
    "planning",
    "ending",
    "sample",
    "evaluate",
    "phrases",
    "synthesizer",
    "audio",
    "plot",
    "report",
    "export",
    "checkpoint",
    "prompt",
    "hearing",
    "improviser",
    "runs",
    "terminal",
    "options",
    "web",
    "cli",
)

EXEMPT = ("__init__", "__main__")
"""The front doors: they may import anything."""

PURE = ("notes", "playability", "tokens", "engine", "models", "train", "sample", "likelihood", "evaluate", "phrases")
"""These touch no file and print nothing."""

HEAVY = ("torch", "matplotlib", "numpy", "numba", "symusic", "scipy")

FILE_CALLS = {
    *("open", "print", "input", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "touch"),
    *("save", "load", "fromfile", "tofile", "memmap", "savez", "savetxt", "loadtxt", "save_file", "load_file"),
}

MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
INSIDE = [module for module in MODULES if module.removesuffix(".py") not in EXEMPT]


def top(module: str) -> str:
    """The entry of the reading order that a file belongs to."""
    return module.partition("/")[0].removesuffix(".py")


def dotted(module: str) -> str:
    """``corpus/__init__.py`` as ``cadenza.corpus``."""
    return ".".join(("cadenza", *module.removesuffix(".py").removesuffix("/__init__").split("/")))


def imports(module: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything of ours that a file imports, wherever it stands in it."""
    known = {dotted(other) for other in MODULES}
    for node in ast.walk(ast.parse((SOURCE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: write the whole name of what is imported"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else str(node.module) for name in inner]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "cadenza")


def test_the_reading_order_names_every_module() -> None:
    assert sorted(READING_ORDER) == sorted({top(module) for module in INSIDE})


@pytest.mark.parametrize("module", INSIDE)
def test_a_module_imports_only_what_was_read_before_it(module: str) -> None:
    place = READING_ORDER.index(top(module))
    early = {*READING_ORDER[:place], top(module)}
    late = [
        f"{module}:{line}: {name}"
        for line, name in imports(module)
        if name != "cadenza" and name.split(".")[1] not in early
    ]
    assert late == []


@pytest.mark.parametrize("module", [module for module in INSIDE if module != "cli.py"])
def test_only_the_command_line_enters_by_the_front_door(module: str) -> None:
    assert [line for line, name in imports(module) if name == "cadenza"] == []


@pytest.mark.parametrize("package", [name for name in READING_ORDER if (SOURCE / name).is_dir()])
def test_the_imports_within_a_package_have_no_cycle(package: str) -> None:
    needs = {
        dotted(module): {name for _, name in imports(module) if name.split(".")[1:2] == [package]}
        for module in INSIDE
        if top(module) == package
    }
    while ready := [module for module, needed in needs.items() if not needed & set(needs)]:
        for module in ready:
            del needs[module]
    assert needs == {}


@pytest.mark.parametrize("module", [module for module in INSIDE if top(module) in PURE])
def test_the_core_touches_no_file_and_prints_nothing(module: str) -> None:
    calls = [
        f"{module}:{node.lineno}: {name}"
        for node in ast.walk(ast.parse((SOURCE / module).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for name in [node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")]
        if name in FILE_CALLS and getattr(getattr(node.func, "value", None), "id", "") != "builder"  # code for LLVM
    ]
    assert calls == []
    assert not {"pathlib", "os", "io", "shutil"} & set(
        re.findall(r"^\s*(?:import|from) (\w+)", (SOURCE / module).read_text(encoding="utf-8"), re.MULTILINE)
    )


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    script = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["cadenza", "cadenza.cli", "cadenza.settings"])
def test_heavy_packages_load_only_where_they_are_used(module: str) -> None:
    assert loaded_by(f"import {module}") & set(HEAVY) == set()


@pytest.mark.parametrize("module", ["cadenza.notes", "cadenza.midi", "cadenza.corpus.scan", "cadenza.tokens"])
def test_music_is_read_without_the_network_library(module: str) -> None:
    assert loaded_by(f"import {module}") & {"torch", "matplotlib"} == set()


@pytest.mark.parametrize(
    "module", ["cadenza.engine", "cadenza.sample", "cadenza.improviser", "cadenza.runs.generation"]
)
def test_music_is_improvised_without_the_network_library(module: str) -> None:
    assert loaded_by(f"import {module}") & {"torch", "matplotlib"} == set()


def test_no_file_of_the_program_names_its_module_like_a_helper() -> None:
    assert {Path(module).stem for module in MODULES} & {"utils", "util", "common", "helpers", "misc"} == set()


def test_the_readme_prints_the_reading_order() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if not text.strip():
        pytest.skip("the README is still empty")
    first_cells = re.findall(r"^\| *`(\w+)/?` *\|", text, re.MULTILINE)
    assert [name for name in first_cells if name in READING_ORDER] == list(READING_ORDER)
