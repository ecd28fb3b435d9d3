"""What a completion says about the rules."""

from rewards.state import LastAnswer
from rl_avr.contracts import ParsedCompletion, Puzzle
from rl_avr.puzzles.puzzle_cache import PuzzleCache


def rule(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns the share of attributes whose rule is named rightly; see `rule_truths`.

    Naming no rule: 0. None for a puzzle without rules.
    """
    truths = rule_truths(parsed, puzzle)
    return sum(truths.values()) / len(truths) if puzzle.rules else None


_ruled = PuzzleCache(lambda puzzle: {(r.component, r.attribute): r for r in puzzle.rules})


def _rule_truths(parsed: ParsedCompletion, puzzle: Puzzle) -> dict[tuple[int, str], bool]:
    ruled = _ruled(puzzle)
    truths = dict.fromkeys(ruled, False)
    named = set()
    for _, passage in parsed.passages:
        for rule, _, _ in passage.rules:
            key = rule.component, rule.attribute
            truths[key] = key not in named and ruled.get(key) == rule
            named.add(key)
    return truths


rule_truths = LastAnswer(_rule_truths)
"""Returns (component, attribute) -> whether its rule is named once, parameter included.

An attribute that has no rule counts as one more, wrong one where a rule is named for it,
so naming a rule for everything does not pay; naming two for one attribute does not either."""
