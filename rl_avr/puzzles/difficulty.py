"""One number for how hard a matrix puzzle is, and which numbers a configuration can reach.

    difficulty = sum over the rules of RULE_WEIGHTS[kind] + 0.5 * noisy attributes

A constant rule is read off at once. A progression or distribute-three takes one
comparison of rows, an arithmetic rule a calculation besides. A noisy attribute is one
that differs inside a panel and has to be looked past. The weights are our own choice;
they order puzzles, they do not measure anyone's error rate.
"""

from collections.abc import Iterable

from rl_avr.contracts import Rule

RULE_WEIGHTS = {
    "constant": 0.0,
    "progression": 1.0,
    "distribute_three": 1.0,
    "arithmetic": 1.5,
}
NOISE_WEIGHT = 0.5


def difficulty_of(rules: Iterable[Rule], num_noisy: int) -> float:
    """Returns the difficulty of a matrix puzzle.

    Args:
        rules: the puzzle's rules, those of noisy attributes left out.
        num_noisy: attributes that differ inside a panel.

    >>> difficulty_of([Rule("size", "arithmetic", 1), Rule("color", "constant")], num_noisy=1)
    2.0
    """
    return sum(RULE_WEIGHTS[rule.kind] for rule in rules) + NOISE_WEIGHT * num_noisy


def num_ruled(rules: Iterable[Rule]) -> int:
    """Returns how many rules are not constant."""
    return sum(rule.kind != "constant" for rule in rules)
