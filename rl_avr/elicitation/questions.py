"""Perception questions with gold answers: coarse ones first, then fine ones shuffled.

The coarse questions make a policy look at a row as a whole before it names single
values; the fine ones come in random order, because grid order can be answered from
the order alone (LLaVA-AVR reports 95% perception shuffled, 40% in grid order).

Source: LLaVA-AVR (arXiv 2504.01324), visual elicitation.
"""

import random
from collections.abc import Sequence

from rl_avr import prompts
from rl_avr.contracts import Panel, Puzzle
from rl_avr.elicitation.facts import Fact, StateKey
from rl_avr.elicitation.forms import FORMS, Form, Question, make_questions
from rl_avr.elicitation.orders import Order, ordered
from rl_avr.elicitation.question_words import FAMILIES
from rl_avr.elicitation.regular_facts import regular_facts
from rl_avr.elicitation.scene_facts import scene_facts
from rl_avr.puzzles.grammar import ATTRIBUTES, level

_EARLY = ("coarse", "middle")


def perception_questions(
    puzzle: Puzzle, rng: random.Random, forms: Sequence[Form] = FORMS
) -> tuple[Question, ...]:
    """Returns questions about everything in a puzzle, in grid order, from coarse to fine.

    Of an annotated puzzle, the questions that people wrote.

    Args:
        puzzle: the puzzle to ask about.
        rng: chooses paraphrases, forms and options.
        forms: the forms wanted; of each fact's possible ones, one is chosen.
    """
    if puzzle.annotation is not None:
        return annotated_questions(puzzle)
    return make_questions(facts_of(puzzle), rng, forms)


def facts_of(puzzle: Puzzle) -> list[Fact]:
    """Returns what can be asked about a puzzle with a state, in grid order, coarse to fine."""
    return list(regular_facts(puzzle) if puzzle.family == "rpm" else scene_facts(puzzle))


def annotated_questions(puzzle: Puzzle) -> tuple[Question, ...]:
    """Returns the perception questions of an annotation; none where there are none."""
    if puzzle.annotation is None:
        return ()
    return tuple(
        Question(
            text,
            answer,
            family="annotated",
            form="yes_no" if answer.strip().casefold() in ("yes", "no") else "open",
        )
        for text, answer in puzzle.annotation.perception
    )


def coarse_questions(puzzle: Puzzle) -> tuple[Question, ...]:
    """Returns how each attribute changes along each of the two complete rows.

    Args:
        puzzle: a regular puzzle with one entity a panel.
    """
    return tuple(
        Question(
            prompts.ROW_QUESTIONS[name].format(row=row + 1),
            _trend([_level(panel, name) for panel in puzzle.context[3 * row : 3 * row + 3]]),
            level="coarse",
            family="row_trend",
            panel=f"context:{3 * row}",
        )
        for row in range(2)
        for name in ATTRIBUTES
    )


def fine_questions(puzzle: Puzzle) -> tuple[Question, ...]:
    """Returns one question per attribute of every shown panel and choice, in grid order.

    Args:
        puzzle: a regular puzzle with one entity a panel.
    """
    panels = [(f"context:{i}", panel) for i, panel in enumerate(puzzle.context)]
    panels += [(f"choice:{i}", panel) for i, panel in enumerate(puzzle.choices)]
    return tuple(
        Question(
            prompts.PANEL_QUESTIONS[name].format(panel=prompts.panel_name(key)),
            prompts.value_word(name, _level(panel, name)),
            family="attribute",
            key=StateKey(key, name, _level(panel, name)),
            panel=key,
        )
        for key, panel in panels
        for name in ATTRIBUTES
    )


def elicitation(
    puzzle: Puzzle,
    num_fine: int,
    rng: random.Random,
    num_coarse: int = 3,
    order: Order = "elicitation_shuffled",
) -> tuple[Question, ...]:
    """Returns one conversation's questions: `num_coarse` coarse ones and `num_fine` fine ones.

    A Center puzzle is asked in one wording; every other one in all wordings and forms. An
    annotated puzzle is asked what people wrote, which has no coarse questions.

    Args:
        puzzle: the puzzle to ask about.
        num_fine: how many fine questions, drawn without replacement; all where there are fewer.
        rng: decides which questions and their order.
        num_coarse: how many coarse questions, likewise.
        order: one of `orders.ORDERS`.
    """
    is_center = puzzle.family == "rpm" and puzzle.configuration == "center_single"
    known: tuple[Question, ...] | None = None
    if is_center:
        known = (*coarse_questions(puzzle), *fine_questions(puzzle))
    elif puzzle.annotation is not None:
        known = annotated_questions(puzzle)
    facts = facts_of(puzzle) if known is None else []
    levels = [q.level for q in known or ()] + [FAMILIES[fact.family].level for fact in facts]
    early = [place for place, level in enumerate(levels) if level in _EARLY]
    late = [place for place, level in enumerate(levels) if level not in _EARLY]
    first = rng.sample(early, k=min(num_coarse, len(early)))
    rest = rng.sample(late, k=min(num_fine, len(late)))
    places = [*(first if is_center else sorted(first)), *rest]
    if order != "elicitation_shuffled":
        places.sort()
    if known is None:
        asked = make_questions([facts[i] for i in places], rng)
    else:
        asked = tuple(known[i] for i in places)
    return asked if order == "elicitation_shuffled" else ordered(asked, order, rng)


def _level(panel: object, attribute: str) -> int:
    assert isinstance(panel, Panel)
    return level(panel, attribute)


def _trend(levels: list[int]) -> str:
    same, up, down, mixed = prompts.ROW_ANSWERS
    if levels[0] == levels[1] == levels[2]:
        return same
    if levels[0] <= levels[1] <= levels[2]:
        return up
    if levels[0] >= levels[1] >= levels[2]:
        return down
    return mixed
