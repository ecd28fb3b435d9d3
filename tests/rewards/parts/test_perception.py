"""Perception: F1 and shares by hand, and what repetition is worth."""

import pytest

from rewards.parts.perception import Perception, perception, perception_accuracy, perception_scores
from rl_avr.elicitation.reading import read
from rl_avr.parsing import parse

SIZE_LINE = "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4"


def f1(text, puzzle):
    return perception(parse(text, 8), puzzle)


def test_the_gold_chain_perceives_everything(puzzle, chain):
    # 24 claims about the context and 1 + 2 + 3 about choices, all right
    assert perception_scores(parse(chain, 8), puzzle) == Perception(1.0, 1.0, 1.0)
    assert perception_accuracy(parse(chain, 8), puzzle) == 1.0


@pytest.mark.parametrize(
    ("text", "precision", "recall"),
    [
        # 8 of 8 right, 8 of 24 seen
        (SIZE_LINE, 1, 8 / 24),
        # 6 of 8 right, 6 of 24 seen: 2 * 3/4 * 1/4 / 1 = 0.375
        ("Size: 5 5 2 | 1 2 3 | 2 3 -> constant -> 0", 6 / 8, 6 / 24),
        # 8 of 9 right: a false claim about a choice lowers the precision alone
        (f"{SIZE_LINE}\nA: square no", 8 / 9, 8 / 24),
        # claims about choices alone have no recall
        ("A: circle no\nB: hexagon yes, 3 no", 1, 0),
        ("Missing panel: hexagon 4 7", 0, 0),
        ("Size: 5 5 5 | 5 5 5 | 5 5 -> constant -> 5", 0, 0),
        ("### Answer: C", 0, 0),
        ("", 0, 0),
    ],
)
def test_scores_by_hand(puzzle, text, precision, recall):
    both = precision + recall
    expected = 2 * precision * recall / both if both else 0
    assert perception_scores(parse(text, 8), puzzle) == pytest.approx((precision, recall, expected))
    assert f1(text, puzzle) == pytest.approx(expected)


def test_naming_every_value_does_not_pay(puzzle):
    every = [f"Size: {s} {s} {s} | {s} {s} {s} | {s} {s} -> constant -> 0" for s in range(6)]
    # every size once: 8 of 48 claims are right, 8 of 24 seen
    expected = 2 * (8 / 48) * (8 / 24) / (8 / 48 + 8 / 24)
    assert f1("\n".join(every), puzzle) == pytest.approx(expected)
    assert expected < f1(SIZE_LINE, puzzle)


def test_repeating_a_line_does_not_pay(puzzle):
    # 8 right names among 80 claims
    assert perception_scores(parse("\n".join([SIZE_LINE] * 10), 8), puzzle)[:2] == pytest.approx(
        (8 / 80, 8 / 24)
    )


def test_claims_about_the_missing_panel_are_no_perception(puzzle, chain):
    wrong = chain.replace("Missing panel: hexagon 4 7", "Missing panel: circle 0 0")
    wrong = wrong.replace("progression +1 -> 4", "progression +1 -> 0")
    assert f1(wrong, puzzle) == 1.0


def test_accuracy_counts_a_contradiction_as_wrong(puzzle):
    other = "Size: 0 1 2 | 1 2 3 | 2 5 -> progression +1 -> 4"
    assert perception_accuracy(parse(SIZE_LINE, 8), puzzle) == pytest.approx(8 / 24)
    assert perception_accuracy(parse(f"{SIZE_LINE}\n{SIZE_LINE}", 8), puzzle) == pytest.approx(
        8 / 24
    )
    for text in (f"{SIZE_LINE}\n{other}", f"{other}\n{SIZE_LINE}"):
        assert perception_accuracy(parse(text, 8), puzzle) == pytest.approx(7 / 24)


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
        # entity by entity where all agree: one right fact told twice, and not what the chain states
        ("Type: square.square square square | circle circle circle | hexagon hexagon"
         " -> constant -> hexagon", 16, 17, 15),
        # a number read as the count of another panel
        ("Number: 1 2 2 | 1 1 1 | 3 3 -> no rule", 15, 16, 15),
    ],
)  # fmt: skip
def test_perception_of_a_grid_by_hand(grid, line, num_right, num_claims, num_seen):
    parsed = read(f"{POSITIONS}\n{line}", grid)
    precision, recall = num_right / num_claims, num_seen / 47
    expected = 2 * precision * recall / (precision + recall)
    assert perception_scores(parsed, grid) == pytest.approx((precision, recall, expected))
    assert perception_accuracy(parsed, grid) == pytest.approx(num_seen / 47)


def test_without_a_state_there_is_nothing_to_see(annotated):
    one = annotated()
    parsed = read("### Answer: C", one)
    assert perception_scores(parsed, one) is None
    assert perception(parsed, one) is None
    assert perception_accuracy(parsed, one) is None


def test_telling_one_value_slot_by_slot_never_pays(grid, grid_chain):
    wrong = grid_chain.replace("Size: 0 1 2", "Size: 5 5 5")
    assert wrong != grid_chain
    before = perception_scores(read(wrong, grid), grid)
    for letter in "AB":
        told = f"\n{letter}: 123 yes, hexagon.hexagon.hexagon yes, 1.1.1 no\n### Answer"
        again = wrong.replace("\n### Answer", told)
        after = perception_scores(read(again, grid), grid)
        assert after.precision < before.precision
        assert after.f1 < before.f1
