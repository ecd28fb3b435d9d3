"""The correction between engine and policy, on a batch whose gap is known.

The engine says that it sampled the first token of each completion with another logprob than the
policy's, and all other tokens with the policy's own: the ratio policy / engine of a first token,
and so of its whole completion, is then one of `RATIOS`.
"""

import math
from dataclasses import replace

import pytest
import torch

from rl_avr.contracts import CHOICE_LETTERS
from rl_avr.elicitation.chains import gold_chain
from rl_avr.metric_names import PARITY_GAP
from rl_avr.training.config import UpdateConfig
from tests.training.scripted_trainer import prompts_of_different_lengths, scripted_trainer

GROUP = 4
RATIOS = (1.0, 2.0, 0.5, 5.0)
# mode -> what becomes of the ratios between 0.6 and 3, and of those without a lower bound
CORRECTED = {
    "token_truncate": ((1.0, 2.0, 0.6, 3.0), (1.0, 2.0, 0.5, 3.0)),
    "token_mask": ((1.0, 2.0, 0.0, 0.0), (1.0, 2.0, 0.5, 0.0)),
    "sequence_truncate": ((1.0, 2.0, 0.6, 3.0), (1.0, 2.0, 0.5, 3.0)),
    "sequence_mask": ((1.0, 2.0, 0.0, 0.0), (1.0, 2.0, 0.5, 0.0)),
}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    return prompts_of_different_lengths(tmp_path_factory.mktemp("data"), 2)


def script(prompt, index):
    """A right chain, a right and a wrong letter, and nothing."""
    wrong = CHOICE_LETTERS[(prompt.puzzle.answer_index + 1) % 8]
    right = prompt.puzzle.answer_letter
    return (gold_chain(prompt.puzzle), f"### Answer: {right}", f"### Answer: {wrong}", "")[index]


@pytest.fixture
def make(tiny_folder, processor, prompts, tmp_path):
    def made(update=None, **block):
        block = {"max_steps": 1, "beta": 0.0, "loss_type": "dapo", **block}
        trainer = scripted_trainer(
            tmp_path,
            tiny_folder,
            processor,
            prompts,
            script,
            GROUP,
            block,
            update=update or UpdateConfig(),
        )
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        return trainer

    return made


def batch(trainer, logprobs_BC=None):
    """Returns the batch of both prompts; the engine sampled it with these logprobs, or 0."""
    generate = trainer.collector.engine.generate

    def with_logprobs(prompts, sampling):
        rows = iter(logprobs_BC.tolist())
        return [
            replace(group, completions=tuple(_with(c, next(rows)) for c in group.completions))
            for group in generate(prompts, sampling)
        ]

    if logprobs_BC is not None:
        trainer.collector.engine.generate = with_logprobs
    rows = [row for row in trainer.train_dataset for _ in range(GROUP)]
    with trainer.collector:
        return trainer._generate_and_score_completions(rows)


def _with(completion, row):
    return replace(completion, sampling_logprobs=tuple(row[: len(completion.token_ids)]))


def with_known_gap(make, **block):
    """Returns a trainer, its batch sampled with the known ratios, and the logprobs of both."""
    ours = batch(make())["old_per_token_logps"]
    sampled = ours.clone()
    sampled[:, 0] -= torch.tensor(RATIOS * 2).log()
    trainer = make(**block)
    return trainer, batch(trainer, sampled)


def gradient(trainer, inputs):
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    found = {name: p.grad.clone() for name, p in trainer.model.named_parameters()}
    return loss.item(), found


@pytest.mark.parametrize("clip_min", [0.6, None])
@pytest.mark.parametrize("mode", CORRECTED)
def test_a_known_gap_weighs_loss_and_gradient_by_its_ratio(make, mode, clip_min):
    trainer, inputs = with_known_gap(
        make,
        vllm_importance_sampling_mode=mode,
        vllm_importance_sampling_clip_max=3.0,
        vllm_importance_sampling_clip_min=clip_min,
    )
    expected = torch.tensor(CORRECTED[mode][clip_min is None] * 2)
    mask, advantages = inputs["completion_mask"].float(), inputs["advantages"]
    ratio = inputs["importance_sampling_ratio"]
    if mode.startswith("token"):
        weights = torch.ones_like(mask)
        weights[:, 0] = expected
        torch.testing.assert_close(ratio, weights)
    else:
        weights = expected[:, None].expand_as(mask)
        torch.testing.assert_close(ratio, expected[:, None])
    loss, slopes = gradient(trainer, inputs)
    # on-policy, each token of a completion loses its advantage, over all tokens
    by_hand = -(weights * advantages[:, None] * mask).sum() / mask.sum()
    assert loss == pytest.approx(by_hand.item(), abs=1e-6) and abs(loss) > 1e-3
    plain = make(vllm_importance_sampling_correction=False)
    assert "importance_sampling_ratio" not in batch(plain)
    _, expected_slopes = gradient(plain, {**inputs, "advantages": advantages[:, None] * weights})
    for name, slope in expected_slopes.items():
        torch.testing.assert_close(slopes[name], slope, rtol=1e-4, atol=1e-7, msg=name)
    _, uncorrected = gradient(plain, inputs)
    assert any((slopes[name] - uncorrected[name]).abs().max() > 1e-4 for name in slopes)


def test_the_metrics_show_the_gap(make):
    trainer, inputs = with_known_gap(make)
    metrics = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    num_tokens = int(inputs["completion_mask"].sum())
    mean = 2 * sum(abs(math.log(ratio)) for ratio in RATIOS) / num_tokens
    assert metrics["sampling/sampling_logp_difference/mean"] == pytest.approx(mean, rel=1e-4)
    assert metrics[PARITY_GAP] == pytest.approx(mean, rel=1e-4)
    largest = metrics["sampling/sampling_logp_difference/max"]
    assert largest == pytest.approx(math.log(5), rel=1e-4)
    name = "sampling/importance_sampling_ratio"
    # 5 is cut at 3; every token but the first ones has 1
    total = num_tokens - 2 * GROUP + 2 * (1 + 2 + 0.5 + 3)
    assert metrics[f"{name}/min"] == pytest.approx(0.5, rel=1e-4)
    assert metrics[f"{name}/mean"] == pytest.approx(total / num_tokens, rel=1e-4)
    assert metrics[f"{name}/max"] == pytest.approx(3.0, rel=1e-4)


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_without_the_correction_the_gap_is_still_measured(make, shared_prefix):
    update = UpdateConfig(shared_prefix=shared_prefix)
    block = {"vllm_importance_sampling_correction": False, "update": update}
    trainer, inputs = with_known_gap(make, **block)
    mean = 2 * sum(abs(math.log(ratio)) for ratio in RATIOS) / int(inputs["completion_mask"].sum())
    assert trainer._metrics["train"][PARITY_GAP] == [pytest.approx(mean, rel=1e-4)]
    assert "importance_sampling_ratio" not in inputs
