import math
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cadenza.errors import CadenzaError
from cadenza.instruments import program_number
from cadenza.presets import PRESETS, build, parse_assignment, parse_control, read_toml
from cadenza.settings import SampleSettings, Section, Settings, nearest, validate

NUMBERS = [
    (section, key)
    for section, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    for key, inner in field.annotation.model_fields.items()
    if inner.annotation in (int, float)
]

KEYS = [(section, key) for section, values in Settings().model_dump().items() for key in values]


def complaint(*assignments: str, preset: str = "small", config: Path | None = None, **sections: Any) -> str:
    with pytest.raises(CadenzaError) as caught:
        build(preset, config, assignments, **sections)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def test_an_instrument_to_play_may_be_written_in_any_case() -> None:
    assert build(sample={"instrument": " Violin "}).sample.instrument == "violin"


# What is not known


def test_an_unknown_section_names_the_nearest_and_all() -> None:
    said = complaint("trian.minutes=5")
    assert said.startswith("There is no section 'trian' (did you mean 'train'?); sections: midi, corpus, ")


def test_an_unknown_key_names_the_nearest_and_all() -> None:
    said = complaint("train.minuets=5")
    assert said.startswith("There is no setting train.minuets (did you mean 'minutes'?); train has: minutes, steps, ")


def test_an_unknown_preset_names_the_nearest_and_all() -> None:
    said = complaint(preset="smal")
    assert said == f"There is no preset 'smal' (did you mean 'small'?); presets: {', '.join(PRESETS)}."


def test_a_word_like_none_has_no_nearest() -> None:
    assert nearest("xyzzy", PRESETS) == ""
    assert complaint("train.xyzzy=1").startswith("There is no setting train.xyzzy; train has:")


@pytest.mark.parametrize("text", ["train", "train.minutes", "minutes=5", "=5", ".minutes=5", "train.=5", "", "="])
def test_what_is_no_assignment_is_shown_one(text: str) -> None:
    assert complaint(text) == (f"{text!r} is not an assignment; write section.key=value, for example train.minutes=5.")


# Values


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("train.minutes=soon", "train.minutes = 'soon': input should be a valid number"),
        ("train.minutes=0", "train.minutes = 0: input should be greater than 0"),
        ("train.minutes=-1.5", "train.minutes = -1.5: input should be greater than 0"),
        ("train.minutes=[1, 2]", "train.minutes = [1, 2]: input should be a valid number"),
        ("model.layers=2.5", "model.layers = 2.5: input should be a valid integer"),
        ("model.layers=65", "model.layers = 65: input should be less than or equal to 64"),
        ("midi.drums=perhaps", "midi.drums = 'perhaps': input should be 'drop' or 'keep'"),
        ("sample.top_p=1.01", "sample.top_p = 1.01: input should be less than or equal to 1"),
        ("midi.instrument=[1]", "midi.instrument = [1]: input should be a valid string"),
        ("sample.sweep=[0.5, -1]", "sample.sweep.1 = -1: input should be greater than or equal to 0"),
        ("sample.by_field={pitch=11}", "sample.by_field.pitch = 11: input should be less than or equal to 10"),
        ("sample.by_field={pitch=nan}", "sample.by_field.pitch = nan: input should be "),
        ("sample.by_field=1.1", "sample.by_field = 1.1: input should be a valid dictionary"),
        ("sample.sweep=0.5", "sample.sweep = 0.5: input should be a valid tuple"),
        ("batches.stride=-1", "batches.stride = -1: input should be greater than or equal to 0"),
        ("model.trunk=gru", "model.trunk = 'gru': input should be 'transformer'"),
        ("tokens.representation=words", "tokens.representation = 'words': input should be 'notes'"),
        ("train.seed=-1", "train.seed = -1: input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_value_is_named_in_one_sentence(assignment: str, said: str) -> None:
    assert complaint(assignment).startswith(said)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "+nan"])
@pytest.mark.parametrize("place", NUMBERS, ids=".".join)
def test_no_number_may_be_infinite_or_not_a_number(place: tuple[str, str], value: str) -> None:
    assert complaint(f"{place[0]}.{place[1]}={value}").startswith(f"{place[0]}.{place[1]} = ")


