"""Facts as questions: forms, options and assertions that do not give themselves away."""

import random
from collections import Counter

import pytest

from rl_avr.elicitation.facts import Fact
from rl_avr.elicitation.forms import FORMS, make_question, make_questions, possible_forms
from rl_avr.elicitation.grading import grade_answer
from rl_avr.elicitation.question_words import FAMILIES
from rl_avr.elicitation.questions import perception_questions

TYPE = Fact(
    "attribute",
    (("attribute", "type"), ("where", "panel 3"), ("scale", "")),
    "square",
    ("quadrangle",),
    ("triangle", "pentagon", "hexagon", "circle"),
)
SLOT = Fact("slot_filled", (("where", "panel 3"), ("slot", "2")), "no")
FIXED = Fact("num_choices", (), "8", ("eight",))


class First(random.Random):
    """Chooses the first of everything."""

    def choice(self, seq):
        return seq[0]

    def shuffle(self, x):
        pass


def test_every_family_has_three_paraphrases_of_each_form():
    for name, family in FAMILIES.items():
        for ways in (family.open, family.yes_no):
            assert len(set(ways)) == len(ways)
            assert len(ways) >= 3 or (name == "slot_filled" and not ways)
        assert not any("{answer}" in way for way in family.open)
        assert name == "slot_filled" or all("{answer}" in way for way in family.yes_no)


def test_the_forms_that_a_fact_can_have():
    assert possible_forms(TYPE) == list(FORMS)
    assert possible_forms(SLOT) == ["yes_no"]
    assert possible_forms(FIXED) == ["open"]
    assert possible_forms(TYPE, ("yes_no",)) == ["yes_no"]
    assert make_questions([SLOT, FIXED], random.Random(0), ("multiple_choice",)) == ()


def test_an_open_question_by_hand():
    question = make_question(TYPE, "open", First())
    assert question.text == "What is the type of panel 3?"
    assert (question.answer, question.accepted) == ("square", ("quadrangle",))
    assert (question.level, question.family, question.form) == ("fine", "attribute", "open")


def test_a_question_with_options_by_hand():
    question = make_question(TYPE, "multiple_choice", First(0))
    assert question.options[0] == "square"
    assert len(set(question.options)) == 4
    text, *lines = question.text.split("\n")
    assert text == "What is the type of panel 3?"
    assert lines == [f"{c}: {o}" for c, o in zip("ABCD", question.options, strict=True)]
    assert question.answer == "A"
    assert grade_answer(question, "A")
    assert grade_answer(question, "square")
    assert not any(grade_answer(question, wrong) for wrong in "BCD")


def test_yes_no_questions_by_hand():
    right = make_question(TYPE, "yes_no", First(), is_right=True)
    assert (right.text, right.answer) == ("Is square the type of panel 3?", "yes")
    wrong = make_question(TYPE, "yes_no", First(), is_right=False)
    assert wrong.answer == "no"
    assert wrong.text in {f"Is {o} the type of panel 3?" for o in TYPE.others}
    slot = make_question(SLOT, "yes_no", First())
    assert (slot.text, slot.answer) == ("Is there a shape in slot 2 of panel 3?", "no")


@pytest.mark.parametrize("total", [1, 2, 7, 40])
def test_half_of_the_assertions_are_wrong_in_every_family(total):
    facts = [TYPE] * total + [FIXED] * 3
    for seed in range(5):
        questions = make_questions(facts, random.Random(seed), ("yes_no",))
        answers = Counter(question.answer for question in questions)
        assert answers.total() == total
        assert abs(answers["yes"] - answers["no"]) <= total % 2


def test_neither_yes_nor_a_letter_is_the_better_guess():
    questions = [
        q for seed in range(400) for q in make_questions([TYPE], random.Random(seed), FORMS[1:])
    ]
    letters = Counter(q.answer for q in questions if q.form == "multiple_choice")
    verdicts = Counter(q.answer for q in questions if q.form == "yes_no")
    assert set(letters) == set("ABCD")
    # a share of p has a standard deviation of sqrt(p (1 - p) n)
    for counts, share in ((letters, 0.25), (verdicts, 0.5)):
        total = counts.total()
        for count in counts.values():
            assert abs(count - share * total) < 3.5 * (share * (1 - share) * total) ** 0.5


def test_usual_answers_are_the_likelier_wrong_ones():
    rng = random.Random(0)
    usual = {"circle": 97, "square": 500}
    named = [make_question(TYPE, "yes_no", rng, False, usual).text for _ in range(1000)]
    # circle weighs 98 of 101
    assert sum("circle" in text for text in named) > 940
    assert not any("square" in text for text in named)


def test_options_alone_tell_little_where_some_answers_are_much_more_frequent():
    # small sizes are the usual ones: among wild options the least would be a good guess
    rng = random.Random(1)
    sizes = [min(rng.randrange(6), rng.randrange(6)) for _ in range(3000)]
    args = (("attribute", "size"), ("where", "panel 1"), ("scale", ""))
    facts = [
        Fact("attribute", args, str(s), (), tuple(str(o) for o in range(6) if o != s))
        for s in sizes
    ]
    usual = make_questions(facts, rng, ("multiple_choice",))
    wild = [make_question(fact, "multiple_choice", rng) for fact in facts]

    def edge(questions, guess):
        right = sum(q.options["ABCD".index(q.answer)] == guess(q.options) for q in questions)
        return abs(right / len(questions) - 0.25)

    assert edge(wild, min) > 0.15
    for guess in (min, max, lambda options: sorted(options)[1]):
        assert edge(usual, guess) < 0.10


def test_all_paraphrases_are_used_and_filled(zoo):
    seen = set()
    for seed, puzzle in enumerate(zoo[::2]):
        for question in perception_questions(puzzle, random.Random(seed)):
            assert "{" not in question.text
            assert question.text[0].isupper()
            seen.add((question.family, question.form))
    assert seen == {
        (name, form)
        for name, family in FAMILIES.items()
        for form in FORMS
        if form == "yes_no" or family.open
    }
