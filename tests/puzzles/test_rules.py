"""Rule semantics by hand, and explanations of whole matrices."""

import pytest

from rl_avr.contracts import Rule
from rl_avr.puzzles.grammar import ATTRIBUTES, LEVELS
from rl_avr.puzzles.rules import all_rules, explanations, matrix_obeys, rows_of


def test_arithmetic_on_sizes_counts_from_one():
    # Levels 0..5 are sizes 1..6: 1 + 1 = 2 is levels 0, 0, 1; 6 - 1 = 5 is levels 5, 0, 4.
    plus = rows_of(Rule("size", "arithmetic", 1))
    assert set(plus) == {(a, b, a + b + 1) for a in range(6) for b in range(6) if a + b + 1 <= 5}
    assert len(plus) == 5 + 4 + 3 + 2 + 1
    minus = rows_of(Rule("size", "arithmetic", -1))
    assert (5, 0, 4) in minus
    assert (1, 0, 0) in minus
    assert (3, 3, 0) not in minus
    assert {(c, b, a) for a, b, c in plus} == set(minus)


def test_arithmetic_on_colors_counts_from_zero():
    plus = rows_of(Rule("color", "arithmetic", 1))
    assert (3, 4, 7) in plus
    assert (6, 0, 6) in plus
    assert (5, 5, 9) not in plus
    assert len(plus) == sum(range(1, 11))
    assert (9, 2, 7) in rows_of(Rule("color", "arithmetic", -1))


@pytest.mark.parametrize(
    ("rows", "obeys"),
    [
        (((3, 4, 7), (1, 1, 2), (5, 2, 7)), True),
        (((3, 0, 3), (1, 0, 1), (5, 2, 7)), False),
        (((3, 0, 3), (1, 1, 2), (5, 2, 7)), True),
        (((3, 4, 7), (1, 0, 1), (5, 0, 5)), True),
    ],
)
def test_color_arithmetic_refuses_zero_in_the_middle_of_rows_one_and_two(rows, obeys):
    assert matrix_obeys(Rule("color", "arithmetic", 1), rows) is obeys


def test_size_arithmetic_allows_level_zero_twice():
    assert matrix_obeys(Rule("size", "arithmetic", 1), ((0, 0, 1), (1, 0, 2), (2, 0, 3)))


@pytest.mark.parametrize(
    ("step", "rows"),
    [
        (1, ((1, 2, 3), (2, 3, 4), (3, 4, 5))),
        (2, ((1, 3, 5),)),
        (-1, ((3, 2, 1), (4, 3, 2), (5, 4, 3))),
        (-2, ((5, 3, 1),)),
    ],
)
def test_progressions_of_types(step, rows):
    assert rows_of(Rule("type", "progression", step)) == rows


def test_a_progression_has_one_step_for_all_rows():
    up = Rule("color", "progression", 1)
    assert matrix_obeys(up, ((1, 2, 3), (4, 5, 6), (0, 1, 2)))
    assert not matrix_obeys(up, ((1, 2, 3), (4, 5, 6), (0, 2, 4)))


@pytest.mark.parametrize(
    ("rows", "obeys"),
    [
        (((1, 2, 3), (2, 3, 1), (3, 1, 2)), True),
        (((1, 2, 3), (3, 1, 2), (2, 3, 1)), True),
        (((1, 2, 3), (1, 3, 2), (2, 1, 3)), False),  # the same values, but not turned
        (((1, 2, 3), (2, 3, 1), (2, 3, 1)), False),  # a turn is missing
        (((1, 2, 3), (2, 3, 1), (3, 1, 4)), False),
        (((1, 1, 2), (1, 2, 1), (2, 1, 1)), False),  # two values only
    ],
)
def test_distribute_three_is_a_cyclic_latin_square(rows, obeys):
    assert matrix_obeys(Rule("type", "distribute_three"), rows) is obeys


def test_constant_may_differ_between_rows_only():
    rule = Rule("size", "constant")
    assert matrix_obeys(rule, ((0, 0, 0), (4, 4, 4), (2, 2, 2)))
    assert not matrix_obeys(rule, ((0, 0, 0), (4, 4, 4), (2, 2, 3)))


@pytest.mark.parametrize(("attribute", "count"), [("type", 6), ("size", 8), ("color", 8)])
def test_the_rules_of_an_attribute(attribute, count):
    # constant + four steps + distribute-three, and the two signs where arithmetic is allowed
    rules = all_rules(attribute)
    assert len(set(rules)) == count
    assert ("arithmetic" in {rule.kind for rule in rules}) is (attribute != "type")


@pytest.mark.parametrize(
    ("attribute", "context", "expected"),
    [
        ("type", (1, 2, 3, 2, 3, 1, 3, 1), {("distribute_three", 0, 2)}),
        ("type", (1, 2, 3, 2, 3, 4, 3, 4), {("progression", 1, 5)}),
        ("size", (0, 0, 1, 1, 0, 2, 3, 1), {("arithmetic", 1, 5)}),
        # 1 + 1 = 2 and 1, 2, 3: both a sum of colors and a step of one
        ("color", (1, 2, 3, 1, 2, 3, 1, 2), {("arithmetic", 1, 3), ("progression", 1, 3)}),
        # ambiguous in the answer too: adding 4 gives 8, going up by 2 gives 6
        ("color", (2, 4, 6, 2, 4, 6, 4, 4), {("arithmetic", 1, 8)}),
        ("type", (1, 1, 1, 2, 2, 3, 4, 4), set()),
        # the third row would have to leave the levels
        ("size", (0, 2, 4, 1, 3, 5, 2, 4), set()),
        ("color", (3, 0, 3, 1, 0, 1, 5, 2), set()),
    ],
)
def test_explanations_by_hand(attribute, context, expected):
    found = explanations(attribute, context)
    assert {(rule.kind, rule.parameter, ninth) for rule, ninth in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_row_of_every_rule_stays_within_the_levels(attribute):
    for rule in all_rules(attribute):
        rows = rows_of(rule)
        assert rows, rule
        assert {level for row in rows for level in row} <= set(LEVELS[attribute])
