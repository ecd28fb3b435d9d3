"""SFT from the command line trains the parts that it is told to, weights or adapters."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rl_avr.cli import main
from rl_avr.modeling.freezing import PARTS, part_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WARM_POLICY = ROOT / "assets" / "warm_policy"


def trained(folder, puzzle_folder, config, **settings):
    """Returns the parts that one step has changed, and the names of all weights."""
    settings = {
        "run.dir": folder,
        "run.wandb": "disabled",
        "data.path": puzzle_folder,
        "policy.path": WARM_POLICY,
        "sft.elicitation.num_fine": 2,
        "trainer.max_steps": 1,
        "trainer.warmup_steps": 0,
        "trainer.per_device_train_batch_size": 2,
        **settings,
    }
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    assert main(["sft", "--config", str(ROOT / "configs" / "demo" / config), *words]) == 0
    before, after = (load_file(f / "model.safetensors") for f in (WARM_POLICY, folder / "policy"))
    assert before.keys() == after.keys()
    return {part_of(name) for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("config", "freeze", "parts"),
    [
        ("sft_perception.yaml", "[vision_tower, connector]", {"vision_tower", "connector"}),
        ("sft_reasoning.yaml", "[]", set(PARTS)),
        ("sft_reasoning.yaml", "[language_model, vision_tower]", {"connector"}),
    ],
)
def test_the_stage_and_the_frozen_parts_decide(tmp_path, puzzle_folder, config, freeze, parts):
    settings = {"policy.freeze": freeze, "policy.make_small": "false"}
    assert trained(tmp_path, puzzle_folder, config, **settings) == parts
    assert not (tmp_path / "adapter").exists()


def test_adapters_are_saved_apart_and_merged(tmp_path, puzzle_folder):
    settings = {"policy.freeze": "[connector]", "policy.lora.rank": 4, "policy.lora.dropout": 0.1}
    found = trained(tmp_path, puzzle_folder, "sft_reasoning.yaml", **settings)
    assert found == {"vision_tower", "language_model"}
    adapters = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {part_of(name) for name in adapters} == found
    assert all(".lora_" in name for name in adapters)


def test_a_stage_resumed_at_its_end_writes_the_policy_that_it_had_trained(tmp_path, puzzle_folder):
    """Killed between its last checkpoint and the writing of the policy."""
    settings = {"policy.freeze": "[]", "trainer.save_strategy": "steps", "trainer.save_steps": 1}
    assert trained(tmp_path, puzzle_folder, "sft_reasoning.yaml", **settings) == set(PARTS)
    weights = tmp_path / "policy" / "model.safetensors"
    expected = load_file(weights)
    weights.unlink()
    trained(tmp_path, puzzle_folder, "sft_reasoning.yaml", **settings)
    found = load_file(weights)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_a_stage_that_was_stopped_goes_on_bit_for_bit(tmp_path, puzzle_folder):
    """By the command, over both kinds of conversation; the plan is that of the whole run."""
    settings = {
        "policy.freeze": "[]",
        "sft.mixture": "{perception: 0.5, chain: 0.5}",
        "trainer.max_steps": 3,
        "trainer.save_strategy": "steps",
        "trainer.save_steps": 2,
    }
    folders = tmp_path / "whole", tmp_path / "stopped"
    trained(folders[0], puzzle_folder, "sft_reasoning.yaml", **settings)
    stop = {"sft.stop_after_steps": 2}
    trained(folders[1], puzzle_folder, "sft_reasoning.yaml", **settings, **stop)
    trained(folders[1], puzzle_folder, "sft_reasoning.yaml", **settings)
    expected, found = (load_file(f / "policy" / "model.safetensors") for f in folders)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
