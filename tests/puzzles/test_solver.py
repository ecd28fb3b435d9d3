"""The solver: reads the context alone, and finds every choice that some rules predict."""

import random

import pytest

from rl_avr.contracts import Component, Entity, Panel, Rule
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.grammar import CONFIGURATIONS, single
from rl_avr.puzzles.solver import Explanation, explain, solve


def center(types, sizes, colors):
    return tuple(
        single({"type": t, "size": s, "color": c})
        for t, s, c in zip(types, sizes, colors, strict=True)
    )


def grid(*entities, uniformity=3):
    """A panel of one component from (slot, type) pairs."""
    return Panel((Component(tuple(Entity(t, 2, 5, 3, s) for s, t in entities), uniformity),))


CONTEXT = center((1, 1, 1, 2, 2, 2, 5, 5), (0, 1, 2, 1, 2, 3, 3, 4), (3, 4, 7, 1, 1, 2, 5, 2))


def test_explanations_of_a_center_matrix_by_hand():
    assert explain(CONTEXT, "center_single") == {
        (0, "type"): (Explanation(Rule("type", "constant"), 5),),
        (0, "size"): (Explanation(Rule("size", "progression", 1), 5),),
        (0, "color"): (Explanation(Rule("color", "arithmetic", 1), 7),),
    }


def test_only_the_predicted_choice_fits():
    choices = center((5, 5, 4, 5), (5, 4, 5, 5), (7, 7, 7, 6))
    assert solve(CONTEXT, choices, "center_single") == (0,)


def test_every_choice_that_some_rule_predicts_is_returned():
    # sizes 0 1 2 in both rows: a step of one, or the sum of levels 0 and 1, plus one
    context = center((1,) * 8, (0, 1, 2, 0, 1, 2, 1, 2), (4,) * 8)
    choices = center((1, 1, 1), (3, 4, 5), (4, 4, 4))
    assert solve(context, choices, "center_single") == (0, 1)


def test_an_attribute_without_an_explanation_says_nothing():
    context = center((1, 2, 2, 5, 1, 4, 3, 3), (2,) * 8, (4,) * 8)
    choices = center((1, 5, 1), (2, 2, 3), (4, 4, 4))
    assert explain(context, "center_single")[0, "type"] == ()
    assert solve(context, choices, "center_single") == (0, 1)


def test_noise_that_a_row_keeps_must_be_kept():
    rows = [
        [grid((0, 1), (1, 2), uniformity=0)] * 3,
        [grid((2, 4), (3, 4), uniformity=0)] * 3,
        [grid((0, 5), (3, 1), uniformity=0)] * 2,
    ]
    context = [panel for row in rows for panel in row]
    found = explain(context, "distribute_four")
    assert found[0, "type"] == (Explanation(Rule("type", "constant"), (1, 5)),)
    choices = [
        grid((0, 1), (3, 5), uniformity=0),
        grid((0, 5), (3, 2), uniformity=0),
        grid((0, 5), (2, 1), uniformity=0),
    ]
    assert solve(context, choices, "distribute_four") == (0,)


def test_noise_that_changes_along_a_row_says_nothing():
    context = [
        *(grid((0, 1), (1, t), uniformity=0) for t in (2, 3, 4)),
        *(grid((2, 4), (3, t), uniformity=0) for t in (2, 3, 4)),
        *(grid((0, 5), (3, t), uniformity=0) for t in (2, 3)),
    ]
    choices = [grid((0, 1), (3, 1), uniformity=0), grid((0, 5), (2, 1), uniformity=0)]
    assert explain(context, "distribute_four")[0, "type"] == ()
    assert solve(context, choices, "distribute_four") == (0,)


def test_the_solver_never_sees_the_choices_order():
    rng = random.Random(1)
    choices = list(center((5, 5, 4, 5), (5, 4, 5, 5), (7, 7, 7, 6)))
    right = choices[0]
    for _ in range(10):
        rng.shuffle(choices)
        assert solve(CONTEXT, choices, "center_single") == (choices.index(right),)


def test_wrong_input_is_refused():
    with pytest.raises(PuzzleError, match=r"'center': expected one of center_single"):
        explain(CONTEXT, "center")
    with pytest.raises(PuzzleError, match=r"expected 8 panels of 2 components, got \[1, 1"):
        explain(CONTEXT, "left_center_single_right_center_single")
    with pytest.raises(PuzzleError, match=r"expected 8 panels of 1 components"):
        explain(CONTEXT[:7], "center_single")
    assert len(CONFIGURATIONS) == 7
