"""ABC tunes become the notes they spell; a file's name runs nothing, and a tune that cannot be converted is named."""

from pathlib import Path

import pytest

from cadenza.corpus import abc
from cadenza.corpus.abc import abc_tunes, parse_abc
from cadenza.corpus.scan import scan
from cadenza.corpus.sources import open_source
from cadenza.errors import CadenzaError
from cadenza.presets import build
from cadenza.records import Progress
from cadenza.settings import MidiSettings

DEFAULT = MidiSettings()
SCALE = "X:1\nT:Scale\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|\n"


def test_an_abc_tune_becomes_notes() -> None:
    score = parse_abc(SCALE, "scale.abc", DEFAULT)
    made = score.notes(DEFAULT, "beats")
    assert made.pitch.tolist() == [60, 62, 64, 65, 67, 69, 71, 72]
    assert made.onset.tolist() == list(range(0, 192, 24))
    assert made.header.meter == (4, 4)
    assert score.name == "scale.abc"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["", "\ufeff", "% a remark\n\n", "%abc-2.1\nM:3/4\n\n"])
def test_every_tune_of_an_abc_file_is_read(line_end: str, before: str) -> None:
    text = (before + SCALE + "\n" + SCALE.replace("X:1", "X:2").replace("GABc", "c4")).replace("\n", line_end)
    tunes = abc_tunes(text, "two.abc")
    assert [name for name, _ in tunes] == ["two.abc#1", "two.abc#2"]
    first, second = (parse_abc(tune, name, DEFAULT) for name, tune in tunes)
    assert first.notes(DEFAULT, "beats").pitch.tolist() == [60, 62, 64, 65, 67, 69, 71, 72]
    assert second.notes(DEFAULT, "beats").pitch.tolist() == [60, 62, 64, 65, 72]


@pytest.mark.parametrize("name", ["b$(touch x).abc", "b`touch x`.abc", "b;touch x;.abc", "-o x.abc", "b|touch x.abc"])
def test_the_name_of_an_abc_file_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(SCALE)
    with open_source(name, build()) as source:
        assert next(scan(source, build())) == Progress("reading", 1, 1)
    assert len(parse_abc(Path(name).read_text(), name, DEFAULT).parts[0]) == 8
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_abc_without_a_tune_is_an_error() -> None:
    with pytest.raises(CadenzaError, match=r"x\.abc: no tune in it \(no line begins with X:\)"):
        abc_tunes("T:A title and nothing else\nCDEF", "x.abc")


def test_a_broken_rhythm_is_an_error() -> None:
    with pytest.raises(CadenzaError, match=r"x\.abc: damaged ABC \(.*broken rhythm"):
        parse_abc("X:1\nT:x\nM:4/4\nL:1/4\nK:C\n|>CD EF|\n", "x.abc", DEFAULT)


def test_an_abc_converter_that_takes_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abc, "LIMIT_SECONDS", 0)
    with pytest.raises(CadenzaError, match=r"x\.abc: .*took longer"):
        parse_abc(SCALE, "x.abc", DEFAULT)
