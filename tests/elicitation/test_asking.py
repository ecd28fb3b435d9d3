"""Questions as puzzles: what they ask, and that right answers and only those are worth 1."""

import dataclasses
import random

import pytest

from rewards.parts.choice import choice
from rewards.parts.perception import perception
from rewards.parts.rule import rule
from rl_avr.contracts import Puzzle
from rl_avr.elicitation.asking import answer_questions, ask_puzzle, asked
from rl_avr.elicitation.forms import Question
from rl_avr.elicitation.reading import read
from rl_avr.prompts import prompt_text

GARBAGE = ("", " ", "?", "x" * 5000, "### Answer:", "### Answer: yes\n### Answer: no", "A B C D")


def worth(text, puzzle, **changes):
    return choice(read(text, puzzle, kind="perception", **changes), puzzle)


def chain_without_a_rule(puzzle):
    """Returns a puzzle in which two choices fit its rules."""
    return dataclasses.replace(puzzle, rules=puzzle.rules[:1])


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        (Question("How many panels are shown?", "8", ("eight",), family="num_panels"), "count"),
        (Question("What is the size of panel 1?", "4", ("four",), family="attribute"), "exact"),
        (Question("Which slots?", "1 and 3", ("13",), family="position"), "exact"),
        (Question("Is it?", "yes", family="attribute", form="yes_no"), "yes_no"),
        (Question("Is 8 the number?", "no", family="num_panels", form="yes_no"), "yes_no"),
        (
            Question(
                "Which?\nA: 1\nB: 2",
                "B",
                ("B: 2", "2"),
                family="num_parts",
                form="multiple_choice",
                options=("1", "2"),
            ),
            "letter",
        ),
        (Question("How many fish?", "two", family="annotated"), "count"),
        (Question("How many fish?", "many", family="annotated"), "exact"),
        (Question("Which bus stops here?", "5", family="annotated"), "exact"),
    ],
)
def test_a_question_becomes_a_puzzle_of_its_own(puzzle, question, kind):
    own = asked(puzzle, question)
    note = own.annotation
    assert (note.question, note.answer, note.accepted) == (
        question.text,
        question.answer,
        question.accepted,
    )
    assert note.answer_kind == kind
    assert (own.family, own.num_choices, own.answer_index) == ("annotated", 0, None)
    assert (own.difficulty, own.configuration) == (puzzle.difficulty, puzzle.configuration)
    assert own.puzzle_id.startswith("by-hand/") and own == asked(puzzle, question)
    assert Puzzle.from_json(own.to_json()) == own


def test_the_id_tells_questions_and_puzzles_apart(puzzle, grid):
    size = Question("What is the size?", "4")
    others = [Question("What is the type?", "4"), Question("What is the size?", "5")]
    ids = [asked(puzzle, q).puzzle_id for q in (size, *others)] + [asked(grid, size).puzzle_id]
    assert len(set(ids)) == 4


def test_gold_and_accepted_answers_are_worth_one_and_others_nothing(zoo):
    for puzzle in zoo[::5]:
        for own in ask_puzzle(puzzle, "perception", 40):
            note = own.annotation
            for text in (note.answer, *note.accepted):
                assert worth(text, own) == 1.0, note
                assert worth(f"### Answer: {text}", own) == 1.0, note
                assert worth(f"<answer>{text}</answer>", own, answer_form="tags") == 1.0, note
                assert worth(text, own, finish_reason="length") == 0.0, note
                assert worth(f"not {text}", own) == 0.0, note
            for text in (*GARBAGE, note.question, prompt_text(own, "perception")):
                assert worth(text, own) == 0.0, (note, text)


