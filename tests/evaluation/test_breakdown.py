"""Columns and tables made of rows: by hand, failed problems, missing tags."""

from dataclasses import replace

import numpy as np
import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.breakdown import (
    by_attribute,
    by_number,
    by_tag,
    by_two_tags,
    columns,
    status_counts,
    summary,
    token_use,
)
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.rows import ProblemRow, Tally
from rl_avr.evaluation.statistics import wilson

CONFIG = EvalConfig(num_bootstrap=200)
FAILED = ProblemRow("failed", (("rule", "constant"),), 0, 8, error="image cannot be read")


@pytest.fixture
def rows(row_of):
    return [
        row_of("a", 1, [1, 1, 2, None], greedy=1, tags=[("rule", "constant"), ("size", "big")]),
        row_of("b", 3, [3, 0, 0, 0], greedy=0, tags=[("rule", "constant"), ("rule", "arithmetic")]),
        row_of("c", 5, [5, 5, 5, 5], greedy=5, tags=[("rule", "constant"), ("rule", "constant")]),
    ]


def test_columns_by_hand(rows):
    found = columns([*rows, FAILED], ks=(1, 2, 4, 8))
    assert {name: values.tolist() for name, values in found.items()} == {
        "greedy": [1, 0, 1, 0],
        "pass@1": [0.5, 0.25, 1, 0],
        "pass@2": [pytest.approx(1 - 1 / 6), 0.5, 1, 0],
        "majority@2": [0.5, 0.5, 1, 0],
        "pass@4": [1, 1, 1, 0],
        "majority@4": [1, 0, 1, 0],
    }


def test_best_at_k_needs_a_score_of_every_chain(rows):
    scored = [
        replace(row, samples=tuple(replace(s, score=float(i)) for i, s in enumerate(row.samples)))
        for row in rows
    ]
    assert columns(scored, ks=(4,))["best@4"].tolist() == [0, 0, 1]
    assert "best@4" not in columns(rows, ks=(4,))
    mixed = columns([scored[0], rows[1], FAILED], ks=(4,))["best@4"]
    assert mixed[[0, 2]].tolist() == [0, 0] and np.isnan(mixed[1])


def test_open_questions_have_no_vote(row_of):
    assert sorted(columns([row_of("a", None, [None, None])], ks=(1, 2))) == ["pass@1", "pass@2"]


def test_different_numbers_of_chains_are_refused(row_of):
    with pytest.raises(DataError, match="1 of b, 2 of a"):
        columns([row_of("a", 0, [1, 2]), row_of("b", 0, [1])])


def test_by_tag_counts_a_problem_once_under_each_value(rows):
    values = columns(rows)["greedy"]
    assert by_tag(rows, values, "rule", CONFIG, 0) == {
        "arithmetic": wilson(0, 1, 0.95),
        "constant": wilson(2, 3, 0.95),
    }
    assert by_tag(rows, values, "size", CONFIG, 0) == {"big": wilson(1, 1, 0.95)}
    assert by_tag(rows, values, "pattern", CONFIG, 0) == {}


def test_by_two_tags_has_the_pairs_that_occur(rows):
    found = by_two_tags(rows, columns(rows)["greedy"], ("size", "rule"), CONFIG, 0)
    assert found == {("big", "constant"): wilson(1, 1, 0.95)}


def test_by_number_puts_each_problem_into_one_bin(row_of):
    difficulties = ("0", "0.5", "1", "1.5", "7", None)
    rows = [
        row_of(str(i), 0, greedy=i % 2, tags=[("difficulty", d)] if d else [])
        for i, d in enumerate(difficulties)
    ]
    found = by_number(rows, columns(rows)["greedy"], "difficulty", (0, 1, 2, 4), CONFIG, 0)
    assert {name: (cell.value, cell.n) for name, cell in found.items()} == {
        "0 to 1": (0.5, 2),
        "1 to 2": (0.5, 2),
        "4 and more": (1.0, 1),
    }


@pytest.mark.parametrize("value", ["hard", "-1", "nan"])
def test_a_tag_that_is_no_number_in_range_is_named(row_of, value):
    rows = [row_of("a", 0, greedy=0, tags=[("difficulty", value)])]
    with pytest.raises(DataError, match=f"a: tag difficulty: .*{value}"):
        by_number(rows, np.ones(1), "difficulty", (0, 1), CONFIG, 0)


def test_perception_is_averaged_over_chains_first(row_of, sample_at):
    def at(right, total):
        return sample_at(0, 0, perception={"size": Tally(right, 0, total), "type": Tally(1, 0, 1)})

    # puzzle 1: (1/2 + 1/4) / 2; puzzle 2: 1; the failed one says nothing
    rows = [
        replace(row_of("a", 0), samples=(at(4, 8), at(2, 8))),
        replace(row_of("b", 0), samples=(at(2, 2), at(2, 2))),
        FAILED,
    ]
    found = by_attribute(rows, lambda sample: sample.perception, CONFIG, 0)
    assert found["size"].value == pytest.approx((0.375 + 1) / 2)
    assert (found["type"].value, found["type"].n) == (1.0, 2)
    perception = columns(rows)["perception"]
    assert perception[:2].tolist() == [pytest.approx((5 / 9 + 3 / 9) / 2), 1]
    assert np.isnan(perception[2])


def test_summary_takes_wilson_for_right_or_wrong(rows):
    found = summary(columns(rows, ks=(1,)), CONFIG, 0)
    assert found["greedy"] == wilson(2, 3, 0.95)
    assert found["pass@1"].value == pytest.approx(1.75 / 3)


def test_statuses_and_failed_problems(rows):
    assert status_counts([*rows, FAILED]) == {"ok": 11, "no_answer": 1, "failed": 1}


def test_tokens_by_hand(row_of, sample_at):
    samples = (
        sample_at(1, 1, num_tokens=30),
        sample_at(0, 1, num_tokens=50),
        sample_at(0, 1, num_tokens=70),
    )
    found = token_use([replace(row_of("a", 1), samples=samples), FAILED])
    assert (found.total, found.mean, found.mean_right, found.mean_wrong) == (150, 50, 30, 60)
    assert found.per_right == 150
    assert np.isnan(token_use([FAILED]).per_right)
