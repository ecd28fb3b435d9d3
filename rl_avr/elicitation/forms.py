"""Facts -> questions: open ones, ones with lettered options, ones with yes or no."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rl_avr.contracts import CHOICE_LETTERS
from rl_avr.elicitation.facts import Fact, StateKey
from rl_avr.elicitation.fluent import capitalized
from rl_avr.elicitation.question_words import FAMILIES, Level

Form = Literal["open", "multiple_choice", "yes_no"]
FORMS: tuple[Form, ...] = ("open", "multiple_choice", "yes_no")

_MOST_OPTIONS = 4


@dataclass(frozen=True)
class Question:
    """A question about a puzzle's image and its gold answer.

    Args:
        text: the question; options, where it has them, on lines of their own.
        answer: in canonical form: words, a letter, or yes or no.
        accepted: other ways to say it.
        level: from the whole picture to what values have to do with one another.
        family: a key of `question_words.FAMILIES`, or `annotated`.
        form: what kind of answer is wanted.
        options: the texts of the options, in the order of their letters.
        key: the value of the state asked for, where it is just one.
        panel: the panel asked about, as claims name it; empty for the whole.
    """

    text: str
    answer: str
    accepted: tuple[str, ...] = ()
    level: Level = "fine"
    family: str = ""
    form: Form = "open"
    options: tuple[str, ...] = ()
    key: StateKey | None = None
    panel: str = ""


def possible_forms(fact: Fact, forms: Sequence[Form] = FORMS) -> list[Form]:
    """Returns the forms in which a fact can be asked."""
    family = FAMILIES[fact.family]
    can_be = {
        "open": bool(family.open),
        "multiple_choice": bool(family.open and fact.others),
        "yes_no": bool(fact.others or not family.open),
    }
    return [form for form in forms if can_be[form]]


def make_questions(
    facts: Iterable[Fact], rng: random.Random, forms: Sequence[Form] = FORMS
) -> tuple[Question, ...]:
    """Returns one question per fact that can be asked in one of the forms, in order.

    Within each family, half of the yes-no questions assert something wrong. Wrong answers
    are drawn as often as they are right elsewhere in the same facts, so that neither an
    option nor an assertion gives itself away by being unusual.

    Args:
        facts: what to ask about.
        rng: chooses paraphrases, forms, options and what is asserted.
        forms: the forms wanted.
    """
    facts = list(facts)
    chosen = [
        (fact, rng.choice(possible)) for fact in facts if (possible := possible_forms(fact, forms))
    ]
    is_right = _verdicts(chosen, rng)
    usual: dict[tuple[str, frozenset[str]], Counter[str]] = {}
    for fact in facts:
        usual.setdefault(_domain(fact), Counter())[fact.answer] += 1
    return tuple(
        make_question(fact, form, rng, is_right.get(i, True), usual[_domain(fact)])
        for i, (fact, form) in enumerate(chosen)
    )


def _verdicts(chosen: Sequence[tuple[Fact, Form]], rng: random.Random) -> dict[int, bool]:
    """Returns place -> whether a yes-no question asserts the right answer."""
    free: dict[str, list[int]] = {}
    for i, (fact, form) in enumerate(chosen):
        if form == "yes_no" and fact.others:
            free.setdefault(fact.family, []).append(i)
    found: dict[int, bool] = {}
    for places in free.values():
        first = rng.random() < 0.5
        rng.shuffle(places)
        found |= {place: (k % 2 == 0) == first for k, place in enumerate(places)}
    return found


def _domain(fact: Fact) -> tuple[str, frozenset[str]]:
    return fact.family, frozenset((fact.answer, *fact.others))


def make_question(
    fact: Fact,
    form: Form,
    rng: random.Random,
    is_right: bool = True,
    usual: Mapping[str, int] | None = None,
) -> Question:
    """Returns a fact as a question of one form.

    Args:
        fact: what to ask about; `possible_forms` says in which forms.
        form: the form.
        rng: chooses the paraphrase, the options and the wrong answers.
        is_right: whether a yes-no question asserts the right answer.
        usual: how often an answer is right elsewhere; None for all alike.
    """
    family = FAMILIES[fact.family]
    args = dict(fact.args)
    if form == "yes_no":
        text, answer = rng.choice(family.yes_no), fact.answer
        if fact.others:
            args["answer"] = fact.answer if is_right else _wrong(fact, 1, usual, rng)[0]
            answer = "yes" if is_right else "no"
        return _question(fact, form, capitalized(text.format(**args)), answer)
    text = rng.choice(family.open).format(**args)
    if form == "open":
        return _question(fact, form, text, fact.answer, fact.accepted)
    options = [fact.answer, *_wrong(fact, _MOST_OPTIONS - 1, usual, rng)]
    rng.shuffle(options)
    letter = CHOICE_LETTERS[options.index(fact.answer)]
    lines = [f"{c}: {option}" for c, option in zip(CHOICE_LETTERS, options, strict=False)]
    accepted = (f"{letter}: {fact.answer}", fact.answer, *fact.accepted)
    return _question(fact, form, "\n".join([text, *lines]), letter, accepted, tuple(options))


def _wrong(
    fact: Fact, count: int, usual: Mapping[str, int] | None, rng: random.Random
) -> list[str]:
    """Returns different wrong answers, usual ones more often; fewer where there are not enough."""
    left = list(fact.others)
    weights = [1 + (usual or {}).get(other, 0) for other in left]
    found = []
    for _ in range(min(count, len(left))):
        k = rng.choices(range(len(left)), weights)[0]
        weights.pop(k)
        found.append(left.pop(k))
    return found


def _question(
    fact: Fact,
    form: Form,
    text: str,
    answer: str,
    accepted: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
) -> Question:
    return Question(
        text,
        answer,
        accepted,
        FAMILIES[fact.family].level,
        fact.family,
        form,
        options,
        fact.key,
        fact.panel,
    )
