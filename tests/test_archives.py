import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cadenza.corpus.sources import open_source
from cadenza.corpus.unpack import printable
from cadenza.errors import CadenzaError
from cadenza.presets import build
from cadenza.settings import Settings
from conftest import Midi

Members = list[tuple[str, bytes]]

EVIL = ["../../evil.mid", "/abs.mid", "..\\..\\evil.mid", "a/../../../evil.mid", "C:\\evil.mid", "~/evil.mid"]


def packed_zip(path: Path, members: Members, compression: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compression)


def packed_tar(path: Path, members: Members) -> None:
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def packed(path: Path, members: Members) -> Path:
    (packed_zip if path.suffix.lower() == ".zip" else packed_tar)(path, members)
    return path


def contents(archive: Path, settings: Settings | None = None) -> dict[str, bytes]:
    """The bytes of every music file of an archive, as the reader of a source gets them."""
    with open_source(str(archive), settings or build()) as source:
        assert [file.reason for file in source.files] == [""] * len(source.files)
        return {file.name: file.path.read_bytes() for file in source.files}


def complaint(archive: Path, settings: Settings | None = None) -> str:
    with pytest.raises(CadenzaError) as caught, open_source(str(archive), settings or build()):
        pass
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{archive}: ")
    return str(caught.value).removeprefix(f"{archive}: ")


def below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


KINDS = ["music.zip", "music.ZIP", "music.tar", "music.tar.gz", "music.tgz", "music.tar.xz", "music.tar.bz2"]


@pytest.mark.parametrize("name", KINDS)
def test_the_music_of_an_archive_is_read(tmp_path: Path, smf: Midi, name: str) -> None:
    music = [(f"set/{number}.mid", smf.piece(number)) for number in range(3)] + [("tune.ABC", b"X:1\nK:C\nC")]
    others = [("set/readme.txt", b"words"), ("set/._0.mid", b"\0\5\26\7"), ("__MACOSX/set/._1.mid", b"\0\5\26\7")]
    assert contents(packed(tmp_path / name, music + others)) == dict(music)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_compression_of_a_zip_is_read(tmp_path: Path, smf: Midi, compression: int) -> None:
    packed_zip(tmp_path / "a.zip", [("a.mid", smf.piece(0))], compression)
    assert contents(tmp_path / "a.zip") == {"a.mid": smf.piece(0)}


@pytest.mark.parametrize("name", ["music.zip", "music.tar.gz"])
def test_no_member_is_written_outside_the_private_folder(
    tmp_path: Path, smf: Midi, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    temporary = tmp_path / "deep" / "er" / "temporary"
    temporary.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.chdir(tmp_path)
    archive = packed(tmp_path / name, [(evil, smf.piece(number)) for number, evil in enumerate(EVIL)])
    before = below(tmp_path)
    with open_source(str(archive), build()) as source:
        assert sorted(file.name for file in source.files) == sorted(map(printable, EVIL))
        [private] = temporary.iterdir()
        assert {file.path.parent for file in source.files} == {private}
        assert below(tmp_path) - before == {private, *(file.path for file in source.files)}
    assert below(tmp_path) == before
    assert not Path("/abs.mid").exists()


def test_links_and_devices_of_a_tar_are_passed_over(tmp_path: Path, smf: Midi) -> None:
    secret = tmp_path / "secret.mid"
    secret.write_bytes(smf.piece(9))
    archive = packed(tmp_path / "music.tar", [("good.mid", smf.piece(0))])
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
    with tarfile.open(archive, "a") as more:
        for number, kind in enumerate(kinds):
            entry = tarfile.TarInfo(f"link{number}.mid")
            entry.type, entry.linkname = kind, str(secret)
            more.addfile(entry)
    assert contents(archive) == {"good.mid": smf.piece(0)}


def test_a_link_in_a_zip_is_no_more_than_its_text(tmp_path: Path, smf: Midi) -> None:
    (tmp_path / "secret.mid").write_bytes(smf.piece(9))
    link = zipfile.ZipInfo("link.mid")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, str(tmp_path / "secret.mid"))
    assert contents(tmp_path / "a.zip") == {"link.mid": str(tmp_path / "secret.mid").encode()}


@pytest.mark.parametrize(
    ("name", "member"), [("music.zip", "zeros.mid"), ("music.tar.gz", "zeros.mid"), ("music.tar.gz", "zeros.bin")]
)
def test_an_archive_that_would_explode_is_refused(tmp_path: Path, smf: Midi, name: str, member: str) -> None:
    archive = packed(tmp_path / name, [("good.mid", smf.piece(0)), (member, bytes(3_000_000))])
    assert archive.stat().st_size < 20_000
    settings = build(corpus={"max_archive_gigabytes": 0.002})
    assert complaint(archive, settings).startswith(
        "it unpacks to more than 0.002 GB; raise corpus.max_archive_gigabytes"
    )
    with open_source(str(archive), build()) as source:
        assert source.files


def test_a_member_over_the_size_limit_is_named_and_not_written(tmp_path: Path, smf: Midi) -> None:
    archive = packed(tmp_path / "a.zip", [("big.mid", bytes(2_000_000)), ("good.mid", smf.piece(0))])
    with open_source(str(archive), build(midi={"max_megabytes": 1})) as source:
        big, good = source.files
        assert big.reason == "big.mid: 2 MB, over midi.max_megabytes = 1; raise that, or leave it out."
        assert not big.path.exists()
        assert good.reason == ""


