import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cadenza import terminal
from cadenza.corpus.inspection import findings
from cadenza.corpus.scan import Corpus, scan
from cadenza.corpus.sources import Source, open_source
from cadenza.corpus.unpack import SourceFile
from cadenza.errors import CadenzaError
from cadenza.presets import build
from cadenza.records import Progress
from conftest import Midi, same_notes

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(200)
TUNE = "X:{0}\nT:Tune\nM:4/4\nL:1/8\nK:C\nCDEF GABc|dcBA GFED|{1}|C8|\n"


def scanned(source: Source, *assignments: str) -> Corpus:
    """What becomes of a source, after its progress has been watched."""
    progress: list[Progress] = []
    records = scan(source, build(assignments=assignments))
    while True:
        try:
            progress.append(next(records))
        except StopIteration as done:
            corpus: Corpus = done.value
            break
    todo = sum(not file.reason for file in source.files)
    assert progress[:todo] == [Progress("reading", number, todo) for number in range(1, todo + 1)]
    return corpus


def corpus_of(folder: Path, *assignments: str) -> Corpus:
    with open_source(str(folder), build()) as source:
        return scanned(source, *assignments)


def reasons(corpus: Corpus) -> dict[str, str]:
    """What is said of every file; nothing of those that are kept."""
    assert len({entry.name for entry in corpus.entries}) == len(corpus.entries)
    return {entry.name: entry.reason for entry in corpus.entries}


def same(one: Corpus, other: Corpus) -> bool:
    return (
        (one.source, one.base, one.on_grid, one.program) == (other.source, other.base, other.on_grid, other.program)
        and one.entries == other.entries
        and len(one.pieces) == len(other.pieces)
        and all(same_notes(a, b) and a.header == b.header for a, b in zip(one.pieces, other.pieces, strict=True))
    )


