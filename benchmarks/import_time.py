"""Start-up time of the command line.

`cadenza --help` against an empty Python program, in turn; the median round of each counts. A further
process counts how many heavy modules the help has loaded, of those that commands load when they run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

from timing import alternate, arguments, give_up, report

HEAVY = ("torch", "matplotlib", "fastapi", "uvicorn", "numpy", "symusic", "scipy")
ROUNDS = 25
LIST_LOADED = """
import sys
from cadenza.cli import main
sys.argv = ["cadenza", "--help"]
try:
    main()
except SystemExit as ended:
    assert not ended.code
print("\\n" + " ".join(sys.modules))
"""


def main() -> None:
    arguments(__doc__)
    script = Path(sys.executable).with_name("cadenza")
    if not script.exists():
        give_up("There is no cadenza beside this Python; install the package into its environment.")
    ours, peer = alternate(lambda: run(str(script), "--help"), lambda: run(sys.executable, "-c", "pass"), ROUNDS)
    loaded = heavy_modules()
    figures = {
        "help_seconds": round(median(ours), 3),
        "ratio_vs_python": round(median(ours) / median(peer), 1),
        "heavy_modules": len(loaded),
    }
    report(
        [
            f"Median of {ROUNDS} rounds",
            f"cadenza --help: {1000 * median(ours):6.1f} ms",
            f"python -c pass: {1000 * median(peer):6.1f} ms",
            f"Heavy modules loaded by --help: {', '.join(loaded) or 'none'}",
        ],
        figures,
    )


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def heavy_modules() -> list[str]:
    """Which of `HEAVY` a process has loaded once it has shown the help."""
    loaded = run(sys.executable, "-c", LIST_LOADED).splitlines()[-1].split()
    return [name for name in HEAVY if name in loaded]


if __name__ == "__main__":
    main()
