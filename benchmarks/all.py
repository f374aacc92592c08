"""Benchmarks, one after the other, and their figures in `docs/benchmarks.md`.

In: the command line of the benchmarks, which is passed on, and names such as `encode.py`; without any,
all are run. Out: their sections of the page and, after `speedrun.py`, the table of `docs/models.md`, each
written once its figures are there. What a benchmark compares is said in its own docstring, and the page repeats that.
"""

from __future__ import annotations

import ast
import datetime
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from timing import ROOT, give_up, parser

PAGE, MODELS_PAGE = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "models.md"
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
    "scale.py": {"peak_gib": "at most 1.5", "growth_exponent": "at most 1.05", "incremental_share": "at most 0.05"},
    "distributed.py": {"killed": "1", "lost": "0", "duplicated": "0", "ddp_max_weight_difference": "at most 1e-05"},
    "train_speed.py": {"ratio_vs_study": "at least 3.3", "ratio_vs_hf": "at least 4.5"},
    "speedrun.py": {
        "speedup_vs_study": "at least 8",
        "speedup_vs_hf": "at least 3",
        "test_bits_per_note": "at most 9.4",
    },
    "sample_speed.py": {
        "ratio_single_vs_study": "at least 60",
        "ratio_single_vs_hf": "at least 50",
        "ratio_batch_vs_hf": "at least 10",
        "share_of_roofline": "at least 0.5",
        "novel_single": "at most 0.1",
        "novel_batch64": "at most 0.1",
    },
    "validity.py": {"samples": "10000", "invalid": "0"},
    "fuzz.py": {"inputs": "1000000", "hangs": "0", "costly_deaths": "0", "findings": "0", "oversize": "0"},
    "long_haul.py": {"generations": "10000", "memory_growth": "at most 0.05", "render_growth": "at most 0.05"},
    "first_note.py": {"ratio_vs_import_torch": "at most 1.5"},
    "resume.py": {"kills": "200", "identical": "200", "lost_steps_max": "at most 20"},
    "import_time.py": {"ratio_vs_python": "at most 25", "heavy_modules": "0"},
    "studio.py": {
        "first_note_ms": "at most 500",
        "first_sound_ms": "at most 1500",
        "max_audio_gap_ms": "at most 20",
        "realtime_factor": "at least 50",
        "fps_5000_notes": "at least 55",
        "sessions_at_realtime": "at least 8",
    },
}
ORDER = (*TARGETS, "published.py")
"""On the page; `published.py` takes a file and writes its section by itself."""
PACKAGES = ("dask", "joblib", "miditok", "numba", "numpy", "symusic", "torch", "transformers", "typer")
CONTESTANTS = {"": "Cadenza, `small`", "study_": "the study's network and loop", "hf_": "MidiTok TSD and GPT-2"}
TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)", re.DOTALL)

Figures = dict[str, float | None]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TARGETS)}; all unless given")
    given = options.parse_args()
    if unknown := [name for name in given.names if name not in TARGETS]:
        give_up(f"There is no benchmark {unknown[0]}; there are {', '.join(TARGETS)}.")
    for name in given.names or TARGETS:
        record(name, run(name, given.data))


def run(name: str, data: Path) -> Figures:
    """The figures of one benchmark; what it says is shown."""
    print(f"{name} …", flush=True)
    command = [sys.executable, str(Path(__file__).with_name(name)), "--data", str(data)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    if done.returncode:
        give_up(f"{name} ended with exit code {done.returncode}; its figures are left as they were.")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def record(name: str, figures: Figures) -> None:
    """Write the figures into the pages."""
    write(name, section(name, figures))
    if name == "speedrun.py":
        text = MODELS_PAGE.read_text(encoding="utf-8")
        MODELS_PAGE.write_text(TABLE.sub(lambda _: comparison(figures), text), encoding="utf-8")
        print(f"Written: {MODELS_PAGE.relative_to(ROOT)}")


def sections() -> dict[str, str]:
    """What the page says of each benchmark."""
    return dict(sections_of(PAGE.read_text(encoding="utf-8"))) if PAGE.exists() else {}


def write(name: str, text: str) -> None:
    """Put the section of a benchmark in its place on the page."""
    found = sections() | {name: text}
    PAGE.write_text("\n\n".join([HEAD, *(found[each] for each in ORDER if each in found)]) + "\n", encoding="utf-8")
    print(f"Written: {PAGE.relative_to(ROOT)}")


HEAD = """# Benchmarks

This page is written by `benchmarks/all.py`; do not edit it. Ratios compare work done in turn on one
machine and carry over to others better than times do."""


def sections_of(page: str) -> Iterator[tuple[str, str]]:
    """The name of each benchmark on the page, and its section."""
    for part in page.split("\n## ")[1:]:
        if found := re.search(r"`python benchmarks/(\w+\.py)`", part):
            yield found[1], f"## {part.strip()}"


def section(name: str, figures: Figures) -> str:
    """A benchmark's heading and table; a figure that is not there was never reached."""
    values = {key: "never" if value is None else f"{value:,}" for key, value in figures.items()}
    rows = "\n".join(f"| `{key}` | {value} | {TARGETS[name].get(key, '')} |" for key, value in values.items())
    return f"""{heading(name)}

| figure | value | target |
|---|---|---|
{rows}"""


def heading(name: str) -> str:
    """A benchmark's docstring and command, and where it runs today."""
    said = ast.get_docstring(ast.parse(Path(__file__).with_name(name).read_text(encoding="utf-8")))
    title, _, text = (said or name).partition("\n\n")
    return f"""## {title.rstrip(".")}

{text}

`python benchmarks/{name}`, {datetime.date.today()}; {processor()}, {os.cpu_count()} cores, {platform.system()}; {software()}"""


def comparison(figures: Figures) -> str:
    """The contestants of the speed run, a line each."""
    columns = ("parameters", "notes_per_second", "validation_bits_per_note", "test_bits_per_note", "test_bits_per_note_10ms")  # fmt: skip
    lines = [
        "| ten minutes of training each | weights | notes per second | validation | test, bits per note | test at 10 ms |",
        "|---|---|---|---|---|---|",
    ]
    for prefix, name in CONTESTANTS.items():
        values = [figures.get(f"{prefix}{column}") for column in columns]
        lines.append(f"| {name} | {' | '.join('' if value is None else f'{value:,}' for value in values)} |")
    return "\n".join(lines) + "\n"


def software() -> str:
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES if find_spec(package))
    return f"Python {platform.python_version()}, {packages}"


def processor() -> str:
    """The processor's model, as far as the system tells it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
