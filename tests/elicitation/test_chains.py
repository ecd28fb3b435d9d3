"""Gold chains: one written by hand, and what every one of them says."""

import dataclasses

import numpy as np

from rl_avr.elicitation.chains import gold_chain
from rl_avr.parsing import parse
from rl_avr.puzzles.grammar import level


def test_the_chain_of_the_puzzle_made_by_hand(puzzle, chain):
    assert gold_chain(puzzle) == chain
    assert gold_chain(puzzle, prefix=False) == chain.removeprefix("This is a regular puzzle.\n")


def test_choices_are_tried_up_to_the_first_attribute_that_differs(puzzle):
    at_end = dataclasses.replace(
        puzzle, choices=(*puzzle.choices[3:], *puzzle.choices[:3]), answer_index=7
    )
    tried = gold_chain(at_end).split("\n")[5:-1]
    assert tried == [
        "A: hexagon yes, 4 yes, 2 no",
        "B: circle no",
        "C: circle no",
        "D: hexagon yes, 3 no",
        "E: circle no",
        "F: circle no",
        "G: hexagon yes, 3 no",
        "H: hexagon yes, 4 yes, 7 yes",
    ]


def test_permuting_the_choices_moves_the_answer_and_nothing_else(puzzles):
    rng = np.random.default_rng(1)
    for puzzle in puzzles[:60]:
        order = rng.permutation(8).tolist()
        moved = dataclasses.replace(
            puzzle,
            choices=tuple(puzzle.choices[i] for i in order),
            answer_index=order.index(puzzle.answer_index),
        )
        before, after = gold_chain(puzzle).split("\n"), gold_chain(moved).split("\n")
        assert after[:5] == before[:5]
        assert after[-1] == f"### Answer: {'ABCDEFGH'[moved.answer_index]}"
        assert moved.answer == puzzle.answer
        # the line of a choice moves with it, under its new letter
        for new, old in enumerate(order):
            if new <= moved.answer_index and old <= puzzle.answer_index:
                assert after[5 + new][1:] == before[5 + old][1:]


def test_every_claim_of_a_gold_chain_is_true(puzzles):
    for puzzle in puzzles:
        parsed = parse(gold_chain(puzzle), 8)
        assert tuple(claim.rule for claim in parsed.rule_claims) == puzzle.rules
        for claim in parsed.panel_claims:
            kind, _, index = claim.panel.partition(":")
            panels = {"context": puzzle.context, "choice": puzzle.choices}
            panel = puzzle.answer if kind == "missing" else panels[kind][int(index)]
            assert claim.value == level(panel, claim.attribute)
