"""The final answer: letters, and open questions by their kind of answer."""

import dataclasses

import pytest

from rewards.parts.choice import choice
from rewards.parts.format import format as format_part
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.reading import read
from rl_avr.parsing import parse


@pytest.mark.parametrize(
    ("answer", "finish", "value", "form"),
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
def test_choice_and_format(puzzle, chain, answer, finish, value, form):
    parsed = parse(chain.replace("### Answer: C", answer), 8, finish)
    assert (choice(parsed, puzzle), format_part(parsed, puzzle)) == (value, form)


def test_permuting_the_choices_permutes_the_right_letter(puzzle):
    for shift in range(8):
        moved = dataclasses.replace(
            puzzle,
            choices=puzzle.choices[shift:] + puzzle.choices[:shift],
            answer_index=(2 - shift) % 8,
        )
        right = [choice(parse(f"### Answer: {c}", 8), moved) for c in "ABCDEFGH"]
        assert right == [float(i == (2 - shift) % 8) for i in range(8)]


def test_the_choice_of_an_annotated_puzzle(annotated):
    assert choice(read(gold_chain(annotated()), annotated()), annotated()) == 1.0
    assert choice(read("### Answer: B", annotated()), annotated()) == 0.0


@pytest.mark.parametrize(
    ("kind", "answer", "accepted", "text", "value"),
    [
        ("exact", "a fish", (), "Fish.", 1.0),
        ("exact", "a fish", ("trout",), "the trout", 1.0),
        ("exact", "a fish", (), "a bird", 0.0),
        ("letter", "B", ("square",), "B: square", 1.0),
        ("yes_no", "yes", (), "no", 0.0),
        ("count", "4", (), "Four", 1.0),
        ("number", "100", (), "104", 1.0),
        ("anls", "paris", (), "parris", 5 / 6),
        ("name", "paris", (), "parxx", 3 / 5),
        ("tuple", "circle, size 4", (), "circle, size 3", 1 / 3),
        ("set", "A, C", (), "A", 0.2),
    ],
)
@pytest.mark.parametrize("kind_of_prompt", ["cot", "direct", "perception"])
def test_open_questions_are_graded_by_kind(
    annotated, kind, answer, accepted, text, value, kind_of_prompt
):
    free = annotated(choices=(), answer=answer, accepted=accepted, answer_kind=kind)
    parsed = read(f"### Answer: {text}", free, kind=kind_of_prompt)
    assert choice(parsed, free) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        ("", "stop"),
        ("it is a fish", "stop"),
        ("### Answer:", "stop"),
        ("### Answer: a fish\n### Answer: a fish", "stop"),
        ("### Answer: a fish", "length"),
    ],
)
def test_no_answer_several_answers_and_a_cut_one_are_worth_nothing(annotated, text, finish):
    free = annotated(choices=(), answer="a fish")
    assert choice(read(text, free, finish), free) == 0.0


def test_several_right_options_among_lettered_choices(annotated):
    several = dataclasses.replace(annotated(answer_kind="set"), answer_index=None)
    note = dataclasses.replace(several.annotation, answer="A, C")
    several = dataclasses.replace(several, annotation=note)
    values = [choice(read(f"### Answer: {t}", several), several) for t in ("A, C", "C", "B")]
    assert values == [1.0, 0.2, 0.0]


def test_without_a_gold_answer_it_cannot_be_judged(annotated, puzzle):
    for nothing in ("", " "):
        free = annotated(choices=(), answer=nothing, accepted=(nothing,))
        assert choice(read("### Answer: a fish", free), free) is None
    unknown = dataclasses.replace(puzzle, answer_index=None)
    assert choice(parse("### Answer: C", 8), unknown) is None
