"""What is asked about: answers by hand, and every one of them true of the state."""

import dataclasses

import pytest

from rewards.truth import is_true
from rl_avr.elicitation.facts import compare
from rl_avr.elicitation.question_words import FAMILIES, LEVELS, variants
from rl_avr.elicitation.questions import facts_of
from rl_avr.elicitation.regular_facts import slot_list
from rl_avr.elicitation.schema import regular_schema
from rl_avr.prompts import CENTER_SCHEMA, regular_line


def answers(puzzle, family):
    return {
        tuple(value for _, value in fact.args): fact.answer
        for fact in facts_of(puzzle)
        if fact.family == family
    }


def test_the_whole_of_a_center_puzzle(puzzle):
    assert answers(puzzle, "num_panels") == {(): "8"}
    assert answers(puzzle, "num_choices") == {(): "8"}
    assert answers(puzzle, "panel_layout") == {(): "three rows of three"}
    assert answers(puzzle, "shape_layout") == {(): "one shape in the center"}
    assert answers(puzzle, "num_parts") == {(): "1"}
    assert answers(puzzle, "num_shapes_each") == {(): "1"}


def test_the_whole_of_other_puzzles(zoo, grid):
    assert answers(grid, "shape_layout") == {(): "grid of two by two"}
    assert answers(grid, "num_shapes_each") == {}
    assert answers(grid, "num_choices") == {(): "4"}
    by_name = {puzzle.configuration: puzzle for puzzle in zoo}
    outer = by_name["in_distribute_four_out_center_single"]
    assert answers(outer, "num_parts") == {(): "2"}
    assert answers(by_name["group"], "panel_layout") == {(): "a group without order"}
    assert answers(by_name["sequence"], "num_panels") == {(): "4"}
    assert answers(by_name["two_row"], "panel_layout") == {(): "two rows of three"}


def test_counts_and_places_of_a_grid(grid):
    assert answers(grid, "num_objects")["panel 1",] == "2"
    assert answers(grid, "num_objects")["choice C",] == "2"
    assert answers(grid, "position")["panel 7",] == "1, 2 and 3"
    colors = answers(grid, "attribute")
    scale = ", from 0 (white) to 9 (black)"
    assert colors["color", "the shape in slot 4 of panel 1", scale] == "5"
    filled = answers(grid, "slot_filled")
    assert list(filled.values()) == ["yes", "no"] * 12
    # every type occurs more than once in a panel, or alone
    assert answers(grid, "object_place") == {}


def test_a_shape_that_occurs_once_has_a_place(zoo):
    facts = [f for p in zoo if p.family == "rpm" for f in facts_of(p) if f.family == "object_place"]
    assert facts
    for fact in facts:
        assert fact.answer == str(fact.key.slot + 1)


def test_trends_and_comparisons(puzzle, grid):
    trends = answers(puzzle, "row_trend")
    assert trends["size", "along row 1"] == "it goes up"
    assert trends["type", "along row 2"] == "it stays the same"
    between = answers(puzzle, "compare_panels")
    assert between["type", "panel 1", "panel 2"] == "same"
    assert between["size", "panel 1", "panel 2"] == "smaller"
    assert between["color", "panel 7", "panel 8"] == "darker"
    assert between["type", "choice A", "choice B"] == "different"
    assert ("size", "panel 3", "panel 4") not in between, "another row"
    noisy = answers(grid, "compare_panels")
    assert noisy["color", "panel 1", "panel 2"] == "not comparable"
    assert noisy["color", "panel 4", "panel 5"] == "same"
    assert noisy["number", "choice B", "choice C"] == "more"
    assert noisy["position", "choice B", "choice C"] == "different"
    objects = answers(grid, "compare_objects")
    first, second = (f"the shape in slot {k} of panel 1" for k in (1, 4))
    assert objects["color", first, second] == "lighter"
    assert objects["size", first, second] == "same"
    # noise has no trend
    assert ("color", "along row 1") not in answers(grid, "row_trend")
    assert answers(grid, "row_trend")["color", "along row 2"] == "it stays the same"