@pytest.mark.parametrize("value", ["nan", "inf", "11"])
def test_no_temperature_of_a_sweep_may_be_out_of_range(value: str) -> None:
    assert complaint(f"sample.sweep=[0.5, {value}]").startswith("sample.sweep.1 = ")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_keyword_values_are_checked_too(value: float) -> None:
    assert complaint(train={"minutes": value}).startswith("train.minutes = ")


@pytest.mark.parametrize("number", [0, 40, 127])
def test_an_instrument_may_be_a_number(number: int) -> None:
    assert program_number(build(assignments=[f"midi.instrument={number}"]).midi.instrument) == number
    assert program_number(build(midi={"instrument": number}).midi.instrument) == number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("audio.soundfont=my fonts/a.sf2", "my fonts/a.sf2"),
        ("audio.soundfont='quoted = text'", "quoted = text"),
        ("midi.instrument=acoustic grand piano", "acoustic grand piano"),
        ("midi.instrument = violin ", "violin"),
        ("train.minutes=1e-3", 0.001),
        ("train.steps=1_000", 1000),
        ("sample.sweep=[0.3, 1]", [0.3, 1]),
        ("audio.soundfont=", ""),
        ("audio.soundfont=a#b.sf2", "a#b.sf2"),
    ],
)
def test_a_value_is_read_as_toml_or_else_as_text(text: str, value: object) -> None:
    assert next(iter(parse_assignment(text).values())).popitem()[1] == value


@pytest.mark.parametrize("name", ["piece#1.sf2", "my #1.sf2", "2024-01-01.sf2"])
def test_a_path_is_never_cut_at_a_hash(name: str) -> None:
    assert build(assignments=[f"audio.soundfont={name}"]).audio.soundfont == name


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("0.9", {"temperature": 0.9}),
        ("pitch=1.1,duration=0.8", {"by_field": {"pitch": 1.1, "duration": 0.8}}),
        (" 1 , pitch = 1.1 ", {"temperature": 1.0, "by_field": {"pitch": 1.1}}),
        ("-1", {"temperature": -1.0}),
    ],
)
def test_a_temperature_is_a_number_or_one_for_each_field(text: str, given: dict[str, Any]) -> None:
    assert parse_control("temperature", text) == given


def test_every_control_can_be_that_of_a_field() -> None:
    assert parse_control("top_k", "20,pitch=5") == {"top_k": 20, "top_k_by_field": {"pitch": 5}}
    assert parse_control("top_p", "pitch=0.9") == {"top_p_by_field": {"pitch": 0.9}}
    assert parse_control("min_p", "0.1") == {"min_p": 0.1}
    sampling = SampleSettings(
        top_p=0.9, top_p_by_field={"pitch": 0.5}, by_field={"pitch": 2}, min_p_by_field={"shift": 0.1}
    )
    assert sampling.of("pitch") == (2, 0, 0.5, 0)
    assert sampling.of("shift") == (0.95, 0, 0.9, 0.1)
    assert set(sampling.fields_named) == {"pitch", "shift"}
    with pytest.raises(CadenzaError, match=r"'0.5' is no top-k; write a whole number"):
        parse_control("top_k", "0.5")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is no temperature"), ("warm", "'warm' is no"), ("pitch", "'pitch' is no"), ("pitch=", "'pitch=' is no"),
        ("=1", "'=1' is no"), ("pitch=1=2", "'pitch=1=2' is no"), ("1,", "'' is no"), ("1,2", "the temperature twice"),
        ("pitch=1,pitch=2", "pitch twice"),
    ],
)  # fmt: skip
def test_what_is_no_temperature_is_named(text: str, words: str) -> None:
    with pytest.raises(CadenzaError, match=words):
        parse_control("temperature", text)


# Layers


