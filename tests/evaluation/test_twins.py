"""Twins: one attribute changed, another choice right, and the solver agrees."""

from dataclasses import replace

import pytest

from rewards.parts.rule import rule
from rl_avr.contracts import Component, Panel
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.reading import read
from rl_avr.evaluation.twins import perturbed_twin
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import ATTRIBUTES, CONFIGURATIONS, panel_value
from rl_avr.puzzles.sampler import sample_puzzle
from rl_avr.puzzles.solver import solve


@pytest.fixture(scope="module")
def pairs():
    """Puzzles of every configuration with their twins."""
    found = []
    for name in CONFIGURATIONS:
        for answer_set in ("iraven", "raven"):
            config = PuzzleConfig(mix={name: 1.0}, answer_set=answer_set, has_uniformity_noise=True)
            found += [sample_puzzle("train", index, 3, config) for index in range(8)]
    return [(puzzle, perturbed_twin(puzzle)) for puzzle in found]


def test_nearly_every_puzzle_has_a_twin(pairs):
    assert sum(found is not None for _, found in pairs) >= 0.9 * len(pairs)


def test_another_choice_is_the_only_solution(pairs):
    for puzzle, found in pairs:
        if found:
            twin, _ = found
            assert twin.answer_index != puzzle.answer_index
            assert solve(twin.context, twin.choices, twin.configuration) == (twin.answer_index,)
            assert (twin.choices, twin.rules) == (puzzle.choices, puzzle.rules)
            assert twin.puzzle_id != puzzle.puzzle_id


def test_only_one_attribute_of_one_component_changes(pairs):
    for puzzle, found in pairs:
        if found:
            twin, attribute = found
            changed = {
                (component, name)
                for old, new in zip(puzzle.context, twin.context, strict=True)
                for component in range(len(old.components))
                for name in ("number", "position", *ATTRIBUTES)
                if panel_value(old, name, component) != panel_value(new, name, component)
            }
            assert len(changed) == 1 and changed.pop()[1] == attribute


def test_the_gold_chain_of_a_twin_is_right_and_that_of_the_puzzle_is_not(pairs):
    for puzzle, found in pairs[::5]:
        if found:
            twin, _ = found
            parsed = read(gold_chain(twin), twin)
            assert (parsed.status, parsed.choice_index) == ("ok", twin.answer_index)
            assert rule(parsed, twin) == 1.0
            assert read(gold_chain(puzzle), twin).choice_index != twin.answer_index


def test_by_hand(puzzle):
    """Choice A has another type alone; the third row's hexagons become circles."""
    twin, attribute = perturbed_twin(puzzle)
    assert (attribute, twin.answer_index) == ("type", 0)
    types = [panel_value(panel, "type") for panel in twin.context]
    # circles fill the second row already, so nothing but the third row needs to change
    assert types == [2, 2, 2, 5, 5, 5, 5, 5]


def test_what_has_no_twin(puzzle, annotated, zoo):
    assert perturbed_twin(annotated()) is None
    assert perturbed_twin(next(p for p in zoo if p.family == "nonregular")) is None
    assert perturbed_twin(replace(puzzle, answer_index=3)) is None
    assert perturbed_twin(replace(puzzle, context=puzzle.context[:7])) is None
    # two choices with the new value, which differ in noise alone
    circle = puzzle.choices[0]
    turned = Panel((Component((replace(circle.entities[0], angle=0),)),))
    both = (circle, turned, puzzle.choices[2])
    assert perturbed_twin(replace(puzzle, choices=both)) is None
    assert perturbed_twin(replace(puzzle, choices=both[1:], answer_index=1)) is not None
    # every other choice differs in two attributes or more
    far = (puzzle.choices[2], puzzle.choices[6], puzzle.choices[7])
    assert perturbed_twin(replace(puzzle, choices=far, answer_index=0)) is None