def test_wrong_options_and_the_other_verdict_are_worth_nothing(zoo):
    for puzzle in zoo[::5]:
        for own in ask_puzzle(puzzle, "perception", 40):
            note = own.annotation
            if note.answer_kind == "yes_no":
                assert worth({"yes": "no", "no": "yes"}[note.answer], own) == 0.0
            if note.answer_kind == "letter":
                options = [line.split(": ", 1) for line in note.question.split("\n")[1:]]
                for letter, option in options:
                    right = float(letter == note.answer)
                    assert [worth(t, own) for t in (letter, option, f"{letter}: {option}")] == [
                        right
                    ] * 3, note


def test_parts_that_need_a_state_do_not_judge(puzzle):
    for about in ("perception", "yes_no", "open"):
        for own in ask_puzzle(puzzle, about, 5):
            parsed = read(own.annotation.answer, own, kind="perception")
            assert (perception(parsed, own), rule(parsed, own)) == (None, None)


def test_is_it_questions_by_hand(puzzle):
    right, wrong = sorted(
        answer_questions(puzzle, "yes_no", random.Random(0)),
        key=lambda own: own.annotation.answer,
        reverse=True,
    )
    assert right.annotation.question == "Is choice C the missing panel?"
    assert (right.annotation.answer, wrong.annotation.answer) == ("yes", "no")
    assert prompt_text(right, "perception") == (
        "Is choice C the missing panel? Answer the question with yes or no."
    )
    assert prompt_text(right, "cot").endswith(
        "panel? Generate a reason first and then output yes or no."
    )
    assert [worth(text, right) for text in ("Yes.", "no", "yes and no")] == [1.0, 0.0, 0.0]


def test_neither_the_letter_nor_the_order_gives_the_verdict_away(puzzle):
    seen, first = set(), []
    for seed in range(300):
        pair = answer_questions(puzzle, "yes_no", random.Random(seed))
        assert sorted(own.annotation.answer for own in pair) == ["no", "yes"]
        seen |= {own.annotation.question for own in pair}
        first.append(pair[0].annotation.answer)
    assert seen == {f"Is choice {letter} the missing panel?" for letter in "ABCDEFGH"}
    assert 110 <= first.count("yes") <= 190


def test_the_stage_of_choices_is_the_puzzle_itself(zoo, annotated):
    for puzzle in (zoo[0], annotated(), annotated(choices=(), answer="a fish")):
        assert answer_questions(puzzle, "choice", random.Random(0)) == (puzzle,)


def test_an_open_question_by_hand(puzzle):
    (own,) = answer_questions(puzzle, "open", random.Random(0))
    assert prompt_text(own, "perception") == (
        "What does the missing panel look like? Complete this line: type _, size _, color _. "
        "Type: triangle, square, pentagon, hexagon or circle. Size: from 0 to 5. "
        "Color: from 0 (white) to 9 (black). Answer the question with a short answer."
    )
    assert (own.annotation.answer, own.annotation.answer_kind) == (
        "type hexagon, size 4, color 7",
        "tuple",
    )
    # two of three right, of four in both together
    assert worth("type hexagon, size 3, color 7", own) == pytest.approx(2 / 4)
    assert worth("type hexagon", own) == pytest.approx(1 / 3)
    assert worth("Color 7, Type hexagon, Size 4.", own) == 1.0
    assert worth("type _, size _, color _", own) == 0.0
    # sizes and colors share their digits, so the names count
    assert worth("hexagon, 4, 7", own) == 0.0


def test_noise_is_not_asked_for(grid):
    (own,) = answer_questions(grid, "open", random.Random(0))
    assert own.annotation.answer == "position 123, type hexagon, size 4"
    assert own.annotation.question == (
        "What does the missing panel look like? Complete this line: position _, type _, size _. "
        "Position: the filled slots, numbered from 1 row by row, as digits without spaces. "
        "Type: triangle, square, pentagon, hexagon or circle. Size: from 0 to 5."
    )


def test_components_are_named_and_their_words_told_once(zoo):
    puzzle = next(p for p in zoo if p.configuration.startswith("up"))
    (own,) = answer_questions(puzzle, "open", random.Random(0))
    form = "upper type _, upper size _, upper color _, lower type _, lower size _, lower color _."
    assert f"Complete this line: {form} Type: " in own.annotation.question
    assert own.annotation.question.count("Size: from 0 to 5.") == 1


