"""Two rounds of rollout, pairs and DPO by the real commands, stopped within the second."""

import json
from pathlib import Path

import pytest
import yaml

from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.digest import policy_digest
from rl_avr.modeling.loading import load_policy
from rl_avr.pipeline.rounds import run_rounds
from rl_avr.preference.pair_record import read_pairs
from rl_avr.preference.train_config import RoundsConfig
from rl_avr.settings import RoundsSettings
from rl_avr.training.config import RunConfig

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WARM = ROOT / "assets" / "warm_policy"


@pytest.fixture
def settings(tmp_path, puzzle_folder):
    rollout = {
        "run": {"wandb": "disabled"},
        "data": {"path": str(puzzle_folder)},
        "rollouts": {
            "engine": "transformers",
            "sampling": {"temperature": 1.0, "max_new_tokens": 112},
        },
        "rollout": {"num_generations": 8, "batch_size": 16},
    }
    pairs = {"run": {"wandb": "disabled"}, "pairs": {"held_out": [f"{puzzle_folder}:held_out"]}}
    dpo = {
        "run": {"wandb": "disabled"},
        "trainer": {
            "learning_rate": 1e-5,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 1,
            "max_steps": 2,
            "logging_steps": 1,
            "save_steps": 1,
            "gradient_checkpointing": False,
            "use_cpu": True,
            "bf16": False,
        },
    }
    files = {}
    for name, tree in (("rollout", rollout), ("pairs", pairs), ("dpo", dpo)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(tree))
        files[name] = (str(path),)
    rounds = RoundsConfig(num_rounds=2, policy=str(WARM), **files)
    return RoundsSettings(RunConfig(dir=str(tmp_path / "run"), wandb="disabled"), rounds)


def test_each_round_trains_on_what_the_last_policy_sampled(settings, monkeypatch):
    monkeypatch.chdir(ROOT)
    out = run_rounds(settings)
    run = Path(settings.run.dir)
    policies = [WARM, *(run / f"round_{k}" / "dpo" / "policy" for k in (1, 2))]
    assert out == policies[2]
    assert len({policy_digest(path) for path in policies}) == 3
    for number in (1, 2):
        pairs = list(read_pairs(run / f"round_{number}" / "pairs"))
        assert pairs
        metrics = run / f"round_{number}" / "dpo" / "metrics.jsonl"
        first = json.loads(metrics.read_text().splitlines()[0])
        # the policy is its reference before the first step
        assert first["loss"] == pytest.approx(0.6931, abs=1e-4)
        assert first["rewards/margins"] == pytest.approx(0.0, abs=1e-5)
    # stopped in the last step of the second round, after its first checkpoint
    steps = json.loads((run / "steps.json").read_text())
    assert steps.pop("round_2_dpo") > 0
    (run / "steps.json").write_text(json.dumps(steps))
    checkpoints = run / "round_2" / "dpo" / "checkpoints"
    (checkpoints / "checkpoint-2").rename(checkpoints / "given_away")
    expected = load_policy(PolicyConfig(path=str(out))).state_dict()
    run_rounds(settings)
    found = load_policy(PolicyConfig(path=str(out))).state_dict()
    assert [name for name in expected if not found[name].equal(expected[name])] == []
