"""Consistency: the prediction against the choice, whether right or wrong."""

import dataclasses

import pytest

from rewards.parts.consistency import consistency
from rl_avr.contracts import PanelClaim
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.reading import read
from rl_avr.parsing import parse

# choices of `puzzle`: A 547, B 437, C 447, D 442, E 537, F 542, G 432, H 532
# (type, size, color; 5 circle, 4 hexagon)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Missing panel: hexagon 4 7\n### Answer: C", 1),
        # another choice than the predicted one
        ("Missing panel: hexagon 4 7\n### Answer: A", 0),
        # wrong, but true to itself
        ("Missing panel: circle 3 2\n### Answer: H", 1),
        # the type and the size leave C and D
        ("Type: square square square | circle circle circle | hexagon hexagon -> constant"
         " -> hexagon\nSize: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4\n### Answer: D", 1 / 2),
        # the size alone leaves A, C, D and F
        ("Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4\n### Answer: C", 1 / 4),
        ("Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4\n### Answer: B", 0),
        # no choice is like this
        ("Missing panel: square 4 7\n### Answer: C", 0),
        # contradictions
        ("Missing panel: hexagon 4 7\nMissing panel: hexagon 3 7\n### Answer: C", 0),
        ("Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 5\nMissing panel: hexagon 4 7\n"
         "### Answer: C", 0),
        # said twice
        ("Missing panel: hexagon 4 7\nMissing panel: hexagon 4 7\n### Answer: C", 1),
        # no prediction, no choice, several
        ("### Answer: C", 0),
        ("C: hexagon yes, 4 yes, 7 yes\n### Answer: C", 0),
        ("Missing panel: hexagon 4 7", 0),
        ("Missing panel: hexagon 4 7\n### Answer: C\n### Answer: C", 0),
        ("Missing panel: hexagon 4 7\n### Answer: Z", 0),
        ("", 0),
    ],
)  # fmt: skip
def test_by_hand(puzzle, text, value):
    assert consistency(parse(text, 8), puzzle) == pytest.approx(value)


def test_a_truncated_completion_has_not_chosen(puzzle):
    text = "Missing panel: hexagon 4 7\n### Answer: C"
    assert consistency(parse(text, 8, "length"), puzzle) == 0.0


def test_it_does_not_depend_on_which_choice_is_right(zoo):
    for puzzle in zoo[::5]:
        parsed = read(gold_chain(puzzle), puzzle)
        for index in (0, puzzle.num_choices - 1, None):
            other = dataclasses.replace(puzzle, answer_index=index)
            assert consistency(parsed, other) == 1.0


def test_every_other_letter_after_the_gold_chain_is_inconsistent(zoo):
    for puzzle in zoo:
        parsed = read(gold_chain(puzzle), puzzle)
        values = [
            consistency(dataclasses.replace(parsed, choice_index=k), puzzle)
            for k in range(puzzle.num_choices)
        ]
        assert values == [float(k == puzzle.answer_index) for k in range(puzzle.num_choices)]


def test_without_state_or_choices_it_cannot_be_judged(puzzle, chain, annotated):
    assert consistency(read("### Answer: C", annotated()), annotated()) is None
    open_ = dataclasses.replace(puzzle, choices=(), answer_index=None)
    assert consistency(read(chain, open_), open_) is None


def test_a_letter_that_the_puzzle_does_not_have(puzzle):
    four = dataclasses.replace(puzzle, choices=puzzle.choices[:4])
    assert consistency(parse("Missing panel: circle 3 2\n### Answer: H", 8), four) == 0.0


def test_the_slots_of_a_grid_are_predicted_one_by_one(grid):
    # all choices with three entities have colors 1, 2 and 2; the sizes and types differ
    claims = tuple(
        PanelClaim("missing", "color", value, 0, 1, 0, slot) for slot, value in enumerate((1, 2, 2))
    )
    parsed = dataclasses.replace(read("### Answer: B", grid), panel_claims=claims)
    assert consistency(parsed, grid) == pytest.approx(1 / 3)
