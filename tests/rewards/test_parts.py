"""Parts of the reward: F1 and shares by hand, and what repetition is worth."""

import dataclasses

import pytest

from rewards.parts import (
    choice_part,
    format_part,
    is_right_verdict,
    is_true,
    perception_accuracy,
    perception_part,
    rule_part,
)
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
