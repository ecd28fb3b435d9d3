"""Intervals of shares, paired tests and corrections, worked by hand."""

from itertools import product

import numpy as np
import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.metrics import bootstrap_mean
from rl_avr.evaluation.statistics import (
    benjamini_hochberg,
    holm,
    interval_of,
    mcnemar,
    permutation_p,
    wilson,
)


def test_wilson_follows_its_formula():
    # (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) with p = 0.3, n = 20
    z, p, n = 1.959963985, 0.3, 20
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    found = wilson(6, 20, 0.95)
    assert found.value == 0.3
    assert found.low == pytest.approx((middle - half) / (1 + z**2 / n))
    assert found.high == pytest.approx((middle + half) / (1 + z**2 / n))


def test_wilson_of_nothing_is_nan_and_of_all_right_has_a_width():
    assert np.isnan(wilson(0, 0, 0.95).value)
    assert wilson(10, 10, 0.95).low < 0.75 < wilson(10, 10, 0.95).high


def test_interval_of_takes_wilson_for_right_or_wrong_and_bootstrap_for_shares():
    assert interval_of(np.array([1.0, 0.0, np.nan]), 100, 0.9, 0) == wilson(1, 2, 0.9)
    shares = np.array([0.25, 0.5, 1.0])
    assert interval_of(shares, 100, 0.9, 3) == bootstrap_mean(shares, 100, 0.9, 3)


def test_mcnemar_by_hand():
    after = np.array([1, 1, 1, 1, 0, 1, 0, np.nan])
    before = np.array([0, 0, 0, 0, 1, 1, 0, 1])
    found = mcnemar(after, before)
    assert (found.num_gained, found.num_lost) == (4, 1)
    # P(X <= 1) + P(X >= 4) of five coins: 12 / 32
    assert found.p == pytest.approx(12 / 32)
    assert mcnemar(before, after).p == found.p


def test_mcnemar_of_equal_answers_is_one_and_of_shares_refused():
    assert mcnemar(np.ones(4), np.ones(4)).p == 1.0
    assert mcnemar(np.array([]), np.array([])).p == 1.0
    with pytest.raises(DataError, match="expected 0 or 1"):
        mcnemar(np.array([0.5]), np.array([1.0]))
    with pytest.raises(DataError, match="same puzzles"):
        mcnemar(np.ones(3), np.ones(2))


def test_permutation_tries_all_patterns_of_few_differences():
    differences = np.array([0.5, 0.25, 0.25, -0.125, 0.0])
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=5)]
    expected = np.mean([s >= abs(differences.sum()) - 1e-12 for s in sums])
    after = 0.25 + differences
    assert permutation_p(after, np.full(5, 0.25), 1000, seed=0) == pytest.approx(expected)


def test_permutation_of_many_differences_agrees_with_the_normal_law():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.1, 1, 400)
    z = differences.sum() / np.sqrt((differences**2).sum())
    from scipy.stats import norm

    found = permutation_p(differences, np.zeros(400), 5000, seed=1)
    assert found == pytest.approx(2 * norm.sf(abs(z)), abs=0.02)
    assert 0.01 < found < 0.2


def test_permutation_is_two_sided_never_zero_and_one_without_a_difference():
    rng = np.random.default_rng(0)
    after, before = rng.random(60) + 5, rng.random(60)
    assert permutation_p(after, before, 999, seed=0) == 1 / 1000
    assert permutation_p(before, after, 999, seed=0) == 1 / 1000
    assert permutation_p(after, after, 999, seed=0) == 1.0
    # the two patterns of a single difference are as far from 0
    assert permutation_p(np.array([1.0, 0.5]), np.array([0.0, 0.5]), 999, seed=0) == 1.0


def test_holm_and_benjamini_hochberg_by_hand():
    p = [0.02, 0.5, 0.01, 0.03]
    # sorted 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.5 x 1, never falling
    assert holm(p) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    # sorted 0.01 x 4, 0.02 x 4/2, 0.03 x 4/3, 0.5, never rising from the end
    assert benjamini_hochberg(p) == pytest.approx([0.04, 0.5, 0.04, 0.04])


def test_corrections_of_one_value_nothing_and_large_values():
    assert holm([0.03]) == benjamini_hochberg([0.03]) == [0.03]
    assert holm([]) == benjamini_hochberg([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