@pytest.fixture
def jumble(tmp_path: Path, smf: Midi) -> Path:
    """Good files among everything that lies about in folders of MIDI files."""
    folder = tmp_path / "jumble"
    inner = folder / "inner"
    inner.mkdir(parents=True)
    for number, name in enumerate(
        ["a.mid", "with space.MID", "🎻.midi", "two\nlines.kar", "$(touch x).mid", "inner/b.smf"]
    ):
        (folder / name).write_bytes(smf.piece(number))
    with open(os.fsencode(folder) + b"/caf\xe9.mid", "wb") as out:
        out.write(smf.piece(10))
    (folder / "$(touch x).abc").write_text(TUNE.format(1, "cccc dddd"))
    (folder / "tunes.abc").write_text(TUNE.format(1, "eeee ffff") + "\n" + TUNE.format(2, "gggg aaaa"))
    whole = smf.piece(0)
    (folder / "copy.mid").write_bytes(whole)
    (folder / "again.mid").write_bytes(smf.file(smf.tempo(90), smf.program(40) + smf.melody(1)))
    (folder / "cut.mid").write_bytes(whole[: len(whole) // 2])
    (folder / "drums.mid").write_bytes(smf.file(smf.melody(20, channel=9)))
    (folder / "few.mid").write_bytes(smf.file(smf.note(60, 0, 480)))
    (folder / "jpeg.mid").write_bytes(JPEG)
    (folder / "letter.mid").write_text("Dear reader,\nthis is no music.\n")
    (folder / "nothing.mid").write_bytes(b"")
    (folder / "silent.mid").write_bytes(smf.file(smf.tempo(120)))
    (folder / "title.abc").write_text("T:A title\n")
    with open(folder / "huge.mid", "wb") as out:
        out.truncate(300_000_000)
    (folder / "gone.mid").symlink_to("nowhere.mid")
    (folder / "self.mid").symlink_to("self.mid")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (inner / "up").symlink_to("..", target_is_directory=True)
    (folder / "folder.mid").mkdir()
    os.mkfifo(folder / "pipe.mid")
    (folder / "._a.mid").write_bytes(b"\0\5\26\7")
    (folder / "notes.txt").write_text("not music by its name")
    (folder / "cover.jpg").write_bytes(JPEG)
    return folder


KEPT = [
    "$(touch x).abc",
    "$(touch x).mid",
    "a.mid",
    "again.mid",
    "caf\\udce9.mid",
    "inner/b.smf",
    "tunes.abc#1",
    "tunes.abc#2",
    "two\\nlines.kar",
    "🎻.midi",
]

LEFT_OUT = {
    "copy.mid": "the same bytes as a.mid",
    "cut.mid": "damaged (",
    "drums.mid": "no notes left after removing drums; pass --set midi.drums=keep, or leave it out",
    "few.mid": "1 notes, under corpus.min_notes = 8",
    "gone.mid": "cannot be read (No such file or directory)",
    "huge.mid": "300 MB, over midi.max_megabytes = 32",
    "jpeg.mid": "not a MIDI file (it begins with '\\xff\\xd8\\xff\\xe0', not 'MThd')",
    "letter.mid": "not a MIDI file (it begins with 'Dear', not 'MThd')",
    "nothing.mid": "the file is empty (0 bytes)",
    "pipe.mid": "not a regular file",
    "self.mid": "cannot be read (Too many levels of symbolic links)",
    "silent.mid": "there are no notes in it",
    "title.abc": "no tune in it (no line begins with X:)",
    "with space.MID": "the same notes as again.mid",
}


def test_every_file_is_kept_or_named_with_its_own_reason(jumble: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(jumble)
    before = sorted(os.listdir(jumble))  # noqa: PTH208
    # In beats, the two tempos of again.mid and with space.MID make no difference.
    corpus = corpus_of(jumble, "midi.time_base=beats")
    found = reasons(corpus)
    assert sorted(found) == sorted([*KEPT, *LEFT_OUT])
    assert [entry.name for entry in corpus.entries] == sorted(found)
    assert [entry.name for entry in corpus.kept] == KEPT
    for name, said in LEFT_OUT.items():
        assert found[name].startswith(f"{name}: {said}")
        assert found[name].endswith(".")
        assert "\n" not in found[name]
    assert sorted(os.listdir(jumble)) == before  # noqa: PTH208


def test_pieces_and_kept_entries_belong_together(jumble: Path) -> None:
    corpus = corpus_of(jumble)
    assert len(corpus.pieces) == len(corpus.kept)
    for entry, piece in zip(corpus.kept, corpus.pieces, strict=True):
        assert piece.header.name == entry.name
        assert len(piece) == entry.notes
        assert piece.onset[0] == 0
        assert piece.length_seconds == pytest.approx(entry.length_seconds, abs=0.001)
        assert entry.work >= 0
        assert len(entry.sha256) == 64
    assert all(entry.work == -1 for entry in corpus.dropped)


def test_the_number_of_workers_changes_nothing(jumble: Path) -> None:
    two, three = corpus_of(jumble, "corpus.workers=2"), corpus_of(jumble, "corpus.workers=3")
    assert same(two, three)
    assert same(two, corpus_of(jumble, "corpus.workers=2"))


def test_the_order_in_which_the_folder_was_filled_changes_nothing(tmp_path: Path, smf: Midi) -> None:
    corpora = []
    for order in (range(12), reversed(range(12))):
        folder = Path(tempfile.mkdtemp(dir=tmp_path)) / "same"
        folder.mkdir()
        for number in order:
            (folder / f"{number}.mid").write_bytes(smf.piece(number % 7))
        corpora.append(corpus_of(folder))
    assert len(corpora[0].pieces) == 7
    assert same(*corpora)


def test_a_file_that_takes_too_long_is_named(tmp_path: Path, smf: Midi) -> None:
    one = smf.piece(0)  # a header of 14 bytes, whose tracks are counted in bytes 10 and 11, and a track
    (tmp_path / "slow.mid").write_bytes(one[:10] + (20_000).to_bytes(2) + one[12:14] + 20_000 * one[14:])
    corpus = corpus_of(tmp_path, "midi.max_seconds=0.01")
    assert reasons(corpus) == {
        "slow.mid": "slow.mid: it crashed the reader, or kept it busy for over 0.01 s (midi.max_seconds); leave it out."
    }


def test_equal_files_of_equal_names_are_found(tmp_path: Path, smf: Midi) -> None:
    """An archive may hold one name twice."""
    path = tmp_path / "a.mid"
    path.write_bytes(smf.piece(0))
    corpus = scanned(Source("twice", [SourceFile("a.mid", path)] * 2))
    assert len(corpus.pieces) == 1
    assert [entry.reason for entry in corpus.entries] == ["", "a.mid: the same bytes as a.mid."]


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("corpus.min_notes=61", "60 notes, under corpus.min_notes = 61"),
        ("corpus.max_notes=59", "60 notes, over corpus.max_notes = 59"),
        ("corpus.max_minutes=0.1", "0 minutes long, over corpus.max_minutes = 0.1"),
        ("midi.instrument=flute", "no notes for flute"),
        ("midi.max_megabytes=0.0001", "0 MB, over midi.max_megabytes = 0.0001"),
    ],
)
def test_a_piece_outside_the_settings_is_left_out_and_the_setting_named(
    pieces: Path, assignment: str, said: str
) -> None:
    corpus = corpus_of(pieces, assignment)
    assert corpus.pieces == []
    assert [entry.reason.startswith(f"piece-{n}.mid: {said}") for n, entry in enumerate(corpus.entries)] == [True] * 6


def test_an_unknown_instrument_is_the_fault_of_the_settings(pieces: Path) -> None:
    with pytest.raises(CadenzaError, match=r"no instrument 'violn' \(did you mean 'violin'\?\)"):
        corpus_of(pieces, "midi.instrument=violn")


def test_instruments_that_are_set_aside_are_counted(tmp_path: Path, smf: Midi) -> None:
    violin, piano = smf.program(40) + smf.melody(0), smf.program(0, 1) + smf.melody(1, 20, channel=1)
    (tmp_path / "duo.mid").write_bytes(smf.file(violin, piano, smf.melody(2, 10, channel=9)))
    [entry] = corpus_of(tmp_path).kept
    assert (entry.instrument, entry.notes) == ("violin", 60)
    assert entry.set_aside == "acoustic grand piano: 20 notes, drums: 10 notes"
    [entry] = corpus_of(tmp_path, "midi.instrument=all").kept
    assert (entry.instrument, entry.set_aside) == ("violin + acoustic grand piano", "drums: 10 notes")


@pytest.mark.parametrize(("grid", "unit", "steps"), [(120, "beats", 24), (1, "seconds", 100)])
def test_scores_count_in_beats_and_performances_in_seconds(
    tmp_path: Path, smf: Midi, grid: int, unit: str, steps: int
) -> None:
    for seed in range(4):
        (tmp_path / f"{seed}.mid").write_bytes(smf.piece(seed, grid=grid))
    corpus = corpus_of(tmp_path)
    assert (corpus.base.unit, corpus.base.steps) == (unit, steps)
    assert {piece.header.time_base for piece in corpus.pieces} == {corpus.base}
    other = {"beats": "seconds", "seconds": "beats"}[unit]
    assert corpus_of(tmp_path, f"midi.time_base={other}").base.unit == other


@pytest.mark.parametrize(("grids", "unit"), [([120] * 9 + [1], "beats"), ([1] * 9 + [120], "seconds")])
def test_all_pieces_of_a_mixed_corpus_count_alike(tmp_path: Path, smf: Midi, grids: list[int], unit: str) -> None:
    for seed, grid in enumerate(grids):
        (tmp_path / f"{seed}.mid").write_bytes(smf.piece(seed, grid=grid))
    corpus = corpus_of(tmp_path)
    assert len(corpus.pieces) == len(grids)
    assert {piece.header.time_base.unit for piece in corpus.pieces} == {unit}
    assert same(corpus, corpus_of(tmp_path, f"midi.time_base={unit}"))


def test_the_program_of_a_corpus_is_that_of_most_pieces(tmp_path: Path, smf: Midi) -> None:
    for seed, program in enumerate([73, 40, 40]):
        (tmp_path / f"{seed}.mid").write_bytes(smf.piece(seed, program))
    assert corpus_of(tmp_path).program == 40


def test_a_single_file_is_a_source(pieces: Path) -> None:
    with open_source(str(pieces / "piece-0.mid"), build()) as source:
        assert [file.name for file in source.files] == ["piece-0.mid"]
        assert source.name == "piece-0"


# Permissions: root may read everything, so this runs in a process that is not root.

CLOSED = """
import os, sys
import pretty_midi.constants
from cadenza.corpus import scan
from cadenza.corpus.sources import open_source
from cadenza.records import Progress
from cadenza.presets import build
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
# Workers would have to start Python anew, which may lie where only root can read it.
scan.isolated_map = lambda function, items, *_: ((place, function(item)) for place, item in enumerate(items))
with open_source(sys.argv[1], build()) as source:
    records = scan.scan(source, build())
    while True:
        try:
            next(records)
        except StopIteration as done:
            for entry in done.value.entries:
                print(entry.name, entry.reason, sep="|")
            break
"""


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that any user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_what_may_not_be_read_is_named_and_the_rest_is_read(open_to_all: Path, smf: Midi) -> None:
    for seed, name in enumerate(["good.mid", "closed.mid", "locked/inside.mid", "unlisted/inside.mid"]):
        (open_to_all / name).parent.mkdir(exist_ok=True)
        (open_to_all / name).write_bytes(smf.piece(seed))
    (open_to_all / "closed.mid").chmod(0)
    (open_to_all / "locked").chmod(0)
    (open_to_all / "unlisted").chmod(0o444)
    try:
        done = subprocess.run(
            [sys.executable, "-c", CLOSED, str(open_to_all)], capture_output=True, text=True, check=False
        )
    finally:
        (open_to_all / "locked").chmod(0o755)
        (open_to_all / "unlisted").chmod(0o755)
    if "os.set" in done.stderr:
        pytest.skip("this machine does not let root become another user")
    assert done.stderr == ""
    assert dict(line.split("|") for line in done.stdout.splitlines()) == {
        "closed.mid": "closed.mid: cannot be read (Permission denied); check the path and its permissions.",
        "good.mid": "",
        "locked/": "locked/: this folder cannot be read (Permission denied); check its permissions.",
        "unlisted/inside.mid": "unlisted/inside.mid: cannot be read (Permission denied); check the path and its permissions.",
    }


# Sources that are none


def complaint(source: str) -> str:
    with pytest.raises(CadenzaError) as caught, open_source(source, build()):
        pass
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".") or "; run: " in message
    return message


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    assert complaint(str(tmp_path)).startswith(f"{tmp_path}: no music in it (0 other files); Cadenza reads .mid")


