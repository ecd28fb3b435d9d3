"""Preference losses: numbers worked by hand, trl's own formulas, signs of gradients, extremes."""

import math
from types import SimpleNamespace

import pytest
import torch
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from rl_avr.algo.preference_losses import (
    aft_alignment,
    dpo_losses,
    ipo_losses,
    log_odds,
    mean_scores,
    orpo_losses,
    scores,
    sft_loss,
    simpo_losses,
    token_weights,
)

MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
LOGPROBS = torch.tensor([[-1.0, -2.0, -3.0, -4.0], [-0.5, -1.5, 9.0, 9.0], [9.0, 9.0, 9.0, 9.0]])
CHOSEN, REJECTED = torch.tensor([-0.2, -1.5, -0.7]), torch.tensor([-0.9, -0.3, -0.7])
ON_THE_CPU = SimpleNamespace(device=torch.device("cpu"))


def test_weights_fall_from_one_over_each_completion_s_own_length():
    half = (1 + math.cos(math.pi / 4)) / 2
    expected = [[1.0, half, 0.5, 1 - half], [1.0, 0.5, 0.0, 0.0], [0.0] * 4]
    torch.testing.assert_close(token_weights(MASK, "cosine"), torch.tensor(expected))
    linear = [[1.0, 0.75, 0.5, 0.25], [1.0, 0.5, 0.0, 0.0], [0.0] * 4]
    torch.testing.assert_close(token_weights(MASK, "linear"), torch.tensor(linear))
    assert token_weights(MASK, "even").equal(MASK.float())


def test_scores_of_weighted_tokens_by_hand():
    weights = token_weights(MASK, "linear")
    torch.testing.assert_close(scores(LOGPROBS, weights), torch.tensor([-5.0, -1.25, 0.0]))
    torch.testing.assert_close(mean_scores(LOGPROBS, weights), torch.tensor([-2.0, -1.25 / 1.5, 0]))
    assert sft_loss(LOGPROBS, MASK.float()).item() == pytest.approx(12 / 6)
    assert sft_loss(LOGPROBS, weights).item() == pytest.approx(6.25 / 4)


def test_dpo_and_ipo_by_hand():
    ratio = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 0.0])
    expected = torch.tensor([math.log(1 + math.exp(-0.3)), math.log(2)])
    torch.testing.assert_close(dpo_losses(*ratio, 0.1), expected)
    torch.testing.assert_close(ipo_losses(*ratio, 0.5), torch.tensor([(3.0 - 1) ** 2, 1.0]))


def test_orpo_is_trls():
    ratio, *_ = ORPOTrainer.odds_ratio_loss(
        SimpleNamespace(beta=0.3, accelerator=ON_THE_CPU), CHOSEN, REJECTED
    )
    torch.testing.assert_close(orpo_losses(CHOSEN, REJECTED, 0.3), -CHOSEN - ratio)


def test_simpo_is_trls():
    settings = SimpleNamespace(
        alpha=0.0,
        beta=2.0,
        loss_type="simpo",
        simpo_gamma=0.7,
        label_smoothing=0.0,
        accelerator=ON_THE_CPU,
    )
    losses, *_ = CPOTrainer.cpo_loss(settings, CHOSEN, REJECTED)
    torch.testing.assert_close(simpo_losses(CHOSEN, REJECTED, 2.0, 0.7), losses)


def test_odds_are_finite_with_their_gradient_where_a_text_is_certain_or_hopeless():
    means = torch.tensor([0.0, -1e-9, -200.0, -math.log(2)], requires_grad=True)
    odds = log_odds(means)
    odds.sum().backward()
    assert odds.isfinite().all() and means.grad.isfinite().all()
    assert odds[3].item() == pytest.approx(0.0, abs=1e-6)
    assert odds[2].item() == pytest.approx(-200.0)


def test_aft_by_hand():
    chosen, rejected = torch.tensor([-1.0, -0.5]), torch.tensor([-0.8])
    pairwise = math.exp(-0.8 + 1.0) + math.exp(-0.8 + 0.5)
    expected = math.log(1 + pairwise)
    assert aft_alignment(chosen, rejected, "plain", 0.5).item() == pytest.approx(expected)
    assert aft_alignment(chosen, rejected, "detached", 0.5).item() == pytest.approx(expected)
    # T = -1 - 2 * 0.5, once for each chosen
    bounded = math.log(1 + pairwise + 2 * math.exp(-2.0 + 0.8))
    assert aft_alignment(chosen, rejected, "boundary", 0.5).item() == pytest.approx(bounded)


def aft_gradients(chosen, rejected, alignment, boundary=0.5):
    chosen = torch.tensor(chosen, requires_grad=True)
    rejected = torch.tensor(rejected, requires_grad=True)
    aft_alignment(chosen, rejected, alignment, boundary).backward()
    zeros = torch.zeros(len(rejected))
    return chosen.grad.tolist(), (zeros if rejected.grad is None else rejected.grad).tolist()


def test_aft_detached_raises_the_chosen_and_leaves_the_rejected():
    chosen, rejected = aft_gradients([-1.0], [-0.8], "detached")
    assert chosen[0] < 0 and rejected == [0.0]
    plain_chosen, plain_rejected = aft_gradients([-1.0], [-0.8], "plain")
    assert plain_chosen == pytest.approx(chosen)
    assert plain_rejected[0] == pytest.approx(-chosen[0])


@pytest.mark.parametrize(("rejected", "sign"), [(-0.8, 1), (-1.4, 1), (-1.6, -1), (-9.0, -1)])
def test_the_boundary_is_b_below_the_least_chosen(rejected, sign):
    """Above it descent pushes down, below it pulls back up."""
    _, (slope,) = aft_gradients([-1.0], [rejected], "boundary", 0.5)
    assert slope * sign > 0
    _, (at_it,) = aft_gradients([-1.0], [-1.5], "boundary", 0.5)
    assert at_it == pytest.approx(0.0, abs=1e-7)
    # without it nothing ever stops the fall
    assert aft_gradients([-1.0], [rejected], "plain")[1][0] > 0


def test_the_boundary_never_lowers_the_chosen():
    chosen, _ = aft_gradients([-1.0, -0.5], [-5.0], "boundary")
    assert max(chosen) <= 0
