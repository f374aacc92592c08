"""The same work on a real cluster: a scheduler and workers, each a process of its own."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cadenza.corpus import cluster as clusters
from cadenza.corpus.isolate import Casualty, Cluster, isolated_map
from cadenza.corpus.scan import Corpus, scan
from cadenza.corpus.sources import open_source
from cadenza.errors import CadenzaError
from cadenza.records import outcome
from cadenza.settings import CorpusSettings, Settings
from conftest import ROOT, Cadenza, same_notes
from test_isolate import HANG_SECONDS, carry_out, check

pytest.importorskip("dask.distributed")
local = pytest.importorskip("local_cluster", reason="the benchmarks are not part of the source distribution")

FAILURES = 1
"""Workers that may die of a task beyond the first; Dask allows three unless told."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster of two workers, which come back when they die."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests"), prepend=":")
        with local.local_cluster(tmp_path_factory.mktemp("cluster"), 2, FAILURES) as cluster:
            yield cluster


def as_cluster(here: Any) -> Cluster:
    return Cluster(here.address, Path(__file__))


def results(cluster: Cluster, words: list[str], kill_after: int = -1, victim: Any = None) -> dict[int, int | Casualty]:
    """What becomes of the words; a victim is killed once so many results are there."""
    found: list[tuple[int, int | Casualty]] = []
    for pair in isolated_map(carry_out, list(zip(words, range(len(words)), strict=True)), 0, HANG_SECONDS, cluster):
        found.append(pair)
        if len(found) == kill_after:
            local.kill(victim)
    assert len(found) == len(dict(found))
    return dict(found)


def scanned(folder: Path, corpus: CorpusSettings) -> Corpus:
    settings = Settings(corpus=corpus)
    with open_source(str(folder), settings) as source:
        return outcome(scan(source, settings))


@pytest.mark.slow
def test_items_that_kill_every_worker_they_meet_cost_only_themselves(here: Any) -> None:
    words = [""] * 63
    words[7], words[30], words[52] = "abort", "hang", "exit"
    check(results(as_cluster(here), words), words)


def test_no_items_have_no_results(here: Any) -> None:
    assert results(as_cluster(here), []) == {}


@pytest.mark.slow
def test_a_machine_that_goes_half_way_costs_nothing_and_nothing_comes_twice(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests"), prepend=":")
        with local.local_cluster(tmp_path, 2, FAILURES) as cluster:
            words = [""] * 200
            check(results(as_cluster(cluster), words, kill_after=80, victim=cluster.workers[0]), words)


def test_a_corpus_is_the_same_whoever_reads_it(here: Any, pieces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pieces / "bad.mid").write_bytes(b"MThd and no more")
    alone = scanned(pieces, CorpusSettings())
    monkeypatch.chdir(pieces.parent)  # where no worker stands
    together = scanned(Path("pieces"), CorpusSettings(backend="dask", scheduler=here.address))
    assert together.entries == alone.entries
    assert len(together.dropped) == 1
    for one, other in zip(together.pieces, alone.pieces, strict=True):
        assert one.header == other.header
        assert same_notes(one, other)


@pytest.mark.slow
def test_one_option_takes_a_run_to_the_cluster(here: Any, pieces: Path, tmp_path: Path, cadenza: Cadenza) -> None:
    options = ("--backend", "dask", "--scheduler", here.address)
    alone, together = cadenza("inspect", pieces, "--json"), cadenza("inspect", pieces, "--json", *options)
    assert together == alone
    code, _, err = cadenza("train", pieces, "--out", "run", "--preset", "tiny", "--set", "train.steps=2", *options)
    assert (code, err) == (0, "")
    assert (tmp_path / "run/model.safetensors").exists()


def refusal(cluster: Cluster) -> str:
    """The one sentence that ends the work."""
    with pytest.raises(CadenzaError) as refused:
        list(isolated_map(carry_out, [("", 1)], 0, HANG_SECONDS, cluster))
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "http://127.0.0.1:1", "tcp://no-such-host:8786"])
def test_a_wrong_address_is_one_sentence_soon(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 1)
    begin = time.monotonic()
    assert f"No Dask scheduler answers at {address}" in refusal(Cluster(address, Path(__file__)))
    assert time.monotonic() - begin < 30


