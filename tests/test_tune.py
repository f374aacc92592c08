"""The choice of a way of sampling: from validation music only, the same every time, stored and used."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import cadenza
from cadenza import CadenzaError
from cadenza.evaluate.closeness import Closeness, measure_closeness, noise
from cadenza.evaluate.fidelity import distance
from cadenza.notes import Notes
from cadenza.presets import build
from cadenza.records import Progress, Said
from cadenza.runs.chain import seal
from cadenza.runs.folder import Run, open_run
from cadenza.runs.stages import carry_out, train
from cadenza.runs.trials import Trial, plainest, why
from cadenza.runs.tuning import tune, variations
from cadenza.runs.verification import digests
from cadenza.settings import SampleSettings

TINY: dict[str, Any] = {
    "model": {"layers": 1, "width": 32},
    "corpus": {"validation": 0.4, "test": 0.2, "folds": 0},
    "batches": {"rows": 32, "size": 4},
    "train": {"steps": 12, "evaluations": 3, "threads": 1},
    "sample": {"seconds": 6, "count": 2},
}


def trained(folder: Path, smf: Any, count: int, **sections: Any) -> Run:
    (folder / "music").mkdir(parents=True)
    for seed in range(count):
        (folder / f"music/{seed}.mid").write_bytes(smf.piece(seed))
    list(train(str(folder / "music"), build("tiny", **{**TINY, **sections}), folder / "run"))
    return open_run(folder / "run")


@pytest.fixture(scope="session")
def untuned(tmp_path_factory: pytest.TempPathFactory, smf: Any) -> Run:
    return trained(tmp_path_factory.mktemp("tune"), smf, 10)


def copy_of(run: Run, folder: Path) -> Run:
    return Run(Path(shutil.copytree(run.folder, folder)))


@pytest.fixture(scope="session")
def tuned(untuned: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[Any]]:
    run = copy_of(untuned, tmp_path_factory.mktemp("tuned") / "run")
    return run, list(tune(run, 8, 4))


def said(records: list[Any]) -> str:
    return "\n".join(record.text for record in records if isinstance(record, Said))


def everything(run: Run) -> dict[str, bytes]:
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}


# The whole way


def test_a_tune_tries_every_stage_and_leaves_its_figures_and_pictures(tuned: tuple[Run, list[Any]]) -> None:
    run, records = tuned
    found = json.loads((run.folder / "tune.json").read_text())
    assert found == run.tuned()
    tried = found["tried"]
    assert [one["temperature"] for one in tried[:6]] == [0.7, 0.8, 0.9, 1.0, 1.1, 1.2]
    assert [list(one["by_field"])[-1] for one in tried[6:14]] == [
        field for field in ("shift", "pitch", "duration", "velocity") for _ in range(2)
    ]
    assert [one["top_p"] for one in tried[14:]] == [0.98, 0.95, 0.9]
    assert found["human"]["low"] <= found["human"]["median"] <= found["human"]["high"]
    assert {sample["temperature"] for sample in found["samples"]} <= {0.7, 0.8, 0.9, 1.0, 1.1, 1.2}
    for stem in ("tune", "tune_distance"):
        assert (run.folder / f"plots/{stem}.svg").stat().st_size > 0
    assert found["why"] in said(records)
    assert "more settings will take about" in said(records)
    assert [(r.done, r.total) for r in records if isinstance(r, Progress) and r.doing == "trying settings"] == [
        (k, 17) for k in range(18)
    ]


def test_only_the_model_s_header_changes(untuned: Run, tuned: tuple[Run, list[Any]]) -> None:
    before, after = everything(untuned), everything(tuned[0])
    new = {"tune.json"} | {f"plots/{stem}.{kind}" for stem in ("tune", "tune_distance") for kind in ("svg", "png")}
    assert set(after) - set(before) == new
    assert {name for name in before if before[name] != after[name]} == {"model.safetensors", "chain.json"}
    weights = []
    for run in (untuned, tuned[0]):
        with safe_open(run.folder / "model.safetensors", "np") as file:
            weights.append({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_tuning_again_gives_the_same_bytes(untuned: Run, tuned: tuple[Run, list[Any]], tmp_path: Path) -> None:
    run = copy_of(untuned, tmp_path / "run")
    list(tune(run, 8, 4))
    list(tune(run, 8, 4))
    assert everything(run) == everything(tuned[0])


def test_test_pieces_are_not_looked_at(untuned: Run, tuned: tuple[Run, list[Any]], tmp_path: Path) -> None:
    """The same choice and figures where the rows of the test pieces are other ones; not so for validation pieces."""
    found = []
    for part in ("test", "validation"):
        run = copy_of(untuned, tmp_path / part)
        tables = run.tables()
        rows = np.array(tables.rows)
        for index, entry in enumerate(run.kept()):
            if entry.split == part:
                begin, end = tables.offsets[index : index + 2]
                rows[begin : end - 1, 1] = 60
        np.save(run.folder / "corpus/rows.npy", rows)
        run.write_json("corpus/origin.json", run.origin() | digests(run))
        seal(run, "corpus")
        list(tune(run, 8, 4))
        found.append(run.tuned())
    assert found[0] == tuned[0].tuned()
    assert found[1] is not None
    assert found[1]["tried"][0]["distance"] != found[0]["tried"][0]["distance"]  # type: ignore[index]


def test_what_was_chosen_is_what_a_loaded_model_samples_with(tuned: tuple[Run, list[Any]]) -> None:
    run, _ = tuned
    found = run.tuned()
    assert found is not None
    chosen = found["tried"][found["chosen"]]
    model = cadenza.load(run.folder)
    own = {key: chosen[key] for key in ("temperature", "by_field", "top_p")}
    assert {key: getattr(model.sampling, key) for key in own} == own
    by_default, by_hand = model.generate(seconds=4, seed=1), model.generate(seconds=4, seed=1, **own)
    assert np.array_equal(by_default[0].columns, by_hand[0].columns)


def test_an_interrupted_tune_leaves_the_run_as_it_was(untuned: Run, tmp_path: Path) -> None:
    run = copy_of(untuned, tmp_path / "run")
    records: Iterator[Any] = tune(run, 8, 4)
    for _ in range(200):
        next(records)
    records.close()  # type: ignore[attr-defined]
    assert everything(run) == everything(untuned)


def test_the_report_and_the_plots_of_a_tuned_run_have_its_pictures(
    tuned: tuple[Run, list[Any]], tmp_path: Path
) -> None:
    from cadenza.runs.pictures import pictures

    assert {"tune", "tune_distance"} <= {drawn.stem for drawn in pictures(tuned[0])}


def test_a_run_of_one_field_has_no_temperatures_by_field(tmp_path: Path, smf: Any) -> None:
    run = trained(
        tmp_path, smf, 8, midi={"time_base": "seconds"}, tokens={"representation": "study"}, model={**TINY["model"], "trunk": "study", "window": 20},
    )  # fmt: skip
    list(tune(run, 3, 3))
    found = run.tuned()
    assert found is not None
    assert len(found["tried"]) == 9
    assert not any(one["by_field"] for one in found["tried"])


def test_a_run_without_validation_pieces_is_told_what_to_do(tmp_path: Path, smf: Any, cadenza: Any) -> None:
    run = trained(tmp_path / "one", smf, 1)
    code, _, err = cadenza("tune", run.folder)
    assert code == 2
    assert "corpus.validation" in err
    assert len(err.strip().splitlines()) == 1


def test_a_single_validation_work_has_no_human_level(tmp_path: Path, smf: Any) -> None:
    run = trained(tmp_path, smf, 4, corpus={"validation": 0.1, "test": 0.1, "folds": 0})
    records = list(tune(run, 2, 3))
    found = run.tuned()
    assert found is not None
    assert found["human"] is None
    assert "1 work, too few to say" in said(records)


def test_an_altered_manifest_is_refused(untuned: Run, tmp_path: Path) -> None:
    run = copy_of(untuned, tmp_path / "run")
    with (run.folder / "manifest.jsonl").open("a") as manifest:
        manifest.write(json.dumps({"name": "more.mid", "reason": "added"}) + "\n")
    with pytest.raises(CadenzaError, match="manifest"):
        list(tune(run))


def test_wrong_options_of_tune_are_one_sentence(untuned: Run) -> None:
    with pytest.raises(CadenzaError, match="--pieces 2 or more"):
        list(tune(untuned, 1))
    with pytest.raises(CadenzaError, match=r"sample\.seconds = 0"):
        list(tune(untuned, seconds=0))


@pytest.mark.parametrize(
    ("temperature", "words"), [("pich=1.1", "did you mean 'pitch'"), ("pitch=", "is no temperature")]
)
def test_wrong_temperatures_are_one_sentence_and_code_2(
    untuned: Run, cadenza: Any, temperature: str, words: str
) -> None:
    code, _, err = cadenza("generate", untuned.folder, "--temperature", temperature, "--formats", "mid")
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_generate_says_what_it_samples_with_and_where_that_is_from(
    untuned: Run, tuned: tuple[Run, list[Any]], tmp_path: Path, cadenza: Any
) -> None:
    options = ("--seconds", 3, "--seed", 1, "--formats", "mid", "--out")
    for run, more, words in (
        (untuned, (), "Temperature 0.95 (the default)"),
        (tuned[0], (), "(tuned for this model)"),
        (tuned[0], ("--temperature", "0.8,pitch=1.1"), "Temperature 0.8 (given), pitch 1.1 (given)"),
    ):
        code, out, err = cadenza("generate", run.folder, *more, *options, tmp_path / f"out{len(words)}")
        assert (code, err) == (0, "")
        assert words in out.splitlines()[0]


def test_a_wrong_field_is_refused_before_anything_is_trained(pieces: Path, tmp_path: Path) -> None:
    with pytest.raises(CadenzaError, match="did you mean 'velocity'"):
        list(
            carry_out(str(pieces), build("tiny", **{**TINY, "sample": {"by_field": {"velocty": 1}}}), tmp_path / "run")
        )
    assert not (tmp_path / "run/config.toml").exists()


# Closeness and the choice


def melodies(seed: int, count: int, low: int = 60) -> list[Notes]:
    rng = np.random.default_rng(seed)
    return [
        Notes.of(np.arange(40) * 20, low + rng.integers(0, 12, 40), rng.integers(5, 30, 40), rng.integers(40, 100, 40))
        for _ in range(count)
    ]


NOBODY = Notes.of([], [], [], [])


def test_closeness_is_the_distance_of_all_and_of_all_but_each() -> None:
    pieces, reference = melodies(0, 7), melodies(1, 20)  # all as long, so that the excerpts do not depend on the others
    found = measure_closeness(pieces, reference, range(20))
    assert found.distance == pytest.approx(distance(pieces, reference))
    for k, without in enumerate(found.without_N):
        assert without == pytest.approx(distance(pieces[:k] + pieces[k + 1 :], reference), rel=0.05)


def test_pieces_without_notes_are_left_out_of_a_distance() -> None:
    pieces, reference = melodies(0, 5), melodies(1, 20)
    assert measure_closeness([*pieces, NOBODY], reference, range(20)).distance == pytest.approx(
        distance(pieces, reference)
    )
    assert math.isinf(measure_closeness([NOBODY, pieces[0]], reference, range(20)).distance)


@pytest.mark.parametrize("of_works", [False, True])
def test_noise_is_that_of_many_repetitions(of_works: bool) -> None:
    """Of pieces, before a large reference; of works, for many pieces before a small one."""
    count, size, works = (80, 10, range(10)) if of_works else (10, 80, [0] * 80)
    pairs = []
    for seed in range(0, 90, 3):
        reference = melodies(seed if of_works else 1000, size)
        made = (melodies(1001 if of_works else seed + k, count, low) for k, low in ((1, 61), (2, 62)))
        one, other = (measure_closeness(pieces, reference, works) for pieces in made)
        pairs.append((one, other))
    told = float(np.mean([noise(*pair) for pair in pairs]))
    true = float(np.std([one.distance - other.distance for one, other in pairs]))
    assert told == pytest.approx(true, rel=0.5)
    assert noise(pairs[0][0], pairs[0][0]) == 0


def trial(distance: float, copied: int = 0, spread: float = 0.0, **sampling: Any) -> Trial:
    without = np.array([distance - spread, distance + spread, distance])
    return Trial(SampleSettings(**sampling), Closeness(distance, without, np.zeros(0)), copied, [])


def test_the_closest_of_the_settings_that_do_not_copy_is_chosen() -> None:
    trials = [trial(1.0, temperature=1), trial(0.5, temperature=0.9), trial(0.1, copied=2, temperature=0.7)]
    assert plainest(trials) is trials[1]
    assert why(trials[1], trials) == "Temperature 0.9 is closest to the validation music (distance 0.500), among those that copy no more than validation music does."  # fmt: skip
    assert plainest([trial(0.1, copied=3), trial(0.2, copied=2)]).copied == 2


def test_within_noise_the_plainer_setting_is_chosen() -> None:
    knob = trial(0.50, spread=0.1, temperature=1, by_field={"pitch": 0.9})
    far, near = trial(0.51, temperature=0.8), trial(0.52, temperature=1.1)
    assert plainest([knob, far, near]) is near
    assert "is the plainest setting" in why(near, [knob, far, near])
    assert plainest([trial(0.5, temperature=1, by_field={"pitch": 0.9}), far]).sampling.by_field


def test_a_setting_whose_pieces_have_no_notes_is_never_chosen() -> None:
    silent = Trial(SampleSettings(temperature=1), Closeness(math.inf, np.full(3, math.inf), np.zeros(0)), 0, [])
    other = trial(3.0, copied=1, temperature=0.7)
    assert plainest([silent, other]) is other
    with pytest.raises(CadenzaError, match="train the model longer"):
        plainest([silent])


def test_a_field_is_varied_around_what_was_chosen_before() -> None:
    around = SampleSettings(temperature=0.9, by_field={"shift": 1.05})
    [lower, higher] = variations("pitch", around)
    assert (lower.temperature, lower.by_field) == (0.9, {"shift": 1.05, "pitch": 0.75})
    assert higher.by_field["pitch"] == 1.05
    assert all(one.by_field == {"shift": 1.05} for one in variations("top-p", around))
