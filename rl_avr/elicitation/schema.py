"""Schemas of all puzzles, and the values that a chain states about a panel."""

from collections.abc import Iterator
from functools import cache

from rl_avr.contracts import Panel, Puzzle, Rule, Scene
from rl_avr.errors import PuzzleError
from rl_avr.prompts import (
    ATTRIBUTE_LABELS,
    CENTER_SCHEMA,
    NONREGULAR_PREFIX,
    PREFIX,
    ChainLine,
    Schema,
    regular_line,
)
from rl_avr.puzzles.grammar import CONFIGURATIONS, ComponentGrammar, position
from rl_avr.puzzles.nonregular.kind import NonregularKind, SceneAttribute
from rl_avr.puzzles.nonregular.kinds import KINDS, kind_called, kind_of
from rl_avr.puzzles.nonregular.layouts import shown_rows
from rl_avr.puzzles.puzzle_cache import PuzzleCache

_PLACES = {
    "Left": ("left", "left half"),
    "Right": ("right", "right half"),
    "Up": ("upper", "upper half"),
    "Down": ("lower", "lower half"),
    "Out": ("outer", "outer part"),
    "In": ("inner", "inner part"),
}
"""Component -> its adjective, and its part of a panel."""


def schema_of(puzzle: Puzzle) -> Schema:
    """Returns what a chain about a puzzle can say; the same object for puzzles of one kind.

    Raises:
        PuzzleError: the puzzle's configuration or kind is not known.
    """
    if puzzle.family == "annotated":
        return annotated_schema(puzzle.annotation.prefix if puzzle.annotation else None)
    if puzzle.family == "nonregular":
        return nonregular_schema(_kind_name(puzzle), puzzle.configuration)
    return regular_schema(puzzle.configuration)


_kind_name = PuzzleCache(lambda puzzle: kind_of(puzzle).name)


@cache
def annotated_schema(prefix: str | None) -> Schema:
    """Returns the schema of a puzzle whose state is not known: a prefix and an answer."""
    return Schema(prefix, (), ())


@cache
def regular_schema(configuration: str) -> Schema:
    """Returns the schema of a configuration of RAVEN.

    Raises:
        PuzzleError: there is no such configuration.
    """
    if configuration == "center_single":
        return CENTER_SCHEMA
    if configuration not in CONFIGURATIONS:
        raise PuzzleError(
            f"configuration: expected one of {', '.join(CONFIGURATIONS)}, got {configuration!r}"
        )
    components = CONFIGURATIONS[configuration].components
    lines: list[ChainLine] = []
    for index, component in enumerate(components):
        name = component.name if len(components) > 1 else ""
        adjective = _PLACES[name][0] if name else ""
        lines += (
            regular_line(attribute, index, len(component.slots), name, adjective)
            for attribute in _stated_attributes(component)
        )
    parts = tuple(_PLACES[c.name][1] for c in components) if len(components) > 1 else ("",)
    return Schema(PREFIX, (3, 3, 2), tuple(lines), parts)


def _stated_attributes(component: ComponentGrammar) -> tuple[str, ...]:
    layout = ("number", "position") if component.has_layout_rule else ()
    return (*layout, *ATTRIBUTE_LABELS)


@cache
def nonregular_schema(kind_name: str, layout: str) -> Schema:
    """Returns the schema of a non-regular kind in a layout.

    Raises:
        PuzzleError: there is no such kind or layout.
    """
    kind = kind_called(kind_name)
    lines = tuple(_scene_line(kind, attribute) for attribute in kind.attributes)
    return Schema(NONREGULAR_PREFIX, shown_rows(layout), lines)


def _scene_line(kind: NonregularKind, attribute: SceneAttribute) -> ChainLine:
    rules = [
        (rule_kind, parameter)
        for name, rule_kind, parameter in kind.rule_phrases
        if name == attribute.name
    ]
    return ChainLine(
        0,
        attribute.name,
        attribute.label,
        short_noun(attribute.noun),
        attribute.words,
        {rule: kind.rule_phrases[attribute.name, *rule] for rule in rules},
        {rule: _clause(kind.explanation(Rule(attribute.name, *rule))) for rule in rules},
        is_always_ruled=False,
    )


def short_noun(noun: str) -> str:
    """Returns a noun without what explains it.

    >>> short_noun("set of lines (1 top, 2 right)")
    'set of lines'
    """
    return noun.partition(" (")[0].partition(",")[0]


def _clause(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".,")


def all_schemas() -> Iterator[Schema]:
    """Yields the schema of every configuration, and of every kind in every layout."""
    yield from (regular_schema(name) for name in CONFIGURATIONS)
    for name, kind in KINDS.items():
        yield from (nonregular_schema(name, layout) for layout in kind.layouts)


Stated = tuple[tuple[int | None, int], ...]
"""(slot, value) of each entity, or one (None, value) for all of them."""


def stated_values(panel: Panel | Scene, line: ChainLine) -> Stated:
    """Returns what a chain states about one attribute of one panel.

    One value where all entities agree, in slot order entity by entity where they differ.

    Args:
        panel: the panel.
        line: which attribute.
    """
    if isinstance(panel, Scene):
        return ((None, panel.value(line.attribute)),)
    component = panel.components[line.component]
    entities = component.entities
    name = line.attribute
    if name == "position":
        return ((None, position(component)),)
    if name == "number":
        return ((None, len(entities)),)
    first = getattr(entities[0], name)
    if len(entities) == 1 or all(getattr(e, name) == first for e in entities):
        return ((None, first),)
    return tuple(sorted((e.slot, getattr(e, name)) for e in entities))
