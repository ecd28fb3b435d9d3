"""Claims against the state: what of a completion is true, and what there is to say.

A claim is named by panel, component, attribute and slot. The names that the puzzle's
own chain would state are the ones that count as seen.

What is known of a puzzle is worked out once for all its completions.
"""

from collections.abc import Callable, Hashable, Iterable, Set
from operator import itemgetter
from typing import NamedTuple

from rewards.state import Key, Prediction, choices_with, fits_of, values_of
from rl_avr.contracts import (
    Panel,
    PanelClaim,
    ParsedCompletion,
    Puzzle,
    RuleClaim,
    Scene,
    Span,
    VerdictClaim,
)
from rl_avr.elicitation.schema import schema_of, stated_values
from rl_avr.puzzles.puzzle_cache import PuzzleCache

FactKey = tuple[str | int | None, ...]
"""What a claim of any kind is about, its kind first: `panel`, `rule` or `fits`."""

key_of: Callable[[PanelClaim], Key] = itemgetter(
    *map(PanelClaim._fields.index, ("panel", "component", "attribute", "slot"))
)
"""Returns what a claim is about."""


class Judged(NamedTuple):
    """A claim of any kind with its truth.

    Args:
        key: what it is about; the same for claims that contradict each other.
        value: what it says; the same for claims that repeat each other.
        span: where it stands.
        is_true: whether the state agrees.
    """

    key: FactKey
    value: Hashable
    span: Span
    is_true: bool


def judged_claims(parsed: ParsedCompletion, puzzle: Puzzle) -> tuple[Judged, ...]:
    """Returns every claim about panels, rules and verdicts, in this order, with its truth.

    Claims that nothing is known to judge by are left out: all of them without a state,
    predictions and verdicts without a right answer.
    """
    if not puzzle.has_state:
        return ()
    has_answer = claimed_panel("missing", puzzle) is not None
    panels = [c for c in parsed.panel_claims if has_answer or c.panel != "missing"]
    values = values_of(puzzle)
    verdicts = parsed.verdict_claims if has_answer else ()
    return (
        *(
            Judged(panel_fact(key), claim.value, claim.span, values[key] == claim.value)
            for claim, key in zip(panels, map(key_of, panels), strict=True)
        ),
        *(
            Judged(
                rule_fact(c.rule.component, c.rule.attribute),
                (c.rule.kind, c.rule.parameter),
                c.span,
                is_right_rule(c, puzzle),
            )
            for c in parsed.rule_claims
        ),
        *(
            Judged(
                ("fits", v.choice_index, v.component, v.attribute),
                v.fits,
                v.span,
                is_right_verdict(v, puzzle),
            )
            for v in verdicts
        ),
    )


def panel_fact(key: Key) -> FactKey:
    """Returns the fact key of a claim about a panel."""
    return ("panel", *key)


def rule_fact(component: int, attribute: str) -> FactKey:
    """Returns the fact key of a claim about a rule."""
    return ("rule", component, attribute)


def is_true(claim: PanelClaim, puzzle: Puzzle) -> bool:
    """Returns whether a claim agrees with the state; `missing` means the right answer.

    False for a panel, component, attribute or slot that the puzzle does not have.
    """
    return values_of(puzzle)[key_of(claim)] == claim.value


def is_right_rule(claim: RuleClaim, puzzle: Puzzle) -> bool:
    """Returns whether the rule holds, component and parameter included."""
    return claim.rule in puzzle.rules


def is_right_verdict(claim: VerdictClaim, puzzle: Puzzle) -> bool:
    """Returns whether a verdict about a choice's attribute agrees with the right answer.

    An attribute that has several values in a choice does not fit. False for a choice
    that the puzzle does not have, and without a right answer.
    """
    key = claim.choice_index, claim.component, claim.attribute
    return fits_of(puzzle)[key] == claim.fits


def fitting_choices(predictions: Iterable[Prediction], puzzle: Puzzle) -> Set[int]:
    """Returns the choices that agree with every prediction about the missing panel."""
    agreeing = map(choices_with(puzzle).__getitem__, predictions)
    return frozenset(range(len(puzzle.choices))).intersection(*agreeing)


def _stated(puzzle: Puzzle) -> frozenset[Key]:
    values, stated = values_of(puzzle), []
    lines = schema_of(puzzle).lines
    for name, panel in values.panels.items():
        if name.startswith("context:"):
            for line in lines:
                for slot, value in stated_values(panel, line):
                    key = name, line.component, line.attribute, slot
                    stated.append(key)
                    if slot is None:
                        # the claims of the context will ask for it next
                        values[key] = value
    return frozenset(stated)


def _predicted(puzzle: Puzzle) -> frozenset[Key]:
    values = values_of(puzzle)
    if "missing" not in values.panels:
        return frozenset()
    keys = [("missing", rule.component, rule.attribute, None) for rule in puzzle.rules]
    return frozenset([key for key in keys if values[key] is not None])


stated_keys: Callable[[Puzzle], frozenset[Key]] = PuzzleCache(_stated)
"""Returns the names of everything that a chain states about the shown panels."""

predicted_keys: Callable[[Puzzle], frozenset[Key]] = PuzzleCache(_predicted)
"""Returns the names of what a chain predicts: each ruled attribute of the missing panel.

Empty without a right answer. An attribute of which the answer has several values cannot
be predicted."""


def claimed_panel(name: str, puzzle: Puzzle) -> Panel | Scene | None:
    """Returns the panel that a claim's name points at, or None where there is none."""
    if name == "missing":
        return puzzle.answer if puzzle.choices and puzzle.answer_index is not None else None
    kind, _, index = name.partition(":")
    panels = puzzle.context if kind == "context" else puzzle.choices
    return panels[int(index)] if int(index) < len(panels) else None
