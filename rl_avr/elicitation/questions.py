"""Perception questions with gold answers: coarse ones first, then fine ones shuffled.

The coarse questions make a policy look at a row as a whole before it names single
values; the fine ones come in random order, because grid order can be answered from
the order alone (LLaVA-AVR reports 95% perception shuffled, 40% in grid order).

Source: LLaVA-AVR (arXiv 2504.01324), visual elicitation.
"""

import random
from dataclasses import dataclass

from rl_avr import prompts
from rl_avr.contracts import Puzzle
from rl_avr.puzzles.grammar import ATTRIBUTES, level


@dataclass(frozen=True)
class Question:
    """A question about a puzzle's image and its gold answer."""

    text: str
    answer: str


def coarse_questions(puzzle: Puzzle) -> tuple[Question, ...]:
    """Returns how each attribute changes along each of the two complete rows."""
    return tuple(
        Question(
            prompts.ROW_QUESTIONS[name].format(row=row + 1),
            _trend([level(panel, name) for panel in puzzle.context[3 * row : 3 * row + 3]]),
        )
        for row in range(2)
        for name in ATTRIBUTES
    )


def fine_questions(puzzle: Puzzle) -> tuple[Question, ...]:
    """Returns one question per attribute of every shown panel and choice, in grid order."""
    panels = [(f"context:{i}", panel) for i, panel in enumerate(puzzle.context)]
    panels += [(f"choice:{i}", panel) for i, panel in enumerate(puzzle.choices)]
    return tuple(
        Question(
            prompts.PANEL_QUESTIONS[name].format(panel=prompts.panel_name(key)),
            prompts.value_word(name, level(panel, name)),
        )
        for key, panel in panels
        for name in ATTRIBUTES
    )


def elicitation(puzzle: Puzzle, num_fine: int, rng: random.Random) -> tuple[Question, ...]:
    """Returns one conversation's questions: three coarse, then `num_fine` fine ones.

    Args:
        puzzle: the puzzle to ask about.
        num_fine: how many fine questions, drawn without replacement.
        rng: decides which questions and their order.
    """
    coarse = rng.sample(coarse_questions(puzzle), k=3)
    fine = fine_questions(puzzle)
    return (*coarse, *rng.sample(fine, k=min(num_fine, len(fine))))


def _trend(levels: list[int]) -> str:
    same, up, down, mixed = prompts.ROW_ANSWERS
    if levels[0] == levels[1] == levels[2]:
        return same
    if levels[0] <= levels[1] <= levels[2]:
        return up
    if levels[0] >= levels[1] >= levels[2]:
        return down
    return mixed
