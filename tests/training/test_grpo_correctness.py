"""The update itself: against numbers worked by hand, under splits, and on a bandit."""

import math

import pytest
import torch

from rewards.config import RewardConfig
from rl_avr.errors import ConfigError, RolloutError
from rl_avr.training.config import RunConfig
from rl_avr.training.grpo import grpo_arguments
from rollouts.config import RolloutConfig, SamplingConfig
from tests.training.scripted_trainer import ProcessorEngine
from tests.training.tiny_run import GROUP, make_run, prompts, scored_by, weights  # noqa: F401

PLAIN_SGD = {
    "optim": "sgd",
    "learning_rate": 1.0,
    "max_grad_norm": 0.0,
    "lr_scheduler_type": "constant",
}


@pytest.fixture
def make(tiny_folder, processor, prompts, tmp_path):  # noqa: F811
    def made(**block):
        block = {"save_strategy": "no", **block}
        asked = block.pop("prompts", prompts)
        return make_run(tmp_path, tiny_folder, processor, asked, **block)

    return made


def trained(trainer):
    with trainer.collector:
        trainer.train()
    return weights(trainer)


def test_a_group_of_one_is_refused():
    """It has no advantage: its reward less its own mean is 0."""
    block = {"use_cpu": True, "bf16": False, "per_device_train_batch_size": 4, "num_generations": 1}
    with pytest.raises(ConfigError, match="at least 2 generations"):
        grpo_arguments(RunConfig(), RolloutConfig(), RewardConfig(), block)


def test_equal_rewards_leave_every_weight(make):
    trainer = make(collector=scored_by(lambda completion: 0.7), max_steps=2)
    before = weights(trainer)
    after = trained(trainer)
    assert all(torch.equal(before[name], after[name]) for name in after)
    steps = [row for row in trainer.state.log_history if "grad_norm" in row]
    assert [row["grad_norm"] for row in steps] == [0.0, 0.0]
    assert steps[0]["frac_reward_zero_std"] == 1.0


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "bnpo", "dr_grpo", "cispo"])
def test_an_empty_completion_breaks_no_loss(make, processor, loss_type):
    """Of the end token alone, beside some with words."""
    texts = ("", "", "Size: 1", "### Answer: A")
    trainer = make(
        engine=ProcessorEngine(lambda prompt, index: texts[index], processor),
        collector=scored_by(lambda completion: len(completion.token_ids) / 100),
        loss_type=loss_type,
        max_steps=1,
        sampling=SamplingConfig(max_new_tokens=100),
    )
    trainer._parity_max_mean_gap = 1e9
    before = weights(trainer)
    after = trained(trainer)
    assert 1 in {len(c.token_ids) for g in trainer.groups for c in g.group.completions}
    assert all(weight.isfinite().all() for weight in after.values())
    assert any(not torch.equal(before[name], after[name]) for name in after)


def test_a_completion_without_any_token_is_refused(make, processor):
    """Not even the end: an engine that gave up. trl would look for its last token."""
    engine = ProcessorEngine(lambda prompt, index: "Size: 1" * index, processor)
    end, encode = processor.tokenizer.eos_token_id, engine._encode
    engine._encode = lambda text: [token for token in encode(text) if text or token != end]
    with pytest.raises(RolloutError, match="/cot: completion 0 has no token.*expected at least"):
        trained(make(engine=engine, max_steps=1))


@pytest.mark.parametrize("loss_type", ["dapo", "cispo", "grpo", "dr_grpo"])
def test_a_split_batch_gives_the_gradient_of_the_whole_one(make, loss_type):
    """Eight puzzles at once, in two batches of four, in four of two; one step of plain descent."""
    found = []
    for num_batches in (1, 2, 4):
        trainer = make(
            per_device_train_batch_size=8 * GROUP // num_batches,
            gradient_accumulation_steps=num_batches,
            loss_type=loss_type,
            max_steps=1,
            sampling=SamplingConfig(max_new_tokens=40),
            **PLAIN_SGD,
        )
        before = weights(trainer)
        after = trained(trainer)
        found.append({name: after[name] - before[name] for name in after})
    lengths = {len(c.token_ids) for g in trainer.groups for c in g.group.completions}
    assert len(lengths) > 1
    whole = found[0]
    assert max(change.abs().max() for change in whole.values()) > 1e-3
    for split in found[1:]:
        for name, change in whole.items():
            torch.testing.assert_close(split[name], change, rtol=1e-3, atol=1e-6, msg=name)


