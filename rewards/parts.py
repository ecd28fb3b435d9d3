"""The parts of the reward: pure functions of a parsed completion and its puzzle.

Each returns a number in [0, 1], or None where it cannot judge.
"""

from rl_avr.contracts import Panel, PanelClaim, ParsedCompletion, Puzzle, VerdictClaim
from rl_avr.puzzles.grammar import ATTRIBUTES, level


def format_part(parsed: ParsedCompletion, puzzle: Puzzle) -> float:
    """Returns 1 where every section is there, in order, with one answer; else 0."""
    return float(parsed.status == "ok")


def choice_part(parsed: ParsedCompletion, puzzle: Puzzle) -> float:
    """Returns 1 where the one chosen letter is the right one; else 0.

    A truncated completion, none, several or unknown letters: 0.
    """
    return float(parsed.status != "truncated" and parsed.choice_index == puzzle.answer_index)


def perception_part(parsed: ParsedCompletion, puzzle: Puzzle) -> float:
    """Returns the F1 of the claims about shown panels and choices.

        precision = right claims, each counted once / claims
        recall    = (panel, attribute) pairs of the context claimed rightly / all of them

    A claim that repeats or contradicts another counts again among the claims, so
    neither repeating a sure one nor naming every value pays. No claim at all: 0. Claims
    about the missing panel are predictions, not perception, and do not count.
    """
    claims = [claim for claim in parsed.panel_claims if claim.panel != "missing"]
    right = {(c.panel, c.attribute) for c in claims if is_true(c, puzzle)}
    seen = [panel for panel, _ in right if panel.startswith("context:")]
    if not seen:
        return 0.0
    precision = len(right) / len(claims)
    recall = len(seen) / (len(puzzle.context) * len(ATTRIBUTES))
    return 2 * precision * recall / (precision + recall)


def perception_accuracy(parsed: ParsedCompletion, puzzle: Puzzle) -> float:
    """Returns the share of the context's attributes that are claimed rightly.

    An attribute claimed both rightly and wrongly counts as wrong; one not claimed, too.
    """
    verdicts: dict[tuple[str, str], bool] = {}
    for claim in parsed.panel_claims:
        if claim.panel.startswith("context:"):
            key = (claim.panel, claim.attribute)
            verdicts[key] = verdicts.get(key, True) and is_true(claim, puzzle)
    return sum(verdicts.values()) / (len(puzzle.context) * len(ATTRIBUTES))


def rule_part(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns the share of attributes whose rule is named rightly, once, parameter included.

    None for a puzzle without rules.
    """
    if not puzzle.rules:
        return None
    right = 0
    for rule in puzzle.rules:
        named = [c.rule for c in parsed.rule_claims if c.rule.attribute == rule.attribute]
        right += named == [rule]
    return right / len(puzzle.rules)


def is_true(claim: PanelClaim, puzzle: Puzzle) -> bool:
    """Returns whether a claim agrees with the state; `missing` means the right answer."""
    return level(claimed_panel(claim.panel, puzzle), claim.attribute) == claim.value


def is_right_verdict(claim: VerdictClaim, puzzle: Puzzle) -> bool:
    """Returns whether a verdict about a choice's attribute agrees with the right answer."""
    value = level(puzzle.choices[claim.choice_index], claim.attribute)
    return claim.fits == (value == level(puzzle.answer, claim.attribute))


def claimed_panel(name: str, puzzle: Puzzle) -> Panel:
    """Returns the panel that a claim's name points at."""
    if name == "missing":
        return puzzle.answer
    kind, index = name.split(":")
    return (puzzle.context if kind == "context" else puzzle.choices)[int(index)]
