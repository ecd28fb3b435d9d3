"""Rules: shares of attributes by hand, and what naming too many is worth."""

import dataclasses

import pytest

from rewards.parts.rule import rule, rule_truths
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.reading import read
from rl_avr.parsing import parse

SIZE_LINE = "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4"


@pytest.mark.parametrize(
    ("change", "share"),
    [
        (("", ""), 1.0),
        (("progression +1", "progression +2"), 2 / 3),
        (("progression +1", "constant"), 2 / 3),
        (("arithmetic +", "arithmetic -"), 2 / 3),
        (("arithmetic +", "no rule"), 2 / 3),
        (("arithmetic +", "distribute three"), 2 / 3),
    ],
)
def test_rules_by_hand(puzzle, chain, change, share):
    assert rule(parse(chain.replace(*change, 1), 8), puzzle) == pytest.approx(share)


def test_truths_are_by_component_and_attribute(puzzle, chain):
    wrong = parse(chain.replace("progression +1", "constant"), 8)
    right = {(0, "type"): True, (0, "size"): True, (0, "color"): True}
    assert rule_truths(parse(chain, 8), puzzle) == right
    assert rule_truths(wrong, puzzle) == right | {(0, "size"): False}
    assert rule_truths(parse("", 8), puzzle) == dict.fromkeys(right, False)


def test_naming_a_rule_twice_is_worth_nothing(puzzle, chain):
    other = SIZE_LINE.replace("progression +1", "constant")
    for extra in (SIZE_LINE, other):
        assert rule(parse(f"{chain}\n{extra}", 8), puzzle) == pytest.approx(2 / 3)


def test_a_puzzle_without_rules_has_no_rule_part(puzzle, chain):
    bare = dataclasses.replace(puzzle, rules=())
    assert rule(parse(chain, 8), bare) is None


def test_a_rule_for_everything_does_not_pay(grid, grid_chain):
    gold = read(grid_chain, grid)
    assert rule(gold, grid) == 1.0
    eager = grid_chain.replace("2.2 -> no rule", "2.2 -> constant -> 1.2.2")
    eager = eager.replace("3 3 -> no rule", "3 3 -> constant -> 3")
    # three rules of five that were named
    assert rule(read(eager, grid), grid) == pytest.approx(3 / 5)
    assert rule_truths(read(eager, grid), grid)[0, "number"] is False
    silent = grid_chain.replace("constant -> 123", "no rule")
    assert rule(read(silent, grid), grid) == pytest.approx(2 / 3)


def test_the_rules_of_two_components_are_told_apart(zoo):
    puzzle = next(p for p in zoo if p.configuration.startswith("up"))
    lines = gold_chain(puzzle).split("\n")
    swapped = [*lines[:1], *(line for line in lines if line.startswith("Down"))]
    parsed = read("\n".join(swapped), puzzle)
    assert len(parsed.rule_claims) == 3
    assert rule(parsed, puzzle) == pytest.approx(3 / 6)
