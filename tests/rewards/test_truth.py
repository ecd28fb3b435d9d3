"""Claims against the state, by hand."""

import dataclasses

import pytest

from rewards.truth import (
    is_right_verdict,
    is_true,
    judged_claims,
    predicted_keys,
    stated_keys,
)
from rl_avr.contracts import PanelClaim, VerdictClaim
from rl_avr.elicitation.reading import read
from rl_avr.parsing import parse


def test_a_claim_about_the_missing_panel_means_the_answer(puzzle):
    claims = parse("Missing panel: hexagon 3 7", 8).panel_claims
    assert [is_true(claim, puzzle) for claim in claims] == [True, False, True]


def test_verdicts_by_hand(puzzle, chain):
    assert all(is_right_verdict(v, puzzle) for v in parse(chain, 8).verdict_claims)
    # choice B is hexagon 3 7: the size differs from the answer's 4
    wrong = parse("B: hexagon no, 3 yes, 7 yes", 8).verdict_claims
    assert [is_right_verdict(v, puzzle) for v in wrong] == [False, False, True]


def test_a_verdict_is_judged_by_the_state_not_by_the_claimed_value(puzzle):
    (verdict,) = parse("B: circle yes", 8).verdict_claims
    (claim,) = parse("B: circle yes", 8).panel_claims
    assert is_right_verdict(verdict, puzzle)
    assert not is_true(claim, puzzle)


def test_what_a_grid_s_chain_states(grid):
    # 8 panels with number, position, type and size; colors of 2, 1 and 3 entities that differ
    assert len(stated_keys(grid)) == 8 * 4 + (3 * 2 + 3 * 1 + 2 * 3)
    assert ("context:0", 0, "color", 3) in stated_keys(grid)
    assert ("context:0", 0, "color", None) not in stated_keys(grid)
    assert ("context:3", 0, "color", None) in stated_keys(grid)


def test_what_a_grid_s_chain_predicts(grid):
    ruled = {("missing", 0, name, None) for name in ("position", "type", "size")}
    assert predicted_keys(grid) == ruled
    assert predicted_keys(dataclasses.replace(grid, answer_index=None)) == set()
    # nobody can predict a color that is three colors
    noisy = grid.rules[0]._replace(attribute="color")
    assert predicted_keys(dataclasses.replace(grid, rules=(*grid.rules, noisy))) == ruled


def test_a_component_s_values_are_its_own(zoo):
    puzzle = next(
        p
        for p in zoo
        if p.configuration.startswith("left")
        and p.context[0].components[0].entities[0].size
        != p.context[0].components[1].entities[0].size
    )
    size = puzzle.context[0].components[0].entities[0].size
    claims = [PanelClaim("context:0", "size", size, 0, 1, c) for c in range(3)]
    assert [is_true(claim, puzzle) for claim in claims] == [True, False, False]


@pytest.mark.parametrize(
    "claim",
    [
        PanelClaim("context:8", "type", 2, 0, 1),
        PanelClaim("choice:9", "type", 2, 0, 1),
        PanelClaim("context:0", "weight", 2, 0, 1),
        PanelClaim("context:0", "type", 2, 0, 1, 4),
        PanelClaim("context:0", "type", 2, 0, 1, 0, 3),
    ],
)
def test_a_claim_about_what_is_not_there_is_false(puzzle, zoo, claim):
    assert not is_true(claim, puzzle)
    scenes = next(p for p in zoo if p.family == "nonregular")
    assert not is_true(claim, scenes)
    assert not is_right_verdict(VerdictClaim(9, "type", True, 0, 1), puzzle)


def test_claims_of_one_slot(grid):
    def color(value, slot):
        return PanelClaim("context:0", "color", value, 0, 1, 0, slot)

    claims = [color(3, 0), color(5, 3), color(5, 0), color(3, 1), color(3, None)]
    assert [is_true(claim, grid) for claim in claims] == [True, True, False, False, False]


def test_a_choice_whose_entities_differ_does_not_fit(grid):
    assert not is_right_verdict(VerdictClaim(0, "color", True, 0, 3), grid)
    assert is_right_verdict(VerdictClaim(0, "color", False, 0, 3), grid)


def test_without_a_right_answer_no_verdict_and_no_prediction_is_right(puzzle, annotated):
    unknown = dataclasses.replace(puzzle, answer_index=None)
    assert not is_right_verdict(VerdictClaim(0, "type", False, 0, 1), unknown)
    missing = PanelClaim("missing", "type", 4, 0, 1)
    assert is_true(missing, puzzle)
    assert not is_true(missing, unknown)
    assert not is_true(missing, annotated())


def test_judged_claims_of_a_line_and_a_choice(puzzle):
    text = "Size: 0 1 2 | 1 2 3 | 2 5 -> constant -> 4\nB: hexagon yes, 3 yes"
    judged = judged_claims(parse(text, 8), puzzle)
    told = [(text[c.span.start : c.span.end], c.is_true) for c in judged]
    sizes = [(word, True) for word in "0121232"] + [("5", False), ("4", True)]
    values = [("hexagon", True), ("3", True)]
    assert told == [*sizes, *values, ("constant", False), ("yes", True), ("yes", False)]
    assert judged[0].key == ("panel", "context:0", 0, "size", None)
    assert judged[-3].key == ("rule", 0, "size")
    assert judged[-3].value == ("constant", 0)
    assert judged[-1].key == ("fits", 1, 0, "size")


def test_claims_that_contradict_each_other_share_a_key(puzzle):
    text = "Missing panel: hexagon 4 7\nMissing panel: circle 4 7"
    judged = judged_claims(parse(text, 8), puzzle)
    assert len({claim.key for claim in judged}) == 3
    assert len({(claim.key, claim.value) for claim in judged}) == 4


def test_what_cannot_be_judged_is_left_out(puzzle, chain, annotated):
    parsed = parse(chain, 8)
    num_all = len(judged_claims(parsed, puzzle))
    unknown = dataclasses.replace(puzzle, answer_index=None)
    # six predictions and six verdicts
    assert len(judged_claims(parsed, unknown)) == num_all - 6 - 6
    assert judged_claims(parsed, annotated()) == ()
    assert judged_claims(read("", puzzle), puzzle) == ()