def test_rules(puzzle, grid):
    assert answers(puzzle, "row_rule")["size", "2"] == "progression +1"
    assert answers(puzzle, "shared_rule") == {
        ("type",): "constant",
        ("size",): "progression +1",
        ("color",): "arithmetic +",
    }
    # number and position have one rule, so only the ruled one is asked about
    assert answers(grid, "shared_rule") == {
        ("position",): "constant",
        ("type",): "constant",
        ("size",): "progression +1",
        ("color",): "no rule",
    }


def test_the_rules_of_scenes(zoo):
    for puzzle in zoo:
        if puzzle.family == "nonregular":
            families = {fact.family for fact in facts_of(puzzle)}
            is_matrix = puzzle.configuration == "matrix"
            assert ("shared_rule" in families) == is_matrix
            assert ("rule" in families) == (puzzle.configuration in ("sequence", "group"))
            assert ("row_trend" in families) == (puzzle.configuration != "group")


@pytest.mark.parametrize(
    ("attribute", "first", "second", "word"),
    [
        ("number", 3, 2, "more"),
        ("number", 2, 3, "fewer"),
        ("size", 1, 4, "smaller"),
        ("color", 9, 0, "darker"),
        ("color", 2, 2, "same"),
        ("type", 2, 5, "different"),
        ("position", 1, 2, "different"),
        ("size", None, 4, "not comparable"),
        ("type", 4, None, "not comparable"),
    ],
)
def test_comparisons_by_hand(attribute, first, second, word):
    answer, domain = compare(regular_line(attribute, num_slots=4), first, second)
    assert answer == word
    assert answer in domain
    assert len(set(domain)) == len(domain)


def test_single_entities_can_always_be_compared():
    for line in CENTER_SCHEMA.lines:
        assert "not comparable" not in compare(line, 1, 2)[1]


@pytest.mark.parametrize(
    ("mask", "text"), [(0b1, "1"), (0b1001, "1 and 4"), (0b1101, "1, 3 and 4")]
)
def test_lists_of_slots(mask, text):
    assert slot_list(mask)[0] == text


def test_every_answer_with_a_key_is_true_of_the_state(zoo, puzzles):
    num_keys = 0
    for puzzle in [*zoo, *puzzles[:10]]:
        for fact in facts_of(puzzle):
            if fact.key is not None:
                assert is_true(fact.key.claim(), puzzle), fact
                assert fact.panel == fact.key.panel
                num_keys += 1
    assert num_keys > 5000


def test_wrong_answers_are_wrong_and_right_ones_are_said_in_one_way(zoo):
    for puzzle in zoo:
        for fact in facts_of(puzzle):
            assert fact.answer not in fact.others
            assert len(set(fact.others)) == len(fact.others)
            assert not set(fact.accepted) & set(fact.others)
            assert fact.family == "slot_filled" or fact.others
            assert set(variants(fact.answer)) <= set(fact.accepted) or fact.family == "slot_filled"


def test_facts_come_from_coarse_to_fine(zoo):
    for puzzle in zoo:
        levels = [LEVELS.index(FAMILIES[fact.family].level) for fact in facts_of(puzzle)]
        assert levels == sorted(levels)
        assert {0, 2, 3} <= set(levels)


def test_facts_do_not_tell_the_missing_panel(puzzle):
    for fact in facts_of(puzzle):
        assert all("missing" not in value for _, value in fact.args)
        assert ("row", "3") not in fact.args
        assert ("where", "panel 9") not in fact.args


def test_the_answer_s_place_does_not_change_what_is_seen(puzzle):
    moved = dataclasses.replace(puzzle, answer_index=5)
    assert facts_of(moved) == facts_of(puzzle)


def test_domains_are_those_of_the_schema(zoo):
    outer = regular_schema("in_distribute_four_out_center_single")
    assert [line.label for line in outer.lines][3:5] == ["In Number", "In Position"]
    puzzle = next(p for p in zoo if p.configuration == "in_distribute_four_out_center_single")
    facts = {f.args: f for f in facts_of(puzzle) if f.family == "num_objects"}
    inner = facts[("where", "the inner part of panel 1"),]
    assert {inner.answer, *inner.others} == {"1", "2", "3", "4"}
    whole = facts[("where", "panel 1"),]
    assert int(whole.answer) == int(inner.answer) + 1
