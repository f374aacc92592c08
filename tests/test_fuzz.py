"""Whatever comes in, only `CadenzaError` comes out, with one sentence: damaged music, models, archives, settings, forms.

Every input follows from a number, so what fails once fails each time. `benchmarks/fuzz.py` does the first for hours.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from starlette.testclient import TestClient

from cadenza import presets
from cadenza.checkpoint import FORMAT, Facts, fresh_model, model_bytes
from cadenza.corpus.abc import abc_tunes, parse_abc
from cadenza.corpus.unpack import unpack
from cadenza.improviser import load_improviser
from cadenza.notes import TimeBase
from cadenza.settings import MidiSettings, ModelSettings, Settings, TokenSettings
from cadenza.tokens import representation
from cadenza.web.app import create
from cadenza.web.safety import Door
from hostile import damaged, hostile, own_songs, song_bytes
from soundness import SETTINGS, check_music_file, check_sentence, only_our_error

VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 3, 2**31, 2**63, 10**30, -0.0, 1.5, 1e308, 1e400, -1e400, float("nan"), "", "x", "\0\n",
    "seconds", "study", "lstm", "transformer", "x" * 5000, [], [[]], [1, 2], ["x"], {}, {"x": 1}, {"pitch": 1},
)  # fmt: skip


def rng_of(number: int) -> random.Random:
    return random.Random(number)


def with_another_value(rng: random.Random, tree: Any) -> Any:
    """The tree with a leaf or a branch replaced, left out or put in twice."""
    if not isinstance(tree, dict) or not tree or rng.random() < 0.15:
        return rng.choice(VALUES)
    key = rng.choice(list(tree))
    way = rng.random()
    if way < 0.1:
        return {name: value for name, value in tree.items() if name != key}
    if way < 0.2:
        return {**tree, rng.choice(("", "x", "a\nb", "extra", *tree)): tree[key]}
    return {**tree, key: with_another_value(rng, tree[key])}


# Music


def test_hostile_music_files_are_sound(tmp_path: Path) -> None:
    songs = own_songs()
    with_notes = 0
    for number in range(600):
        data = hostile(0, number, songs)
        with_notes += check_music_file(data, tmp_path / "hostile.mid", SETTINGS[number % len(SETTINGS)])
    assert 150 < with_notes < 450


TUNES = b'X:1\nT:One\nM:6/8\nL:1/8\nQ:1/4=120\nK:D\n|:d2f a2f|(3gab e>c [Ace]2:|\nX:2\nK:C\n"Am"A,B, ^C=D_E z4|]\n'


def test_hostile_tunes_are_one_sentence_or_notes() -> None:
    refused = tunes = 0
    for number in range(60):
        text = damaged(rng_of(number), TUNES).decode("utf-8", "replace")

        def read(text: str = text) -> None:
            nonlocal refused, tunes
            for name, tune in abc_tunes(text, "hostile.abc"):
                refused += bool(only_our_error(lambda tune=tune, name=name: parse_abc(tune, name, MidiSettings())))  # type: ignore[misc]
                tunes += 1

        only_our_error(read)
    assert 0 < refused < tunes


# Models

KINDS = {
    "seconds": (
        ModelSettings(layers=1, width=32),
        TokenSettings(),
        Facts("a", "seconds", 100, 40, 120.0, None, 55, 90),
    ),
    "beats": (
        ModelSettings(trunk="lstm", layers=1, width=16),
        TokenSettings(),
        Facts("b", "beats", 24, 40, 90.0, (6, 8), 55, 90),
    ),
    "study": (
        ModelSettings(trunk="study", layers=1, width=16, window=20),
        TokenSettings(representation="study"),
        Facts("c", "seconds", 100, 40, 120.0, None, 55, 90, representation("study", TimeBase()).vocabulary, ((0,),)),
    ),
}


@pytest.fixture(scope="module", params=sorted(KINDS))
def model(request: pytest.FixtureRequest) -> bytes:
    settings, tokens, facts = KINDS[request.param]
    network = fresh_model(settings, representation(tokens.representation, facts.base, facts.vocabulary), seed=3)
    return model_bytes(network.state_dict(), settings, tokens, MidiSettings(), facts, "ab" * 32, 17)


def with_header(file: bytes, change: Callable[[str], str]) -> bytes:
    """A model file whose own header is another text."""
    end = 8 + int.from_bytes(file[:8], "little")
    outer = json.loads(file[8:end])
    outer["__metadata__"][FORMAT] = change(outer["__metadata__"][FORMAT])
    text = json.dumps(outer).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[end:]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: "[" * 100_000, "its header is damaged"),
        (lambda text: text.replace('"step": 17', '"step": 1e999'), "its header and its weights do not fit together"),
    ],
    ids=["nested", "infinite"],
)
def test_a_header_that_its_reader_cannot_bear_is_one_sentence(
    model: bytes, tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    assert said in check_model(with_header(model, change), tmp_path / "model.safetensors")


def improvise(path: Path) -> None:
    load_improviser(path).generate(seconds=2, notes=4, seed=1)


def check_model(file: bytes, path: Path) -> str:
    path.write_bytes(file)
    return only_our_error(lambda: improvise(path))


def test_a_model_file_with_another_header_is_one_sentence_or_improvises(model: bytes, tmp_path: Path) -> None:
    for number in range(300):
        rng = rng_of(number)

        def change(text: str, rng: random.Random = rng) -> str:
            return json.dumps(with_another_value(rng, json.loads(text)))

        check_model(with_header(model, change), tmp_path / "model.safetensors")


def test_a_damaged_model_file_is_one_sentence_or_improvises(model: bytes, tmp_path: Path) -> None:
    for number in range(60):
        rng = rng_of(number)
        head = 8 + int.from_bytes(model[:8], "little")
        at = rng.choice((0, 8, head))
        check_model(model[:at] + damaged(rng, model[at:]), tmp_path / "model.safetensors")


# Archives


def archive_of(kind: str) -> bytes:
    """A small archive of music, a text and a link."""
    out = io.BytesIO()
    music = {f"a/{number}.mid": song_bytes(song) for number, song in enumerate(own_songs()[:3])} | {"read.txt": b"me"}
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as zipped:
            for number, (name, data) in enumerate(music.items()):
                compression = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)[number]
                zipped.writestr(zipfile.ZipInfo(name), data, compression)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode=f"w:{kind.partition('.')[2]}", format=tarfile.PAX_FORMAT) as tarred:  # type: ignore[call-overload]
        for name, data in (*music.items(), (f"{'long/' * 40}é.mid", b"MThd")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tarred.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("link.mid")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tarred.addfile(link)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_hostile_archive_is_one_sentence_or_files_of_ours(tmp_path: Path, kind: str) -> None:
    sound = archive_of(kind)
    archive, folder = tmp_path / f"hostile.{kind}", tmp_path / "unpacked"
    for number in range(150):
        archive.write_bytes(damaged(rng_of(number), sound))
        folder.mkdir()
        only_our_error(lambda: unpack(archive, folder, Settings()))
        for path in folder.iterdir():
            assert path.is_file() and not path.is_symlink()
            assert path.stem.isdecimal()
            path.unlink()
        folder.rmdir()
        assert sorted(path.name for path in tmp_path.iterdir()) == [archive.name]


def tar_header(name: str, size: int, kind: bytes) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tar_header("a.mid", -512, tarfile.REGTYPE), "a header of -512 bytes"),
        (tar_header("a.mid", -512, tarfile.GNUTYPE_LONGNAME), "a header of -512 bytes"),
        (tar_header("a.mid", 1 << 32, tarfile.XHDTYPE), "a header of 4,294,967,296 bytes"),
        (tar_header("a.mid", 1 << 32, tarfile.GNUTYPE_LONGNAME), "a header of 4,294,967,296 bytes"),
    ],
    ids=["backwards", "backwards-name", "endless-header", "endless-name"],
)
def test_a_tar_header_that_leads_astray_is_damage(tmp_path: Path, content: bytes, said: str) -> None:
    good = tar_header("good.mid", 0, tarfile.REGTYPE)  # tarfile says less of the first header
    (tmp_path / "a.tar").write_bytes(good + content + bytes(64 << 10))
    assert said in only_our_error(lambda: unpack(tmp_path / "a.tar", tmp_path, Settings()))


def test_a_size_below_nothing_in_an_extended_header_is_damage(tmp_path: Path) -> None:
    record = b"15 size=-10240\n"
    assert len(record) == 15
    extended = tar_header("x", len(record), tarfile.XHDTYPE) + record.ljust(tarfile.BLOCKSIZE, b"\0")
    (tmp_path / "a.tar").write_bytes(extended + tar_header("a.mid", 0, tarfile.REGTYPE) + bytes(20 << 10))
    assert "bytes" in only_our_error(lambda: unpack(tmp_path / "a.tar", tmp_path, Settings()))


# Settings


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 5000, "1_" * 5000], ids=["nested", "digits", "ones"])
def test_a_value_that_its_reader_cannot_bear_is_one_sentence(tmp_path: Path, value: str) -> None:
    assert only_our_error(lambda: presets.build(assignments=[f"train.seed={value}"])).startswith("train.seed = ")
    path = tmp_path / "a.toml"
    path.write_text(f"[train]\nseed = {value}\n")
    assert "not a TOML file" in only_our_error(lambda: presets.build(config=path))


@pytest.mark.parametrize("name", ["two\nlines", "x" * 5000])
def test_a_wrong_name_is_repeated_on_one_line_of_bearable_length(name: str) -> None:
    wrongs: list[dict[str, Any]] = [
        {name: {}},
        {"train": {name: 1}},
        {"midi": {"time_base": name}},
        {"sample": {"by_field": {name: "x"}}},
    ]
    for wrong in wrongs:
        assert only_our_error(lambda wrong=wrong: presets.build(**wrong))  # type: ignore[misc]
    assert only_our_error(lambda: presets.build(sample={"instrument": name}))
    assert only_our_error(lambda: presets.build(assignments=[name]))


def test_hostile_settings_files_are_one_sentence_or_settings(tmp_path: Path) -> None:
    path = tmp_path / "hostile.toml"
    sound = Settings().model_dump()
    refused = 0
    for number in range(400):
        rng = rng_of(number)
        tree = with_another_value(rng, sound)
        try:
            text = tomli_w.dumps(tree).encode()
        except (TypeError, AttributeError):  # there is no null, and no file that is not a table
            text = damaged(rng, tomli_w.dumps(sound).encode())
        path.write_bytes(damaged(rng, text) if rng.random() < 0.5 else text)
        refused += bool(only_our_error(lambda: presets.build(config=path)))
    assert 0 < refused < 400


def test_hostile_assignments_are_one_sentence_or_settings() -> None:
    keys = [f"{section}.{key}" for section, values in Settings().model_dump().items() for key in values]
    refused = 0
    for number in range(800):
        rng = rng_of(number)
        value = rng.choice((str(rng.choice(VALUES)), repr(rng.choice(VALUES)), json.dumps(rng.choice(VALUES))))
        text = f"{rng.choice(keys)}={value}"
        if rng.random() < 0.4:
            text = damaged(rng, text.encode()).decode("utf-8", "replace")
        refused += bool(only_our_error(lambda text=text: presets.build(assignments=[text])))  # type: ignore[misc]
    assert 0 < refused < 800


# The studio


@contextmanager
def studio(folder: Path) -> Iterator[TestClient]:
    app = create(folder, Door("testserver", 80), warm=False)
    with TestClient(app, raise_server_exceptions=False) as client:
        app.state.desk.errands.over = True  # what is uploaded here need not be read
        yield client


FORM = (
    b'--edge\r\nContent-Disposition: form-data; name="name"\r\n\r\nMy music\r\n--edge\r\n'
    b'Content-Disposition: form-data; name="files"; filename="a/b.mid"\r\nContent-Type: audio/midi\r\n\r\n'
    b"MThd\0\0\0\6\0\0\0\0\1\xe0\r\n--edge--\r\n"
)


def test_hostile_forms_are_one_sentence_or_taken(tmp_path: Path) -> None:
    with studio(tmp_path) as client:
        taken = 0
        for number in range(200):
            body = damaged(rng_of(number), FORM, most=3)
            answer = client.post(
                "/api/v1/music", content=body, headers={"content-type": "multipart/form-data; boundary=edge"}
            )
            taken += answer.is_success
            assert answer.status_code < 500, (number, answer.text)
            if not answer.is_success:
                check_sentence(answer.json()["detail"])
        assert 0 < taken < 200