def test_later_layers_win(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[model]\nlayers = 5\n[train]\nminutes = 3\nseed = 7\n")
    assert build("tiny").model.layers == 2
    assert build("tiny", config).model.layers == 5
    assert build("tiny", config).model.width == build("tiny").model.width != build("small").model.width
    assert build("tiny", config, ["model.layers=6"]).model.layers == 6
    assert build("tiny", config, ["model.layers=6", "model.layers=7"]).model.layers == 7
    made = build("tiny", config, ["train.minutes=4", "train.seed=8"], train={"minutes": 9})
    assert (made.train.minutes, made.train.seed) == (9, 8)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_and_changes_only_what_it_says(preset: str) -> None:
    made = build(preset).model_dump()
    for section, values in Settings().model_dump().items():
        chosen = PRESETS[preset].get(section, {})
        assert made[section] == values | chosen


def test_every_choice_of_a_table_is_a_setting_and_the_other_way_round() -> None:
    from cadenza.models import MODELS
    from cadenza.tokens import REPRESENTATIONS

    for table, section, key in ((MODELS, "model", "trunk"), (REPRESENTATIONS, "tokens", "representation")):
        annotation = type(getattr(Settings(), section)).model_fields[key].annotation
        assert set(get_args(annotation)) == set(table)


def test_layers_leave_the_presets_as_they_are() -> None:
    before = {name: {section: dict(values) for section, values in preset.items()} for name, preset in PRESETS.items()}
    build("tiny", assignments=["model.layers=9"])
    assert before == PRESETS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"minutes = 5\n", "'minutes' is not in a section; write it as section.key"),
        (b"train = 5\n", "'train' is not in a section"),
        (b"[train]\nminuets = 5\n", "There is no setting train.minuets (did you mean 'minutes'?)"),
        (b"[train\n", "config.toml: not a TOML file ("),
        (b"\xff\xfe\0", "config.toml: not a TOML file ("),
    ],
)
def test_a_wrong_toml_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    config = tmp_path / "config.toml"
    config.write_bytes(content)
    assert said in complaint(config=config)


def test_a_missing_toml_file_is_named(tmp_path: Path) -> None:
    assert complaint(config=tmp_path / "none.toml").startswith(
        f"{tmp_path / 'none.toml'}: cannot read these settings (No such file or directory)"
    )


def test_a_section_that_is_no_table_is_named() -> None:
    with pytest.raises(CadenzaError, match="'train' is not a section"):
        validate({"train": 3})  # type: ignore[dict-item]


# Round trip


def changed(path: Path, values: dict[str, dict[str, Any]]) -> Settings:
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return validate(read_toml(path))


@pytest.mark.parametrize("preset", PRESETS)
def test_written_settings_read_back_the_same(tmp_path: Path, preset: str) -> None:
    made = build(
        preset,
        assignments=[
            'audio.soundfont=Flügel "2"\\x.sf2',
            "train.learning_rate=1.0000000000000002e-3",
            "sample.by_field={pitch=1.1}",
        ],
    )
    assert changed(tmp_path / "config.toml", made.model_dump()) == made


@given(
    st.floats(1e-300, 1e300),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 2**32 - 1),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_any_values_read_back_the_same(minutes: float, dropout: float, seed: int, soundfont: str) -> None:
    made = build(train={"minutes": minutes, "seed": seed}, model={"dropout": dropout}, audio={"soundfont": soundfont})
    assert validate(tomllib.loads(tomli_w.dumps(made.model_dump()))) == made


# The settings themselves


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_setting_has_a_default_and_a_sentence(section: str, key: str) -> None:
    field = type(getattr(Settings(), section)).model_fields[key]
    assert field.description is not None
    assert field.description.endswith(".")
    assert field.description[0].isupper() or field.description.startswith("auto ")
    assert not field.is_required()


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_settings_are_frozen(section: str, key: str) -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(getattr(settings, section), key, 1)
    assert settings == Settings()


def test_the_window_of_a_preset_is_for_its_own_trunk() -> None:
    assert build("base").model.window == build("base", assignments=["model.trunk=transformer"]).model.window == 256
    assert build("base", assignments=["model.trunk=lstm"]).model.window == 0
    assert build("base", assignments=["model.trunk=lstm", "model.window=9"]).model.window == 9
    assert build("study", assignments=["model.trunk=study"]).model.window == 50


def test_the_window_of_a_config_is_for_its_own_trunk(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_bytes(tomli_w.dumps(build("base").model_dump()).encode())
    assert build(config=config).model.window == 256
    assert build(config=config, assignments=["model.trunk=lstm"]).model.window == 0
    assert build(config=config, assignments=["model.window=9", "model.trunk=lstm"]).model.window == 9
    config.write_bytes(tomli_w.dumps(build("base", assignments=["model.trunk=lstm"]).model_dump()).encode())
    assert build(config=config).model.window == 0
    assert build(config=config, assignments=["model.trunk=transformer"]).model.window == 128
