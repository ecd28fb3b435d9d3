"""The parts of the reward: pure functions of a parsed completion and its puzzle.

Each returns a number in [0, 1], or None where it cannot judge: perception and rules of
a puzzle whose state is not known, the choice of an open question.

A claim is named by panel, component, attribute and slot. The names that the puzzle's
own chain would state are the ones that count as seen.
"""

from rl_avr.contracts import Panel, PanelClaim, ParsedCompletion, Puzzle, Scene, VerdictClaim
from rl_avr.elicitation.schema import schema_of, stated_values
from rl_avr.puzzles.grammar import panel_value

Key = tuple[str, int, str, int | None]
"""Panel, component, attribute and slot of a claim."""


def format_part(parsed: ParsedCompletion, puzzle: Puzzle) -> float:
    """Returns 1 where every section is there, in order, with one answer; else 0."""
    return float(parsed.status == "ok")


def choice_part(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns 1 where the one chosen letter is the right one; else 0.

    A truncated completion, none, several or unknown letters: 0. None for an open
    question, whose answer is no letter.
    """
    if puzzle.answer_index is None:
        return None
    return float(parsed.status != "truncated" and parsed.choice_index == puzzle.answer_index)


def perception_part(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns the F1 of the claims about shown panels and choices.

        precision = right claims, each counted once / claims
        recall    = names that the chain of the context states, claimed rightly / all of them

    A claim that repeats or contradicts another counts again among the claims, so
    neither repeating a sure one nor naming every value pays. No claim at all: 0. Claims
    about the missing panel are predictions, not perception, and do not count. None for
    a puzzle without a state.
    """
    if not puzzle.has_state:
        return None
    claims = [claim for claim in parsed.panel_claims if claim.panel != "missing"]
    right = {_key(claim) for claim in claims if is_true(claim, puzzle)}
    stated = stated_keys(puzzle)
    seen = right & stated
    if not seen:
        return 0.0
    precision = len(right) / len(claims)
    recall = len(seen) / len(stated)
    return 2 * precision * recall / (precision + recall)


def perception_accuracy(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns the share of what the context's chain states that is claimed rightly.

    What is claimed both rightly and wrongly counts as wrong; what is not claimed, too.
    None for a puzzle without a state.
    """
    if not puzzle.has_state:
        return None
    verdicts: dict[Key, bool] = {}
    for claim in parsed.panel_claims:
        key = _key(claim)
        verdicts[key] = verdicts.get(key, True) and is_true(claim, puzzle)
    stated = stated_keys(puzzle)
    return sum(verdicts.get(key, False) for key in stated) / len(stated)


def rule_part(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns the share of attributes whose rule is named rightly, once, parameter included.

    An attribute that has no rule counts as one more, wrong one where a rule is named for
    it, so naming a rule for everything does not pay. None for a puzzle without rules.
    """
    if not puzzle.rules:
        return None
    named: dict[tuple[int, str], list[object]] = {}
    for claim in parsed.rule_claims:
        named.setdefault((claim.rule.component, claim.rule.attribute), []).append(claim.rule)
    ruled = {(rule.component, rule.attribute): [rule] for rule in puzzle.rules}
    right = sum(named.get(key) == rules for key, rules in ruled.items())
    return right / len(named.keys() | ruled.keys())


def is_true(claim: PanelClaim, puzzle: Puzzle) -> bool:
    """Returns whether a claim agrees with the state; `missing` means the right answer.

    False for a panel, component, attribute or slot that the puzzle does not have.
    """
    panel = claimed_panel(claim.panel, puzzle)
    if panel is None:
        return False
    return _value(panel, claim.attribute, claim.component, claim.slot) == claim.value


def is_right_verdict(claim: VerdictClaim, puzzle: Puzzle) -> bool:
    """Returns whether a verdict about a choice's attribute agrees with the right answer.

    An attribute that has several values in a choice does not fit.
    """
    choice = claimed_panel(f"choice:{claim.choice_index}", puzzle)
    if choice is None:
        return False
    value = _value(choice, claim.attribute, claim.component)
    answer = _value(puzzle.answer, claim.attribute, claim.component)
    return claim.fits == (value is not None and value == answer)


def stated_keys(puzzle: Puzzle) -> set[Key]:
    """Returns the names of everything that a chain states about the shown panels."""
    return {
        (f"context:{i}", line.component, line.attribute, slot)
        for line in schema_of(puzzle).lines
        for i, panel in enumerate(puzzle.context)
        for slot, _ in stated_values(panel, line)
    }


def claimed_panel(name: str, puzzle: Puzzle) -> Panel | Scene | None:
    """Returns the panel that a claim's name points at, or None where there is none."""
    if name == "missing":
        return puzzle.answer if puzzle.choices and puzzle.answer_index is not None else None
    kind, _, index = name.partition(":")
    panels = puzzle.context if kind == "context" else puzzle.choices
    return panels[int(index)] if int(index) < len(panels) else None


def _key(claim: PanelClaim) -> Key:
    return claim.panel, claim.component, claim.attribute, claim.slot


def _value(
    panel: Panel | Scene, attribute: str, component: int, slot: int | None = None
) -> int | None:
    if isinstance(panel, Panel):
        return panel_value(panel, attribute, component, slot)
    return dict(panel.values).get(attribute) if component == 0 and slot is None else None
