"""The weight of the KL penalty over a run."""

import pytest

from rl_avr.algo.kl_schedule import constant, grpo_d


def test_constant_is_the_same_number_all_along():
    assert {constant(0.1)(k / 7) for k in range(8)} == {0.1}


@pytest.mark.parametrize(
    ("b_min", "b_max", "expected"),
    [
        (0.04, 0.1, [0.07, 0.06, 0.05, 0.04, 0.04 + 0.06 / 7, 0.07, 0.1]),
        (0.0, 0.02, [0.01, 0.02 / 3, 0.01 / 3, 0.0, 0.02 / 7, 0.01, 0.02]),
    ],
)
def test_grpo_d_is_a_v_that_starts_half_way(b_min, b_max, expected):
    beta = grpo_d(b_min, b_max, 0.3)
    found = [beta(x) for x in (0.0, 0.1, 0.2, 0.3, 0.4, 0.65, 1.0)]
    assert found == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("b_min", "b_max", "mean"), [(0.04, 0.1, 0.0655), (0.0, 0.02, 0.0085)])
def test_its_mean_is_the_constant_to_compare_it_with(b_min, b_max, mean):
    beta = grpo_d(b_min, b_max, 0.3)
    middles = [(k + 0.5) / 1000 for k in range(1000)]
    assert sum(map(beta, middles)) / 1000 == pytest.approx(mean, rel=1e-12)


def test_where_both_ends_are_equal_it_is_that_constant_exactly():
    for turn in (0.1, 0.3, 0.9):
        assert {grpo_d(0.07, 0.07, turn)(k / 45) for k in range(46)} == {0.07}


def test_it_is_never_below_0_and_exactly_0_at_the_turn():
    beta = grpo_d(0.0, 0.02, 0.3)
    assert beta(0.3) == 0.0
    assert min(beta(k / 997) for k in range(998)) >= 0
