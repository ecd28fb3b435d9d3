"""Scores of chains whose tokens' logprobs are given."""

import pytest
import torch

from rl_avr.contracts import Completion
from rl_avr.elicitation.reading import read
from rl_avr.inference.chain_scores import reward_columns
from rl_avr.inference.config import REWARD_SCORES
from rl_avr.inference.implicit_reward import TokenRewards

TEXT = "### Answer: A"
# of one token a character: what the policy raised or lowered, by place
MOVED = {0: [], 1: [(2, 5.0)], 2: [(2, -5.0), (3, 0.5)]}


@pytest.fixture
def columns(puzzle):
    ids = [ord(letter) for letter in TEXT]
    reference = torch.full((3, len(ids)), -0.25)
    reference[1, 2] = -8.0
    policy = reference.clone()
    for row, places in MOVED.items():
        for place, change in places:
            policy[row, place] += change
    # behind the end of the last chain stands what must not be read
    mask = torch.ones(3, len(ids), dtype=torch.bool)
    mask[2, -1] = False
    completions = [Completion(TEXT, tuple(ids), (-1.0,) * len(ids), "stop", 0)] * 3
    parsed = [read(TEXT, puzzle, "stop", "cot", "mark", len(ids))] * 3
    return reward_columns(TokenRewards(policy, reference, mask), completions, parsed, chr)


def test_one_odd_token_decides_the_sum_and_not_the_bounded_sum(columns):
    assert set(columns) == set(REWARD_SCORES)
    assert columns["sum"] == pytest.approx([0.0, 5.0, -4.5])
    assert columns["bounded"] == pytest.approx([0.0, 1.0, -0.5])


def test_proximal_adds_what_the_reference_gave_the_chain(columns):
    size = len(TEXT)
    before = [-0.25 * size, -0.25 * (size - 1) - 8.0, -0.25 * (size - 1)]
    assert columns["reference"] == pytest.approx(before)
    assert columns["proximal"] == pytest.approx([before[0], before[1] + 1.0, before[2] - 0.5])
    # the sum prefers the chain that the reference found odd
    assert max(range(3), key=columns["sum"].__getitem__) == 1
    assert max(range(3), key=columns["proximal"].__getitem__) != 1


def test_without_a_bounded_token_proximal_is_the_policys_logprob(columns):
    assert columns["proximal"][0] / len(TEXT) == pytest.approx(columns["logprob"][0])
