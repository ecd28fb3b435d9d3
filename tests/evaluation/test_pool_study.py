"""Subsampled pools against what must hold exactly, and against every draw counted out."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from rl_avr.algo.voting import METHODS
from rl_avr.errors import DataError
from rl_avr.evaluation.estimators import best_of_k, pass_at_k
from rl_avr.evaluation.pool_study import (
    CONTENDERS,
    MAJORITY,
    ORACLE,
    Contender,
    draws_of,
    is_right,
    study,
)
from rl_avr.evaluation.pools import Pool
from rl_avr.inference.config import REWARD_SCORES

NAMES = (*REWARD_SCORES, "agreement")


def make_pool(index, answers, gold="A", **scores):
    size = len(answers)
    columns = {name: tuple(scores.get(name, [0.0] * size)) for name in NAMES}
    return Pool(
        prompt_id=f"{index}/cot",
        puzzle_id=str(index),
        answer=None,
        distribution={},
        winner_index=None,
        answers=tuple(answers),
        right=tuple(answer == gold for answer in answers),
        scores=columns,
        num_tokens=(1,) * size,
        texts=("",) * size,
    )


@pytest.fixture(scope="module")
def pools():
    """Forty puzzles of 16 chains; the sum is a noisy sign of the truth, the logprob the truth."""
    rng = random.Random(0)
    made = []
    for index in range(40):
        skill = rng.random()
        answers = [
            "A" if rng.random() < skill else rng.choice(["B", "C", "D", None]) for _ in range(16)
        ]
        truth = [float(answer == "A") for answer in answers]
        noisy = [2 * one + rng.gauss(0, 1) for one in truth]
        made.append(make_pool(index, answers, sum=noisy, mean=noisy, logprob=truth))
    return made


def value(points, name, n):
    (found,) = [one for one in points if (one.contender, one.n) == (name, n)]
    return found


def test_what_must_hold_exactly_at_both_ends(pools):
    points = study([pools], num_draws=8, num_bootstrap=50)
    assert {one.n for one in points} == {1, 2, 4, 8, 16}
    alone = np.mean([np.mean(pool.right) for pool in pools])
    names = [one.name for one in CONTENDERS]
    assert [one.contender for one in points[::5]] == [*names, ORACLE]
    for name in (*names, ORACLE):
        assert value(points, name, 1).accuracy.value == pytest.approx(alone)
    for name, method, column in (
        ("best, sum", "best_of_n", "sum"),
        ("softmax, sum, T 1", "weighted_softmax", "sum"),
        ("rank, sum", "weighted_rank", "sum"),
    ):
        verdicts = [METHODS[method](pool.answers, pool.scores[column]) for pool in pools]
        assert value(points, name, 16).accuracy.value == np.mean(
            [v.answer == "A" for v in verdicts]
        )
    # a score that is the truth picks a right chain wherever there is one
    for n in (2, 8, 16):
        oracle = np.mean([pass_at_k(sum(pool.right), 16, n) for pool in pools])
        assert value(points, ORACLE, n).accuracy.value == pytest.approx(oracle)
    assert value(points, "best, logprob", 16).accuracy == value(points, ORACLE, 16).accuracy


def test_draws_come_to_the_mean_over_all_of_them(pools):
    """Against every subset counted out, and against the closed form of best-of-N."""
    pool = replace(pools[3], answers=pools[3].answers[:7], right=pools[3].right[:7])
    best = Contender("best", "x", "best_of_n", (("sum", 1.0),))
    draws = list(draws_of(pool, 3, 4000, seed=0))
    assert all(len(set(draw)) == 3 for draw in draws)
    for contender in (best, CONTENDERS[0], CONTENDERS[1]):
        every = [
            is_right(pool, contender, order)
            for subset in itertools.combinations(range(7), 3)
            for order in itertools.permutations(subset)
        ]
        sampled = np.mean([is_right(pool, contender, draw) for draw in draws])
        assert sampled == pytest.approx(np.mean(every), abs=0.03)
    scores = [s if a else -np.inf for s, a in zip(pool.scores["sum"], pool.answers, strict=False)]
    closed = best_of_k(scores, pool.right, 3)
    assert np.mean([is_right(pool, best, draw) for draw in draws]) == pytest.approx(
        closed, abs=0.03
    )


def test_a_useful_score_beats_the_majority_and_a_useless_one_does_not(pools):
    points = study([pools, pools], num_draws=8, num_bootstrap=500)
    better = value(points, "softmax, sum, T 1", 8)
    assert better.difference.low > 0
    assert better.p_holm < 0.05
    assert better.by_seed == pytest.approx((better.difference.value,) * 2)
    assert value(points, MAJORITY, 8).difference.value == 0.0
    # all rules are 0: the vote is the majority's
    useless = value(points, "softmax, rules, T 1", 8)
    assert (useless.difference.value, useless.p_holm) == (0.0, 1.0)
    tested = [one for one in points if one.group and one.n > 1]
    assert all(one.p_holm >= one.p for one in tested)
    assert max(one.p_holm / one.p for one in tested) > 10


def test_seeds_are_averaged_by_puzzle_before_puzzles_are_resampled():
    right, wrong = make_pool(0, ["A", "A"]), make_pool(0, ["B", "B"])
    points = study([[right], [wrong]], num_bootstrap=10)
    assert value(points, MAJORITY, 2).accuracy.value == 0.5
    assert value(points, MAJORITY, 2).accuracy.n == 1


def test_scores_that_a_pool_does_not_have_are_left_out(pools):
    bare = [replace(pool, scores={"agreement": pool.scores["agreement"]}) for pool in pools]
    names = {one.contender for one in study([bare], num_draws=2, num_bootstrap=10)}
    assert names == {MAJORITY, "softmax, agreement, T 1/4", ORACLE}
    # a score that one pool of one seed does not have
    names = {one.contender for one in study([pools, [*pools[:-1], bare[-1]]], num_draws=2)}
    assert names == {MAJORITY, "softmax, agreement, T 1/4", ORACLE}


def test_pools_that_cannot_be_compared_are_refused(pools):
    with pytest.raises(DataError, match="at least one puzzle"):
        study([])
    with pytest.raises(DataError, match="seed 1: expected the puzzles of seed 0, got 39"):
        study([pools, pools[1:]])
    with pytest.raises(DataError, match="one size, got 2 to 16"):
        study([[*pools, make_pool(99, ["A", "B"])]])
    with pytest.raises(DataError, match="0/cot: expected a puzzle with a known answer"):
        study([[replace(pools[0], right=None)]])