def test_every_open_question_has_the_words_of_its_answer(zoo):
    for puzzle in zoo:
        (own,) = answer_questions(puzzle, "open", random.Random(0))
        question, answer = own.annotation.question, own.annotation.answer
        assert worth(answer, own) == 1.0
        assert worth(prompt_text(own, "perception"), own) == 0.0
        assert [worth(text, own) for text in GARBAGE] == [0.0] * len(GARBAGE)
        for item in answer.split(", "):
            name, _, value = item.rpartition(" ")
            assert f"{name} _" in question
            known = question.replace("-", " ").replace(",", " ").replace(".", " ").split()
            assert value.isdecimal() or set(value.split("-")) <= set(known), item


def test_a_group_has_no_missing_panel(zoo):
    puzzle = next(p for p in zoo if p.configuration == "group")
    (own,) = answer_questions(puzzle, "open", random.Random(0))
    start = "What does a panel that belongs with those shown look like? Complete this line: "
    assert own.annotation.question.startswith(start)
    for own in answer_questions(puzzle, "yes_no", random.Random(0)):
        assert own.annotation.question[:12] == "Does choice "
        assert own.annotation.question[13:] == " belong with the panels shown?"


def test_without_a_state_or_a_chain_only_the_choice_can_be_asked(puzzle, annotated):
    for own in (annotated(), chain_without_a_rule(puzzle)):
        for stage in ("yes_no", "open"):
            assert answer_questions(own, stage, random.Random(0)) == ()
            assert ask_puzzle(own, stage) == ()
    assert ask_puzzle(chain_without_a_rule(puzzle), "perception", 3)


def test_people_s_own_questions_are_asked_once_each(annotated):
    pairs = (("How many tiles?", "5"), ("Is it red?", "No"), ("How many tiles?", "5"))
    found = ask_puzzle(annotated(perception=pairs), "perception")
    assert [(o.annotation.question, o.annotation.answer_kind) for o in found] == [
        ("How many tiles?", "count"),
        ("Is it red?", "yes_no"),
    ]
    assert [worth(text, found[0]) for text in ("5", "five", "4")] == [1.0, 1.0, 0.0]
    assert [worth(text, found[1]) for text in ("No", "no.", "yes")] == [1.0, 1.0, 0.0]
    assert ask_puzzle(annotated(perception=()), "perception") == ()


@pytest.mark.parametrize("about", ["perception", "yes_no", "open"])
def test_the_puzzle_s_id_alone_decides_what_is_drawn(puzzle, about):
    whole = ask_puzzle(puzzle, about)
    assert whole == ask_puzzle(puzzle, about, 10_000)
    assert len({own.puzzle_id for own in whole}) == len(whole)
    few = ask_puzzle(puzzle, about, 1)
    assert few == ask_puzzle(puzzle, about, 1) and len(few) == 1 and set(few) <= set(whole)


def test_other_puzzles_are_asked_other_questions(puzzle):
    renamed = dataclasses.replace(puzzle, puzzle_id="other")
    texts = [
        {own.annotation.question for own in ask_puzzle(one, "perception", 8)}
        for one in (puzzle, renamed)
    ]
    assert len(texts[0]) == 8 and texts[0] != texts[1]


def test_a_question_with_lettered_lines_has_its_request_on_a_line_of_its_own(puzzle):
    question = Question("Which type?\nA: circle\nB: square", "B", form="multiple_choice")
    own = asked(puzzle, question)
    assert prompt_text(own, "perception") == (
        "Which type?\nA: circle\nB: square\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert prompt_text(own, "cot").endswith(
        "B: square\nGenerate a reason first and then output a letter answer."
    )
    assert prompt_text(own, "perception", "tags").endswith(
        "directly. Write the answer alone between <answer> and </answer>."
    )
