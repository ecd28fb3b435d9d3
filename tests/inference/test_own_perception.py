"""The chain's own prediction against its own reading of the choices."""

import pytest

from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.reading import read
from rl_avr.inference.own_perception import agreement, supported_choices


def test_a_gold_chain_supports_its_answer_alone(zoo):
    for puzzle in zoo:
        parsed = read(gold_chain(puzzle), puzzle)
        assert supported_choices(parsed) == {puzzle.answer_index}, puzzle.puzzle_id
        assert agreement(parsed) == 1.0


@pytest.mark.parametrize(
    ("old", "new", "supported", "value"),
    [
        ("### Answer: C", "### Answer: B", {2}, 0.0),
        # two predictions that contradict each other
        ("4 7\nA", "3 7\nA", set(), 0.0),
        ("B: hexagon yes, 3 no", "B: hexagon yes, 4 yes", {1, 2}, 0.5),
        # a verdict alone refutes
        ("C: hexagon yes, 4 yes, 7 yes", "C: hexagon yes, 4 no", set(), 0.0),
        # a value alone refutes
        ("C: hexagon yes, 4 yes, 7 yes", "C: hexagon yes, 5 yes", set(), 0.0),
        ("### Answer: C", "### Answer: H", {2}, 0.0),
        ("### Answer: C", "", {2}, 0.0),
    ],
)
def test_by_hand(puzzle, chain, old, new, supported, value):
    parsed = read(chain.replace(old, new), puzzle)
    assert supported_choices(parsed) == supported
    assert agreement(parsed) == value


def test_the_true_panels_are_not_looked_at(puzzle, chain):
    """Of a chain that sees everything wrongly, but follows from itself, all agrees."""
    wrong = chain.replace("hexagon", "circle").replace("A: circle no", "A: square no")
    assert agreement(read(wrong, puzzle)) == 1.0


@pytest.mark.parametrize("text", ["", "### Answer: C", "Type: nonsense\n### Answer: C"])
def test_a_chain_that_says_nothing_supports_nothing(puzzle, text):
    parsed = read(text, puzzle)
    assert supported_choices(parsed) == frozenset()
    assert agreement(parsed) == 0.0
