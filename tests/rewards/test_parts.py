"""Parts of the reward: F1 and shares by hand, and what repetition is worth."""

import dataclasses
import random

import pytest

from rewards.composition import REWARDS
from rewards.parts import (
    choice_part,
    format_part,
    is_right_verdict,
    is_true,
    perception_accuracy,
    perception_part,
    rule_part,
    stated_keys,
)
from rl_avr.contracts import PanelClaim, Span, VerdictClaim
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.reading import read
from rl_avr.parsing import parse

SIZE_LINE = "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4"


def perception(text, puzzle):
    return perception_part(parse(text, 8), puzzle)


def test_the_gold_chain_perceives_everything(puzzle, chain):
    # 24 claims about the context and 1 + 2 + 3 about choices, all right
    assert perception(chain, puzzle) == 1.0
    assert perception_accuracy(parse(chain, 8), puzzle) == 1.0


@pytest.mark.parametrize(
    ("text", "f1"),
    [
        # 8 of 8 right, 8 of 24 seen
        (SIZE_LINE, 2 * 1 * (8 / 24) / (1 + 8 / 24)),
        # 6 of 8 right, 6 of 24 seen: 2 * 3/4 * 1/4 / 1
        ("Size: 5 5 2 | 1 2 3 | 2 3 -> constant -> 0", 0.375),
        # 8 of 9 right: a false claim about a choice lowers the precision alone
        (f"{SIZE_LINE}\nA: square no", 2 * (8 / 9) * (8 / 24) / (8 / 9 + 8 / 24)),
        # claims about choices alone have no recall
        ("A: circle no\nB: hexagon yes, 3 no", 0.0),
        ("Missing panel: hexagon 4 7", 0.0),
        ("Size: 5 5 5 | 5 5 5 | 5 5 -> constant -> 5", 0.0),
        ("### Answer: C", 0.0),
        ("", 0.0),
    ],
)
def test_f1_by_hand(puzzle, text, f1):
    assert perception(text, puzzle) == pytest.approx(f1)


def test_naming_every_value_does_not_pay(puzzle):
    every = [f"Size: {s} {s} {s} | {s} {s} {s} | {s} {s} -> constant -> 0" for s in range(6)]
    # every size once: 8 of 48 claims are right, 8 of 24 seen
    expected = 2 * (8 / 48) * (8 / 24) / (8 / 48 + 8 / 24)
    assert perception("\n".join(every), puzzle) == pytest.approx(expected)
    assert expected < perception(SIZE_LINE, puzzle)


def test_claims_about_the_missing_panel_are_no_perception(puzzle, chain):
    wrong = chain.replace("Missing panel: hexagon 4 7", "Missing panel: circle 0 0")
    wrong = wrong.replace("progression +1 -> 4", "progression +1 -> 0")
    assert perception(wrong, puzzle) == 1.0


def test_accuracy_counts_a_contradiction_as_wrong(puzzle):
    other = "Size: 0 1 2 | 1 2 3 | 2 5 -> progression +1 -> 4"
    assert perception_accuracy(parse(SIZE_LINE, 8), puzzle) == pytest.approx(8 / 24)
    assert perception_accuracy(parse(f"{SIZE_LINE}\n{SIZE_LINE}", 8), puzzle) == pytest.approx(
        8 / 24
    )
    for text in (f"{SIZE_LINE}\n{other}", f"{other}\n{SIZE_LINE}"):
        assert perception_accuracy(parse(text, 8), puzzle) == pytest.approx(7 / 24)


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
    assert rule_part(parse(chain.replace(*change, 1), 8), puzzle) == pytest.approx(share)


def test_naming_a_rule_twice_is_worth_nothing(puzzle, chain):
    other = SIZE_LINE.replace("progression +1", "constant")
    for extra in (SIZE_LINE, other):
        assert rule_part(parse(f"{chain}\n{extra}", 8), puzzle) == pytest.approx(2 / 3)


def test_a_puzzle_without_rules_has_no_rule_part(puzzle, chain):
    bare = dataclasses.replace(puzzle, rules=())
    assert rule_part(parse(chain, 8), bare) is None


