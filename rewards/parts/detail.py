"""RewardMap's detail reward."""

from rewards.parts.perception import perception_accuracy
from rewards.parts.rule import rule
from rl_avr.contracts import ParsedCompletion, Puzzle


def detail(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns what the steps of a chain are worth, whatever its answer.

        value = (share of the context's attributes claimed rightly
                 + share of attributes whose rule is named rightly) / 2

    Where there are no rules the first share alone. No claim: 0. None for a puzzle
    without a state. Both shares are 1 for the gold chain, so no text is worth more.

    Source: detail reward, RewardMap (2510.02240), without its weight by difficulty,
    which cancels in a group, and without its penalty, which its last right step meets.
    """
    seen = perception_accuracy(parsed, puzzle)
    named = rule(parsed, puzzle)
    return seen if seen is None or named is None else (seen + named) / 2
