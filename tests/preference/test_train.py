"""A preference run from its settings: defaults, refusals, files, and the command line."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from rl_avr.cli import main
from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.freezing import part_of
from rl_avr.modeling.loading import load_policy
from rl_avr.preference.pair_record import write_pairs
from rl_avr.preference.train import (
    batch_size,
    check_images,
    check_zero_stage,
    chosen_pairs,
    dpo_arguments,
    pair_rows,
    set_num_steps,
)
from rl_avr.preference.train_config import PairLossConfig, PreferenceConfig
from rl_avr.training.config import RunConfig
from tests.preference.pair_cases import make_pair, make_pairs

CPU = {"use_cpu": True, "bf16": False}


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


def arguments(tmp_path, preference=None, **trainer):
    run = RunConfig(dir=str(tmp_path))
    return dpo_arguments(run, preference or PreferenceConfig(), {**CPU, **trainer})


def test_the_defaults_are_llava_reasoners(tmp_path):
    args = arguments(tmp_path)
    assert (args.beta, args.learning_rate, args.loss_type) == (0.1, 5e-7, ["sigmoid"])
    assert batch_size(args) == 32 and args.num_train_epochs == 1
    assert args.lr_scheduler_type == "cosine" and args.get_warmup_steps(1000) == 30
    assert PolicyConfig().freeze == ("vision_tower", "connector")
    assert args.precompute_ref_log_probs


def test_the_batch_is_32_whatever_fits_at_once(tmp_path):
    assert arguments(tmp_path, per_device_train_batch_size=8).gradient_accumulation_steps == 4
    assert batch_size(arguments(tmp_path, per_device_train_batch_size=64)) == 64
    own = arguments(tmp_path, gradient_accumulation_steps=3)
    assert batch_size(own) == 12


def test_steps_are_whole_and_rows_begin_anew(tmp_path):
    args = arguments(tmp_path, per_device_train_batch_size=4, num_train_epochs=2)
    pairs = [make_pair(i, i // 2, 0, 1) for i in range(20)]
    set_num_steps(args, len(pairs))
    assert args.max_steps == 2  # 40 pairs in steps of 32
    rows = pair_rows(pairs, args, 0, True)["place"]
    assert len(rows) == 64 and sorted(rows[:20]) == sorted(rows[20:40]) == list(range(20))
    given = arguments(tmp_path, max_steps=7)
    set_num_steps(given, 20)
    assert given.max_steps == 7


@pytest.mark.parametrize(
    "key",
    [
        "precompute_ref_log_probs",
        "ld_alpha",
        "use_weighting",
        "sync_ref_model",
        "padding_free",
        "seed",
    ],
)
def test_what_is_decided_elsewhere_is_refused(tmp_path, key):
    with pytest.raises(ConfigError, match=f"trainer.{key}: not set here"):
        arguments(tmp_path, **{key: True})


def test_a_loss_of_trls_beside_one_without_a_reference_is_refused(tmp_path):
    preference = PreferenceConfig(loss=PairLossConfig(name="orpo"))
    with pytest.raises(ConfigError, match="trainer.loss_type: not set with .*name orpo"):
        arguments(tmp_path, preference, loss_type=["ipo"])


def test_zero3_is_refused():
    for plugin in (None, SimpleNamespace(zero_stage=2)):
        check_zero_stage(SimpleNamespace(deepspeed_plugin=plugin))
    with pytest.raises(ConfigError, match="zero_stage 3: .*expected ZeRO-2"):
        check_zero_stage(SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=3)))


def test_a_trained_tower_wants_images_on_every_rank():
    seen, blind = make_pair(0, 0, 0, 1, images=("0.png",)), make_pair(1, 1, 0, 1)
    check_images([blind, blind], 2, {"vision_tower"})
    check_images([seen, seen], 2, {"vision_tower"})
    check_images([seen, blind], 2, {"language_model"})
    check_images([seen, blind], 1, {"vision_tower"})
    for part in ("vision_tower", "connector"):
        with pytest.raises(ConfigError, match="1 of 2 pairs have no image.*2 ranks"):
            check_images([seen, blind], 2, {part, "language_model"})


def test_no_pairs_are_refused(tmp_path):
    with pytest.raises(DataError, match="expected at least one pair"):
        chosen_pairs(PreferenceConfig(pairs=str(write_pairs(tmp_path, []))))


@pytest.fixture
def config(tmp_path, tiny_folder, pairs_folder):
    path = tmp_path / "dpo.yaml"
    tree = {
        "run": {"dir": str(tmp_path / "run"), "wandb": "disabled"},
        "policy": {"path": str(tiny_folder)},
        "preference": {"pairs": str(pairs_folder)},
        "trainer": {
            **CPU,
            "max_steps": 2,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 1,
            "learning_rate": 1e-3,
            "warmup_steps": 0,
            "logging_steps": 1,
            "save_steps": 1,
            "gradient_checkpointing": False,
        },
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def test_a_run_writes_its_policy_and_is_gone_on_with(config, tmp_path, tiny_folder, capsys):
    assert main(["dpo", "--config", str(config)]) == 0
    run = tmp_path / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert lines[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    before, after = (load_policy(PolicyConfig(path=str(p))) for p in (tiny_folder, run / "policy"))
    weights = dict(before.named_parameters())
    moved = {part_of(n) for n, p in after.named_parameters() if not p.equal(weights[n])}
    assert moved == {"language_model"}
    assert (run / "policy" / "processor_config.json").is_file()
    assert {"config.yaml", "versions.json", "reference"} <= {p.name for p in run.iterdir()}
    # at its end there is nothing left to do
    assert main(["dpo", "--config", str(config)]) == 0
    again = load_policy(PolicyConfig(path=str(run / "policy")))
    assert all(p.equal(q) for p, q in zip(after.parameters(), again.parameters(), strict=True))
    capsys.readouterr()


def test_a_dry_run_says_what_would_be_trained_and_trains_nothing(config, tmp_path, capsys):
    words = ["--preference.counted.first", "4"]
    assert main(["dpo", "--config", str(config), "--dry-run", *words]) == 0
    said = capsys.readouterr().out
    for expected in (
        "8 pairs of 4 questions, at most 3 of one",
        "2 steps of 4 pairs, 4 at once",
        "loss 0.6931",
        "computed once for all its completions",
        "Type: circle circle circle⟧ | square",
        "in language_model",
    ):
        assert expected in said, said
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["dry_run"]
    assert list((tmp_path / "run" / "dry_run" / "checkpoints").iterdir()) == []


def test_pairs_that_are_too_long_stop_the_run_before_it_starts(config, capsys, tmp_path):
    assert main(["dpo", "--config", str(config), "--trainer.max_length", "40"]) == 2
    assert "of 8 pairs are longer" in capsys.readouterr().err
    assert not (Path(tmp_path) / "run" / "reference").exists()