def test_a_folder_without_music_is_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "b.jpg", "sub/c.mp3", "sub/._d.mid"):
        (tmp_path / name).write_bytes(b"x")
    assert complaint(str(tmp_path)).startswith(f"{tmp_path}: no music in it (4 other files)")


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert complaint(missing).startswith(f"There is no folder, archive or corpus {missing!r}; corpora: ")


def test_an_unknown_corpus_names_the_nearest() -> None:
    assert "(did you mean 'violin-etudes'?)" in complaint("violin-etude")


def test_a_path_that_no_file_system_takes_is_named() -> None:
    assert "cannot be read (File name too long); check the path" in complaint("x" * 5000)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(b"ID3")
    assert complaint(str(path)).startswith(f"{path}: neither a folder nor a .zip or .tar archive")


# Lists of files


@pytest.fixture
def etudes(tmp_path: Path, smf: Midi) -> Path:
    """Pieces in folders; two of them have one name."""
    folder = tmp_path / "etudes"
    for number, name in enumerate(["Kayser/one.mid", "Kayser/two.mid", "Kayser/old/one.mid", "Wohlfahrt/three.mid"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(smf.piece(number))
    (folder / "read me.txt").write_text("not music")
    return folder


def taken(source: Path, text: str) -> list[str]:
    """The names that a list takes from a source."""
    path = source.parent / "list.txt"
    path.write_text(text, encoding="utf-8")
    with open_source(str(source), build(corpus={"files": str(path)})) as found:
        return [file.name for file in found.files]


def refused(source: Path, path: Path) -> str:
    with pytest.raises(CadenzaError) as caught, open_source(str(source), build(corpus={"files": str(path)})):
        pass
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith(".")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("two.mid", ["Kayser/two.mid"]),
        ("Kayser/two.mid\n", ["Kayser/two.mid"]),
        ("three.mid\r\ntwo.mid\r\n", ["Kayser/two.mid", "Wohlfahrt/three.mid"]),
        ("  three.mid  \n\n# two.mid\n\n   # none.mid\n", ["Wohlfahrt/three.mid"]),
        ("two.mid\ntwo.mid\nKayser/two.mid", ["Kayser/two.mid"]),
        ("old/one.mid", ["Kayser/old/one.mid"]),
        ("Kayser/one.mid\nKayser/old/one.mid", ["Kayser/old/one.mid", "Kayser/one.mid"]),
    ],
)
def test_a_list_takes_files_by_their_name_or_by_its_end_from_a_folder_on(
    etudes: Path, text: str, names: list[str]
) -> None:
    assert taken(etudes, text) == names


