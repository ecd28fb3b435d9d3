"""Credit of tokens: numbers by hand, and what the spread promises whatever the credit."""

import pytest
import torch

from rl_avr.algo.token_credit import centred, span_sums, spread, spread_weights

BOUNDS = [(0.0, 2.0), (0.5, 1.5), (0.2, 3.0), (0.9, 1.05)]


def drawn(seed=0, rows=64, length=40):
    """Advantages, credit and masks of every kind: empty, of one token, constant, with outliers."""
    generator = torch.Generator().manual_seed(seed)
    advantages = torch.randn(rows, generator=generator)
    advantages[::9] = 0.0
    credit = torch.randn(rows, length, generator=generator) * 10.0 ** torch.randint(
        -3, 4, (rows, 1), generator=generator
    )
    credit[3] = 7.0
    credit[5, 2] = 1e6
    lengths = torch.randint(0, length + 1, (rows, 1), generator=generator)
    lengths[1], lengths[2] = 0, 1
    mask = (torch.arange(length) < lengths).long()
    return advantages, credit, mask


def test_numbers_by_hand():
    # credit 0, 1, 2, 5: mean 2, deviations -2, -1, 0, 3, std sqrt(14 / 4)
    credit = torch.tensor([[0.0, 1.0, 2.0, 5.0]])
    z = torch.tensor([-2.0, -1.0, 0.0, 3.0]) / 3.5**0.5
    expected = 2.0 * (1 + 0.25 * z)
    found = spread(torch.tensor([2.0]), credit, torch.ones(1, 4), strength=0.25)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)
    flipped = spread(torch.tensor([-2.0]), credit, torch.ones(1, 4), strength=0.25)
    torch.testing.assert_close(flipped[0], -2.0 * (1 - 0.25 * z), atol=1e-5, rtol=0)
    # with all the strength there is, the token that is furthest reaches its bound
    weights = spread_weights(torch.tensor([2.0]), credit, torch.ones(1, 4), 9.0, 0.5, 9.0)
    assert weights.min().item() == pytest.approx(0.5)
    torch.testing.assert_close(weights[0], 1 + 0.25 * torch.tensor([-2.0, -1, 0, 3]))


@pytest.mark.parametrize("strength", [0.1, 0.5, 3.0, 100.0])
@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_mass_sign_and_bounds_hold_whatever_the_credit(strength, low, high):
    for seed in range(5):
        advantages, credit, mask = drawn(seed)
        found = spread(advantages, credit, mask, strength, low, high)
        lengths = mask.sum(1)
        torch.testing.assert_close(
            (found * mask).sum(1), lengths * advantages, atol=2e-3, rtol=1e-4
        )
        assert ((found * advantages.unsqueeze(1)) >= 0).all()
        weights = spread_weights(advantages, credit, mask, strength, low, high)
        assert weights.isfinite().all() and weights.min() >= low and weights.max() <= high
        assert (weights[mask == 0] == 1).all()
        if low > 0:
            nonzero = advantages != 0
            assert (found[nonzero].sign() == advantages[nonzero].sign().unsqueeze(1)).all()


def test_strength_0_is_plain_grpo_bit_for_bit():
    advantages, credit, mask = drawn()
    found = spread(advantages, credit, mask, strength=0.0)
    assert torch.equal(found, advantages.unsqueeze(1).expand(found.shape))


def test_more_credit_is_more_gain_and_less_blame():
    credit = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    up = spread(torch.tensor([1.0]), credit, torch.ones(1, 4))[0]
    down = spread(torch.tensor([-1.0]), credit, torch.ones(1, 4))[0]
    assert (up.diff() > 0).all() and (down.diff() > 0).all()
    assert (up > 0).all() and (down < 0).all()


def test_neither_scale_nor_level_of_the_credit_matters():
    advantages, credit, mask = drawn()
    plain = spread(advantages[:1], credit[:1], mask[:1] | 1)
    moved = spread(advantages[:1], 8 * credit[:1] + 16, mask[:1] | 1)
    torch.testing.assert_close(moved, plain, atol=1e-4, rtol=1e-4)


def test_one_odd_token_does_not_take_the_room_of_all_others():
    credit = torch.tensor([[1.0, -1.0] * 20 + [30.0]])
    weights = spread_weights(torch.ones(1), credit, torch.ones(1, 41), 0.5, 0.0, 2.0)[0]
    assert weights[-1] == weights.max() <= 2
    # 6 deviations away it counts as 2, so that the others' differences are hardly scaled down
    expected = 0.5 * 2 / credit.std(correction=0)
    assert 0.94 * expected < weights[0] - weights[1] <= expected


@pytest.mark.parametrize("credit", [[[5.0, 5.0, 5.0]], [[0.0, 0.0, 0.0]]])
def test_equal_credit_leaves_the_advantage(credit):
    found = spread(torch.tensor([0.7]), torch.tensor(credit), torch.ones(1, 3))
    assert torch.equal(found, torch.full((1, 3), 0.7))


def test_centred_credit_sums_to_nothing_and_is_0_outside():
    _, credit, mask = drawn()
    credit[5, 2] = 0.0
    found = centred(credit, mask)
    scale = credit.abs().amax(dim=1) * mask.shape[1]
    assert (found.sum(1).abs() <= 1e-5 * scale + 1e-6).all()
    assert (found[mask == 0] == 0).all()


def test_span_sums_are_those_of_slices():
    values = torch.randn(20, generator=torch.Generator().manual_seed(0))
    spans = [(0, 20), (3, 7), (7, 7), (19, 20)]
    expected = [values[a:b].double().sum().item() for a, b in spans]
    assert span_sums(values, spans) == pytest.approx(expected)
    assert span_sums(torch.tensor([]), [(0, 0)]) == [0.0]
