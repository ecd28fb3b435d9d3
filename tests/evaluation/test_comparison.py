"""Paired comparisons of runs."""

from dataclasses import replace

import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.comparison import compare
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.statistics import benjamini_hochberg, holm, mcnemar

CONFIG = EvalConfig(num_bootstrap=500)


@pytest.fixture
def runs(row_of):
    """Twelve problems: the warm start solves four, GRPO these and six more."""

    def run(num_solved, num_samples_right):
        return [
            row_of(str(i), 0, [0] * num_samples_right + [1] * (4 - num_samples_right),
                   greedy=int(i >= num_solved))
            for i in range(12)
        ]  # fmt: skip

    return {"warm": run(4, 1), "grpo": run(10, 3)}


def test_numbers_by_hand(runs):
    greedy, sampled = compare(runs, CONFIG, seed=0)
    assert (greedy.policy, greedy.metric, greedy.test) == ("grpo", "greedy", "mcnemar")
    assert (greedy.before, greedy.after) == (pytest.approx(4 / 12), pytest.approx(10 / 12))
    assert greedy.difference.value == pytest.approx(0.5)
    assert 0.1 < greedy.difference.low < greedy.difference.high < 0.9
    # six gained, none lost: two of 64 outcomes are as uneven
    assert greedy.p == pytest.approx(2 / 64)
    assert (sampled.metric, sampled.test) == ("pass@1", "permutation")
    # twelve equal differences: only the two patterns of equal signs are as far from 0
    assert sampled.p == pytest.approx(2 / 2**12)
    assert [greedy.p_holm, sampled.p_holm] == pytest.approx(holm([greedy.p, sampled.p]))
    assert [greedy.p_bh, sampled.p_bh] == pytest.approx(benjamini_hochberg([greedy.p, sampled.p]))


def test_the_order_of_the_problems_does_not_matter(runs):
    shuffled = {"warm": runs["warm"], "grpo": runs["grpo"][::-1]}
    assert compare(shuffled, CONFIG, 0) == compare(runs, CONFIG, 0)


def test_a_failed_problem_counts_as_wrong(runs):
    rows = runs["grpo"]
    rows[0] = replace(rows[0], greedy=None, samples=(), error="too long")
    greedy = compare(runs, CONFIG, 0)[0]
    assert greedy.after == pytest.approx(9 / 12)
    assert greedy.p == mcnemar([0] + [1] * 9 + [0] * 2, [1] * 4 + [0] * 8).p


def test_three_runs_are_corrected_together(runs):
    found = compare({**runs, "again": runs["warm"]}, CONFIG, 0)
    assert [(one.policy, one.metric) for one in found] == [
        ("grpo", "greedy"),
        ("grpo", "pass@1"),
        ("again", "greedy"),
        ("again", "pass@1"),
    ]
    assert [one.p_holm for one in found] == pytest.approx(holm([one.p for one in found]))
    assert found[2].p == 1.0 and found[2].difference.value == 0


def test_runs_of_different_problems_are_refused(runs):
    with pytest.raises(DataError, match="2 are only in warm, 0 only in grpo"):
        compare({"warm": runs["warm"], "grpo": runs["grpo"][2:]}, CONFIG, 0)
    with pytest.raises(DataError, match="every problem once"):
        compare({"warm": runs["warm"], "grpo": [*runs["grpo"], runs["grpo"][0]]}, CONFIG, 0)
    with pytest.raises(DataError, match="two runs"):
        compare({"warm": runs["warm"]}, CONFIG, 0)
