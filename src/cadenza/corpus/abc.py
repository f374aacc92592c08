"""ABC tunes to scores, by way of MIDI: the text of an ABC file in, one `Score` for each tune out.

The abc2midi that symusic brings converts them. It goes on after faults that it cannot mend, so a
tune in which it meets a broken rhythm or a runaway chord is refused: its notes would be wrong.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import symusic

from cadenza.errors import CadenzaError
from cadenza.midi import Score, parse
from cadenza.settings import MidiSettings

ABC_SUFFIXES = (".abc",)
FATAL = ("Cannot apply broken rhythm", "Too many notes in chord")
LIMIT_SECONDS = 10


def abc_tunes(text: str, name: str) -> list[tuple[str, str]]:
    """The tunes of an ABC file as (name, text), unit, metre and tempo of its head in each; none at all raises `CadenzaError`."""
    head, *rest = ("\n" + text.removeprefix("\ufeff").replace("\r\n", "\n")).split("\nX:")
    common = "".join(f"{line}\n" for line in head.splitlines() if re.match("[LMQ]:", line))
    tunes = [f"X:{number}\n{common}{body}" for number, _, body in (tune.partition("\n") for tune in rest)]
    if not tunes:
        raise CadenzaError(f"{name}: no tune in it (no line begins with X:); leave it out.")
    return [(f"{name}#{number}" if len(tunes) > 1 else name, tune) for number, tune in enumerate(tunes, 1)]


def parse_abc(text: str, name: str, settings: MidiSettings) -> Score:
    """One ABC tune as a score; a tune that is refused raises `CadenzaError` with the converter's own words.

    The converter sees only names made here, in a private folder, and no shell.
    """
    converter = Path(symusic.__file__).parent / "bin" / "abc2midi"
    with tempfile.TemporaryDirectory(prefix="cadenza-abc-") as folder:
        (Path(folder) / "tune.abc").write_text(text, encoding="utf-8")
        try:
            done = subprocess.run(
                [converter, "tune.abc", "-o", "tune.mid"],
                cwd=folder,
                capture_output=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CadenzaError(f"{name}: its conversion took longer than {LIMIT_SECONDS:g} s; leave it out.") from None
        said = done.stdout.decode(errors="replace")
        made = Path(folder) / "tune.mid"
        fatal = next((line for line in said.splitlines() if any(fault in line for fault in FATAL)), None)
        if fatal or not made.exists():
            raise CadenzaError(f"{name}: damaged ABC ({(fatal or 'no tune came out').strip()}); mend or remove it.")
        return parse(made.read_bytes(), name, settings)