def test_what_a_list_does_not_name_is_counted(etudes: Path) -> None:
    path = etudes.parent / "list.txt"
    path.write_text("two.mid\nthree.mid\n")
    with open_source(str(etudes), build(corpus={"files": str(path)})) as found:
        assert (len(found.files), found.unlisted, found.others) == (2, 2, 1)
    with open_source(str(etudes), build()) as found:
        assert (len(found.files), found.unlisted, found.others) == (4, 0, 1)


def test_a_list_goes_for_archives_too(etudes: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "etudes"), "zip", etudes))
    assert [name.rpartition("/")[2] for name in taken(archive, "Wohlfahrt/three.mid\ntwo.mid")] == [
        "two.mid",
        "three.mid",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("two.mid\nthre.mid\n", "1 of its 2 names are not in the source, the first is 'thre.mid' (did you mean 'three.mid'?); mend the list"),
        ("x.mid\ny.mid\nthree.mid", "2 of its 3 names are not in the source, the first is 'x.mid'"),
        ("ayser/two.mid", "1 of its 1 names are not in the source, the first is 'ayser/two.mid' (did you mean 'two.mid'?)"),
        ("read me.txt", "1 of its 1 names are not in the source, the first is 'read me.txt'"),
        ("TWO.mid", "1 of its 1 names are not in the source, the first is 'TWO.mid'"),
        ("two.mid\none.mid\n", "'one.mid' fits 2 files of the source, 'Kayser/"),
        ("", "it lists no files; write one name a line."),
        ("\n# two.mid\n  \n", "it lists no files; write one name a line."),
    ],
)  # fmt: skip
def test_a_list_that_does_not_belong_to_the_source_is_named(etudes: Path, text: str, said: str) -> None:
    path = etudes.parent / "list.txt"
    path.write_text(text)
    assert refused(etudes, path).startswith(said)


