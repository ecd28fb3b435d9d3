"""Grading of answers: variants count, parts and contradictions do not."""

import random

import pytest

from rl_avr.elicitation.forms import Question
from rl_avr.elicitation.grading import grade_answer, normalized
from rl_avr.elicitation.questions import perception_questions

FOUR = Question("How many?", "4", ("four",))
GRID = Question("Which layout?", "grid of two by two", ("2x2", "2x2 grid"))
RULE = Question("Which rule?", "progression +1", ("it goes up by 1",))
SLOTS = Question("Which slots?", "1, 3 and 9", ("139", "1 3 9", "1+3+9"))
PLACE = Question("Where?", "top-left")
LETTER = Question(
    "Which type?\nA: circle\nB: square\nC: hexagon",
    "B",
    ("B: square", "square"),
    form="multiple_choice",
    options=("circle", "square", "hexagon"),
)
YES = Question("Is it?", "yes", form="yes_no")


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (FOUR, "4"),
        (FOUR, " four.\n"),
        (FOUR, "FOUR!"),
        (FOUR, "### Answer: 4"),
        (FOUR, "**4**"),
        (GRID, "A grid of two by two."),
        (GRID, "The grid of two-by-two"),
        (GRID, "2x2 Grid"),
        (RULE, "Progression +1."),
        (RULE, "it goes up by 1"),
        (SLOTS, "1, 3, 9"),
        (SLOTS, "139"),
        (SLOTS, "1,3,9"),
        (PLACE, "top left"),
        (PLACE, "Top-Left."),
        (LETTER, "B"),
        (LETTER, "b"),
        (LETTER, "B."),
        (LETTER, "(B)"),
        (LETTER, "B: square"),
        (LETTER, "(B) a square"),
        (LETTER, "B) Square."),
        (LETTER, "square"),
        (LETTER, "A square"),
        (YES, "Yes."),
        (YES, "YES"),
    ],
)
def test_right_answers(question, text):
    assert grade_answer(question, text)


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (FOUR, ""),
        (FOUR, "."),
        (FOUR, "14"),
        (FOUR, "44"),
        (FOUR, "4 or 5"),
        (FOUR, "not four"),
        (FOUR, "four, I think"),
        (FOUR, "3 4"),
        (FOUR, "<4"),
        (FOUR, "> 4"),
        (GRID, "grid of three by three"),
        (GRID, "grid"),
        (GRID, "grid of two by two inside a shape"),
        (RULE, "progression -1"),
        (RULE, "progression 1"),
        (RULE, "progression"),
        (RULE, "it goes down by 1"),
        (SLOTS, "1, 3"),
        (SLOTS, "1, 3, 9, 2"),
        (LETTER, "A"),
        (LETTER, "A: square"),
        (LETTER, "(A) square"),
        (LETTER, "B: circle"),
        (LETTER, "B or C"),
        (LETTER, "circle"),
        (LETTER, "not square"),
        (LETTER, "BC"),
        (LETTER, ""),
        (YES, "no"),
        (YES, "yes and no"),
        (YES, "yesterday"),
        (YES, "y"),
        (YES, "!yes"),
    ],
)
def test_wrong_answers(question, text):
    assert not grade_answer(question, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The   Circle. ", "circle"),
        ("a", "a"),
        ("an apple", "apple"),
        ("another", "another"),
        ("1,3 and 9", "1 3 and 9"),
        ("not-comparable", "not comparable"),
        ("-2", "-2"),
        ("<circle>!", "circle"),
        ("size < 3", "size < 3"),
        ("progression -2", "progression -2"),
        ("\u201cyes\u201d", "yes"),
    ],
)
def test_normal_forms(text, expected):
    assert normalized(text) == expected


def test_every_gold_answer_and_variant_is_right_and_every_other_option_wrong(zoo):
    for seed, puzzle in enumerate(zoo[::7]):
        for question in perception_questions(puzzle, random.Random(seed)):
            for text in (question.answer, *question.accepted):
                assert grade_answer(question, text), question
                assert grade_answer(question, f" {text.upper()}. "), question
                assert not grade_answer(question, f"not {text}"), question
            if question.form == "multiple_choice":
                for letter, option in zip("ABCD", question.options, strict=False):
                    is_gold = letter == question.answer
                    assert grade_answer(question, letter) == is_gold
                    assert grade_answer(question, option) == is_gold
                    assert grade_answer(question, f"{letter}: {option}") == is_gold
            if question.form == "yes_no":
                other = {"yes": "no", "no": "yes"}[question.answer]
                assert not grade_answer(question, other)


def test_open_variants_never_fit_another_answer_of_the_domain(zoo):
    for seed, puzzle in enumerate(zoo[::7]):
        for question in perception_questions(puzzle, random.Random(seed), ("multiple_choice",)):
            gold = question.options["ABCD".index(question.answer)]
            words = {normalized(text) for text in question.accepted}
            others = {normalized(option) for option in question.options if option != gold}
            assert not words & others, question
