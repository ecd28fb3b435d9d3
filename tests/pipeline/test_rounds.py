"""Rounds of rollout, pairs and preference training: what follows from what, and going on."""

import json
from pathlib import Path

import pytest
import yaml

from rl_avr.errors import ConfigError, DataError
from rl_avr.pipeline import rounds as module
from rl_avr.pipeline.rounds import round_figures, round_steps, rounds_table, run_rounds
from rl_avr.preference.train_config import RoundsConfig
from rl_avr.settings import RoundsSettings
from rl_avr.training.config import RunConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def settings(folder, seed=0, **changes):
    return RoundsSettings(RunConfig(dir=str(folder), seed=seed), RoundsConfig(**changes))


def option(step, name):
    return step.command[step.command.index(name) + 1]


def test_each_round_begins_with_what_the_last_one_trained(tmp_path):
    steps = round_steps(settings(tmp_path, num_rounds=2, policy="start"))
    assert [step.name for step in steps] == [
        *("round_1_rollout", "round_1_pairs", "round_1_dpo"),
        *("round_2_rollout", "round_2_pairs", "round_2_dpo"),
    ]
    first, second = steps[:3], steps[3:]
    after = str(tmp_path / "round_1" / "dpo" / "policy")
    for part, policy in ((first, "start"), (second, after)):
        rollout, pairs, dpo = part
        assert option(rollout, "--policy.path") == option(dpo, "--policy.path") == policy
        (sampled,) = yaml.safe_load(option(pairs, "--pairs.rollouts"))
        assert sampled == option(rollout, "--run.dir")
        assert option(dpo, "--preference.pairs") == option(pairs, "--run.dir")
        assert len({option(step, "--run.seed") for step in part}) == 1
    seeds = {option(step, "--run.seed") for step in steps}
    others = round_steps(settings(tmp_path, seed=1, num_rounds=2, policy="start"))
    assert len(seeds | {option(step, "--run.seed") for step in others}) == 4


def test_training_is_launched_by_accelerate_where_asked(tmp_path):
    steps = round_steps(settings(tmp_path, accelerate="configs/accelerate/zero2_cpu.yaml"))
    assert steps[2].command[:5] == (
        *("-m", "accelerate.commands.launch", "--config_file"),
        *("configs/accelerate/zero2_cpu.yaml", "rl_avr/dpo.py"),
    )


def test_a_config_that_a_step_would_refuse_is_refused_at_once(tmp_path):
    path = tmp_path / "dpo.yaml"
    path.write_text("preference: {pairz: here}")
    with pytest.raises(ConfigError, match="unknown key preference.pairz"):
        round_steps(settings(tmp_path, dpo=(str(path),)))


def finish(folder, margin=0.5):
    """Writes what a finished round leaves, as far as its figures go."""
    (folder / "rollout" / "rollouts").mkdir(parents=True)
    difficulty = {"decay": 1.0, "puzzles": {"a": [3, 4], "b": [1, 4]}, "categories": {}}
    (folder / "rollout/rollouts/difficulty.json").write_text(json.dumps(difficulty))
    (folder / "pairs").mkdir()
    (folder / "pairs" / "manifest.json").write_text(json.dumps({"num_pairs": 7}))
    (folder / "dpo").mkdir()
    lines = [
        {"step": 1, "rewards/margins": 0.1, "rewards/accuracies": 0.5},
        {"step": 2, "rewards/margins": margin, "rewards/accuracies": 0.75},
        {"step": 2, "train_runtime": 3.0},
    ]
    (folder / "dpo" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))


def test_the_figures_of_a_round(tmp_path):
    finish(tmp_path)
    found = round_figures(tmp_path)
    assert found == {
        "accuracy": 0.5,
        "num_pairs": 7,
        "rewards/accuracies": 0.75,
        "rewards/margins": 0.5,
    }
    assert rounds_table([found]).splitlines()[1].split() == ["1", "0.500", "7", "0.75", "0.500"]
    (tmp_path / "dpo" / "metrics.jsonl").write_text("")
    with pytest.raises(DataError, match="expected the metrics of a run"):
        round_figures(tmp_path)


def test_rounds_may_be_added_and_nothing_else_changed(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        module, "run_steps", lambda steps, folder: asked.append([s.name for s in steps])
    )
    for number in (1, 2):
        finish(tmp_path / f"round_{number}", number)
    out = run_rounds(settings(tmp_path, num_rounds=1))
    assert out == tmp_path / "round_1" / "dpo" / "policy"
    run_rounds(settings(tmp_path, num_rounds=2))
    assert [len(names) for names in asked] == [3, 6] and asked[1][:3] == asked[0]
    margins = [one["rewards/margins"] for one in json.loads((tmp_path / "rounds.json").read_text())]
    assert margins == [1, 2]
    with pytest.raises(ConfigError, match="begun with another policy;"):
        run_rounds(settings(tmp_path, num_rounds=2, policy="another"))
    with pytest.raises(ConfigError, match="begun with another seed;"):
        run_rounds(settings(tmp_path, num_rounds=2, seed=1))
    assert "accuracy before" in capsys.readouterr().out
