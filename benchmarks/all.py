"""Every benchmark, one after the other, and their figures in `docs/benchmarks.md`.

In: the command line of the benchmarks, which is passed on. Out: the page, written only once all have
run. What a benchmark compares is said in its own docstring, and the page repeats that.
"""

from __future__ import annotations

import ast
import datetime
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from timing import ROOT, arguments, give_up

PAGE = ROOT / "docs" / "benchmarks.md"
TARGETS = {
    "encode.py": {"ratio_vs_miditok": "at least 50"},
    "scan.py": {"ratio_vs_parse_only": "at most 2.5"},
    "groups.py": {
        "pairs_recall": "at least 0.995",
        "pairs_precision": "at least 0.99",
        "vienna_recall": "at least 0.995",
        "vienna_precision": "at least 0.99",
    },
    "memorisation.py": {
        "seconds": "at most 60",
        "peak_gib": "at most 2",
        "planted_found": "1.0",
        "false_accusations": "0",
    },
    "train_speed.py": {"ratio_vs_study": "at least 3.3", "ratio_vs_hf": "at least 4.5"},
    "speedrun.py": {
        "speedup_vs_study": "at least 8",
        "speedup_vs_hf": "at least 3",
        "test_bits_per_note": "at most 9.4",
    },
    "import_time.py": {"ratio_vs_python": "at most 25", "heavy_modules": "0"},
}
PACKAGES = ("joblib", "miditok", "numpy", "symusic", "torch", "transformers", "typer")


def main() -> None:
    data = arguments(__doc__).data
    sections = [section(name, run(name, data)) for name in TARGETS]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n\n".join([head(), *sections]) + "\n", encoding="utf-8")
    print(f"Written: {PAGE.relative_to(ROOT)}")


def run(name: str, data: Path) -> dict[str, float | None]:
    """The figures of one benchmark; what it says is shown."""
    print(f"{name} …", flush=True)
    command = [sys.executable, str(Path(__file__).with_name(name)), "--data", str(data)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    if done.returncode:
        give_up(f"{name} ended with exit code {done.returncode}; docs/benchmarks.md is left as it was.")
    figures: dict[str, float | None] = json.loads(done.stdout.splitlines()[-1])
    return figures


def head() -> str:
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"""# Benchmarks

This page is written by `benchmarks/all.py`; do not edit it. Ratios compare work done in turn on one
machine and carry over to others better than times do.

* Date: {datetime.date.today()}
* Machine: {processor()}, {os.cpu_count()} cores, {platform.system()}
* Software: Python {platform.python_version()}, {packages}"""


def section(name: str, figures: dict[str, float | None]) -> str:
    """A benchmark's docstring, command and table; a figure that is not there was never reached."""
    said = ast.get_docstring(ast.parse(Path(__file__).with_name(name).read_text(encoding="utf-8")))
    title, _, text = (said or name).partition("\n\n")
    values = {key: "never" if value is None else f"{value:,}" for key, value in figures.items()}
    rows = "\n".join(f"| `{key}` | {value} | {TARGETS[name].get(key, '')} |" for key, value in values.items())
    return f"""## {title.rstrip(".")}

{text}

`python benchmarks/{name}`

| figure | value | target |
|---|---|---|
{rows}"""


def processor() -> str:
    """The processor's model, as far as the system tells it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
