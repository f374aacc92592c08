import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cadenza.corpus import catalogue
from cadenza.corpus.catalogue import CORPORA, Corpus, cached, content_digest, get, here
from cadenza.corpus.sources import open_source
from cadenza.errors import CadenzaError
from cadenza.presets import build
from cadenza.records import Progress
from conftest import Midi

NAME = "small"


def packed(music: dict[str, bytes], top: str = "repository-1") -> bytes:
    """A .tar.gz as a host packs one: everything below one folder named after the version."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in music.items():
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@dataclass
class Host:
    """What a loopback server sends, and how often it was asked."""

    url: str = ""
    body: bytes = b""
    promised: int | None = None
    status: int = 200
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    state = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(state.body) if state.promised is None else state.promised))
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}/small.tar.gz"
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def music(smf: Midi) -> dict[str, bytes]:
    return {f"dataset/{number}.mid": smf.piece(number) for number in range(4)} | {"README": b"words", "b.mid": b"x"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: Host, music: dict[str, bytes]) -> Path:
    """An empty cache, and a corpus that the loopback server has."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    whole = tmp_path / "whole.tar.gz"
    whole.write_bytes(packed(music))
    host.body = whole.read_bytes()
    digest = content_digest(whole, "dataset")
    monkeypatch.setitem(
        CORPORA, NAME, Corpus("Small", "none", "nobody", 40, url=host.url, inside="dataset", sha256=digest)
    )
    return folder


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def refused(source: Path | None = None) -> str:
    """What the user reads when the corpus does not come; nothing of it is kept."""
    with pytest.raises(CadenzaError) as caught:
        list(get(NAME, source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_download_reports_its_progress_and_ends_in_the_cache(cache: Path, host: Host) -> None:
    host.body += bytes(3 * catalogue.BLOCK)  # what follows the end of a tar changes nothing
    assert here(NAME) is None
    transfers = list(get(NAME))
    assert [transfer.total for transfer in transfers] == [len(host.body)] * len(transfers)
    assert len(transfers) >= 4
    assert [transfer.done for transfer in transfers] == sorted({transfer.done for transfer in transfers})
    assert transfers[-1].done == len(host.body)
    assert here(NAME) == cached(NAME)
    assert cached(NAME).read_bytes() == host.body
    assert files(cache) == ["small.tar.gz"]


def test_a_corpus_in_the_cache_is_a_source(cache: Path, host: Host, music: dict[str, bytes]) -> None:
    with (
        pytest.raises(CadenzaError, match="not on this machine yet; run: cadenza corpora get small"),
        open_source(NAME, build()),
    ):
        pass
    list(get(NAME))
    with open_source(NAME, build()) as source:
        assert (source.name, source.program) == (NAME, 40)
        assert {file.path.read_bytes() for file in source.files} >= {music["dataset/0.mid"], music["dataset/3.mid"]}
    assert host.asked == ["/small.tar.gz"]


def test_a_download_that_breaks_off_leaves_nothing_and_a_second_try_succeeds(cache: Path, host: Host) -> None:
    whole = host.body
    host.body, host.promised = whole[: len(whole) // 2], len(whole)
    said = refused()
    assert said.startswith(f"{host.url}: the download broke off")
    assert said.endswith("run the same command again, or fetch it yourself and pass --from FILE.")
    assert files(cache) == []
    assert here(NAME) is None
    host.body, host.promised = whole, None
    list(get(NAME))
    assert files(cache) == ["small.tar.gz"]


def test_a_download_that_the_user_stops_leaves_nothing(cache: Path) -> None:
    transfers = get(NAME)
    next(transfers)
    transfers.close()  # type: ignore[attr-defined]
    assert files(cache) == []


def test_other_music_is_refused_and_the_copy_in_the_cache_kept(
    cache: Path, host: Host, music: dict[str, bytes]
) -> None:
    list(get(NAME))
    before = cached(NAME).read_bytes()
    host.body = packed(music | {"dataset/0.mid": b"MThd, but other music"})
    assert refused().startswith(f"{host.url}: its music is not that of small (SHA-256 ")
    host.body = b"<html>Not found</html>"
    assert "damaged, or not an archive" in refused()
    host.body, host.promised = before[:100], len(before)
    assert "broke off" in refused()
    assert cached(NAME).read_bytes() == before
    assert files(cache) == ["small.tar.gz"]


def test_a_missing_page_is_named(cache: Path, host: Host) -> None:
    host.status = 404
    assert refused().startswith(f"{host.url}: cannot download it (the host says 404 Not Found)")
    assert files(cache) == []


def test_a_host_that_is_not_there_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = CORPORA[NAME]
    # A port that was just free; nobody listens on it.
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/small.tar.gz"
    monkeypatch.setitem(CORPORA, NAME, Corpus("", "", "", 40, url=url, inside=corpus.inside, sha256=corpus.sha256))
    assert refused().startswith(f"{url}: cannot download it ([Errno 111] Connection refused); run the same command")
    assert files(cache) == []


def test_an_archive_is_taken_from_a_file(cache: Path, host: Host, tmp_path: Path) -> None:
    source = tmp_path / "elsewhere.tar.gz"
    source.write_bytes(host.body)
    assert list(get(NAME, source)) == [Progress("copying", len(host.body), len(host.body))]
    assert cached(NAME).read_bytes() == host.body == source.read_bytes()
    assert host.asked == []


def test_the_same_music_packed_otherwise_is_accepted(cache: Path, music: dict[str, bytes], tmp_path: Path) -> None:
    source = tmp_path / "fork.tar.gz"
    others = {"LICENSE": b"more words"}
    source.write_bytes(packed(others | dict(reversed(music.items())), top="fork-of-repository-main"))
    list(get(NAME, source))
    assert here(NAME) == cached(NAME)


def test_the_same_music_in_a_zip_is_accepted(cache: Path, music: dict[str, bytes], tmp_path: Path) -> None:
    source = tmp_path / "repository.zip"
    with zipfile.ZipFile(source, "w") as archive:
        for name, content in music.items():
            archive.writestr(f"repository-1/{name}", content)
    list(get(NAME, source))
    with open_source(NAME, build()) as opened:
        assert len(opened.files) == 4  # what lies outside the folder that was checked is not taken


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_damaged_file_is_refused(cache: Path, host: Host, tmp_path: Path, share: float) -> None:
    source = tmp_path / "damaged.tar.gz"
    source.write_bytes(host.body[: int(share * len(host.body))])
    said = refused(source)
    assert "damaged, or not an archive" in said
    assert said.startswith(f"{source}: ")
    assert files(cache) == []
    assert source.exists()


def test_a_file_that_is_not_there_or_is_a_folder_is_named(cache: Path, tmp_path: Path) -> None:
    assert refused(tmp_path / "none").startswith(f"{tmp_path / 'none'}: ")
    assert refused(tmp_path).startswith(f"{tmp_path}: ")
    assert files(cache) == []


def test_a_cache_that_cannot_be_written_is_named(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "set XDG_CACHE_HOME to another folder" in refused()


def test_an_unknown_corpus_names_the_nearest() -> None:
    with pytest.raises(CadenzaError, match=r"no corpus 'fidle' \(did you mean 'fiddle'\?\)"):
        list(get("fidle"))


def test_the_digest_is_over_names_and_bytes_of_the_music(tmp_path: Path, music: dict[str, bytes]) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(packed(music))
    lines = sorted(
        f"{hashlib.sha256(content).hexdigest()}  {name.removeprefix('dataset/')}\n"
        for name, content in music.items()
        if name.startswith("dataset/")
    )
    assert content_digest(path, "dataset") == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_every_corpus_says_what_it_is() -> None:
    for corpus in CORPORA.values():
        assert corpus.title
        assert corpus.licence
        assert corpus.citation
        assert bool(corpus.package) != bool(corpus.url and corpus.sha256 and corpus.inside)


def test_the_real_archive_has_the_digest_of_the_catalogue(data: Path) -> None:
    corpus = CORPORA["violin-etudes"]
    assert content_digest(data / "violin-etudes.tar.gz", corpus.inside) == corpus.sha256
