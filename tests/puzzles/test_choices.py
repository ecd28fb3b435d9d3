"""Answer sets: their shape, and no shortcut past the context."""

import math
import random
from collections import Counter

import pytest

from rl_avr.contracts import Rule
from rl_avr.puzzles.choices import (
    Modifiable,
    capacity,
    distance,
    fair_choices,
    fair_plan,
    iraven_choices,
    iraven_plan,
    is_apart,
    raven_choices,
)
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import ATTRIBUTES, CONFIGURATIONS, level
from rl_avr.puzzles.sampler import sample_puzzles

TYPE, SIZE, COLOR = ((0, name) for name in ATTRIBUTES)
NINE = CONFIGURATIONS["distribute_nine"].components[0]


def group(name, room, component=0):
    return Modifiable((component, name), Rule(name, "constant"), room)


THREE = [group("type", 5), group("size", 6), group("color", 10)]


def test_combinations_of_three_alternatives():
    choices = iraven_choices({TYPE: (1, 2), SIZE: (0, 5), COLOR: (9, 3)})
    assert choices[0] == {TYPE: 1, SIZE: 0, COLOR: 9}
    assert len({tuple(c.values()) for c in choices}) == 8
    for key, values in ((TYPE, (1, 2)), (SIZE, (0, 5)), (COLOR, (9, 3))):
        assert Counter(choice[key] for choice in choices) == dict.fromkeys(values, 4)


def test_each_value_occurs_four_times_in_a_center_puzzle(puzzles):
    for puzzle in puzzles:
        for name in ATTRIBUTES:
            counts = Counter(level(choice, name) for choice in puzzle.choices)
            assert set(counts.values()) == {4}
            assert level(puzzle.answer, name) in counts


def test_the_plan_takes_three_groups_and_makes_do_with_fewer():
    rng = random.Random(0)
    assert set(iraven_plan([*THREE, group("type", 5, 1)], rng).values()) == {1}
    assert iraven_plan([group("size", 3), group("color", 10)], rng) == {COLOR: 3, SIZE: 1}
    assert iraven_plan([group("color", 10)], rng) == {COLOR: 7}
    # five types are not eight
    assert iraven_plan([group("type", 5)], rng) is None
    assert iraven_plan([group("size", 3), group("type", 3)], rng) is None
    assert iraven_plan([], rng) is None
    assert set(fair_plan(THREE, rng).values()) == {2}
    assert fair_plan([group("size", 2), group("type", 3)], rng) is None
    assert fair_plan([], rng) is None


def test_a_fair_set_is_a_tree_of_single_changes():
    rng = random.Random(0)
    places = Counter()
    for _ in range(300):
        choices = fair_choices({TYPE: (1, 2, 3), SIZE: (0, 5, 2), COLOR: (9, 3, 4)}, rng)
        assert choices[0] == {TYPE: 1, SIZE: 0, COLOR: 9}
        assert len({tuple(c.values()) for c in choices}) == 8
        near = [sum(sum(a[key] != b[key] for key in a) == 1 for b in choices) for a in choices]
        assert min(near) >= 1, "a choice that no single change leads to"
        places[near[0] == max(near)] += 1
    # a root would nearly always have the most neighbors
    assert places[True] < 200


def test_raven_sets_change_one_value_of_the_answer():
    rng = random.Random(0)
    answer = {TYPE: 2, SIZE: 3, COLOR: 4}
    levels = {TYPE: range(1, 6), SIZE: range(6), COLOR: range(10)}
    for _ in range(50):
        choices = raven_choices(THREE, answer, levels, 0, rng)
        assert choices[0] == answer
        assert len({tuple(c.values()) for c in choices}) == 8
        assert all(sum(c[key] != answer[key] for key in c) == 1 for c in choices[1:])
    near = raven_choices(THREE, answer, levels, 2, rng)
    assert all(abs(c[key] - answer[key]) <= 2 for c in near for key in c)
    assert raven_choices(THREE[:1], answer, levels, 0, rng) is None


@pytest.mark.parametrize(
    ("rule", "one", "other", "expected"),
    [
        (Rule("color", "constant"), 2, 9, 7),
        # two and three entities, whatever their slots
        (Rule("number", "progression", 1), 0b11, 0b1110, 1),
        (Rule("number", "progression", 1), 0b11, 0b1100, 0),
        (Rule("position", "constant"), 0b11, 0b1100, 4),
    ],
)
def test_distances_by_hand(rule, one, other, expected):
    assert distance(rule, one, other) == distance(rule, other, one) == expected


def test_values_apart():
    rule = Rule("color", "constant")
    assert is_apart(rule, 5, [1, 9], 0)
    assert not is_apart(rule, 5, [1, 5], 0)
    assert not is_apart(rule, 5, [1, 6], 3)
    assert is_apart(rule, 5, [], 3)


def test_how_many_values_a_group_has():
    assert capacity(NINE, Rule("position", "constant"), 0) == 511
    assert capacity(NINE, Rule("number", "progression", 1), 0) == 9
    assert capacity(NINE, Rule("type", "constant"), 0) == 5
    assert capacity(NINE, Rule("color", "constant"), 2) == 3


def test_answers_are_spread_over_the_letters():
    total = 1600
    places = Counter(p.answer_index for p in sample_puzzles("train", total, 3, PuzzleConfig()))
    # 200 each, standard deviation 13.2
    assert set(places) == set(range(8))
    assert max(abs(n - total / 8) for n in places.values()) < 3.5 * math.sqrt(total / 8 * 7 / 8)
