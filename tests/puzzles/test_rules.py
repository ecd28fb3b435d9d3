"""Rule semantics by hand, and explanations of whole matrices."""

import pytest

from rl_avr.contracts import Rule
from rl_avr.puzzles.grammar import LEVELS
from rl_avr.puzzles.rules import (
    all_rules,
    explain_layout,
    explain_values,
    matrix_obeys,
    turned,
)

SIZES, COLORS, TYPES = LEVELS["size"], LEVELS["color"], LEVELS["type"]


def obeys(rule, rows, levels):
    return matrix_obeys(rule, [value for row in rows for value in row], levels)


@pytest.mark.parametrize(
    ("sign", "row", "expected"),
    [
        # levels 0..5 are sizes 1..6: 1 + 1 = 2 is levels 0, 0, 1; 6 - 1 = 5 is levels 5, 0, 4
        (1, (0, 0, 1), True),
        (1, (2, 2, 5), True),
        (1, (2, 2, 4), False),
        (1, (3, 3, 7), False),
        (-1, (5, 0, 4), True),
        (-1, (1, 0, 0), True),
        (-1, (3, 3, 0), False),
        (-1, (3, 3, -1), False),
    ],
)
def test_arithmetic_on_sizes_counts_from_one(sign, row, expected):
    other = (0, 1, 2) if sign > 0 else (4, 1, 2)
    assert obeys(Rule("size", "arithmetic", sign), (other, other, row), SIZES) is expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (((3, 4, 7), (1, 1, 2), (5, 2, 7)), True),
        (((3, 0, 3), (1, 0, 1), (5, 2, 7)), False),
        (((3, 0, 3), (1, 1, 2), (5, 2, 7)), True),
        (((3, 4, 7), (1, 0, 1), (5, 0, 5)), True),
        (((3, 4, 7), (1, 1, 2), (5, 5, 10)), False),
    ],
)
def test_color_arithmetic_refuses_zero_in_the_middle_of_rows_one_and_two(rows, expected):
    assert obeys(Rule("color", "arithmetic", 1), rows, COLORS) is expected


def test_size_arithmetic_allows_level_zero_twice():
    assert obeys(Rule("size", "arithmetic", 1), ((0, 0, 1), (1, 0, 2), (2, 0, 3)), SIZES)


def test_a_progression_has_one_step_for_all_rows():
    up = Rule("color", "progression", 1)
    assert obeys(up, ((1, 2, 3), (4, 5, 6), (0, 1, 2)), COLORS)
    assert not obeys(up, ((1, 2, 3), (4, 5, 6), (0, 2, 4)), COLORS)
    assert not obeys(up, ((1, 2, 3), (4, 5, 6), (8, 9, 10)), COLORS)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (((1, 2, 3), (2, 3, 1), (3, 1, 2)), True),
        (((1, 2, 3), (3, 1, 2), (2, 3, 1)), True),
        (((1, 2, 3), (1, 3, 2), (2, 1, 3)), False),  # the same values, but not turned
        (((1, 2, 3), (2, 3, 1), (2, 3, 1)), False),  # a turn is missing
        (((1, 2, 3), (2, 3, 1), (3, 1, 4)), False),
        (((1, 1, 2), (1, 2, 1), (2, 1, 1)), False),  # two values only
    ],
)
def test_distribute_three_is_a_cyclic_latin_square(rows, expected):
    assert obeys(Rule("type", "distribute_three"), rows, TYPES) is expected


def test_constant_may_differ_between_rows_only():
    rule = Rule("size", "constant")
    assert obeys(rule, ((0, 0, 0), (4, 4, 4), (2, 2, 2)), SIZES)
    assert not obeys(rule, ((0, 0, 0), (4, 4, 4), (2, 2, 3)), SIZES)


def test_positions_turn_round_the_grid():
    # slots 0 and 3 of four, one on: 1 and, round the end, 0
    assert turned(0b1001, 1, 4) == 0b0011
    assert turned(0b1001, -1, 4) == 0b1100
    assert turned(turned(0b100010001, 2, 9), -2, 9) == 0b100010001


@pytest.mark.parametrize(
    ("masks", "num_slots", "expected"),
    [
        # the same slots along each row
        (
            (0b11, 0b11, 0b11, 0b101, 0b101, 0b101, 0b10, 0b10),
            4,
            {("position", "constant", 0, 0b10)},
        ),
        # one slot on, round the end
        (
            (0b1, 0b10, 0b100, 0b1000, 0b1, 0b10, 0b11, 0b110),
            4,
            {("position", "progression", 1, 0b1100)},
        ),
        # what is in one of the two; never two apart, so no count adds up
        (
            (0b11, 0b110, 0b111, 0b101, 0b110, 0b111, 0b1, 0b1010),
            4,
            {("position", "arithmetic", 1, 0b1011)},
        ),
        # what is in the first and not in the second
        (
            (0b111, 0b1001, 0b110, 0b1011, 0b100, 0b1011, 0b1110, 0b10),
            4,
            {("position", "arithmetic", -1, 0b1100)},
        ),
        # 2 + 1 = 3 entities, 1 + 1 = 2, 1 + 3 = 4, in any slots
        (
            (0b11, 0b1, 0b1110, 0b10, 0b10, 0b1001, 0b100, 0b111),
            4,
            {("number", "arithmetic", 1, 4)},
        ),
        # one entity more along each row
        (
            (0b1, 0b1010, 0b111, 0b11, 0b1101, 0b1111, 0b1000, 0b11),
            4,
            {("number", "progression", 1, 3)},
        ),
        # three positions, turned from row to row
        (
            (0b1, 0b100, 0b1000, 0b100, 0b1000, 0b1, 0b1000, 0b1),
            4,
            {("position", "distribute_three", 0, 0b100)},
        ),
        # positions without a common slot: a union is also a sum
        (
            (0b1, 0b10, 0b11, 0b100, 0b1000, 0b1100, 0b1, 0b110),
            4,
            {("number", "arithmetic", 1, 3), ("position", "arithmetic", 1, 0b111)},
        ),
        # five entities have no room on four slots
        ((0b11, 0b1, 0b1110, 0b10, 0b10, 0b1001, 0b1111, 0b1), 4, set()),
    ],
)
def test_layouts_by_hand(masks, num_slots, expected):
    found = explain_layout(masks, num_slots)
    assert {(r.attribute, r.kind, r.parameter, ninth) for r, ninth in found} == expected
    assert len(found) == len(expected)


def test_a_difference_may_not_be_empty():
    # the last row's first panel lies inside the second
    masks = (0b111, 0b1001, 0b110, 0b1011, 0b100, 0b1011, 0b110, 0b111)
    assert not explain_layout(masks, 4)


@pytest.mark.parametrize(
    ("attribute", "count"), [("type", 6), ("size", 8), ("color", 8), ("number", 7), ("position", 8)]
)
def test_the_rules_of_an_attribute(attribute, count):
    # constant + four steps + distribute-three, and the two signs where arithmetic is allowed;
    # a constant number is written as a constant position
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
    found = explain_values(attribute, context, LEVELS[attribute])
    assert {(rule.kind, rule.parameter, ninth) for rule, ninth in found} == expected
    assert len(found) == len(expected)


def test_a_constant_position_is_obeyed_as_a_whole():
    rule = Rule("position", "constant")
    assert matrix_obeys(rule, [0b11] * 3 + [0b1] * 3 + [0b1000] * 3, range(4))
    assert not matrix_obeys(rule, [0b11] * 3 + [0b1] * 3 + [0b1000] * 2 + [0b1], range(4))
