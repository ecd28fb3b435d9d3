"""What a completion says about the shown panels, against the state."""

from typing import NamedTuple

from rewards.tally import truths_of
from rewards.truth import stated_keys
from rl_avr.contracts import ParsedCompletion, Puzzle


class Perception(NamedTuple):
    """How much of what is said is true, how much of what is there is said; in [0, 1]."""

    precision: float
    recall: float
    f1: float


def perception(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns the F1 of the claims about shown panels and choices; see `perception_scores`."""
    scores = perception_scores(parsed, puzzle)
    return None if scores is None else scores.f1


def perception_scores(parsed: ParsedCompletion, puzzle: Puzzle) -> Perception | None:
    """Returns precision, recall and F1 of the claims about shown panels and choices.

        precision = right claims, each counted once / claims
        recall    = names that the chain of the context states, claimed rightly / all of them
        F1        = 2 precision recall / (precision + recall)

    A claim that repeats or contradicts another, or tells slot by slot what is one value,
    counts again among the claims, so neither repeating a sure one nor naming every value
    pays. No claim at all: all three are 0; claims about choices alone: recall and F1 are 0.
    Claims about the missing panel are predictions, not perception, and do not count. None
    for a puzzle without a state.

    Source: attribute F1 in the place of PeBR-R1's learned similarity (2509.13031).
    """
    stated = stated_keys(puzzle) if puzzle.has_state else None
    if not stated:
        return None
    counts = truths_of(parsed, puzzle).counts
    precision = counts.num_right / counts.num_shown if counts.num_shown else 0.0
    recall = counts.num_seen / len(stated)
    return Perception(precision, recall, f1(precision, recall))


def f1(precision: float, recall: float) -> float:
    """Returns the harmonic mean of precision and recall; 0 where either is 0."""
    if not precision or not recall:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def perception_accuracy(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns the share of what the context's chain states that is claimed rightly.

    What is claimed both rightly and wrongly counts as wrong; what is not claimed, too.
    None for a puzzle without a state.
    """
    stated = stated_keys(puzzle) if puzzle.has_state else None
    if not stated:
        return None
    return truths_of(parsed, puzzle).counts.num_sure / len(stated)
