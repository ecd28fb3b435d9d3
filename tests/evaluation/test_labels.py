"""Names of choices: asked for, drawn, and read back without mistaking one for another."""

from dataclasses import replace

import pytest

from rl_avr.contracts import CHOICE_LETTERS, Annotation, Puzzle
from rl_avr.elicitation.reading import read
from rl_avr.evaluation.labels import LABELS, in_letters, labelled_text, read_label
from rl_avr.prompts import in_tags, prompt_text

STYLES = tuple(LABELS)


def annotated(choices, question="What comes next?"):
    note = Annotation(question, tuple(choices), "A")
    return Puzzle("x", "annotated", "free", (), (), 0, (), 0, 0, note)


def test_every_name_is_of_one_style_alone():
    names = [name for style in STYLES for name in LABELS[style]]
    assert len(set(names)) == len(names)
    assert {len(LABELS[style]) for style in STYLES} == {len(CHOICE_LETTERS)}


@pytest.mark.parametrize("style", STYLES)
def test_names_are_read_back_by_their_own_style_alone(style):
    for other in STYLES:
        for index, name in enumerate(LABELS[other]):
            expected = index if other == style else None
            assert read_label(f" {name}\n", style, 8) == expected
            assert read_label(name, style, 4) == (expected if index < 4 else None)


@pytest.mark.parametrize(
    "text", ["", "0", "9", "44", "4.", "(4)", "iv", "IIII", "IX", "Ⅳ", "四", "٤", "4 or 5", "a"]
)
@pytest.mark.parametrize("style", STYLES)
def test_what_is_no_name_is_none(style, text):
    assert read_label(text, style, 8) is None


@pytest.mark.parametrize("kind", ["cot", "direct"])
@pytest.mark.parametrize("form", ["mark", "tags"])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("index", range(8))
def test_a_right_answer_is_right_in_every_style(puzzle, kind, form, style, index):
    """Prompted, answered and graded: only the asked style counts."""
    chain = "It is round.\n" if kind == "cot" else ""
    for said in STYLES:
        text = f"{chain}### Answer: {LABELS[said][index]}"
        text = in_tags(text) if form == "tags" else text
        parsed = read(in_letters(text, style, 8), puzzle, "stop", kind, form)
        assert parsed.choice_index == (index if said == style else None), (said, text)


@pytest.mark.parametrize("style", ["digits", "roman"])
def test_a_direct_answer_may_be_the_name_alone(puzzle, style):
    for index, name in enumerate(LABELS[style]):
        assert read(in_letters(f"{name}\n", style, 8), puzzle, kind="direct").choice_index == index
    for wrong in ("C", "9", "X", ""):
        assert read(in_letters(wrong, style, 8), puzzle, kind="direct").choice_index is None


def test_several_answers_stay_several(puzzle):
    text = "### Answer: 3\n### Answer: 3"
    assert read(in_letters(text, "digits", 8), puzzle).status == "several_answers"


def test_a_whole_chain_with_digits_is_whole(puzzle, chain):
    digits = chain.replace("### Answer: C", "### Answer: 3")
    for letter, digit in zip("ABCDEFGH", "12345678", strict=True):
        digits = digits.replace(f"\n{letter}: ", f"\n{digit}: ")
    assert digits != chain
    assert in_letters(digits, "digits", 8) == chain
    assert read(in_letters(digits, "digits", 8), puzzle).status == "ok"


@pytest.mark.parametrize("style", STYLES)
def test_letters_and_open_questions_stay_as_they_are(style):
    text = "I think so.\n### Answer: 4"
    assert in_letters(text, "letters", 8) == text
    assert in_letters(text, style, 0) == text


def test_what_is_asked_names_the_choices(puzzle):
    assert labelled_text(puzzle, "cot", "mark", "letters") == prompt_text(puzzle, "cot")
    text = labelled_text(puzzle, "cot", "mark", "roman")
    assert text.endswith("output a Roman numeral answer.")
    text = labelled_text(puzzle, "direct", "tags", "digits")
    assert "Answer with the option's number from the given choices directly. Write" in text
    assert "letter" not in text


def test_listed_choices_are_named_too():
    listed = annotated(["a cat", "B: a dog\nA: a cow"])
    assert labelled_text(listed, "cot", "mark", "digits") == (
        "What comes next?\n1: a cat\n2: B: a dog\nA: a cow\nGenerate a reason first and then "
        "output a number answer."
    )
    drawn = annotated("ABCD")
    assert "\n" not in labelled_text(drawn, "direct", "mark", "roman")


def test_a_question_that_quotes_the_request_is_left_alone(puzzle):
    note = Annotation("Write a letter answer. Why?", ("x", "y"), "A")
    asked = replace(annotated("xy"), annotation=note)
    text = labelled_text(asked, "cot", "mark", "digits")
    assert text.startswith("Write a letter answer. Why?\n1: x\n2: y\n")


def test_an_open_question_has_no_names():
    note = Annotation("How many?", (), "4", answer_kind="count")
    question = replace(annotated("ab"), answer_index=None, annotation=note)
    assert labelled_text(question, "cot", "mark", "roman") == prompt_text(question, "cot")
