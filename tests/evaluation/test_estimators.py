"""pass@k, majority@k and best-of-k: by hand, and against all draws one by one."""

from itertools import combinations

import numpy as np
import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.estimators import best_of_k, majority_at_k, pass_at_k, vote_share
from rl_avr.evaluation.metrics import majority_vote


@pytest.mark.parametrize(
    ("num_right", "num", "k", "expected"),
    [
        (0, 8, 3, 0.0),
        (8, 8, 1, 1.0),
        (2, 5, 1, 2 / 5),
        (2, 5, 2, 1 - 3 / 10),
        (2, 5, 3, 1 - 1 / 10),
        (2, 5, 4, 1.0),
    ],
)
def test_pass_at_k_by_hand(num_right, num, k, expected):
    assert pass_at_k(num_right, num, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6])
def test_pass_at_k_is_the_mean_over_all_draws(k):
    right = [True, False, False, True, False, False]
    draws = [any(draw) for draw in combinations(right, k)]
    assert pass_at_k(2, 6, k) == pytest.approx(np.mean(draws))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_best_of_k_is_the_mean_over_all_draws_with_ties_by_lot(k):
    scores, right = [0.5, 0.1, 0.5, 0.9, 0.5], [True, True, False, False, False]
    means = []
    for draw in combinations(range(5), k):
        top = max(scores[i] for i in draw)
        means.append(np.mean([right[i] for i in draw if scores[i] == top]))
    assert best_of_k(scores, right, k) == pytest.approx(np.mean(means))


def test_best_of_k_does_not_depend_on_the_order_of_the_chains():
    scores, right = [0.3, 0.3, 0.7, 0.2], [True, False, True, False]
    found = {
        round(best_of_k([scores[i] for i in order], [right[i] for i in order], 2), 12)
        for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2])
    }
    assert len(found) == 1


def test_majority_at_k_averages_disjoint_draws_and_drops_the_rest():
    # draws (1, 1, 0) right, (2, None, 2) wrong; the seventh chain is left out
    assert majority_at_k([1, 1, 0, 2, None, 2, 1], gold=1, k=3) == 0.5
    assert majority_at_k([None, None], gold=0, k=2) == 0.0


def test_majority_at_all_chains_is_the_vote_and_at_one_the_share_of_right_chains():
    rng = np.random.default_rng(0)
    for _ in range(30):
        choices = [None if c == 8 else int(c) for c in rng.integers(0, 9, 8)]
        assert majority_at_k(choices, 3, 8) == float(majority_vote(choices) == 3)
        assert majority_at_k(choices, 3, 1) == choices.count(3) / 8


@pytest.mark.parametrize("k", [0, 4])
def test_k_outside_the_chains_is_refused(k):
    with pytest.raises(DataError, match="expected 1 to the 3 chains"):
        pass_at_k(1, 3, k)
    with pytest.raises(DataError, match="expected 1 to the 3 chains"):
        majority_at_k([1, 2, 3], 1, k)
    with pytest.raises(DataError, match="expected 1 to the 3 chains"):
        best_of_k([1, 2, 3], [True] * 3, k)


def test_vote_share_counts_chains_without_an_answer_against():
    assert vote_share([None, None, 4, None]) == 0.25
    assert vote_share([None]) == 0.0
