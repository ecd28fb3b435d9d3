"""What is done to advantages after they were normalised."""

import math

import pytest
import torch

from rl_avr.algo.advantage_transform import Outcomes, identity, stcr, stcr_factors

NAN = float("nan")


def batch(lengths, outcomes, num_generations=None):
    return Outcomes(
        torch.tensor(lengths, dtype=torch.float32),
        torch.tensor(outcomes, dtype=torch.float32),
        num_generations or len(lengths),
    )


def test_identity_is_the_same_tensor():
    advantages = torch.tensor([0.5, -0.5])
    assert identity(advantages, batch([1, 2], [1, 0])) is advantages


def test_factors_by_hand():
    """Right ones of 80 and 120 tokens, mean 100; wrong ones shorter, equal, 100 and 200 longer."""
    found = stcr_factors(batch([80, 120, 60, 100, 200, 300], [1, 1, 0, 0, 0, 0]), 100)
    assert found.tolist() == [1.0, 1.0, 1.0, 1.0, 1.5, 1.75]


def test_the_released_base_is_a_half_length_of_seventy_thousand_tokens():
    half_length = math.log(2) / math.log(1.00001)
    found = stcr_factors(batch([100, 1100, 4100], [1, 0, 0]), half_length)
    expected = [1.0, 2 - 1.00001**-1000, 2 - 1.00001**-4000]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert found[1:].tolist() == pytest.approx([1.010, 1.039], abs=5e-4)


@pytest.mark.parametrize(
    "outcomes", [[0, 0, 0], [1, 1, 1], [NAN, NAN, NAN], [0, NAN, 0], [0.5, 0, 0]]
)
def test_a_group_without_right_or_without_wrong_ones_is_left(outcomes):
    assert stcr_factors(batch([10, 100, 1000], outcomes), 10).tolist() == [1.0] * 3


def test_what_cannot_be_judged_is_neither_right_nor_wrong():
    found = stcr_factors(batch([100, 900, 900, 200], [1, NAN, NAN, 0]), 100)
    assert found.tolist() == [1.0, 1.0, 1.0, 1.5]


def test_a_partly_right_answer_is_wrong():
    assert stcr_factors(batch([100, 200], [1, 0.5]), 100).tolist() == [1.0, 1.5]


def test_groups_do_not_see_each_other():
    left, right = ([10, 50], [1, 0]), ([1000, 30], [0, 1])
    both = stcr_factors(batch(left[0] + right[0], left[1] + right[1], 2), 40)
    alone = [stcr_factors(batch(*one), 40) for one in (left, right)]
    assert torch.equal(both, torch.cat(alone))
    assert both.tolist()[:2] == [1.0, 1.5]


def test_the_order_in_a_group_does_not_matter():
    lengths, outcomes, order = [80, 120, 300, 60], [1, 1, 0, 0], [2, 0, 3, 1]
    found = stcr_factors(batch(lengths, outcomes), 50)
    turned = stcr_factors(batch([lengths[i] for i in order], [outcomes[i] for i in order]), 50)
    assert torch.equal(turned, found[order])


def test_advantages_of_completions_and_of_tokens_are_multiplied_alike():
    outcomes = batch([100, 200], [1, 0])
    of_completions = stcr(100)(torch.tensor([1.0, -1.0]), outcomes)
    assert of_completions.tolist() == [1.0, -1.5]
    of_tokens = stcr(100)(torch.tensor([[1.0, 2.0, 0.0], [-1.0, -2.0, 0.5]]), outcomes)
    assert of_tokens.tolist() == [[1.0, 2.0, 0.0], [-1.5, -3.0, 0.75]]


def test_an_empty_completion_and_a_group_of_one():
    assert stcr_factors(batch([0], [0]), 10).tolist() == [1.0]
    assert stcr_factors(batch([0, 10], [1, 0]), 10).tolist() == [1.0, 1.5]
