"""Rules and meta arrays of RAVEN's files: names without parameters, and flags.

A file names a rule for every group of every component, four to a component, but not
its step or its sign; those follow from the nine panels. Where a layout is not uniform
and its entities differ, the file still names the rule Constant: it is noise, and has
no `Rule`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from rl_avr.contracts import Component, Puzzle, Rule
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.grammar import (
    ATTRIBUTES,
    CONFIGURATIONS,
    UNIFORM,
    ComponentGrammar,
    position,
)
from rl_avr.puzzles.rules import matrix_obeys

RuleName = tuple[str, str]
"""Name and attribute as in a file, such as ("Distribute_Three", "Size")."""

KIND_NAMES = {
    "constant": "Constant",
    "progression": "Progression",
    "arithmetic": "Arithmetic",
    "distribute_three": "Distribute_Three",
}
ATTRIBUTE_NAMES = {
    "number": "Number",
    "position": "Position",
    "type": "Type",
    "size": "Size",
    "color": "Color",
}
STILL: RuleName = ("Constant", "Number/Position")
"""The rule of a layout whose entities stay where they are."""
NUM_GROUPS = 1 + len(ATTRIBUTES)

_KINDS = {name: kind for kind, name in KIND_NAMES.items()}
# from the most to the least likely: on four slots, steps of 2 and -2 are one movement
_PARAMETERS = {"progression": (1, -1, 2, -2), "arithmetic": (1, -1)}

_META_COLUMNS = (*KIND_NAMES.values(), *ATTRIBUTE_NAMES.values())
_META_ROWS = 8
_STRUCTURE_COLUMNS = (
    *("Singleton", "Left_Right", "Up_Down", "Out_In"),
    *("Left", "Right", "Up", "Down", "Out", "In", "Grid"),
    *("Center_Single", "Distribute_Four", "Distribute_Nine"),
    *("Left_Center_Single", "Right_Center_Single", "Up_Center_Single", "Down_Center_Single"),
    *("Out_Center_Single", "In_Center_Single", "In_Distribute_Four"),
)


def rule_names(puzzle: Puzzle) -> tuple[tuple[RuleName, ...], ...]:
    """Returns the names that a file gives a puzzle's rules, four per component.

    Raises:
        PuzzleError: a group has two rules, or one that RAVEN has no name for.
    """
    rules: dict[tuple[int, str], Rule] = {}
    for rule in puzzle.rules:
        group = "layout" if rule.attribute in ("number", "position") else rule.attribute
        known = rule.kind in KIND_NAMES and rule.attribute in ATTRIBUTE_NAMES
        if not known or (rule.component, group) in rules:
            raise PuzzleError(
                f"puzzle {puzzle.puzzle_id}: expected one rule of RAVEN's grammar per group and "
                f"component, got {puzzle.rules}"
            )
        rules[rule.component, group] = rule
    names = []
    for index in range(len(CONFIGURATIONS[puzzle.configuration].components)):
        layout = rules.pop((index, "layout"), None)
        still = layout is None or layout.kind == "constant"
        group_names = [STILL if still or layout is None else _name(layout)]
        for name in ATTRIBUTES:
            found = rules.pop((index, name), None)
            group_names.append(_name(found or Rule(name, "constant")))
        names.append(tuple(group_names))
    if rules:
        raise PuzzleError(f"puzzle {puzzle.puzzle_id}: rules of no component: {rules}")
    return tuple(names)


def _name(rule: Rule) -> RuleName:
    return KIND_NAMES[rule.kind], ATTRIBUTE_NAMES[rule.attribute]


def infer_rules(
    names: Sequence[RuleName], parts: Sequence[Component], grammar: ComponentGrammar, index: int
) -> tuple[tuple[Rule, ...], int]:
    """Returns the rules of one component with their parameters, and how many are noise.

    Args:
        names: the names of its four rules.
        parts: the component in the nine panels, row-major, the answer last.
        grammar: what the component is.
        index: which component it is.

    Raises:
        PuzzleError: a name that does not stand there in RAVEN's files, or a rule that
            the nine panels do not obey.
    """
    if len(names) != NUM_GROUPS:
        raise PuzzleError(f"expected {NUM_GROUPS} rules, got {len(names)}")
    found = []
    layout = _layout_rule(names[0], grammar)
    if layout is not None:
        masks = [position(part) for part in parts]
        values = masks if layout.attribute == "position" else [m.bit_count() for m in masks]
        found.append(_with_parameter(layout, values, grammar, names[0]))
    num_noisy = 0
    for attribute, name in zip(ATTRIBUTES, names[1:], strict=True):
        if name[1] != ATTRIBUTE_NAMES[attribute] or name[0] not in _KINDS:
            raise PuzzleError(f"expected a rule of {ATTRIBUTE_NAMES[attribute]}, got {name}")
        rule = Rule(attribute, _KINDS[name[0]])
        single = [_single_value(part, attribute) for part in parts]
        if rule.kind == "constant" and _is_noise(single, parts, grammar):
            num_noisy += 1
            continue
        found.append(_with_parameter(rule, single, grammar, name))
    return tuple(Rule(r.attribute, r.kind, r.parameter, index) for r in found), num_noisy


def _layout_rule(name: RuleName, grammar: ComponentGrammar) -> Rule | None:
    """Returns the rule of number or position; None where there is nothing to rule."""
    if name == STILL:
        return Rule("position", "constant") if grammar.has_layout_rule else None
    attribute = {"Number": "number", "Position": "position"}.get(name[1])
    kind = _KINDS.get(name[0], "constant")
    if attribute is None or kind == "constant" or not grammar.has_layout_rule:
        raise PuzzleError(f"expected a rule of the layout of {grammar.layout}, got {name}")
    return Rule(attribute, kind)


def _single_value(part: Component, attribute: str) -> int | None:
    values = {getattr(entity, attribute) for entity in part.entities}
    return values.pop() if len(values) == 1 else None


def _is_noise(
    single: Sequence[int | None], parts: Sequence[Component], grammar: ComponentGrammar
) -> bool:
    if not grammar.has_layout_rule or all(part.uniformity == UNIFORM for part in parts):
        return False
    rows = [single[start : start + 3] for start in (0, 3, 6)]
    return None in single or any(len(set(row)) > 1 for row in rows)


def _with_parameter(
    rule: Rule, values: Sequence[int | None], grammar: ComponentGrammar, name: RuleName
) -> Rule:
    """Returns the rule with the parameter that all three rows obey."""
    levels = (
        range(len(grammar.slots))
        if rule.attribute == "position"
        else grammar.levels(rule.attribute)
    )
    known = [value for value in values if value is not None]
    if len(known) == len(values):
        for parameter in _PARAMETERS.get(rule.kind, (0,)):
            candidate = Rule(rule.attribute, rule.kind, parameter)
            if matrix_obeys(candidate, known, levels):
                return candidate
    raise PuzzleError(f"the panels do not obey {name}; their values, row by row: {list(values)}")


def meta_arrays(
    configuration: str, names: Sequence[Sequence[RuleName]]
) -> Mapping[str, np.ndarray]:
    """Returns meta_matrix, meta_target, structure and meta_structure.

    meta_matrix has a row per rule, component by component; meta_target is their union.
    """
    matrix = np.zeros((_META_ROWS, len(_META_COLUMNS)), np.uint8)
    rows = [name for component in names for name in component]
    for row, (kind, attributes) in enumerate(rows):
        for column in (kind, *attributes.split("/")):
            matrix[row, _META_COLUMNS.index(column)] = 1
    grammar = CONFIGURATIONS[configuration]
    tree = ["Scene", grammar.structure]
    for part in grammar.components:
        tree += [part.name, part.layout, "/", "/"]
    tree += ["/", "/"]
    flags = [column in tree for column in _STRUCTURE_COLUMNS]
    return {
        "meta_matrix": matrix,
        "meta_target": np.bitwise_or.reduce(matrix),
        "structure": np.array(tree),
        "meta_structure": np.array(flags, np.uint8),
    }
