"""Loading of settings: merging, overrides, types, ranges, and what every error says."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from rl_avr.errors import ConfigError, check_range
from rl_avr.settings import (
    DataSettings,
    DemoSettings,
    EvalSettings,
    GrpoSettings,
    SftSettings,
    load_settings,
    save_resolved,
    settings_keys,
    to_dict,
    to_yaml,
)
from rl_avr.training.trainer_block import check_trainer_block

ALL = (DataSettings, SftSettings, GrpoSettings, EvalSettings, DemoSettings)


@pytest.fixture
def write(tmp_path: Path):
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def refusal(cls, configs=(), overrides=()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(cls, configs, overrides)
    return str(caught.value)


@pytest.mark.parametrize("cls", ALL)
def test_without_files_the_defaults_come_back(cls):
    assert load_settings(cls, [], {}) == cls()


def test_files_merge_deeply_from_left_to_right(write):
    base = write(
        "base.yaml",
        "run:\n  dir: a\n  seed: 1\nrollouts:\n  sampling:\n    top_p: 0.5\n"
        "trainer:\n  beta: 0.0\n  lr_scheduler_kwargs: {a: 1, b: 2}\n",
    )
    overlay = write(
        "overlay.yaml",
        "run:\n  seed: 2\nrollouts:\n  sampling:\n    temperature: 2\n"
        "trainer:\n  max_steps: 3\n  lr_scheduler_kwargs: {b: 5}\n",
    )
    settings = load_settings(GrpoSettings, [base, overlay], {})
    assert (settings.run.dir, settings.run.seed) == ("a", 2)
    assert settings.rollouts.sampling.top_p == 0.5
    assert settings.rollouts.sampling.temperature == 2.0
    assert isinstance(settings.rollouts.sampling.temperature, float)
    assert settings.trainer == {
        "beta": 0.0,
        "lr_scheduler_kwargs": {"a": 1, "b": 5},
        "max_steps": 3,
    }


def test_overrides_win_over_files_and_the_last_over_the_first(write):
    path = write("a.yaml", "run:\n  seed: 1\ntrainer:\n  learning_rate: 1.0\n  beta: 0.5\n")
    pairs = [("run.seed", "2"), ("run.seed", "3"), ("trainer.learning_rate", "1e-5")]
    settings = load_settings(GrpoSettings, [path], pairs)
    assert settings.run.seed == 3
    assert settings.trainer == {"learning_rate": 1e-5, "beta": 0.5}
    assert load_settings(GrpoSettings, [path], {"run.seed": "4"}).run.seed == 4


def test_an_override_may_name_a_section_or_go_deep_into_a_block(write):
    settings = load_settings(
        GrpoSettings,
        [],
        {"rollouts.sampling": "{top_p: 0.5}", "trainer.model_init_kwargs.a": "null"},
    )
    assert settings.rollouts.sampling.top_p == 0.5
    assert settings.trainer == {"model_init_kwargs": {"a": None}}


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "1.0e-5", "+1e-5", "0.00001", ".1e-4", "1.e-5"])
def test_every_spelling_of_a_float_is_a_float(write, text):
    path = write("a.yaml", f"trainer:\n  learning_rate: {text}\n")
    from_file = load_settings(GrpoSettings, [path]).trainer["learning_rate"]
    from_line = load_settings(GrpoSettings, [], {"trainer.learning_rate": text}).trainer
    assert isinstance(from_file, float) and from_file == pytest.approx(1e-5, rel=1e-12)
    assert from_line == {"learning_rate": from_file}


def test_plain_words_stay_words(write):
    path = write("a.yaml", "trainer:\n  save_strategy: no\n  a: 2026-01-01\n  b: true\n  c: 1:30\n")
    assert load_settings(SftSettings, [path]).trainer == {
        "save_strategy": "no",
        "a": "2026-01-01",
        "b": True,
        "c": "1:30",
    }


@pytest.mark.parametrize("text", ["123", "", "1e5", "a: b", "[a", "no", "true"])
def test_text_on_the_command_line_needs_no_quotes(text):
    assert load_settings(SftSettings, [], {"policy.path": text}).policy.path == text


def test_empty_files_and_empty_blocks_change_nothing(write):
    empty = write("empty.yaml", "# nothing\n")
    block = write("block.yaml", "run:\n  # nothing\ntrainer:\n  # nothing\n")
    assert load_settings(GrpoSettings, [empty, block]) == GrpoSettings()


def test_unknown_key_in_a_file(write):
    path = write("a.yaml", "rollouts:\n  sampling:\n    temprature: 1\n")
    assert refusal(GrpoSettings, [path]).startswith(
        f"{path}: unknown key rollouts.sampling.temprature; "
        "nearest: rollouts.sampling.temperature, rollouts.sampling"
    )


def test_the_file_named_is_the_one_at_fault(write):
    good, bad = write("good.yaml", "run:\n  seed: 1\n"), write("bad.yaml", "runn:\n  seed: 1\n")
    message = refusal(GrpoSettings, [good, bad])
    assert message.startswith(f"{bad}: unknown key runn; nearest: run")
    assert len(message.split("nearest: ")[1].split(", ")) == 3


def test_unknown_key_on_the_command_line():
    message = refusal(GrpoSettings, [], {"rollouts.sampling.temprature": "1"})
    assert message.startswith("command line: unknown key rollouts.sampling.temprature; nearest: ")
    near = message.split("nearest: ")[1].split(", ")
    assert near[0] == "rollouts.sampling.temperature" and len(near) == 3


@pytest.mark.parametrize("key", ["run", "run.seed.x", "trainerx.a", ""])
def test_overrides_outside_the_settings_are_refused(key):
    assert "command line" in refusal(GrpoSettings, [], {key: "1"})


def test_dotted_keys_inside_a_file_are_refused(write):
    path = write("a.yaml", "run.seed: 3\n")
    assert f"{path}: unknown key run.seed" in refusal(GrpoSettings, [path])


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("run.seed", "abc", "expected a whole number, got 'abc'"),
        ("run.seed", "1.5", "expected a whole number, got 1.5"),
        ("run.seed", "true", "expected a whole number, got True"),
        ("run.seed", "007", "expected a whole number, got '007'"),
        ("run.resume", "yes", "expected true or false, got 'yes'"),
        ("run.resume", "1", "expected true or false, got 1"),
        ("rewards.choice", "much", "expected a number, got 'much'"),
        ("rewards.choice", "null", "expected a number, got None"),
        ("rewards.gate", "choise", "expected one of 'choice', 'none', 'stream', got 'choise'"),
        ("run", "3", "expected a mapping with names as keys, got 3"),
        ("trainer", "[1]", "expected a mapping with names as keys, got [1]"),
        ("trainer", "{1: 2}", "expected a mapping with names as keys, got {1: 2}"),
    ],
)
def test_wrong_types_name_key_value_and_what_is_allowed(key, text, expected):
    assert refusal(GrpoSettings, [], {key: text}) == f"command line: {key}: {expected}"


def test_wrong_type_in_a_file_names_the_file(write):
    path = write("a.yaml", "policy:\n  path: 12\n")
    assert refusal(SftSettings, [path]) == f"{path}: policy.path: expected text, got 12"


@dataclass(frozen=True)
class _Inner:
    kinds: tuple[Literal["up", "down"], ...] = ("up",)
    weights: dict[str, float] = field(default_factory=lambda: {"a": 1.0})


@dataclass(frozen=True)
class _Outer:
    inner: _Inner = field(default_factory=_Inner)
    sizes: tuple[float, ...] = ()
    limit: float | None = None
    free: dict[str, Any] = field(default_factory=dict)


def test_lists_become_tuples_and_mappings_keep_free_names(write):
    path = write(
        "a.yaml",
        "inner:\n  kinds: [down, up]\n  weights: {b: 2, c: 0.5}\nsizes: [1, 2.5]\nlimit: 3\n",
    )
    settings = load_settings(_Outer, [path])
    assert settings == _Outer(_Inner(("down", "up"), {"b": 2.0, "c": 0.5}), (1.0, 2.5), 3.0)
    assert [type(size) for size in settings.sizes] == [float, float]
    assert type(settings.inner.weights["b"]) is float and type(settings.limit) is float
    assert load_settings(_Outer, [write("b.yaml", to_yaml(settings))]) == settings


def test_a_mapping_replaces_the_default_and_later_ones_are_laid_over(write):
    first = write("a.yaml", "inner:\n  weights: {b: 2}\n")
    second = write("b.yaml", "inner:\n  weights: {c: 3}\n")
    loaded = load_settings(_Outer, [first, second], {"inner.weights.b": "5"})
    assert loaded.inner.weights == {"b": 5.0, "c": 3.0}
    assert load_settings(_Outer, [], {"inner.weights": "{}"}).inner.weights == {}


def test_a_list_replaces_the_one_before(write):
    path = write("a.yaml", "sizes: [1, 2]\n")
    assert load_settings(_Outer, [path], {"sizes": "[3]"}).sizes == (3.0,)
    assert load_settings(_Outer, [path], {"sizes": "[]"}).sizes == ()


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("inner.kinds", "up", "expected a list, each item one of 'up', 'down', got 'up'"),
        ("inner.kinds", "[up, left]", "each item one of 'up', 'down', got ['up', 'left']"),
        ("inner.kinds", "[true]", "each item one of 'up', 'down', got [True]"),
        ("inner.kinds", "null", "each item one of 'up', 'down', got None"),
        ("sizes", "[1, x]", "expected a list, each item a number, got [1, 'x']"),
        ("sizes", "{a: 1}", "expected a list, each item a number, got {'a': 1}"),
        ("inner.weights", "{a: x}", "names as keys, each value a number, got {'a': 'x'}"),
        ("inner.weights.a", "true", "names as keys, each value a number, got {'a': True}"),
        ("inner.weights", "{1: 2}", "names as keys, each value a number, got {1: 2}"),
        ("inner.weights", "[1]", "names as keys, each value a number, got [1]"),
        ("limit", "x", "expected a number or null, got 'x'"),
    ],
)
def test_items_of_a_wrong_type_are_named_with_the_whole_value(key, text, expected):
    message = refusal(_Outer, [], {key: text})
    name = "inner.weights" if key.startswith("inner.weights") else key
    assert message.startswith(f"command line: {name}: ") and message.endswith(expected)


def test_only_a_mapping_of_anything_is_passed_through():
    keys = settings_keys(_Outer())
    assert keys["free"].is_passed_through and keys["inner.weights"].is_block
    assert not keys["inner.weights"].is_passed_through and not keys["sizes"].is_block


def test_missing_file_and_folder_in_place_of_a_file(tmp_path):
    assert refusal(SftSettings, [tmp_path / "no.yaml"]).startswith(
        f"{tmp_path / 'no.yaml'}: no such config file"
    )
    assert refusal(SftSettings, [tmp_path]).startswith(f"{tmp_path}: cannot be read")


@pytest.mark.parametrize(
    ("text", "line"), [("run:\n  seed: 1\n  dir: a: b\n", 3), ("run: [1\n", 2), ("a: 1\na: 2\n", 2)]
)
def test_broken_yaml_names_file_and_line(write, text, line):
    path = write("a.yaml", text)
    assert refusal(SftSettings, [path]).startswith(f"{path}, line {line}: not valid YAML: ")


def test_broken_yaml_on_the_command_line():
    message = refusal(SftSettings, [], {"trainer.x": "[1"})
    assert message.startswith("command line: trainer.x, line 1: not valid YAML: ")


@pytest.mark.parametrize("text", ["- a\n- b\n", "word\n", "3\n"])
def test_top_level_that_is_no_mapping(write, text):
    path = write("a.yaml", text)
    assert refusal(SftSettings, [path]).startswith(f"{path}: expected a mapping at the top, got ")


@pytest.mark.parametrize(
    ("cls", "key", "text", "expected"),
    [
        (GrpoSettings, "rollouts.sampling.temperature", "-1", "expected a number >= 0, got -1.0"),
        (GrpoSettings, "rollouts.sampling.temperature", ".nan", "expected a number >= 0, got nan"),
        (GrpoSettings, "rollouts.sampling.top_p", "1.5", "expected a number in (0, 1], got 1.5"),
        (GrpoSettings, "rollouts.max_num_seqs", "0", "expected a number >= 1, got 0"),
        (GrpoSettings, "rewards.rule", "-1", "expected a number >= 0, got -1.0"),
        (GrpoSettings, "rewards.rule", ".inf", "expected a number >= 0, got inf"),
        (GrpoSettings, "run.seed", "-1", "expected a number in [0, 4.29497e+09], got -1"),
        (EvalSettings, "eval.confidence", "1", "expected a number in (0, 1), got 1.0"),
        (EvalSettings, "eval.num_samples", "0", "expected a number >= 1, got 0"),
        (EvalSettings, "data.num_puzzles", "-1", "expected a number >= 0, got -1"),
        (SftSettings, "sft.replay.share", "2", "expected a number in [0, 1), got 2.0"),
        (DataSettings, "puzzles.min_difficulty", "-1", "expected a number >= 0, got -1.0"),
        (DataSettings, "data.shard_size", "0", "expected a number >= 1, got 0"),
        (DataSettings, "data.num_workers", "-1", "expected a number in [0, 1024], got -1"),
        (DataSettings, "puzzles.num_train", "0", "expected a number >= 1, got 0"),
        (DataSettings, "puzzles.render.panel_size_px", "7", "expected a number >= 8, got 7"),
    ],
)
def test_ranges_name_the_whole_key_once(cls, key, text, expected):
    assert refusal(cls, [], {key: text}) == f"command line: {key}: {expected}"


def test_a_range_broken_in_a_file_names_the_file(write):
    path = write("a.yaml", "rollouts:\n  sampling:\n    top_p: 0\n")
    message = refusal(GrpoSettings, [path], {"run.seed": "1"})
    assert message.startswith(f"{path}: rollouts.sampling.top_p: ")


def test_check_range_keeps_its_borders():
    check_range("x", 0, 0, 1)
    check_range("x", 1, 0, 1)
    for value in (0, 1, float("nan")):
        with pytest.raises(ConfigError, match=r"x: expected a number in \(0, 1\)"):
            check_range("x", value, 0, 1, open_low=True, open_high=True)
    with pytest.raises(ConfigError, match="expected a finite number, got inf"):
        check_range("x", float("inf"))


def test_keys_are_full_paths_with_types_and_defaults():
    keys = settings_keys(GrpoSettings())
    assert keys["rollouts.sampling.top_p"].hint is float
    assert keys["rollouts.sampling.top_p"].default == 1.0
    assert keys["trainer"].is_block and "rollouts" not in keys


@pytest.mark.parametrize("cls", ALL)
def test_the_resolved_config_loads_to_the_same_settings(cls, tmp_path):
    overrides = {"run.dir": "no", "run.seed": "7"} if "run" in to_dict(cls()) else {}
    if "trainer" in to_dict(cls()):
        overrides |= {"trainer.learning_rate": "1e-5", "trainer.a": "'1e-5'", "trainer.b": "no"}
        overrides |= {"trainer.c": "[1, {d: null}]", "trainer.e": "1e+30", "trainer.f": "größer"}
    settings = load_settings(cls, [], overrides)
    path = save_resolved(settings, tmp_path / "deep" / "run")
    assert path == tmp_path / "deep" / "run" / "config.yaml"
    assert path.read_text(encoding="utf-8") == to_yaml(settings)
    assert load_settings(cls, [path]) == settings
    assert to_dict(load_settings(cls, [path])) == to_dict(settings)


def test_saving_replaces_the_old_file_and_leaves_no_other(tmp_path):
    save_resolved(GrpoSettings(), tmp_path)
    changed = load_settings(GrpoSettings, [], {"run.seed": "5"})
    path = save_resolved(changed, tmp_path)
    assert load_settings(GrpoSettings, [path]).run.seed == 5
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


def test_a_folder_that_cannot_be_written_is_a_config_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"run\.dir: cannot write .*config\.yaml"):
        save_resolved(GrpoSettings(), tmp_path / "file")


@dataclass
class _TrainerConfig:
    """Stands for trl's config class."""

    learning_rate: float = 1e-6
    max_steps: int = -1
    loss_type: str = "grpo"
    seed: int = 0
    project: None | str | list[str] = None
    top_entropy: float | None = None
    kwargs: dict[str, object] = field(default_factory=dict)


def test_the_trainer_block_accepts_what_the_class_declares():
    block = {"learning_rate": 1, "max_steps": 3, "project": ["avr"], "top_entropy": None}
    check_trainer_block(block | {"kwargs": {"a": 1}}, _TrainerConfig, {})


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        ({"learning_rat": 1}, ["trainer.learning_rat", "_TrainerConfig", "learning_rate"]),
        ({"learning_rate": "fast"}, ["trainer.learning_rate", "float", "'fast'"]),
        ({"max_steps": True}, ["trainer.max_steps", "int", "True"]),
        ({"loss_type": 3}, ["trainer.loss_type", "str", "3"]),
        ({"seed": 3}, ["trainer.seed", "not set here", "run.seed"]),
        ({"top_entropy": 0.2}, ["trainer.top_entropy", "not set here", "set by the block x"]),
    ],
)
def test_the_trainer_block_refuses_with_key_value_and_what_is_allowed(block, parts):
    with pytest.raises(ConfigError) as caught:
        check_trainer_block(block, _TrainerConfig, {"top_entropy": "set by the block x"})
    assert all(part in str(caught.value) for part in parts), caught.value
