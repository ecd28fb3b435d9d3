"""Twins: the same puzzle with one attribute changed, so that another choice is right.

A policy that learned a puzzle by heart gives its old answer to the twin; one that reads
and reasons finds the new one. The rules stay what they were, and so do the choices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from rl_avr.contracts import Component, Panel, Puzzle
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.grammar import ATTRIBUTES, CONFIGURATIONS, panel_value
from rl_avr.puzzles.rules import explain_values
from rl_avr.puzzles.solver import solve


def perturbed_twin(puzzle: Puzzle) -> tuple[Puzzle, str] | None:
    """Returns a twin and the attribute that was changed; None where there is none.

    A choice qualifies that differs from the answer in one ruled attribute of one component. The
    values of that attribute in the shown panels are changed, in as few panels as possible,
    until the same rule predicts that choice, and the solver finds it to be the only one.

    Args:
        puzzle: any; only matrix puzzles with a state that has one solution have a twin.
    """
    if puzzle.family != "rpm" or not puzzle.has_state or puzzle.answer_index is None:
        return None
    context = _panels(puzzle.context)
    choices = _panels(puzzle.choices)
    if not _is_solved(puzzle, context, choices, puzzle.answer_index):
        return None
    for index, choice in enumerate(choices):
        changed = _one_change(puzzle, choice)
        if changed is None:
            continue
        component, attribute, right, wanted = changed
        for values in _new_values(puzzle, component, attribute, right, wanted):
            shown = [
                _with_value(panel, component, attribute, value)
                for panel, value in zip(context, values, strict=True)
            ]
            if _is_solved(puzzle, shown, choices, index):
                name = f"{puzzle.puzzle_id}-twin"
                twin = replace(puzzle, puzzle_id=name, context=tuple(shown), answer_index=index)
                return twin, attribute
    return None


def _panels(panels: Sequence[object]) -> list[Panel]:
    return [panel for panel in panels if isinstance(panel, Panel)]


def _is_solved(
    puzzle: Puzzle, context: Sequence[Panel], choices: Sequence[Panel], index: int
) -> bool:
    try:
        return solve(context, choices, puzzle.configuration) == (index,)
    except PuzzleError:
        return False


def _one_change(puzzle: Puzzle, choice: Panel) -> tuple[int, str, int, int] | None:
    """Returns component, attribute and both values of the only ruled attribute that differs.

    What no rule governs may differ, too. None where more differs, where it is how many
    entities there are or where they stand, or where a value is not that of the whole panel.
    """
    (answer,) = _panels([puzzle.answer])
    changed = []
    for rule in puzzle.rules:
        key = rule.attribute, rule.component
        right, wanted = panel_value(answer, *key), panel_value(choice, *key)
        if right is None or wanted is None:
            return None
        if right != wanted:
            changed.append((rule.component, rule.attribute, right, wanted))
    return changed[0] if len(changed) == 1 and changed[0][1] in ATTRIBUTES else None


def _new_values(
    puzzle: Puzzle, component: int, attribute: str, right: int, wanted: int
) -> Iterator[tuple[int, ...]]:
    """Yields eight values that the puzzle's own rule continues with `wanted`, not `right`."""
    values = [panel_value(panel, attribute, component) for panel in _panels(puzzle.context)]
    known = tuple(value for value in values if value is not None)
    rules = [r for r in puzzle.rules if (r.component, r.attribute) == (component, attribute)]
    if len(known) != len(values) or not rules:
        return
    levels = CONFIGURATIONS[puzzle.configuration].components[component].levels(attribute)
    swap = {right: wanted, wanted: right}
    candidates = [known[:6] + pair for pair in product(levels, repeat=2)]
    candidates.append(tuple(swap.get(value, value) for value in known))
    candidates.sort(key=lambda new: sum(a != b for a, b in zip(new, known, strict=True)))
    for new in candidates:
        found = explain_values(attribute, new, levels)
        if [(rule.kind, rule.parameter, ninth) for rule, ninth in found] == [
            (rules[0].kind, rules[0].parameter, wanted)
        ]:
            yield new


def _with_value(panel: Panel, component: int, attribute: str, value: int) -> Panel:
    """Returns a panel of which all entities of a component have a value of an attribute."""
    parts = list(panel.components)
    entities = tuple(replace(entity, **{attribute: value}) for entity in parts[component].entities)
    parts[component] = Component(entities, parts[component].uniformity)
    return Panel(tuple(parts))
