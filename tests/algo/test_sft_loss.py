"""Losses worked by hand, and the neutral form of the one that keeps entropy."""

import math

import pytest
import torch

from rl_avr.algo.sft_loss import kept_tokens, mean_cross_entropy, num_kept

LOGPROBS = torch.tensor([-0.1, -2.0, -0.5, -1.0, -3.0])
ENTROPIES = torch.tensor([0.0, 2.0, 1.0, 0.25, 3.5])


def test_the_plain_loss_by_hand():
    """6.6 nats over 5 tokens; of a step with 12 it is this batch's part."""
    assert mean_cross_entropy(LOGPROBS, None, 5).item() == pytest.approx(1.32)
    assert mean_cross_entropy(LOGPROBS, None, 12).item() == pytest.approx(0.55)


def test_the_parts_of_a_step_add_up_to_the_mean_of_the_whole():
    parts = [mean_cross_entropy(part, None, 5) for part in LOGPROBS.split([1, 3, 1])]
    assert sum(parts).item() == pytest.approx(mean_cross_entropy(LOGPROBS, None, 5).item())


def test_the_entropy_loss_by_hand():
    """lambda 0.8: delta = 0.1, 0.4, -0.3, 0.8, 0.2; the two largest are the fourth and second."""
    kept = kept_tokens(LOGPROBS, ENTROPIES, 0.8, 0.4)
    assert kept.tolist() == [False, True, False, True, False]
    assert mean_cross_entropy(LOGPROBS, kept, num_kept(5, 0.4)).item() == pytest.approx(1.5)


def test_without_a_weight_the_least_likely_tokens_are_kept():
    assert kept_tokens(LOGPROBS, ENTROPIES, 0.0, 0.4).tolist() == [False, True, False, False, True]


def test_tokens_that_are_left_out_have_no_gradient():
    logprobs = LOGPROBS.clone().requires_grad_()
    kept = kept_tokens(logprobs, ENTROPIES, 0.8, 0.4)
    mean_cross_entropy(logprobs, kept, 2).backward()
    assert logprobs.grad.tolist() == [0, -0.5, 0, -0.5, 0]


@pytest.mark.parametrize("weight", [0.0, 0.8])
def test_a_share_of_one_is_the_plain_loss_bit_for_bit(weight):
    generator = torch.Generator().manual_seed(0)
    values = [-torch.rand(1001, generator=generator) for _ in range(2)]
    plain, ours = (values[0].clone().requires_grad_() for _ in range(2))
    expected = mean_cross_entropy(plain, None, 1001)
    found = mean_cross_entropy(
        ours, kept_tokens(ours, -values[1], weight, 1.0), num_kept(1001, 1.0)
    )
    expected.backward()
    found.backward()
    assert torch.equal(found, expected)
    assert torch.equal(ours.grad, plain.grad)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 0.8, 0.9])
def test_a_share_of_ten_tokens_is_a_whole_number(share):
    assert num_kept(10, share) == round(10 * share)


def test_a_batch_without_tokens_has_a_loss_of_zero():
    none = torch.empty(0, requires_grad=True)
    loss = mean_cross_entropy(none, kept_tokens(none, none, 0.8, 0.8), 0)
    assert loss.item() == 0
    assert math.isfinite(loss.item())
    loss.backward()
