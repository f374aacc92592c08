"""What the README says is true: its code runs, its commands exist, its table is the order of the modules."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs/guide.md").read_text()


@pytest.mark.slow
def test_the_python_example_runs_as_it_stands(pieces: Path, tmp_path: Path) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    pieces.rename(tmp_path / "my-midi")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert (tmp_path / "piece-1.mid").read_bytes()[:4] == b"MThd"
    assert (tmp_path / "runs/mine/report.html").exists()


def test_every_command_shown_exists_with_its_options() -> None:
    shown = set(
        re.findall(
            r"`?(?:\.venv/bin/)?cadenza ((?:run|train|inspect|evaluate|generate|render|plot|report|corpora|demo)[^`\n,;]*)",
            README + GUIDE,
        )
    )
    assert len(shown) > 10
    from typer.main import get_command

    from cadenza.cli import app

    group = get_command(app)
    for text in shown:
        name, *words = text.split()
        command = group.commands[name]  # type: ignore[attr-defined]
        if name == "corpora" and words:
            command = command.commands[words[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, text


def test_every_setting_shown_exists() -> None:
    from cadenza.presets import parse_assignment
    from cadenza.settings import validate

    shown = set(re.findall(r"--set (\w+\.\w+=[^`\s]+)", README + GUIDE))
    assert len(shown) > 5
    for assignment in shown:
        [(section, values)] = parse_assignment(assignment).items()
        [(key, value)] = values.items()
        held = getattr(getattr(validate({section: values}), section), key)
        assert held == type(held)(value), assignment


def test_every_file_linked_exists() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert link.startswith("http") or (document.parent / link).exists(), f"{document.name}: {link}"


@pytest.mark.slow
def test_the_wheel_works_apart_from_the_source_tree(pieces: Path, tmp_path: Path) -> None:
    """Built, installed into a folder of its own without dependencies, it trains 20 steps."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    quiet = {"capture_output": True, "text": True, "check": False}
    built = subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT], **quiet)  # type: ignore[call-overload]
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("cadenza-*.whl")
    done = subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], **quiet)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    code = (
        "import cadenza, pathlib\n"
        f"assert pathlib.Path(cadenza.__file__).is_relative_to({str(tmp_path / 'site')!r}), cadenza.__file__\n"
        "run = cadenza.run('pieces', 'run', preset='tiny', train={'steps': 20}, sample={'seconds': 5, 'count': 1})\n"
        "assert run.log()[-1]['step'] == 20 and (run.folder / 'report.html').exists()\n"
        "assert (pathlib.Path(cadenza.__file__).parent / 'py.typed').exists()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, **quiet)  # type: ignore[call-overload]
    assert ran.returncode == 0, ran.stderr
