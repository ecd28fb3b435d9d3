"""Orders in which a conversation asks its questions.

    elicitation_shuffled   level by level from coarse to fine; shuffled within the levels
                           below the coarse one
    base_shuffled          one shuffle over all levels: details are asked at once
    sequential             level by level, each in grid order: the control, which can be
                           answered from the order alone

Source: LLaVA-AVR (arXiv 2504.01324): 95% perception with the first, 82% with details at
once, 40% in grid order.
"""

import random
from collections.abc import Sequence
from typing import Literal

from rl_avr.elicitation.forms import Question
from rl_avr.elicitation.question_words import LEVELS
from rl_avr.errors import ConfigError

Order = Literal["elicitation_shuffled", "base_shuffled", "sequential"]
ORDERS: tuple[Order, ...] = ("elicitation_shuffled", "base_shuffled", "sequential")


def ordered(
    questions: Sequence[Question], order: Order, rng: random.Random
) -> tuple[Question, ...]:
    """Returns the same questions in one of the orders.

    Args:
        questions: questions about one puzzle, in any order.
        order: one of `ORDERS`.
        rng: shuffles; a sequential order does not use it.

    Raises:
        ConfigError: there is no such order.
    """
    if order not in ORDERS:
        raise ConfigError(f"order: expected one of {', '.join(ORDERS)}, got {order!r}")
    if order == "base_shuffled":
        return tuple(rng.sample(questions, k=len(questions)))
    in_grid = sorted(questions, key=_grid_place)
    if order == "sequential":
        return tuple(in_grid)
    found: list[Question] = []
    for level in LEVELS:
        same = [question for question in in_grid if question.level == level]
        found += same if level == "coarse" else rng.sample(same, k=len(same))
    return tuple(found)


def _grid_place(question: Question) -> tuple[int, int, int]:
    """Returns level, then the panel: the whole, the shown panels, the choices.

    The sort is stable, so questions about one panel keep the order they came in.
    """
    kind, _, index = question.panel.partition(":")
    group = ("", "context", "choice").index(kind)
    return LEVELS.index(question.level), group, int(index or 0)
