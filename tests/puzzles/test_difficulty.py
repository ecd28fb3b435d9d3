"""The difficulty of a matrix puzzle by hand."""

from rl_avr.contracts import Rule
from rl_avr.puzzles.difficulty import difficulty_of, num_ruled

RULES = [
    Rule("position", "constant"),
    Rule("type", "progression", 1),
    Rule("size", "arithmetic", -1),
    Rule("color", "distribute_three"),
]


def test_difficulty_by_hand():
    assert difficulty_of(RULES, 0) == 0 + 1 + 1.5 + 1
    assert difficulty_of(RULES[:1], 3) == 1.5
    assert difficulty_of([], 0) == 0


def test_constant_rules_are_not_counted():
    assert num_ruled(RULES) == 3
    assert num_ruled(RULES[:1]) == 0