def test_an_ambiguous_name_shows_a_way_out(etudes: Path) -> None:
    path = etudes.parent / "list.txt"
    path.write_text("one.mid")
    assert refused(etudes, path).endswith(" among them; write more of its path.")


@pytest.mark.parametrize(
    ("kind", "said"), [("folder", "Is a directory"), ("binary", "it is not text"), ("missing", "No such file")]
)
def test_what_is_no_list_is_named(etudes: Path, kind: str, said: str) -> None:
    path = etudes.parent / "list"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(JPEG)
    assert said in refused(etudes, path)
    assert refused(etudes, path).endswith("; give a text file, one name a line.")


@pytest.mark.parametrize(("silence", "onset"), [("drop", 0), ("keep", 50)])
def test_the_silence_before_the_first_note_is_dropped_or_kept(
    tmp_path: Path, smf: Midi, silence: str, onset: int
) -> None:
    for seed in range(3):
        late = [(tick + 480, message) for tick, message in smf.melody(seed, grid=1)]
        (tmp_path / f"{seed}.mid").write_bytes(smf.file(smf.program(40) + late))
    corpus = corpus_of(tmp_path, "midi.time_base=seconds", f"midi.opening_silence={silence}")
    assert [int(piece.onset[0]) for piece in corpus.pieces] == [onset] * 3
    other = corpus_of(tmp_path, "midi.time_base=seconds")
    for piece, plain in zip(corpus.pieces, other.pieces, strict=True):
        assert np.array_equal(piece.onset - onset, plain.onset)
        assert np.array_equal(piece.duration, plain.duration)
    assert [entry.work for entry in corpus.kept] == [entry.work for entry in other.kept]
    if silence == "keep":
        lengths = [entry.length_seconds - 0.5 for entry in corpus.kept]
        assert lengths == pytest.approx([entry.length_seconds for entry in other.kept], abs=0.002)