@pytest.mark.parametrize(
    ("answer", "finish", "choice", "form"),
    [
        ("### Answer: C", "stop", 1.0, 1.0),
        ("### Answer: C", "length", 0.0, 0.0),
        ("### Answer: A", "stop", 0.0, 1.0),
        ("### Answer: C\n### Answer: C", "stop", 0.0, 0.0),
        ("### Answer: Z", "stop", 0.0, 0.0),
        ("C", "stop", 0.0, 0.0),
        ("### Answer: C\nI am sure.", "stop", 1.0, 0.0),
    ],
)
def test_choice_and_format(puzzle, chain, answer, finish, choice, form):
    parsed = parse(chain.replace("### Answer: C", answer), 8, finish)
    assert (choice_part(parsed, puzzle), format_part(parsed, puzzle)) == (choice, form)


def test_permuting_the_choices_permutes_the_right_letter(puzzle, chain):
    for shift in range(8):
        moved = dataclasses.replace(
            puzzle,
            choices=puzzle.choices[shift:] + puzzle.choices[:shift],
            answer_index=(2 - shift) % 8,
        )
        right = [choice_part(parse(f"### Answer: {c}", 8), moved) for c in "ABCDEFGH"]
        assert right == [float(i == (2 - shift) % 8) for i in range(8)]


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


@pytest.mark.parametrize("form", ["compact", "fluent"])
def test_gold_is_worth_one_in_every_part_for_every_puzzle(zoo, form):
    for puzzle in zoo:
        text = gold_chain(puzzle) if form == "compact" else fluent_chain(puzzle, random.Random(0))
        parsed = read(text, puzzle)
        assert {name: part(parsed, puzzle) for name, part in REWARDS.items()} == dict.fromkeys(
            REWARDS, 1.0
        )
        assert perception_accuracy(parsed, puzzle) == 1.0


def test_what_a_grid_s_chain_states(grid):
    # 8 panels with number, position, type and size; colors of 2, 1 and 3 entities that differ
    assert len(stated_keys(grid)) == 8 * 4 + (3 * 2 + 3 * 1 + 2 * 3)
    assert ("context:0", 0, "color", 3) in stated_keys(grid)
    assert ("context:0", 0, "color", None) not in stated_keys(grid)
    assert ("context:3", 0, "color", None) in stated_keys(grid)


POSITIONS = "Position: 14 14 14 | 2 2 2 | 123 123 -> constant -> 123"


@pytest.mark.parametrize(
    ("line", "num_right", "num_claims", "num_seen"),
    [
        ("", 8, 8, 8),
        ("Color: 3.5 3.5 3.5 | 4 4 4 | 1.2.2 1.2.2 -> no rule", 23, 23, 23),
        # one entity of fifteen is wrong
        ("Color: 3.4 3.5 3.5 | 4 4 4 | 1.2.2 1.2.2 -> no rule", 22, 23, 22),
        # one value for entities that differ is wrong
        ("Color: 3 3.5 3.5 | 4 4 4 | 1.2.2 1.2.2 -> no rule", 21, 22, 21),
        # entity by entity where all agree: right, but not what the chain states
        ("Type: square.square square square | circle circle circle | hexagon hexagon"
         " -> constant -> hexagon", 17, 17, 15),
        # a number read as the count of another panel
        ("Number: 1 2 2 | 1 1 1 | 3 3 -> no rule", 15, 16, 15),
    ],
)  # fmt: skip
def test_perception_of_a_grid_by_hand(grid, line, num_right, num_claims, num_seen):
    parsed = read(f"{POSITIONS}\n{line}", grid)
    precision, recall = num_right / num_claims, num_seen / 47
    expected = 2 * precision * recall / (precision + recall)
    assert perception_part(parsed, grid) == pytest.approx(expected)
    assert perception_accuracy(parsed, grid) == pytest.approx(num_seen / 47)


