"""What a completion says about the rules."""

from rewards.state import LastAnswer
from rl_avr.contracts import ParsedCompletion, Puzzle, Rule


def rule(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns the share of attributes whose rule is named rightly; see `rule_truths`.

    Naming no rule: 0. None for a puzzle without rules.
    """
    truths = rule_truths(parsed, puzzle)
    return sum(truths.values()) / len(truths) if puzzle.rules else None


def _rule_truths(parsed: ParsedCompletion, puzzle: Puzzle) -> dict[tuple[int, str], bool]:
    named: dict[tuple[int, str], list[Rule]] = {}
    for rule, _, _ in parsed.rule_claims:
        named.setdefault((rule.component, rule.attribute), []).append(rule)
    ruled = {(rule.component, rule.attribute): [rule] for rule in puzzle.rules}
    return {key: key in ruled and named.get(key) == ruled[key] for key in {**ruled, **named}}


rule_truths = LastAnswer(_rule_truths)
"""Returns (component, attribute) -> whether its rule is named once, parameter included.

An attribute that has no rule counts as one more, wrong one where a rule is named for it,
so naming a rule for everything does not pay; naming two for one attribute does not either."""
