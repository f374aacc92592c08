"""What the command line says to a user's mistakes: one sentence on the error stream that names the thing, and exit code 2."""

import os
from pathlib import Path

import pytest

from conftest import Cadenza, Midi


def sentence(result: tuple[int, str, str]) -> str:
    """The one thing said; anything else is a fault of the program."""
    code, _, complained = result
    assert code == 2, complained
    assert "Traceback" not in complained
    assert len(complained.splitlines()) <= 2, complained  # one may be blank, where a progress bar was
    [line] = complained.strip().splitlines()
    assert line.startswith("cadenza: ")
    return line.removeprefix("cadenza: ")


@pytest.mark.parametrize("command", [[], ["run"], ["inspect"], ["corpora", "get"]])
def test_an_unknown_option_is_named(cadenza: Cadenza, command: list[str]) -> None:
    code, said, complained = cadenza(*command, "--colour", "x")
    assert code == 2
    assert said == ""
    assert "--colour" in complained
    assert "Traceback" not in complained


def test_an_unknown_command_is_named(cadenza: Cadenza) -> None:
    code, _, complained = cadenza("improvize")
    assert code == 2
    assert "improvize" in complained
    assert "Traceback" not in complained


def test_an_unknown_preset_is_named(cadenza: Cadenza, pieces: Path) -> None:
    assert "There is no preset 'smal' (did you mean 'small'?)" in sentence(cadenza("run", pieces, "--preset", "smal"))


@pytest.mark.parametrize("command", ["run", "inspect"])
def test_an_unknown_setting_is_named(cadenza: Cadenza, pieces: Path, command: str) -> None:
    said = sentence(cadenza(command, pieces, "--set", "train.minuets=5"))
    assert "There is no setting train.minuets (did you mean 'minutes'?)" in said


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("minutes=5", "'minutes=5' is not an assignment"),
        ("train.minutes=soon", "train.minutes = 'soon': "),
        ("midi.instrument=violn", "There is no instrument 'violn' (did you mean 'violin'?)"),
    ],
)
def test_a_wrong_value_is_named(cadenza: Cadenza, pieces: Path, assignment: str, named: str) -> None:
    assert sentence(cadenza("inspect", pieces, "--set", assignment)).startswith(named)


@pytest.mark.parametrize(("option", "value"), [("--minutes", "nan"), ("--device", "abacus")])
def test_a_wrong_option_value_is_named(cadenza: Cadenza, pieces: Path, option: str, value: str) -> None:
    assert sentence(cadenza("train", pieces, f"{option}={value}")).startswith(f"train.{option[2:]} = ")


@pytest.mark.parametrize("command", ["run", "inspect"])
def test_a_missing_source_is_named(cadenza: Cadenza, tmp_path: Path, command: str) -> None:
    said = sentence(cadenza(command, tmp_path / "missing"))
    assert said.startswith(f"There is no folder, archive or corpus '{tmp_path / 'missing'}'")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_corpus_names_the_nearest(cadenza: Cadenza) -> None:
    assert "'fidle' (did you mean 'fiddle'?)" in sentence(cadenza("inspect", "fidle"))
    assert "'fidle' (did you mean 'fiddle'?)" in sentence(cadenza("corpora", "get", "fidle"))


def test_a_corpus_that_is_not_here_yet_says_how_to_get_it(cadenza: Cadenza) -> None:
    assert sentence(cadenza("inspect", "violin-etudes")).endswith("run: cadenza corpora get violin-etudes")


@pytest.mark.parametrize("command", ["run", "inspect"])
def test_an_empty_folder_is_named(cadenza: Cadenza, tmp_path: Path, command: str) -> None:
    (tmp_path / "empty").mkdir()
    assert sentence(cadenza(command, tmp_path / "empty")).startswith(f"{tmp_path / 'empty'}: no music in it")


