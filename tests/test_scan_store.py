"""A scan that is kept: what it reads again, what it survives, and that it says what a scan from scratch says."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cadenza import midi
from cadenza.corpus import scan as scanning
from cadenza.corpus.isolate import isolated_map
from cadenza.corpus.packing import SEAL, read_packed
from cadenza.corpus.scan import PORTION, Corpus, scan
from cadenza.corpus.sources import open_source
from cadenza.corpus.store import STORE, Store
from cadenza.corpus.stored import Pieces, StoredSets
from cadenza.errors import CadenzaError
from cadenza.notes import Notes
from cadenza.presets import build
from cadenza.records import Progress, outcome
from cadenza.runs.folder import Run
from cadenza.runs.prepare import prepare_corpus, workshop
from cadenza.runs.scanning import scan_into
from cadenza.tokens.compact import Compact
from conftest import PEAK_KIB, ROOT, Cadenza, Midi, same_notes

TUNES = "M:4/4\nL:1/8\n" + "".join(
    f"X:{number}\nT:Tune\nM:4/4\nL:1/8\nK:C\nCDEF GABc|dcBA GFED|{bar}|C8|\n\n"
    for number, bar in enumerate(["cccc dddd", "eeee ffff"], 1)
)
NAMES = ["a.mid", "b.mid", "b/c.mid", "b/d.mid", "e.abc", "z.mid"]
MADE = ("manifest.jsonl", "corpus/rows.npy", "corpus/offsets.npy", "corpus/facts.json", "corpus/seen.npy")


def content(smf: Midi, kind: int) -> bytes:
    """A tune book, a damaged file, and pieces on the beat grid and off it."""
    if kind == 0:
        return TUNES.encode()
    if kind == 1:
        return smf.piece(0)[:100]
    return smf.piece(kind // 2, grid=(120, 1)[kind % 2])


def corpus_of(folder: Path, store: Store | None = None, workers: int = 0) -> Corpus:
    settings = build(corpus={"workers": workers})
    with open_source(str(folder), settings) as source:
        return outcome(scan(source, settings, store, Compact("notes")))


def told(corpus: Corpus) -> tuple[object, ...]:
    """All that a corpus says but its notes."""
    facts = (corpus.base, corpus.on_grid, corpus.program)
    return (*facts, list(corpus.entries), [piece.header for piece in corpus.pieces], list(corpus.pieces.tables()))


def same(one: Corpus, other: Corpus) -> bool:
    return told(one) == told(other) and all(map(same_notes, one.pieces, other.pieces))


CHANGES = st.lists(
    st.tuples(st.sampled_from(["write", "remove", "rename"]), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 9)),
    min_size=1, max_size=6,
)  # fmt: skip


@hypothesis_settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(CHANGES, min_size=2, max_size=4))
def test_a_scan_of_a_folder_that_changed_is_that_of_a_scan_from_scratch(
    tmp_path_factory: pytest.TempPathFactory, smf: Midi, rounds: list[list[tuple[str, str, str, int]]]
) -> None:
    place = tmp_path_factory.mktemp("changing")
    folder, clock = place / "music", 0
    (folder / "b").mkdir(parents=True)
    (folder / "always.mid").write_bytes(smf.piece(20))
    with Store(place / STORE) as store:
        for changes in rounds:
            for what, name, other, kind in changes:
                path, clock = folder / name, clock + 1
                if what == "write":
                    path.write_bytes(content(smf, kind))
                    os.utime(path, ns=(clock, clock))
                elif what == "remove":
                    path.unlink(missing_ok=True)
                elif path.exists():
                    path.rename(folder / other)
            assert same(corpus_of(folder, store, 3), corpus_of(folder, None, 1))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on."""
    read: list[str] = []

    def watched(function: Callable[..., object], items: list[tuple[object, ...]], *rest: object) -> object:
        read.extend(item[0].name for item in items)  # type: ignore[attr-defined]
        return isolated_map(function, items, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(scanning, "isolated_map", watched)
    return read


def test_only_new_and_changed_files_are_read(
    pieces: Path, smf: Midi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path / STORE) as store:
        corpus_of(pieces, store)
        read = counted(monkeypatch)
        (pieces / "new.mid").write_bytes(smf.piece(11))
        (pieces / "piece-2.mid").write_bytes(smf.piece(12))
        os.utime(pieces / "piece-2.mid", ns=(1, 1))
        (pieces / "piece-3.mid").unlink()
        found = corpus_of(pieces, store)
        assert read == ["new.mid", "piece-2.mid"]
        assert same(found, corpus_of(pieces))


def test_a_scan_says_what_has_changed_since(pieces: Path, smf: Midi, tmp_path: Path, cadenza: Cadenza) -> None:
    def said() -> str:
        code, out, _ = cadenza("scan", pieces, "--out", tmp_path / "kept")
        assert code == 0
        return out

    assert "as they were" not in said()
    assert "0 files read, 6 as they were, 0 gone." in said()
    (pieces / "new.mid").write_bytes(smf.piece(11))
    (pieces / "piece-3.mid").unlink()
    assert "1 file read, 5 as they were, 1 gone." in said()


def test_a_copy_takes_the_place_of_the_first_that_is_removed(pieces: Path, tmp_path: Path) -> None:
    shutil.copy(pieces / "piece-0.mid", pieces / "same.mid")
    with Store(tmp_path / STORE) as store:
        [left_out] = corpus_of(pieces, store).dropped
        assert left_out.reason == "same.mid: the same bytes as piece-0.mid."
        (pieces / "piece-0.mid").unlink()
        assert "same.mid" in [entry.name for entry in corpus_of(pieces, store).kept]


def test_a_corpus_that_changes_its_unit_is_read_again_where_it_must(tmp_path: Path, smf: Midi) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    units = []
    with Store(tmp_path / STORE) as store:
        for seed, grid in enumerate([120, 1, 1, 1]):
            (folder / f"{seed}.mid").write_bytes(smf.piece(seed, grid=grid))
            found = corpus_of(folder, store)
            units.append(found.base.unit)
            assert same(found, corpus_of(folder))
        for seed in (1, 2, 3):
            (folder / f"{seed}.mid").unlink()
        assert corpus_of(folder, store).base.unit == units[0] == "beats"
        assert units[-1] == "seconds"
        assert same(corpus_of(folder, store), corpus_of(folder))


def test_other_settings_of_reading_read_all_again(
    pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(scan_into(str(pieces), build(), tmp_path / "kept"))
    read = counted(monkeypatch)
    list(scan_into(str(pieces), build(midi={"steps_per_beat": 12}), tmp_path / "kept"))
    assert len(read) == 6
    list(scan_into(str(pieces), build(corpus={"min_notes": 61}, midi={"steps_per_beat": 12}), tmp_path / "kept"))
    assert len(read) == 6


def prepared(source: Path, out: Path) -> dict[str, bytes]:
    run = Run(out)
    with workshop(run) as folder:
        outcome(prepare_corpus(run, folder, str(source), build(), None))
    return {name: (out / name).read_bytes() for name in MADE}


def test_a_run_from_a_scan_is_the_run_from_its_music(pieces: Path, smf: Midi, tmp_path: Path) -> None:
    """Byte for byte, after the folder has grown as well, and without the music."""
    list(scan_into(str(pieces), build(), tmp_path / "kept"))
    (pieces / "a-new.mid").write_bytes(smf.piece(9))
    list(scan_into(str(pieces), build(), tmp_path / "kept"))
    from_music = prepared(pieces, tmp_path / "one")
    pieces.rename(tmp_path / "elsewhere")
    assert prepared(tmp_path / "kept", tmp_path / "other") == from_music
    assert len(from_music["manifest.jsonl"].splitlines()) == 7
    assert not (tmp_path / "other" / "preparing").exists()


KILLED_AFTER_A_PORTION = """
import os, signal
from cadenza.cli import main
from cadenza.corpus.store import Store

keep = Store.keep

def keep_and_die(store):
    keep(store)
    os.kill(os.getpid(), signal.SIGKILL)

Store.keep = keep_and_die
main()
"""


@pytest.mark.slow
def test_a_scan_that_is_killed_goes_on_where_it_was(tmp_path: Path, smf: Midi, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = tmp_path / "music", tmp_path / "kept"
    folder.mkdir()
    made = [smf.piece(seed) for seed in range(40)]
    for number in range(PORTION + 100):
        (folder / f"{number:04d}.mid").write_bytes(made[number % 40])
    command = [sys.executable, "-c", KILLED_AFTER_A_PORTION, "scan", str(folder), "--out", str(out)]
    null = subprocess.DEVNULL  # the workers of the dead hold on to a pipe
    assert subprocess.run(command, check=False, stdout=null, stderr=null).returncode == -signal.SIGKILL
    read = counted(monkeypatch)
    with pytest.raises(CadenzaError, match="did not come to an end"):
        corpus_of(out)
    list(scan_into(str(folder), build(), out))
    assert len(read) == 100
    assert same(corpus_of(out), corpus_of(folder))


# Bad input


def complaint(source: Path, out: Path) -> str:
    with pytest.raises(CadenzaError) as caught:
        list(scan_into(str(source), build(), out))
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_a_store_in_the_scanned_folder_is_refused(pieces: Path) -> None:
    assert "it lies in the folder that is to be scanned" in complaint(pieces, pieces / "kept")
    assert "it lies in the folder that is to be scanned" in complaint(pieces, pieces)
    assert not (pieces / "kept").exists()


def test_a_folder_of_other_files_is_left_alone(pieces: Path, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("reader")
    assert "there are other files in it" in complaint(pieces, tmp_path / "letters")


def test_a_store_is_no_music(pieces: Path, tmp_path: Path) -> None:
    list(scan_into(str(pieces), build(), tmp_path / "kept"))
    assert "a scan already" in complaint(tmp_path / "kept", tmp_path / "again")


def test_a_damaged_store_and_one_of_another_version_are_named(pieces: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    list(scan_into(str(pieces), build(), out))
    with Store(out / STORE) as store:
        store.set_meta(version="0")
    assert "made by another version" in complaint(pieces, out)
    (out / STORE).write_bytes(b"no database at all" * 1000)
    assert "damaged, or no scan of Cadenza" in complaint(pieces, out)
    with pytest.raises(CadenzaError, match="damaged, or no scan"), open_source(str(out), build()):
        pass


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM music",
        "UPDATE music SET columns = zeroblob(length(columns))",
        "UPDATE score SET notes = 'many'",
        "UPDATE score SET meter = 'x/y'",
        "UPDATE ear SET size = 'large'",
        "UPDATE meta SET value = 'violin' WHERE key = 'program'",
        "UPDATE music SET columns = x'00'",
        "UPDATE grouped SET works = zeroblob(length(works))",
        "UPDATE sample SET hashes = zeroblob(length(hashes)); DELETE FROM grouped",
    ],
)
def test_a_store_of_damaged_values_is_named(pieces: Path, tmp_path: Path, cadenza: Cadenza, damage: str) -> None:
    out = tmp_path / "kept"
    list(scan_into(str(pieces), build(), out))
    with Store(out / STORE) as store:
        store.script(damage)
    code, _, said = cadenza("inspect", out)
    assert code == 2
    assert "scan.sqlite: damaged, or no scan of Cadenza" in said
    assert len(said.strip().splitlines()) == 1


def test_a_store_of_damaged_tables_is_named(pieces: Path, tmp_path: Path, cadenza: Cadenza) -> None:
    out = tmp_path / "kept"
    list(scan_into(str(pieces), build(), out))
    with Store(out / STORE) as store:
        [tables] = store.one("SELECT COUNT(*) FROM ids WHERE rows != ''")
        store.do("UPDATE ids SET rows = zeroblob(length(rows))")
    code, _, said = cadenza("run", out, "--out", tmp_path / "run", "--preset", "tiny")
    assert tables and code == 2
    assert "scan.sqlite: damaged, or no scan of Cadenza" in said


def test_damaged_n_grams_are_named(pieces: Path, tmp_path: Path) -> None:
    list(scan_into(str(pieces), build(), tmp_path / "kept"))
    with Store(tmp_path / "kept" / STORE) as store:
        scores = np.array([score for (score,) in store.ask("SELECT id FROM score WHERE digest != ''")])
        sets = StoredSets(Pieces(store, scores))
        assert len(sets.hashes(0))
        store.do("UPDATE gram SET hashes = zeroblob(length(hashes))")
        with pytest.raises(CadenzaError, match="damaged, or no scan of Cadenza"):
            sets.hashes(0)


def test_a_store_cut_off_while_it_was_made_is_made(pieces: Path, tmp_path: Path) -> None:
    """Of such a one SQLite leaves a file that its journal empties."""
    (tmp_path / "kept").mkdir()
    code = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.executescript('PRAGMA page_size = 16384; PRAGMA cache_size = 1; BEGIN; CREATE TABLE meta (key, value)');"
        "[c.execute('INSERT INTO meta VALUES (?, ?)', (str(k), 'x' * 5000)) for k in range(200)]; os._exit(9)"
    )
    path = tmp_path / "kept" / STORE
    subprocess.run([sys.executable, "-c", code, path], check=False)
    assert path.stat().st_size
    assert path.with_name(f"{STORE}-journal").stat().st_size
    list(scan_into(str(pieces), build(), tmp_path / "kept"))


def test_a_store_that_is_in_use_is_named(pieces: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    with Store(tmp_path / "kept" / STORE) as store:
        store.set_meta(busy="yes")
        code = f"from cadenza.corpus.store import Store; from pathlib import Path; Store(Path({str(store.path)!r}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another scan is writing it" in done.stderr


def test_music_that_vanishes_costs_nothing_that_was_read(pieces: Path, tmp_path: Path) -> None:
    list(scan_into(str(pieces), build(), tmp_path / "kept"))
    before = told(corpus_of(tmp_path / "kept"))
    pieces.rename(tmp_path / "elsewhere")
    assert "There is no folder" in complaint(pieces, tmp_path / "kept")
    assert told(corpus_of(tmp_path / "kept")) == before


def test_a_scan_is_not_taken_for_one_with_other_settings(pieces: Path, tmp_path: Path, cadenza: Cadenza) -> None:
    list(scan_into(str(pieces), build(), tmp_path / "kept"))
    code, _, said = cadenza("inspect", tmp_path / "kept", "--set", "midi.steps_per_second=50")
    assert code == 2
    assert "scanned with other settings of midi" in said


def test_another_version_of_the_program_reads_everything_again(
    pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "kept"
    shown = [record for record in scan_into(str(pieces), build(), out) if isinstance(record, Progress)]
    grouping = [record for record in shown if record.doing == "grouping"]
    assert [record.done for record in grouping] == sorted(record.done for record in grouping)
    assert grouping and all(0 <= record.done < record.total for record in grouping)
    assert [record for record in scan_into(str(pieces), build(), out) if isinstance(record, Progress)] == []
    monkeypatch.setattr("cadenza.corpus.scan.software", lambda: {"cadenza": "0"})
    shown = [record for record in scan_into(str(pieces), build(), out) if isinstance(record, Progress)]
    assert [record.total for record in shown if record.doing == "reading"] == [6] * 6


def test_a_full_disk_is_named_and_keeps_what_was_read(pieces: Path, smf: Midi, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    list(scan_into(str(pieces), build(), out))
    before = told(corpus_of(out))
    for seed in range(50, 150):
        (pieces / f"new-{seed}.mid").write_bytes(smf.piece(seed))
    limit = (out / STORE).stat().st_size + 65_536

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "cadenza", "scan", str(pieces), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=small_disk)
    assert done.returncode == 2, done.stderr
    assert "cannot write it" in done.stderr
    assert "Traceback" not in done.stderr
    for path in pieces.glob("new-*"):
        path.unlink()
    list(scan_into(str(pieces), build(), out))
    assert told(corpus_of(out)) == before


# Memory

PEAK = f"""
import sys
from pathlib import Path
from cadenza.corpus import scan, sorting, store, stored
from cadenza.presets import build
from cadenza.records import outcome
from cadenza.runs.folder import Run
from cadenza.runs.prepare import prepare_corpus, workshop
# of one size at any number of files, but not filled by so few:
store.CACHE_KIB, stored.PORTION, sorting.HELD, sorting.MANY = 2048, 1 << 6, 1 << 14, 0
import cadenza.runs.settling
scan.isolated_map = lambda function, items, *_: ((place, function(item)) for place, item in enumerate(items))
run = Run(Path(sys.argv[2]))
{PEAK_KIB}
before = peak()
with workshop(run) as folder:
    outcome(prepare_corpus(run, folder, sys.argv[1], build(), None))
print(peak() - before)
"""


def melody(seed: int) -> Notes:
    """1,000 notes."""
    rng = np.random.default_rng(seed)
    pitch = np.clip(72 + np.cumsum(rng.integers(-4, 5, 1000)), 40, 110)
    return Notes.of(np.cumsum(rng.integers(10, 50, 1000)), pitch, [9] * 1000, rng.integers(40, 110, 1000))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    """900 files more of 1,000 notes are 14 MB as columns, 7 MB as ids and 7 MB as n-grams at least."""
    grown = []
    for count in (300, 1200):
        folder = tmp_path / str(count)
        folder.mkdir()
        for seed in range(count):
            (folder / f"{seed}.mid").write_bytes(midi.to_bytes(melody(seed)))
        command = [sys.executable, "-c", PEAK, str(folder), str(tmp_path / f"run-{count}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        grown.append(json.loads(done.stdout))
    assert grown[1] - grown[0] < 10_000  # KiB


def test_a_worker_sends_little(pieces: Path) -> None:
    with open_source(str(pieces), build()) as source:
        record = read_packed((source.files[0], build().midi, Compact("notes")))
    [score] = record.scores
    assert (score.notes, len(score.columns), len(score.rows)) == (60, 6 * 60, 4 * 61 + SEAL)


@pytest.mark.slow
def test_a_scan_of_many_altered_performances_stays_small(data: Path) -> None:
    """The benchmark of scale, in a shortened form."""
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py"), "--data", str(data), "--files", "300"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["peak_gib"] <= 1.5
    assert found.keys() == {
        "files_per_second",
        "peak_gib",
        "growth_exponent",
        "incremental_share",
        "incremental_share_whole",
    }


def test_a_scan_of_other_music_is_not_written_over(pieces: Path, smf: Midi, tmp_path: Path) -> None:
    out, other = tmp_path / "kept", tmp_path / "other"
    list(scan_into(str(pieces), build(), out))
    other.mkdir()
    (other / "a.mid").write_bytes(smf.piece(77))
    assert f"kept: a scan of {pieces}; choose another --out" in complaint(other, out)
    assert len(corpus_of(out).pieces) == 6
    pieces.rename(tmp_path / "moved")
    list(scan_into(str(tmp_path / "moved"), build(), out))
    assert len(corpus_of(out).pieces) == 6


@pytest.mark.slow
def test_an_interrupted_scan_says_how_to_go_on(pieces: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cadenza", "scan", str(pieces), "--out", str(tmp_path / "kept")]
    heard = partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # not so where a script began the tests in its background
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "A scan goes on with the same command" in said
    assert "Traceback" not in said
