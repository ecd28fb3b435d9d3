"""Solves a non-regular puzzle from what it shows: the context alone gives the rules."""

from collections.abc import Sequence

from rl_avr.contracts import Scene
from rl_avr.puzzles.nonregular.kind import Explanation, NonregularKind


def predict(kind: NonregularKind, context: Sequence[Scene], layout: str) -> tuple[Explanation, ...]:
    """Returns every explanation of the context: its rules and the values they predict.

    An attribute without a rule has no entry among the values. Empty where no attribute
    follows a rule.

    Raises:
        PuzzleError: the context does not fit the layout.
    """
    return kind.explain(context, layout)


def solve(
    kind: NonregularKind, context: Sequence[Scene], choices: Sequence[Scene], layout: str
) -> tuple[int, ...]:
    """Returns the indices of the choices that agree with some explanation of the context.

    Raises:
        PuzzleError: the context does not fit the layout.
    """
    explanations = predict(kind, context, layout)
    return tuple(
        index
        for index, choice in enumerate(choices)
        if any(
            all(choice.value(name) == value for name, value in values.items())
            for _, values in explanations
        )
    )