def test_a_damaged_archive_is_named(cadenza: Cadenza, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive")
    said = sentence(cadenza("inspect", tmp_path / "a.zip"))
    assert said.startswith(f"{tmp_path / 'a.zip'}: damaged, or not an archive")


def test_a_damaged_archive_of_a_corpus_is_named(cadenza: Cadenza, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"no archive")
    said = sentence(cadenza("corpora", "get", "violin-etudes", "--from", tmp_path / "a.tar.gz"))
    assert said.startswith(f"{tmp_path / 'a.tar.gz'}: damaged, or not an archive")


def test_a_folder_of_junk_is_no_run(cadenza: Cadenza, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.mkdir()
    (junk / "letter.mid").write_text("Dear reader")
    said = sentence(cadenza("run", junk))
    assert said.startswith(f"{junk}: none of its 1 files can be used (1× not a MIDI file)")


@pytest.fixture
def junk(tmp_path: Path, smf: Midi) -> Path:
    folder = tmp_path / "junk"
    folder.mkdir()
    (folder / "letter.mid").write_text("Dear reader")
    (folder / "two\nlines.mid").write_bytes(b"")
    (folder / "drums.mid").write_bytes(smf.file(smf.melody(0, channel=9)))
    with open(os.fsencode(folder) + b"/caf\xe9.mid", "wb") as out:
        out.write(b"junk")
    return folder


@pytest.mark.parametrize("environment", [{}, {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}], ids=["utf-8", "ascii"])
def test_inspecting_a_folder_of_junk_gives_every_reason(
    cadenza: Cadenza, junk: Path, environment: dict[str, str]
) -> None:
    _, said, complained = cadenza("inspect", junk, env=environment)
    assert "Traceback" not in complained
    for reason in (
        "letter.mid: not a MIDI file",
        "two\\nlines.mid: the file is empty",
        "drums.mid: no notes left",
        "caf\\udce9.mid: not a MIDI file",
    ):
        assert reason in said


def test_a_missing_settings_file_is_named(cadenza: Cadenza, pieces: Path, tmp_path: Path) -> None:
    said = sentence(cadenza("inspect", pieces, "--config", tmp_path / "none.toml"))
    assert said.startswith(f"{tmp_path / 'none.toml'}: cannot read these settings")


def test_a_list_with_names_that_are_not_there_says_which(cadenza: Cadenza, pieces: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("piece-0.mid\npiece-9.mid\nother.mid\n")
    said = sentence(cadenza("run", pieces, "--files", tmp_path / "list.txt"))
    assert said.startswith(
        f"{tmp_path / 'list.txt'}: 2 of its 3 names are not in the source, the first is 'piece-9.mid'"
    )
    assert not (tmp_path / "runs").exists()


def test_a_corpus_whose_every_file_is_over_the_limit_of_events_says_so(cadenza: Cadenza, pieces: Path) -> None:
    said = sentence(cadenza("run", pieces, "--preset", "study", "--set", "tokens.max_rows=20"))
    assert said.startswith(f"{pieces}: none of its 6 files can be used (6× rows over tokens.max_rows = 20)")


def test_a_picture_of_three_hours_says_what_it_shows(cadenza: Cadenza, tmp_path: Path, smf: Midi) -> None:
    end = 180 * 60 * 960
    (tmp_path / "long.mid").write_bytes(smf.file(smf.note(60, 0, 480) + smf.note(64, end - 480, end)))
    code, said, _ = cadenza("plot", tmp_path / "long.mid", "--formats", "svg")
    assert code == 0
    assert "the picture shows the first 10:00 of 180:00" in said
    assert (tmp_path / "long.svg").exists()


def test_a_run_in_the_folder_of_its_music_is_refused(cadenza: Cadenza, pieces: Path) -> None:
    said = sentence(cadenza("run", pieces, "--out", pieces))
    assert said == f"{pieces}: a run must not lie in the folder of its music; pass another --out."
