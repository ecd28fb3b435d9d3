"""Knowledge: saying nothing and saying everything both lose."""

import dataclasses

import pytest

from rewards.parts.knowledge import knowledge, known_facts
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.reading import read
from rl_avr.parsing import parse

SIZE_LINE = "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4"


def f1(num_true, num_claims, num_wanted, num_all=30):
    precision, recall = num_true / num_claims, num_wanted / num_all
    return 2 * precision * recall / (precision + recall)


def test_what_there_is_to_say(puzzle, grid):
    # three attributes of eight panels, three rules, three predictions
    assert len(known_facts(puzzle)) == 24 + 3 + 3
    # see test_truth for the 47; position, type and size are ruled
    assert len(known_facts(grid)) == 47 + 3 + 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # eight sizes, the rule, the prediction
        (SIZE_LINE, f1(10, 10, 10)),
        # the second of two equal predictions is no claim more, the third is
        (f"{SIZE_LINE}\nMissing panel: hexagon 4 7", f1(12, 12, 12)),
        (f"{SIZE_LINE}\nMissing panel: hexagon 4 7\nMissing panel: hexagon 4 7", f1(12, 13, 12)),
        # a prediction that contradicts the rule's own
        (f"{SIZE_LINE}\nMissing panel: hexagon 3 7", f1(12, 13, 12)),
        # two wrong sizes, a wrong rule, a wrong prediction
        ("Size: 5 5 2 | 1 2 3 | 2 3 -> constant -> 0", f1(6, 10, 6)),
        # the line twice: eight sizes and the rule again
        (f"{SIZE_LINE}\n{SIZE_LINE}", f1(10, 19, 10)),
        # verdicts and what is seen in choices are claims, but not what has to be said
        (f"{SIZE_LINE}\nA: circle no\nB: hexagon yes, 3 no", f1(16, 16, 10)),
        (f"{SIZE_LINE}\nA: square yes", f1(10, 12, 10)),
        ("A: circle no", 0),
        ("Size: 5 5 5 | 5 5 5 | 5 5 -> constant -> 5", 0),
        ("### Answer: C", 0),
        ("", 0),
    ],
)
def test_by_hand(puzzle, text, value):
    assert knowledge(parse(text, 8), puzzle) == pytest.approx(value)


def test_saying_everything_loses_against_saying_a_third(puzzle):
    every = [
        f"Size: {s} {s} {s} | {s} {s} {s} | {s} {s} -> {r} -> {s}"
        for s in range(6)
        for r in ("constant", "progression +1", "arithmetic +", "distribute three")
    ]
    assert knowledge(parse("\n".join(every), 8), puzzle) < f1(10, 10, 10) / 2


def test_every_line_of_a_gold_chain_that_says_something_is_worth_something(zoo):
    for puzzle in zoo[::3]:
        lines = gold_chain(puzzle).split("\n")
        for k, line in enumerate(lines):
            less = "\n".join(lines[:k] + lines[k + 1 :])
            value = knowledge(read(less, puzzle), puzzle)
            # each prediction is still there in its attribute's line, verdicts are a surplus
            is_needed = " -> " in line
            assert (value < 1.0) == is_needed, line


def test_repeating_the_gold_chain_is_worth_less_each_time(puzzle, chain):
    values = [knowledge(parse("\n".join([chain] * k), 8), puzzle) for k in (1, 2, 10, 100)]
    assert values[0] == 1.0
    assert values == sorted(set(values), reverse=True)


def test_without_a_state_it_cannot_be_judged(annotated):
    assert knowledge(read("### Answer: C", annotated()), annotated()) is None


def test_without_a_right_answer_predictions_and_verdicts_do_not_count(puzzle, chain):
    unknown = dataclasses.replace(puzzle, answer_index=None)
    assert len(known_facts(unknown)) == 24 + 3
    assert knowledge(parse(chain, 8), unknown) == 1.0
