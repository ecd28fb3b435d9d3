"""GRPO with adapters from the command line: trained, resumed, merged, and synced as adapters."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rl_avr.cli import main
from rl_avr.modeling.adapters import load_adapter
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.freezing import part_of
from rl_avr.modeling.loading import load_policy, load_processor

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WARM_POLICY = ROOT / "assets" / "warm_policy"
CONFIGS = [str(ROOT / "configs" / "demo" / name) for name in ("grpo.yaml", "grpo_lora.yaml")]
IDS = torch.tensor([[9, 8, 20, 300, 21]])


def train(folder, puzzle_folder, max_steps, **overrides):
    """The demo's GRPO with its overlay, in small: two groups of four, on all parts but one."""
    settings = {
        "run.dir": folder,
        "run.wandb": "disabled",
        "data.path": puzzle_folder,
        "policy.path": WARM_POLICY,
        "policy.freeze": "[vision_tower]",
        "policy.learning_rates.connector": "1e-3",
        "rollouts.engine": "transformers",
        "rollouts.sampling.max_new_tokens": 32,
        "trainer.max_steps": max_steps,
        "trainer.per_device_train_batch_size": 8,
        "trainer.num_generations": 4,
        "trainer.save_steps": 1,
        "trainer.warmup_steps": 0,
        "trainer.lr_scheduler_type": "constant",
        "trainer.learning_rate": "1e-2",
        "trainer.beta": 0.04,
        **overrides,
    }
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    assert main(["grpo", "--config", *CONFIGS, *words]) == 0


def metric_rows(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    return [row for row in rows if "reward" in row]


def adapter_of(folder):
    return load_file(folder / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def run(tmp_path_factory, puzzle_folder):
    """A run of two steps, gone on with to a third."""
    folder = tmp_path_factory.mktemp("lora")
    train(folder, puzzle_folder, 2)
    assert [row["step"] for row in metric_rows(folder)] == [1, 2]
    train(folder, puzzle_folder, 3)
    return folder


def test_each_step_agrees_with_the_engine_and_leaves_the_reference_behind(run):
    """The reference is the policy with its adapters off; new ones change nothing."""
    rows = metric_rows(run)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(row["sampling/parity_gap"] < 1e-4 for row in rows)
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert rows[1]["kl"] > 1e-4


def test_a_resumed_run_goes_on_from_the_adapters_of_its_checkpoint(run):
    """New adapters would be at the reference again."""
    rows = metric_rows(run)
    assert rows[2]["kl"] > rows[1]["kl"] / 4 > 0
    second, third, final = (
        adapter_of(run / folder)
        for folder in ("checkpoints/checkpoint-2", "checkpoints/checkpoint-3", "adapter")
    )
    assert any(not torch.equal(weight, second[name]) for name, weight in third.items())
    assert all(torch.equal(weight, third[name]) for name, weight in final.items())


def test_the_final_policy_is_plain_and_equals_its_adapters(run):
    before, after = (load_file(f / "model.safetensors") for f in (WARM_POLICY, run / "policy"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert {part_of(name) for name in changed} == {"connector", "language_model"}
    load_processor(str(run / "policy"))
    merged = load_policy(PolicyConfig(path=str(run / "policy"))).eval()
    base = load_policy(PolicyConfig(path=str(WARM_POLICY)))
    adapted = load_adapter(base, run / "adapter").eval()
    with torch.no_grad():
        gap = (merged(input_ids=IDS).logits - adapted(input_ids=IDS).logits).abs().max()
    assert gap < 1e-4


def test_a_checkpoint_is_exported_by_the_command(run, tmp_path, capsys):
    checkpoint = run / "checkpoints" / "checkpoint-3"
    words = ["--model", str(WARM_POLICY), "--adapter", str(checkpoint), "--out", str(tmp_path)]
    assert main(["export", *words]) == 0
    assert f"written: {tmp_path}" in capsys.readouterr().out
    exported, final = (load_file(f / "model.safetensors") for f in (tmp_path, run / "policy"))
    assert exported.keys() == final.keys()
    assert all(torch.equal(weight, final[name]) for name, weight in exported.items())


def test_vllm_takes_the_adapters_of_each_step(puzzle_folder, tmp_path):
    """One update at this rate moves logprobs far: the second step would not agree without it."""
    settings = {"rollouts.engine": "vllm", "rollouts.lora_sync": "adapter"}
    train(tmp_path, puzzle_folder, 2, **settings, **{"rollouts.max_num_seqs": 16})
    rows = metric_rows(tmp_path)
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["sampling/parity_gap"] < 1e-4 for row in rows)
    assert rows[1]["kl"] > 1e-4
