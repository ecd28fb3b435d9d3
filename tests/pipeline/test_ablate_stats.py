import numpy as np
import pytest

from rl_avr.errors import DataError
from rl_avr.pipeline.ablate_stats import ranks, standings, t_mean

FLAT = np.array([0.25, 0.25, 0.25, 0.25])


def by_seed(*rows):
    return {seed: np.array(row, float) for seed, row in enumerate(rows)}


def test_the_interval_over_seeds_is_the_one_from_the_table_of_t():
    # mean 0.6, s = 0.1, t(2) at 97.5% = 4.30265, so ± 4.30265 x 0.1 / sqrt(3) = 0.24841
    found = t_mean(np.array([0.5, 0.6, 0.7]), 0.95)
    assert (found.value, found.n) == (pytest.approx(0.6), 3)
    assert found.low == pytest.approx(0.35159, abs=1e-5)
    assert found.high == pytest.approx(0.84841, abs=1e-5)


def test_one_seed_says_nothing_about_seeds_and_the_interval_is_over_puzzles():
    assert np.isnan(t_mean(np.array([0.5]), 0.95).low)
    found = standings({"a": by_seed([1, 0, 1, 0])}, FLAT, 200, 0.95)["a"]
    assert found.accuracy.value == 0.5
    assert found.accuracy.low < 0.5 < found.accuracy.high
    assert found.accuracy.n == 4


def test_arms_are_compared_by_seed_and_by_puzzle_on_the_seeds_that_both_have():
    right = {
        "first": by_seed([1, 0, 0, 0], [1, 1, 0, 0]),
        "second": by_seed([1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]),
    }
    found = standings(right, FLAT, 200, 0.95)
    assert found["first"].by_seed is None
    second = found["second"]
    assert second.accuracy.value == pytest.approx(0.75)
    # on seeds 0 and 1: 0.5 - 0.25 and 0.75 - 0.5
    assert second.by_seed.value == pytest.approx(0.25)
    assert (second.by_seed.low, second.by_seed.high) == (0.25, 0.25)
    # puzzle by puzzle, means over the two seeds: 0, 0.5, 0.5, 0
    assert second.by_puzzle.value == pytest.approx(0.25)
    assert 0 <= second.by_puzzle.low < 0.25 < second.by_puzzle.high <= 0.5


def test_seeds_are_paired_by_their_number_and_not_by_their_order():
    first = {0: np.zeros(4), 1: np.ones(4)}
    second = {1: np.ones(4), 0: np.zeros(4)}
    found = standings({"first": first, "second": second}, FLAT, 50, 0.95)["second"]
    assert (found.by_seed.value, found.by_seed.low, found.by_seed.high) == (0, 0, 0)


def test_without_a_common_seed_there_is_no_difference():
    right = {"first": {0: np.ones(4)}, "second": {1: np.ones(4)}}
    assert standings(right, FLAT, 50, 0.95)["second"].by_puzzle is None
    assert list(standings({"first": {}, "second": {1: np.ones(4)}}, FLAT, 50, 0.95)) == ["second"]


@pytest.mark.parametrize(
    ("rows", "is_informative"),
    [
        (([0.2] * 4, [0.3] * 4, [0.28] * 4), False),  # around chance
        (([0.25] * 4, [0.25] * 4, [0.25] * 4), False),  # chance itself
        (([0.8] * 4, [0.82] * 4, [0.79] * 4), True),
        (([0.1] * 4, [0.11] * 4, [0.1] * 4), True),  # surely worse than guessing
        (([0.2] * 4, [0.9] * 4, [0.4] * 4), False),  # one seed found it: nothing is sure
    ],
)
def test_an_arm_whose_interval_holds_chance_is_uninformative_and_has_no_place(rows, is_informative):
    found = standings({"a": by_seed(*rows)}, FLAT, 200, 0.95)
    assert found["a"].is_informative == is_informative
    assert ranks(found) == ({"a": 1} if is_informative else {})


def test_every_seed_has_its_own_share_and_interval_over_puzzles():
    found = standings({"a": {3: np.array([1, 1, 1, 0.0]), 1: np.zeros(4)}}, FLAT, 200, 0.95)["a"]
    assert [(seed, one.value, one.n) for seed, one in found.each_seed.items()] == [
        (1, 0.0, 4),
        (3, 0.75, 4),
    ]
    assert found.each_seed[3].low < 0.75 < found.each_seed[3].high
    assert found.accuracy.value == 0.375


def test_intervals_of_shares_stay_between_0_and_1():
    found = standings({"a": by_seed([1] * 4, [0.5] * 4, [1] * 4)}, FLAT, 50, 0.95)["a"]
    assert found.accuracy.high == 1.0
    assert found.accuracy.low == 0.0 or found.accuracy.low > 0


def test_other_puzzles_are_refused_with_the_arm_and_both_numbers():
    right = {"first": by_seed([1, 0, 0, 0]), "second": by_seed([1, 0])}
    with pytest.raises(DataError, match="second, seed 0: measured on 2 puzzles, .* same 4"):
        standings(right, FLAT, 50, 0.95)
