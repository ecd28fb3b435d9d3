"""Balanced pairs against every choice of pairs counted out, and against what must hold."""

import itertools
import random
from collections import Counter

import pytest

from rl_avr.preference.balance import balanced_places, told_by_answer


def most_by_hand(answers):
    """Returns how many pairs the largest balanced choice has, by trying every one."""
    for size in range(len(answers), -1, -1):
        for some in itertools.combinations(answers, size):
            if is_balanced(some):
                return size
    raise AssertionError


def is_balanced(answers):
    return Counter(a for a, _ in answers) == Counter(b for _, b in answers)


@pytest.mark.parametrize("seed", range(20))
def test_as_many_are_kept_as_can_be(seed):
    rng = random.Random(seed)
    answers = [(rng.choice("ABCD"), rng.choice("ABCD")) for _ in range(12)]
    kept = balanced_places(answers, [0] * 12, seed)
    assert kept == sorted(set(kept))
    assert is_balanced([answers[place] for place in kept])
    assert len(kept) == most_by_hand(answers)
    assert told_by_answer([answers[place] for place in kept]) == 0.5


def test_many_answers_at_the_size_of_a_real_set():
    rng = random.Random(0)
    answers = [
        (rng.choice("ABCDEFGH"), rng.choices("ABCDEFGH", [1, 1, 1, 2, 2, 3, 6, 7])[0])
        for _ in range(20_000)
    ]
    assert told_by_answer(answers) > 0.6
    kept = balanced_places(answers, [place % 24 for place in range(20_000)], 0)
    assert is_balanced([answers[place] for place in kept])
    assert 10_000 < len(kept) < 20_000
    assert kept == balanced_places(answers, [place % 24 for place in range(20_000)], 0)
    assert kept != balanced_places(answers, [place % 24 for place in range(20_000)], 1)


def test_low_ranks_are_kept_first():
    answers = [("A", "B")] * 9 + [("B", "A")] * 3
    ranks = [2, 0, 1, 2, 0, 1, 2, 0, 1, 5, 6, 7]
    assert balanced_places(answers, ranks, 3) == [1, 4, 7, 9, 10, 11]


def test_a_missing_answer_is_one_of_its_own():
    answers = [("A", None), ("B", None), ("A", "B"), ("B", "A"), (None, None)]
    assert balanced_places(answers, [0] * 5, 0) == [2, 3, 4]
    assert told_by_answer(answers[:2]) == 1.0


def test_each_answer_is_balanced_and_not_each_two():
    cycle = [("A", "B"), ("B", "C"), ("C", "A")]
    assert balanced_places(cycle, [0] * 3, 0) == [0, 1, 2]
    assert told_by_answer(cycle) == 0.5


def test_no_pair_is_balanced():
    assert balanced_places([], [], 0) == []
    assert balanced_places([("A", "B"), ("C", "D")], [0, 0], 0) == []
    assert told_by_answer([]) == 0.5