# Findings


def test_findings_count_what_is_there(jumble: Path) -> None:
    corpus = corpus_of(jumble, "midi.time_base=beats")
    found = findings(corpus)
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(found, allow_nan=False))
    assert (found["files"], found["kept"], found["dropped"]) == (len(corpus.entries), len(KEPT), len(LEFT_OUT))
    assert found["notes"] == sum(entry.notes for entry in corpus.kept)
    assert found["works"] == len({entry.work for entry in corpus.kept})
    assert found["pitch"]["lowest"] == min(int(piece.pitch.min()) for piece in corpus.pieces)
    assert found["notes_at_once"] == {1: len(KEPT)}
    assert found["hours"] == round(sum(piece.length_seconds for piece in corpus.pieces) / 3600, 2)


def test_findings_name_the_pieces_of_one_work(
    tmp_path: Path, smf: Midi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seed, last in [("a", 1, 70), ("b", 2, 70), ("c", 1, 71), ("d", 1, 72), ("e", 3, 70)]:
        (tmp_path / f"{name}.mid").write_bytes(smf.file(smf.melody(seed) + smf.note(last, 50_000, 50_100)))
    found = findings(corpus_of(tmp_path))
    assert found["same_work"] == [["a.mid", "c.mid", "d.mid"]]
    monkeypatch.setattr(terminal, "NAMES_SHOWN", 2)
    terminal.show_findings(found)
    assert "  3: a.mid, c.mid and 1 more\n" in capsys.readouterr().out


def test_only_some_works_of_many_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_works([["x.mid", "y.mid"]] * 1000)
    said = capsys.readouterr().out
    assert said.count("x.mid") == terminal.WORKS_SHOWN
    assert f"and {1000 - terminal.WORKS_SHOWN} more works" in said


def test_findings_of_nothing_but_junk_are_all_zero(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(JPEG)
    found = findings(corpus_of(tmp_path))
    assert (found["files"], found["kept"], found["dropped"], found["notes"]) == (1, 0, 1, 0)
    assert "pitch" not in found


def test_one_bad_tune_of_an_abc_file_costs_only_itself(tmp_path: Path) -> None:
    good = "X:1\nL:1/8\nM:4/4\nK:C\nCDEF GABc | cBAG FEDC |\n"
    (tmp_path / "tunes.abc").write_text(good + good.replace("CDEF", ">CDEF") + good.replace("cBAG", "cGAE"))
    corpus = corpus_of(tmp_path)
    assert [bool(entry.reason) for entry in corpus.entries] == [False, True, False]
    assert "broken rhythm" in corpus.entries[1].reason
