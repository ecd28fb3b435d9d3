"""Rules along rows, on levels: which rows obey a rule, and which rules explain rows.

    constant          L1 = L2 = L3
    progression s     L2 = L1 + s, L3 = L2 + s, s one of -2, -1, 1, 2
    arithmetic +/-    color: L3 = L1 +- L2; size: L3 = L1 + L2 + 1 or L1 - L2 - 1
                      (sizes count from 1, colors from 0); never for type
    distribute_three  the same three values in every row, a cyclic Latin square

Source: RAVEN (Zhang et al. 2019), section 3 and the released generator.
"""

from collections.abc import Sequence
from functools import cache

from rl_avr.contracts import Rule
from rl_avr.puzzles.grammar import LEVELS

Row = tuple[int, int, int]

RULE_PARAMETERS: dict[str, tuple[int, ...]] = {
    "constant": (0,),
    "progression": (-2, -1, 1, 2),
    "arithmetic": (1, -1),
    "distribute_three": (0,),
}

RULE_KINDS: dict[str, tuple[str, ...]] = {
    "type": ("progression", "distribute_three", "constant"),
    "size": ("progression", "arithmetic", "distribute_three", "constant"),
    "color": ("progression", "arithmetic", "distribute_three", "constant"),
}
"""The entries that the generator draws from, uniformly, per attribute."""


def all_rules(attribute: str) -> tuple[Rule, ...]:
    """Returns every rule, with its parameter, that `attribute` can have."""
    return tuple(
        Rule(attribute, kind, parameter)
        for kind in RULE_KINDS[attribute]
        for parameter in RULE_PARAMETERS[kind]
    )


@cache
def rows_of(rule: Rule) -> tuple[Row, ...]:
    """Returns every row of three levels that obeys `rule` on its own.

    A distribute-three row is any three different levels; that the rows share
    their values is a matter of the whole matrix.

    >>> rows_of(Rule("size", "progression", 2))
    ((0, 2, 4), (1, 3, 5))
    """
    levels = LEVELS[rule.attribute]
    return tuple(
        (first, second, third)
        for first in levels
        for second in levels
        for third in levels
        if _row_obeys(rule, first, second, third)
    )


def _row_obeys(rule: Rule, first: int, second: int, third: int) -> bool:
    if rule.kind == "constant":
        return first == second == third
    if rule.kind == "progression":
        return second - first == rule.parameter and third - second == rule.parameter
    if rule.kind == "arithmetic":
        offset = 1 if rule.attribute == "size" else 0
        return third == first + rule.parameter * (second + offset)
    return len({first, second, third}) == 3


def matrix_obeys(rule: Rule, rows: Sequence[Row]) -> bool:
    """Returns whether three rows together obey `rule`."""
    if not all(_row_obeys(rule, *row) for row in rows):
        return False
    if rule.kind == "distribute_three":
        first = rows[0]
        turns = {first, (first[1], first[2], first[0]), (first[2], first[0], first[1])}
        return set(rows) == turns
    if rule.kind == "arithmetic" and rule.attribute == "color":
        return not (rows[0][1] == 0 and rows[1][1] == 0)
    return True


def explanations(attribute: str, context: Sequence[int]) -> tuple[tuple[Rule, int], ...]:
    """Returns every rule that explains the eight shown levels, with the ninth it predicts.

    Args:
        attribute: which attribute the levels are of.
        context: eight levels, row-major.

    >>> explanations("type", (1, 1, 1, 2, 2, 2, 5, 5))
    ((Rule(attribute='type', kind='constant', parameter=0), 5),)
    """
    first, second = tuple(context[0:3]), tuple(context[3:6])
    return tuple(
        (rule, ninth)
        for rule in all_rules(attribute)
        for ninth in LEVELS[attribute]
        if matrix_obeys(rule, (first, second, (context[6], context[7], ninth)))  # type: ignore[arg-type]
    )