def lying_zip(path: Path, claimed: int) -> None:
    """A megabyte of zeros that says it is `claimed` bytes."""
    packed_zip(path, [("liar.mid", bytes(1_000_000))])
    data = path.read_bytes()
    true = (1_000_000).to_bytes(4, "little")
    assert data.count(true) == 2
    path.write_bytes(data.replace(true, claimed.to_bytes(4, "little")))


@pytest.mark.parametrize("claimed", [10, 999_999, 1_000_001, 20_000_000])
def test_no_more_is_written_than_a_member_says_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claimed: int
) -> None:
    lying_zip(tmp_path / "liar.zip", claimed)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try:
        assert sum(map(len, contents(tmp_path / "liar.zip").values())) <= min(claimed, 1_000_000)
    except CadenzaError as error:
        assert "damaged, or not an archive" in str(error)  # noqa: PT017
    assert sorted(path.name for path in tmp_path.iterdir()) == ["liar.zip"]


def test_an_encrypted_member_is_named_and_the_rest_is_read(tmp_path: Path, smf: Midi) -> None:
    path = packed(tmp_path / "a.zip", [("locked.mid", b"x" * 50), ("open.mid", smf.piece(0))])
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the first member's header, and its directory entry
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    with open_source(str(path), build()) as source:
        locked, free = source.files
        assert locked.reason == "locked.mid: it is encrypted in the archive; unpack it yourself."
        assert not locked.path.exists()
        assert free.path.read_bytes() == smf.piece(0)


def test_names_are_printed_on_one_line(tmp_path: Path, smf: Midi) -> None:
    archive = packed(tmp_path / "a.tar", [("two\nlines\x1b[31m.mid", smf.piece(0))])
    assert list(contents(archive)) == ["two\\nlines\\x1b[31m.mid"]


def test_an_archive_without_music_is_named(tmp_path: Path) -> None:
    assert complaint(packed(tmp_path / "a.zip", [("readme.txt", b"words")])).startswith("no music in it")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("content", [b"", b"not an archive at all" * 50, bytes(2000)], ids=["empty", "text", "zeros"])
def test_what_is_no_archive_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert complaint(tmp_path / name).startswith(
        ("damaged, or not an archive (", "cannot unpack it (", "no music in it")
    )


@pytest.mark.parametrize("name", ["music.zip", "music.tar", "music.tar.gz", "music.tar.xz", "music.tar.bz2"])
def test_damage_anywhere_is_a_sentence_or_does_no_harm(tmp_path: Path, smf: Midi, name: str) -> None:
    """Cut and changed archives end in our own error, or give files; nothing else escapes, nothing is left behind."""
    rng = random.Random(name)
    noise = random.Random(1).randbytes(20_000)
    path = packed(tmp_path / name, [(f"{n}.mid", smf.piece(n) + noise) for n in range(3)])
    whole = path.read_bytes()
    refused = 0
    for number in range(120):
        data = bytearray(whole)
        if number % 3:
            for _ in range(rng.choice([1, 3, 10])):
                edge = rng.choice([len(data), 600])
                data[rng.choice([rng.randrange(edge), -1 - rng.randrange(edge)])] = rng.randrange(256)
        else:
            data = data[: rng.randrange(len(data))]
        path.write_bytes(data)
        try:
            with open_source(str(path), build()) as source:
                assert len(source.files) <= 3
        except CadenzaError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 20
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("pack", "name"), [(gzip.compress, "a.tar.gz"), (lzma.compress, "a.tar.xz"), (bz2.compress, "a.tar.bz2")]
)
def test_a_tar_cut_before_it_was_packed_is_named(
    tmp_path: Path, smf: Midi, pack: Callable[[bytes], bytes], name: str
) -> None:
    plain = packed(tmp_path / "a.tar", [("a.mid", smf.piece(0) * 50)]).read_bytes()
    (tmp_path / name).write_bytes(pack(plain[:2000]))
    assert complaint(tmp_path / name).startswith("damaged, or not an archive (")


def test_an_archive_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").symlink_to(tmp_path / "b.zip")
    (tmp_path / "b.zip").mkdir()
    with open_source(str(packed(tmp_path / "c.zip", [("a.mid", b"x")])), build()) as source:
        assert os.listdir(source.files[0].path.parent) == ["0000000.mid"]  # noqa: PTH208
    with pytest.raises(CadenzaError, match="no music in it"), open_source(str(tmp_path / "a.zip"), build()):
        pass


def test_a_damaged_header_in_the_middle_of_a_tar_is_no_silent_end(tmp_path: Path, smf: Midi) -> None:
    path = tmp_path / "music.tar"
    with tarfile.open(path, "w") as archive:
        for seed in range(3):
            content = smf.piece(seed)
            entry = tarfile.TarInfo(f"{seed}.mid")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with tarfile.open(path) as archive:
        second = archive.getmember("1.mid").offset
    data = bytearray(path.read_bytes())
    data[second + 10] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(CadenzaError, match="damaged"), open_source(str(path), build()):
        pass