def test_a_component_s_values_are_its_own(zoo):
    puzzle = next(
        p
        for p in zoo
        if p.configuration.startswith("left")
        and p.context[0].components[0].entities[0].size
        != p.context[0].components[1].entities[0].size
    )
    size = puzzle.context[0].components[0].entities[0].size
    claims = [PanelClaim("context:0", "size", size, Span(0, 1), c) for c in range(3)]
    assert [is_true(claim, puzzle) for claim in claims] == [True, False, False]


@pytest.mark.parametrize(
    "claim",
    [
        PanelClaim("context:8", "type", 2, Span(0, 1)),
        PanelClaim("choice:9", "type", 2, Span(0, 1)),
        PanelClaim("context:0", "weight", 2, Span(0, 1)),
        PanelClaim("context:0", "type", 2, Span(0, 1), 4),
        PanelClaim("context:0", "type", 2, Span(0, 1), 0, 3),
    ],
)
def test_a_claim_about_what_is_not_there_is_false(puzzle, zoo, claim):
    assert not is_true(claim, puzzle)
    scenes = next(p for p in zoo if p.family == "nonregular")
    assert not is_true(claim, scenes)
    assert not is_right_verdict(VerdictClaim(9, "type", True, Span(0, 1)), puzzle)


def test_claims_of_one_slot(grid):
    def color(value, slot):
        return PanelClaim("context:0", "color", value, Span(0, 1), 0, slot)

    claims = [color(3, 0), color(5, 3), color(5, 0), color(3, 1), color(3, None)]
    assert [is_true(claim, grid) for claim in claims] == [True, True, False, False, False]


def test_a_chain_of_another_puzzle_s_schema_is_graded_without_error(chain, zoo):
    for puzzle in zoo:
        # as a caller would who forgets the schema
        parsed = parse(chain, puzzle.num_choices)
        assert 0.0 <= perception_part(parsed, puzzle) < 1.0
        assert 0.0 <= rule_part(parsed, puzzle) < 1.0
        assert {is_right_verdict(v, puzzle) for v in parsed.verdict_claims} <= {True, False}


def test_a_rule_for_everything_does_not_pay(grid, grid_chain):
    gold = read(grid_chain, grid)
    assert rule_part(gold, grid) == 1.0
    eager = grid_chain.replace("2.2 -> no rule", "2.2 -> constant -> 1.2.2")
    eager = eager.replace("3 3 -> no rule", "3 3 -> constant -> 3")
    # three rules of five that were named
    assert rule_part(read(eager, grid), grid) == pytest.approx(3 / 5)
    silent = grid_chain.replace("constant -> 123", "no rule")
    assert rule_part(read(silent, grid), grid) == pytest.approx(2 / 3)


def test_the_rules_of_two_components_are_told_apart(zoo):
    puzzle = next(p for p in zoo if p.configuration.startswith("up"))
    lines = gold_chain(puzzle).split("\n")
    swapped = [*lines[:1], *(line for line in lines if line.startswith("Down"))]
    parsed = read("\n".join(swapped), puzzle)
    assert len(parsed.rule_claims) == 3
    assert rule_part(parsed, puzzle) == pytest.approx(3 / 6)


def test_a_choice_whose_entities_differ_does_not_fit(grid):
    mixed = VerdictClaim(0, "color", True, Span(0, 3))
    assert not is_right_verdict(mixed, grid)
    assert is_right_verdict(dataclasses.replace(mixed, fits=False), grid)


def test_without_a_state_only_the_choice_and_the_form_are_judged(annotated):
    one = annotated()
    parsed = read(gold_chain(one), one)
    assert {name: part(parsed, one) for name, part in REWARDS.items()} == {
        "choice": 1.0,
        "format": 1.0,
        "perception": None,
        "rule": None,
    }
    assert perception_accuracy(parsed, one) is None
    assert choice_part(read("### Answer: B", one), one) == 0.0
    assert not is_true(PanelClaim("missing", "type", 2, Span(0, 1)), one)


def test_the_choice_of_an_open_question_cannot_be_judged(annotated):
    free = annotated(choices=(), answer="a fish")
    assert choice_part(read("### Answer: a bird", free), free) is None
    assert choice_part(read("", free), free) is None