def test_what_listens_and_is_no_scheduler_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        assert f"No Dask scheduler answers at {address}" in refusal(Cluster(address, Path(__file__)))


def test_workers_that_do_not_see_the_files_are_named(here: Any, tmp_path: Path) -> None:
    said = refusal(Cluster(here.address, tmp_path / "elsewhere.mid"))
    assert f"does not see {tmp_path / 'elsewhere.mid'}" in said


def test_a_cluster_without_workers_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "WORKER_SECONDS", 1)
    with local.local_cluster(tmp_path, 0) as cluster:
        assert "has had no worker for 1 s" in refusal(as_cluster(cluster))


@pytest.mark.slow
def test_a_cluster_that_has_another_cadenza_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cadenza").mkdir()
    (tmp_path / "cadenza/__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with local.local_cluster(tmp_path, 1) as cluster:
        assert "cannot load this version of Cadenza" in refusal(as_cluster(cluster))


def test_a_worker_that_reads_files_with_another_version_says_so(tmp_path: Path) -> None:
    other = {**clusters.software(), "symusic": "0.4.0"}
    with pytest.raises(
        CadenzaError, match=r"The worker on .* has symusic .*, and here it is 0\.4\.0; install the same"
    ):
        clusters.work_in_sight(carry_out, [(0, ("", 1))], HANG_SECONDS, tmp_path, other)


def test_a_scheduler_of_another_version_or_python_is_named(here: Any) -> None:
    with clusters.connected(here.address) as client:
        known = client.get_versions()["client"]["packages"]
    for package, other, said in (
        ("distributed", "2020.1.0", "has distributed 2020.1.0, and here"),
        ("python", "3.9.1.final.0", "has python 3.9, and here"),
        ("dask", None, "has dask not at all, and here"),
    ):
        found = known | {package: other}
        with pytest.raises(CadenzaError, match=f"The scheduler {said}"):
            clusters.compare("scheduler", found, known, clusters.SAME_EVERYWHERE)
    clusters.compare("scheduler", known, known, clusters.SAME_EVERYWHERE)


@pytest.mark.slow
def test_a_worker_of_several_threads_is_refused(tmp_path: Path) -> None:
    with local.local_cluster(tmp_path, 1, FAILURES, "--nthreads", "2") as cluster:
        assert "has 2 threads" in refusal(as_cluster(cluster))


@pytest.mark.slow
@pytest.mark.parametrize("victims", ["scheduler", "workers"])
def test_a_cluster_that_is_lost_ends_the_work_with_one_sentence(
    victims: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "WORKER_SECONDS", 3)
    monkeypatch.setattr(clusters, "SILENT_SECONDS", 1)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"), prepend=":")
    with local.local_cluster(tmp_path, 1) as cluster:
        victim = cluster.scheduler if victims == "scheduler" else cluster.workers[0]
        with pytest.raises(CadenzaError, match=r"connection .* is lost|has had no worker for 3 s"):
            results(as_cluster(cluster), [""] * 20 + ["hang"] * 3, kill_after=8, victim=victim)


def test_a_cluster_takes_both_of_its_settings(pieces: Path, cadenza: Cadenza) -> None:
    for options in (("--backend", "dask"), ("--scheduler", "tcp://127.0.0.1:8786")):
        code, out, err = cadenza("inspect", pieces, *options)
        assert (code, out) == (2, "")
        assert "--backend dask and --scheduler ADDRESS go together" in err
        assert len(err.strip().splitlines()) == 1


def test_without_the_package_it_is_said_how_to_get_it(tmp_path: Path, pieces: Path, cadenza: Cadenza) -> None:
    (tmp_path / "absent/distributed").mkdir(parents=True)
    (tmp_path / "absent/distributed/__init__.py").write_text("raise ImportError(\"No module named 'distributed'\")")
    absent = {"PYTHONPATH": f"{tmp_path / 'absent'}:{ROOT / 'src'}"}
    options = ("--backend", "dask", "--scheduler", "tcp://127.0.0.1:8786")
    code, _, err = cadenza("inspect", pieces, *options, env=absent)
    assert (code, err.count("\n")) == (2, 1)
    assert "pip install 'cadenza[cluster]'" in err
