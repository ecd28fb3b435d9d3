"""The order of pairs: each once a pass, questions whole where they fit, the same by its seed."""

from collections import Counter

import pytest

from rl_avr.preference.order import pair_order

QUESTIONS = [f"q{i}" for i in range(40) for _ in range(1 + i % 3)]


def cut(order, batch_size):
    """Returns how many questions lie in more than one micro-batch of a pass."""
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    seen = Counter(question for batch in batches for question in {QUESTIONS[p] for p in batch})
    return sum(count > 1 for count in seen.values())


@pytest.mark.parametrize("keep_together", [True, False])
def test_every_pair_comes_once_before_any_comes_twice(keep_together):
    size = len(QUESTIONS)
    order = pair_order(QUESTIONS, 2 * size + 5, 8, 3, keep_together)
    assert sorted(order[:size]) == sorted(order[size : 2 * size]) == list(range(size))
    assert len(order) == 2 * size + 5
    assert order[:size] != order[size : 2 * size]


@pytest.mark.parametrize("batch_size", [3, 4, 7, 8, 32])
def test_questions_stay_whole_wherever_one_fits(batch_size):
    order = pair_order(QUESTIONS, len(QUESTIONS), batch_size, 0)
    # the last few may have nothing left beside them that would fit
    assert cut(order, batch_size) <= 2
    assert cut(pair_order(QUESTIONS, len(QUESTIONS), batch_size, 0, False), batch_size) > 10


def test_a_second_pass_is_cut_where_micro_batches_are():
    """79 pairs: the second pass, of micro-batches of 4, begins with room for one."""
    size = len(QUESTIONS)
    assert size % 4 == 3
    order = pair_order(QUESTIONS, 2 * size, 4, 0)
    batches = [order[size : size + 1], *(order[i : i + 4] for i in range(size + 1, 2 * size, 4))]
    seen = Counter(q for batch in batches for q in {QUESTIONS[p] for p in batch})
    assert sum(count > 1 for count in seen.values()) <= 2


def test_a_question_with_more_pairs_than_a_micro_batch_is_cut():
    order = pair_order(["a"] * 5 + ["b"], 6, 2, 0)
    assert sorted(order) == list(range(6))


def test_the_order_is_the_seed_s():
    one, two = (pair_order(QUESTIONS, 50, 8, seed) for seed in (1, 2))
    assert one == pair_order(QUESTIONS, 50, 8, 1) != two
