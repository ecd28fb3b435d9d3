"""Implicit credit through trl's own arithmetic on a tiny policy."""

import dataclasses
from pathlib import Path

import pytest
import torch
from transformers import set_seed

from rl_avr.errors import ConfigError
from rl_avr.modeling.config import LoraConfig
from rl_avr.training.config import CreditConfig
from rl_avr.training.run_folder import last_checkpoint
from tests.inference.pairs import save_adapters, save_policies
from tests.training.tiny_run import GROUP, RunConfig, make_run, prompts, weights  # noqa: F401


@pytest.fixture(scope="module")
def folders(tiny_config, tmp_path_factory):
    """Two tiny policies; read them, never write to them."""
    return save_policies(tiny_config, tmp_path_factory.mktemp("pair"), (0, 1))


@pytest.fixture
def implicit(folders):
    return CreditConfig(source="implicit", policy=str(folders[1]), reference=str(folders[0]))


@pytest.fixture
def run_of(tiny_folder, processor, prompts):  # noqa: F811
    """Makes a run; each starts from the same weights and seeds."""

    def make(folder, **changes):
        set_seed(0)
        return make_run(folder, tiny_folder, processor, prompts, **changes)

    return make


def trained(run, resume=None):
    with run.collector:
        run.train(resume_from_checkpoint=resume)
    return weights(run)


def generated(run):
    """Returns one batch as it goes into the loss, whole."""
    run.model.train()
    rows = [row for row in run.train_dataset.select(range(2)) for _ in range(GROUP)]
    with run.collector:
        return run._generate_and_score_completions(rows)


def test_strength_0_trains_the_bits_of_plain_grpo(run_of, implicit, tmp_path):
    plain = trained(run_of(tmp_path / "plain", max_steps=2))
    neutral = dataclasses.replace(implicit, strength=0.0)
    found = trained(run_of(tmp_path / "neutral", max_steps=2, credit=neutral))
    assert all(torch.equal(weight, plain[name]) for name, weight in found.items())
    moved = trained(run_of(tmp_path / "moved", max_steps=2, credit=implicit))
    assert any(not torch.equal(weight, plain[name]) for name, weight in moved.items())


def test_advantages_are_spread_by_the_pairs_logprobs(run_of, implicit, tmp_path):
    plain = generated(run_of(tmp_path / "plain"))["advantages"]
    run = run_of(tmp_path / "spread", credit=implicit)
    output = generated(run)
    spread, mask = output["advantages"], output["completion_mask"]
    assert spread.shape == mask.shape
    torch.testing.assert_close((spread * mask).sum(1), mask.sum(1) * plain, atol=1e-4, rtol=1e-4)
    assert (spread * plain.unsqueeze(1) >= 0).all()
    assert (spread - plain.unsqueeze(1)).abs().max() > 0.1
    assert run._metrics["train"]["credit/spread"][-1] > 0.1
    # the running policy is the pair's reference, so its own logprobs are the reference's
    credit = run._implicit(run._group_prompts, output["completion_ids"], mask)
    run.model.load_state_dict(run._implicit._policy.state_dict())
    policy = run._old_logprobs(output)
    torch.testing.assert_close(
        credit * mask, (policy - output["old_per_token_logps"]) * mask, atol=2e-5, rtol=1e-4
    )


def test_both_adds_the_credit_of_claims(run_of, implicit, tmp_path, monkeypatch):
    claims = torch.linspace(-1, 1, 2 * GROUP).unsqueeze(1)
    monkeypatch.setattr(
        "rl_avr.training.grpo_groups.group_token_credit", lambda groups, tokenizer, n: claims
    )
    spread = generated(run_of(tmp_path / "implicit", credit=implicit))["advantages"]
    config = dataclasses.replace(implicit, source="both", claim_weight=0.5)
    both = generated(run_of(tmp_path / "both", credit=config))["advantages"]
    torch.testing.assert_close(both, spread + 0.5 * claims)


