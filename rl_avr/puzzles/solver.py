"""Solves a matrix from its context alone: which rules explain it, which choices fit.

An attribute of a component is ruled where the eight shown panels agree with at least
one rule; a choice then fits only with a value that one of those rules predicts. An
attribute that differs inside a panel is noise. Where each row keeps its noise, as it
does when the entities stay or only move, the missing panel must keep it too; any other
noise says nothing about the choice.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rl_avr.contracts import Component, Panel, Rule
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.grammar import (
    ATTRIBUTES,
    CONFIGURATIONS,
    ComponentGrammar,
    panel_value,
    position,
)
from rl_avr.puzzles.rules import explain_layout, explain_values

GROUPS = ("layout", *ATTRIBUTES)
"""What one rule governs: number and position together, then each attribute."""


class Explanation(NamedTuple):
    """A rule that the context obeys and what it predicts for the missing panel.

    `ninth` is a value, or the sorted values of all entities where they differ.
    """

    rule: Rule
    ninth: int | tuple[int, ...]


Explanations = dict[tuple[int, str], tuple[Explanation, ...]]
"""By component and group; an empty tuple means noise."""


def explain(context: Sequence[Panel], configuration: str) -> Explanations:
    """Returns every explanation of every group, read from the shown panels alone.

    Args:
        context: the eight shown panels.
        configuration: RAVEN's folder name.

    Raises:
        PuzzleError: not eight panels of that configuration.
    """
    grammars = components_of(configuration)
    if len(context) != 8 or any(len(p.components) != len(grammars) for p in context):
        raise PuzzleError(
            f"configuration {configuration!r}: expected 8 panels of {len(grammars)} components, "
            f"got {[len(p.components) for p in context]}"
        )
    found: Explanations = {}
    for index, grammar in enumerate(grammars):
        parts = [panel.components[index] for panel in context]
        if grammar.has_layout_rule:
            layouts = explain_layout([position(part) for part in parts], len(grammar.slots))
            found[index, "layout"] = _placed(layouts, index)
        for name in ATTRIBUTES:
            found[index, name] = _explain_attribute(parts, name, grammar, index)
    return found


def solve(
    context: Sequence[Panel], choices: Sequence[Panel], configuration: str
) -> tuple[int, ...]:
    """Returns the indices of the choices that some set of rules predicts, ascending.

    Args:
        context: the eight shown panels.
        choices: the answer set.
        configuration: RAVEN's folder name.

    Raises:
        PuzzleError: as `explain`.
    """
    explanations = explain(context, configuration)
    return tuple(i for i, choice in enumerate(choices) if fits(choice, explanations))


def fits(choice: Panel, explanations: Explanations) -> bool:
    """Returns whether some rule of every ruled group predicts a choice's value."""
    return all(any(_agrees(choice, e) for e in found) for found in explanations.values() if found)


def _agrees(choice: Panel, explanation: Explanation) -> bool:
    rule, ninth = explanation
    if isinstance(ninth, tuple):
        return _values(choice.components[rule.component], rule.attribute) == ninth
    return panel_value(choice, rule.attribute, rule.component) == ninth


def components_of(configuration: str) -> tuple[ComponentGrammar, ...]:
    """Returns the components of a configuration.

    Raises:
        PuzzleError: there is no such configuration.
    """
    if configuration not in CONFIGURATIONS:
        raise PuzzleError(
            f"configuration {configuration!r}: expected one of {', '.join(CONFIGURATIONS)}"
        )
    return CONFIGURATIONS[configuration].components


def _explain_attribute(
    parts: Sequence[Component], name: str, grammar: ComponentGrammar, index: int
) -> tuple[Explanation, ...]:
    values = []
    for part in parts:
        value = getattr(part.entities[0], name)
        if any(getattr(entity, name) != value for entity in part.entities):
            return _kept_noise(parts, name, index)
        values.append(value)
    return _placed(explain_values(name, values, grammar.levels(name)), index)


def _kept_noise(parts: Sequence[Component], name: str, index: int) -> tuple[Explanation, ...]:
    """Returns the constant rule where every row keeps its entities' values, else nothing."""
    a, b, c, d, e, f, g, h = (_values(part, name) for part in parts)
    if a == b == c and d == e == f and g == h:
        return (Explanation(Rule(name, "constant", 0, index), h),)
    return ()


def _values(part: Component, name: str) -> tuple[int, ...]:
    return tuple(sorted(getattr(entity, name) for entity in part.entities))


def _placed(found: Sequence[tuple[Rule, int]], component: int) -> tuple[Explanation, ...]:
    return tuple(
        Explanation(Rule(rule.attribute, rule.kind, rule.parameter, component), ninth)
        for rule, ninth in found
    )
