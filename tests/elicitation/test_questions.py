"""Perception questions: gold answers by hand, coarse before fine, fine ones shuffled."""

import dataclasses
import hashlib
import random

import pytest

from rl_avr.contracts import Panel
from rl_avr.elicitation.grading import grade_answer
from rl_avr.elicitation.orders import ORDERS
from rl_avr.elicitation.question_words import LEVELS
from rl_avr.elicitation.questions import (
    coarse_questions,
    elicitation,
    facts_of,
    fine_questions,
    perception_questions,
)
from rl_avr.prompts import ROW_ANSWERS
from rl_avr.puzzles.grammar import single
from rl_avr.seeding import rng_for


def test_coarse_answers_by_hand(puzzle):
    assert [(q.text, q.answer) for q in coarse_questions(puzzle)] == [
        ("How does the type change along row 1?", "it stays the same"),
        ("How does the size change along row 1?", "it goes up"),
        ("How does the color change along row 1?", "it goes up"),
        ("How does the type change along row 2?", "it stays the same"),
        ("How does the size change along row 2?", "it goes up"),
        ("How does the color change along row 2?", "it goes up"),
    ]


@pytest.mark.parametrize(
    ("sizes", "answer"),
    [
        ((2, 2, 2), 0),
        ((0, 1, 5), 1),
        ((1, 1, 2), 1),
        ((4, 2, 0), 2),
        ((4, 4, 0), 2),
        ((1, 3, 1), 3),
        ((3, 0, 4), 3),
    ],
)
def test_trends_of_a_row(puzzle, sizes, answer):
    row = tuple(single({"type": 1, "size": size, "color": 0}) for size in sizes)

    asked = coarse_questions(dataclasses.replace(puzzle, context=(*row, *puzzle.context[3:])))
    assert asked[1].answer == ROW_ANSWERS[answer]


def test_fine_answers_by_hand(puzzle):
    answers = {q.text: q.answer for q in fine_questions(puzzle)}
    assert len(answers) == (8 + 8) * 3
    assert answers["What is the type of panel 1?"] == "square"
    assert answers["What is the color of panel 8, from 0 (white) to 9 (black)?"] == "2"
    assert answers["What is the size of choice B, from 0 to 5?"] == "3"
    assert answers["What is the type of choice H?"] == "circle"


def test_no_question_asks_about_the_missing_panel(puzzle):
    texts = " ".join(q.text for q in fine_questions(puzzle))
    assert "panel 9" not in texts
    assert "row 3" not in " ".join(q.text for q in coarse_questions(puzzle))


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (8, 8), (48, 48), (500, 48)])
def test_coarse_come_first_and_no_question_twice(puzzle, asked, given):
    questions = elicitation(puzzle, asked, random.Random(0))
    assert len(set(questions)) == len(questions) == 3 + given
    assert set(questions[:3]) <= set(coarse_questions(puzzle))
    assert set(questions[3:]) <= set(fine_questions(puzzle))


def test_fine_questions_are_not_in_grid_order(puzzle):
    order = {question: i for i, question in enumerate(fine_questions(puzzle))}
    positions = [order[q] for q in elicitation(puzzle, 48, random.Random(3))[3:]]
    rising = sum(a < b for a, b in zip(positions, positions[1:], strict=False))
    # 47 neighbours: a shuffle rises about 23.5 times, standard deviation 2
    assert 15 < rising < 32


def test_answers_follow_the_panel_not_its_place(puzzle):

    moved = dataclasses.replace(puzzle, choices=puzzle.choices[::-1], answer_index=5)
    before = [q.answer for q in fine_questions(puzzle)]
    after = [q.answer for q in fine_questions(moved)]
    assert after[:24] == before[:24]
    in_threes = [tuple(before[24 + 3 * i : 27 + 3 * i]) for i in range(8)]
    assert [tuple(after[24 + 3 * i : 27 + 3 * i]) for i in range(8)] == in_threes[::-1]
    assert isinstance(moved.answer, Panel)
    assert moved.answer == puzzle.answer


@pytest.mark.parametrize(("asked", "digest"), [(8, "75d49b1f64b826ad"), (48, "ecfda9ce6d44876a")])
def test_what_a_center_puzzle_is_asked_never_changes(puzzle, asked, digest):
    # a shipped policy was trained on these very words in this very order
    questions = elicitation(puzzle, asked, rng_for("questions", 0, "by-hand"))
    text = "\n".join(f"{question.text}|{question.answer}" for question in questions)
    assert hashlib.sha256(text.encode()).hexdigest().startswith(digest)


def test_other_puzzles_are_asked_three_coarse_and_then_fine_questions(zoo):
    for puzzle in zoo:
        questions = elicitation(puzzle, 8, random.Random(5))
        levels = [LEVELS.index(question.level) for question in questions]
        if puzzle.configuration == "center_single":
            continue
        assert len(questions) == 11
        assert len(set(questions)) == 11
        assert all(level < 2 for level in levels[:3])
        assert levels[:3] == sorted(levels[:3])
        assert all(level >= 2 for level in levels[3:])
        assert all(grade_answer(question, question.answer) for question in questions)


def test_the_order_is_the_generator_s_alone(zoo):
    puzzle = next(p for p in zoo if p.configuration == "distribute_nine")
    one, again, other = (elicitation(puzzle, 20, random.Random(s)) for s in (1, 1, 2))
    assert one == again
    assert one != other


def test_every_fact_is_asked_once(zoo):
    for puzzle in zoo[::4]:
        questions = perception_questions(puzzle, random.Random(0))
        assert [q.family for q in questions] == [f.family for f in facts_of(puzzle)]
        assert [q.panel for q in questions] == [f.panel for f in facts_of(puzzle)]
        assert {q.form for q in questions} == {"open", "multiple_choice", "yes_no"}
        opened = perception_questions(puzzle, random.Random(0), ("open",))
        assert {q.form for q in opened} == {"open"}


def test_an_annotated_puzzle_is_asked_what_people_asked(annotated):
    questions = perception_questions(annotated(), random.Random(0))
    assert [(q.text, q.answer, q.form) for q in questions] == [
        ("How many tiles are shown?", "5", "open"),
        ("Is the first tile red?", "No", "yes_no"),
    ]
    assert [grade_answer(q, text) for q, text in zip(questions, ("5.", "no"), strict=True)] == [
        *(True, True)
    ]
    assert set(elicitation(annotated(), 8, random.Random(0))) == set(questions)
    assert len(elicitation(annotated(), 1, random.Random(0))) == 1
    assert elicitation(annotated(perception=()), 8, random.Random(0)) == ()


def test_the_number_of_coarse_questions_can_be_chosen(puzzle, zoo):
    for one in (puzzle, *zoo[::9]):
        for num_coarse in (0, 1, 3):
            questions = elicitation(one, 5, random.Random(1), num_coarse)
            early = [q.level in ("coarse", "middle") for q in questions]
            assert early == [True] * num_coarse + [False] * 5
    everything = elicitation(puzzle, 48, random.Random(1), 99)
    assert set(everything) == {*coarse_questions(puzzle), *fine_questions(puzzle)}


def test_every_order_asks_the_same_center_questions(puzzle):
    grid = [*coarse_questions(puzzle), *fine_questions(puzzle)]
    found = {order: elicitation(puzzle, 8, random.Random(2), 4, order) for order in ORDERS}
    sequential = found["sequential"]
    assert all(set(questions) == set(sequential) for questions in found.values())
    places = [grid.index(question) for question in sequential]
    assert places == sorted(places)
    assert len({*found.values()}) == 3