def test_a_refreshed_pair_is_the_running_policy(run_of, implicit, folders, tmp_path):
    same = dataclasses.replace(implicit, policy=str(folders[0]), refresh_steps=1)
    run = run_of(tmp_path / "run", max_steps=2, credit=same)
    # before the first refresh both are one, and nothing is spread
    output = generated(run)
    assert torch.equal(
        output["advantages"], output["advantages"][:, :1].expand_as(output["advantages"])
    )
    assert run._metrics["train"]["credit/spread"][-1] == 0
    trained(run)
    run.state.global_step = 2
    output = generated(run)
    mask = output["completion_mask"]
    credit = run._implicit(run._group_prompts, output["completion_ids"], mask)
    reference = run_of(tmp_path / "start")
    reference._group_prompts = run._group_prompts
    start = reference._old_logprobs(output)
    torch.testing.assert_close(
        credit * mask, (output["old_per_token_logps"] - start) * mask, atol=2e-5, rtol=1e-4
    )
    assert (credit * mask).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("lora", [LoraConfig(), LoraConfig(rank=2, alpha=4.0)])
def test_a_run_resumed_after_a_refresh_ends_with_the_same_bits(
    run_of, implicit, folders, tmp_path, lora
):
    moving = dataclasses.replace(implicit, policy=str(folders[0]), refresh_steps=2)
    whole = trained(run_of(tmp_path / "whole", credit=moving, lora=lora))
    stopped = run_of(tmp_path / "stopped", credit=moving, lora=lora)
    trained(stopped)
    config = RunConfig(dir=str(tmp_path / "stopped"))
    for step in (5, 4):
        Path(last_checkpoint(config)).rename(tmp_path / f"later-{step}")
    checkpoint = Path(last_checkpoint(config))
    assert checkpoint.name == "checkpoint-3" and (checkpoint / "credit_policy").is_dir()
    again = run_of(tmp_path / "stopped", credit=moving, lora=lora)
    found = trained(again, resume=str(checkpoint))
    assert all(torch.equal(weight, whole[name]) for name, weight in found.items())


def test_a_pair_of_adapters_gives_credit_and_cannot_be_refreshed(
    run_of, implicit, folders, tmp_path
):
    adapter = save_adapters(folders[0], tmp_path / "adapter", 3)
    config = dataclasses.replace(implicit, policy=str(adapter))
    output = generated(run_of(tmp_path / "run", credit=config))
    assert output["advantages"].dim() == 2
    with pytest.raises(ConfigError, match=r"credit.refresh_steps 1: .* are adapters"):
        run_of(tmp_path / "other", credit=dataclasses.replace(config, refresh_steps=1))


def test_a_pair_of_another_shape_cannot_be_refreshed(run_of, implicit, tiny_config, tmp_path):
    larger = dataclasses.replace(tiny_config, num_layers=2)
    (folder,) = save_policies(larger, tmp_path / "larger", (2,))
    config = dataclasses.replace(implicit, policy=str(folder))
    assert generated(run_of(tmp_path / "run", credit=config))["advantages"].dim() == 2
    with pytest.raises(ConfigError, match="are not of one shape: .* weights differ, first"):
        run_of(tmp_path / "other", credit=dataclasses.replace(config, refresh_steps=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "implicit"}, "source: implicit needs two policies"),
        ({"source": "claims"}, "claim_weight: expected a number > 0 with credit.source claims"),
        ({"claim_weight": 1.0}, "claim_weight: .* got 1 with source none"),
        ({"strength": -1.0}, "strength: expected a number >= 0"),
        ({"low": 1.5}, r"low: expected a number in \[0, 1\]"),
        ({"high": 0.5}, "high: expected a number >= 1"),
        ({"refresh_steps": -1}, "refresh_steps: expected a number >= 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        CreditConfig(**changes)