class TwoTokens(torch.nn.Module):
    """A policy that says token 1 with probability sigmoid(theta), whatever came before."""

    def __init__(self, theta):
        super().__init__()
        self.theta = torch.nn.Parameter(torch.tensor(theta))

    def logprobs(self, ids):
        return torch.where(ids == 1, 1.0, -1.0).mul(self.theta).sigmoid().log()


IDS = torch.tensor([[1, 0], [1, 1], [0, 0], [1, 0]])
MASK = torch.tensor([[1, 1], [1, 1], [1, 1], [1, 0]])
# old probability of each token; theta 0 makes it 1/2 now, so ratios are 1.25, 1, 0.625 and 1
OLD = torch.tensor([[0.4, 0.5], [0.4, 0.5], [0.8, 0.5], [0.4, 0.5]])
ADVANTAGES = torch.tensor([1.0, -1.0, 2.0, 0.5])
# min(r A, clip(r, 0.8, 1.2) A) by token, the padded one in brackets:
#   A  1.0: min(1.25, 1.20) =  1.20 and  1.0        A -1.0: min(-1.25, -1.20) = -1.25 and -1.0
#   A  2.0: min(1.25, 1.60) =  1.25 and  2.0        A  0.5: min(0.625, 0.60)  =  0.60 and (0.5)
BY_ROW = ((1.20 + 1.0), (-1.25 - 1.0), (1.25 + 2.0), 0.60)
# d/dtheta of r A where it is not clipped: A r (1 - p) for token 1, -A r p for token 0, p = 1/2
#   row 0: clipped, -0.5     row 1: -0.625, -0.5     row 2: -0.625, -1.0     row 3: clipped
SLOPE_BY_ROW = (-0.5, -0.625 - 0.5, -0.625 - 1.0, 0.0)
LOSS = {
    # by all 7 tokens
    "dapo": (-sum(BY_ROW) / 7, -sum(SLOPE_BY_ROW) / 7),
    "bnpo": (-sum(BY_ROW) / 7, -sum(SLOPE_BY_ROW) / 7),
    # by each row's own tokens, then by rows
    "grpo": (
        -(1.1 - 1.125 + 1.625 + 0.6) / 4,
        -(-0.25 - 0.5625 - 0.8125 + 0.0) / 4,
    ),
    # by rows times the longest allowed
    "dr_grpo": (-sum(BY_ROW) / (4 * 10), -sum(SLOPE_BY_ROW) / (4 * 10)),
}


@pytest.mark.parametrize("loss_type", LOSS)
def test_the_loss_of_a_two_token_policy_is_the_one_worked_by_hand(make, loss_type):
    trainer = make(loss_type=loss_type, gradient_accumulation_steps=1)
    policy = TwoTokens(0.0)

    def logprobs(model, ids, *_, **__):
        found = model.logprobs(ids[:, -2:])
        return found, torch.zeros_like(found), None

    trainer._get_per_token_logps_and_entropies = logprobs
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    inputs = {
        "prompt_ids": torch.zeros(4, 1, dtype=torch.long),
        "prompt_mask": torch.ones(4, 1, dtype=torch.long),
        "completion_ids": IDS,
        "completion_mask": MASK,
        "advantages": ADVANTAGES,
        "old_per_token_logps": OLD.log(),
        "importance_sampling_ratio": torch.ones(4, 2),
        "num_items_in_batch": torch.tensor(7),
        "group_prompts": [],
        "group_prompt_ids": ["by-hand"],
        "beta": 0.0,
    }
    loss = trainer._compute_loss(policy, inputs)
    loss.backward()
    expected, slope = LOSS[loss_type]
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert policy.theta.grad.item() == pytest.approx(slope, abs=1e-6)
    clipped = trainer._metrics["train"]
    # rows 0 and 3 from above, row 2 would be from below but its advantage is positive
    assert clipped["clip_ratio/high_mean"] == [pytest.approx(2 / 7)]
    assert clipped["clip_ratio/low_mean"] == [0.0]


def test_the_policy_learns_a_bandit_with_a_known_optimum(make, prompts):  # noqa: F811
    """One token out of hundreds, one in five of which pays: the optimum is 1, chance 0.2."""
    trainer = make(
        prompts=prompts[:2],
        collector=scored_by(lambda completion: float(completion.token_ids[0] % 5 == 0)),
        sampling=SamplingConfig(max_new_tokens=1),
        num_generations=32,
        per_device_train_batch_size=64,
        gradient_accumulation_steps=1,
        max_steps=40,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
    )
    trained(trainer)
    rewards = [row["reward"] for row in trainer.state.log_history if "reward" in row]
    assert rewards[0] < 0.45
    assert math.fsum(rewards[-3:]) / 3 > 0.95
