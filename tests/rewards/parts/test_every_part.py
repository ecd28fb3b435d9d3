"""What holds for all parts: gold is worth one, nothing crashes, None only without a state."""

import dataclasses
import random

import pytest

from rewards.composition import REWARDS
from rewards.parts.length import length
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.reading import read
from rl_avr.parsing import parse


def values(parsed, puzzle):
    found = {name: part(parsed, puzzle) for name, part in REWARDS.items()}
    return found | {"length": length(parsed, 100, 50)}


@pytest.mark.parametrize("form", ["compact", "fluent"])
def test_gold_is_worth_one_in_every_part_for_every_puzzle(zoo, form):
    for puzzle in zoo:
        text = gold_chain(puzzle) if form == "compact" else fluent_chain(puzzle, random.Random(0))
        found = values(read(text, puzzle, num_tokens=40), puzzle)
        assert found == dict.fromkeys(found, 1.0)


def test_gold_is_worth_one_for_puzzles_by_hand_and_sampled(puzzle, chain, grid, grid_chain):
    for one, text in ((puzzle, chain), (grid, grid_chain)):
        found = values(read(text, one, num_tokens=40), one)
        assert found == dict.fromkeys(found, 1.0)


def test_gold_is_worth_one_whatever_the_number_of_rules(puzzles):
    for one in puzzles:
        found = values(read(gold_chain(one), one, num_tokens=40), one)
        # a puzzle without rules predicts nothing, so any of its choices fit
        unjudged = {} if one.rules else {"rule": None, "consistency": found["consistency"]}
        assert found == dict.fromkeys(found, 1.0) | unjudged


@pytest.mark.parametrize("text", ["", "### Answer:", "garbage", "yes no maybe\n\n<think>"])
def test_what_says_nothing_is_worth_nothing(zoo, text):
    for puzzle in zoo[::5]:
        found = values(read(text, puzzle, num_tokens=1), puzzle)
        assert found == dict.fromkeys(found, 0.0)


def odd_ones(puzzle):
    """Yields puzzles that lack something, as those of other makers may."""
    yield dataclasses.replace(puzzle, answer_index=None)
    yield dataclasses.replace(puzzle, choices=(), answer_index=None)
    yield dataclasses.replace(puzzle, choices=puzzle.choices[:2], answer_index=1)
    yield dataclasses.replace(puzzle, rules=())
    yield dataclasses.replace(puzzle, context=())
    yield dataclasses.replace(puzzle, family="annotated")


def test_every_part_judges_every_chain_about_every_puzzle(zoo, puzzle, chain, grid, grid_chain):
    texts = [chain, grid_chain, gold_chain(zoo[-1]), ""]
    for one in (puzzle, grid, *zoo[::4]):
        for odd in (one, *odd_ones(one)):
            for text in texts:
                # as a caller would who forgets the schema, and as one who does not
                for parsed in (parse(text, 8), read(text, odd)):
                    for name, value in values(parsed, odd).items():
                        assert value is None or 0.0 <= value <= 1.0, (name, odd.puzzle_id)


def test_a_part_gives_the_same_value_again_and_changes_nothing(zoo):
    for puzzle in zoo[::9]:
        parsed = read(gold_chain(puzzle)[:-40], puzzle, num_tokens=60)
        before = (repr(parsed), repr(puzzle))
        assert values(parsed, puzzle) == values(parsed, puzzle)
        assert (repr(parsed), repr(puzzle)) == before


def test_without_a_state_only_the_choice_and_the_form_are_judged(annotated):
    one = annotated()
    found = values(read(gold_chain(one), one), one)
    judged = {name: value for name, value in found.items() if value is not None}
    assert judged == {"choice": 1.0, "format": 1.0}


def test_paraphrase_leaves_every_value(zoo):
    for puzzle in zoo[::4]:
        found = [
            values(read(fluent_chain(puzzle, random.Random(seed)), puzzle), puzzle)
            for seed in range(3)
        ]
        assert found[0] == found[1] == found[2]


def test_permuting_the_choices_leaves_every_value_of_a_chain_that_names_none(zoo):
    rng = random.Random(5)
    for puzzle in zoo[::3]:
        order = list(range(puzzle.num_choices))
        rng.shuffle(order)
        moved = dataclasses.replace(
            puzzle,
            choices=tuple(puzzle.choices[k] for k in order),
            answer_index=order.index(puzzle.answer_index),
        )
        lines = gold_chain(puzzle).split("\n")
        body = "\n".join(line for line in lines if line[1:3] != ": " and "###" not in line)
        for k in range(puzzle.num_choices):
            letter, other = "ABCDEFGH"[k], "ABCDEFGH"[order.index(k)]
            assert values(read(f"{body}\n### Answer: {letter}", puzzle), puzzle) == values(
                read(f"{body}\n### Answer: {other}", moved), moved
            )
