"""Votes and intervals: by hand, invariances, degenerate inputs."""

import json

import numpy as np
import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.metrics import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    majority_vote,
)


@pytest.mark.parametrize(
    ("choices", "winner"),
    [
        ([3, 1, 1], 1),
        ([0, 0, 7], 0),
        ([None, None, None, 6], 6),
        ([5, 2, 2, 5], 5),
        ([None, 2, 5, 5, 2], 2),
        ([None, None], None),
        ([], None),
    ],
)
def test_majority_vote_by_hand(choices, winner):
    assert majority_vote(choices) == winner


def test_majority_vote_follows_a_relabelling_of_the_choices():
    rng = np.random.default_rng(0)
    relabelled = rng.permutation(8)
    for _ in range(50):
        choices = rng.integers(0, 8, 8).tolist()
        moved = [int(relabelled[choice]) for choice in choices]
        assert majority_vote(moved) == relabelled[majority_vote(choices)]


def test_bootstrap_mean_of_two_puzzles_spans_the_possible_means():
    # Means of two draws from {0, 1}: 0, 1/2, 1 with chances 1/4, 1/2, 1/4, so the
    # 2.5% and 97.5% quantiles are the ends and the 30% and 70% quantiles the middle.
    values = np.array([0.0, 1.0])
    assert bootstrap_mean(values, 2000, 0.95, seed=0) == Interval(0.5, 0.0, 1.0, 2)
    assert bootstrap_mean(values, 2000, 0.40, seed=0) == Interval(0.5, 0.5, 0.5, 2)


def test_bootstrap_mean_agrees_with_the_normal_interval_on_many_puzzles():
    values = np.array([1.0] * 160 + [0.0] * 240)
    interval = bootstrap_mean(values, 4000, 0.95, seed=1)
    half = 1.96 * np.sqrt(0.4 * 0.6 / 400)
    assert interval.value == pytest.approx(0.4)
    assert interval.low == pytest.approx(0.4 - half, abs=0.006)
    assert interval.high == pytest.approx(0.4 + half, abs=0.006)


def test_bootstrap_mean_shifts_and_scales_with_the_values():
    values = np.random.default_rng(3).random(40)
    plain = bootstrap_mean(values, 500, 0.9, seed=5)
    moved = bootstrap_mean(3 * values + 2, 500, 0.9, seed=5)
    for end in ("value", "low", "high"):
        assert getattr(moved, end) == pytest.approx(3 * getattr(plain, end) + 2)


def test_same_seed_same_interval_and_wider_with_more_confidence():
    values = np.random.default_rng(4).random(30)
    narrow, wide = (bootstrap_mean(values, 1000, c, seed=0) for c in (0.5, 0.99))
    assert narrow == bootstrap_mean(values, 1000, 0.5, seed=0)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_nan_is_left_out_exactly():
    values = np.array([0.2, np.nan, 0.9, 0.4, np.nan])
    judged = np.array([0.2, 0.9, 0.4])
    assert bootstrap_mean(values, 300, 0.95, 0) == bootstrap_mean(judged, 300, 0.95, 0)
    assert bootstrap_mean(values, 300, 0.95, 0).n == 3


@pytest.mark.parametrize("values", [[0.3], [0.1, 0.1, 0.1], [np.nan, 0.7]])
def test_without_spread_the_interval_is_a_point(values):
    interval = bootstrap_mean(np.array(values), 100, 0.95, seed=0)
    assert interval.low == interval.value == interval.high == values[-1]


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_nothing_judged_is_nan_and_null_in_json(values):
    interval = bootstrap_mean(np.array(values), 100, 0.95, seed=0)
    assert np.isnan([interval.value, interval.low, interval.high]).all()
    text = json.dumps(interval.as_dict(), allow_nan=False)
    assert json.loads(text) == {"value": None, "low": None, "high": None, "n": 0}


def test_values_per_chain_are_refused():
    with pytest.raises(DataError, match=r"\(2, 3\)"):
        bootstrap_mean(np.zeros((2, 3)), 100, 0.95, seed=0)


def test_difference_is_paired_by_puzzle():
    before = np.linspace(0, 0.8, 50)
    difference = bootstrap_difference(before + 0.2, before, 200, 0.95, seed=0)
    # Every puzzle gains 0.2, so pairing leaves no spread however hard the puzzles differ.
    assert difference.value == pytest.approx(0.2)
    assert difference.high - difference.low < 1e-12


def test_difference_drops_a_pair_where_either_side_is_nan():
    after, before = np.array([1.0, np.nan, 0.5, 1.0]), np.array([0.0, 0.5, np.nan, 0.5])
    difference = bootstrap_difference(after, before, 200, 0.95, seed=0)
    assert (difference.value, difference.n) == (0.75, 2)


def test_difference_changes_sign_with_the_order():
    rng = np.random.default_rng(0)
    after, before = rng.random(25), rng.random(25)
    forth = bootstrap_difference(after, before, 400, 0.95, seed=2)
    back = bootstrap_difference(before, after, 400, 0.95, seed=2)
    assert back.value == pytest.approx(-forth.value)
    assert (back.low, back.high) == (pytest.approx(-forth.high), pytest.approx(-forth.low))


def test_difference_of_other_puzzles_is_refused():
    with pytest.raises(DataError, match="same puzzles"):
        bootstrap_difference(np.zeros(3), np.zeros(4), 100, 0.95, seed=0)
