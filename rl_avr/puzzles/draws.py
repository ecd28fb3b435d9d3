"""Draws a rule, and nine values that obey it, for one group of attributes.

A group is what one rule governs: the layout (number and position), the type, the size
or the color of one component. Values are drawn as RAVEN's generator draws them: each
row on its own, the first value uniformly over those that leave room for the rule, the
second uniformly over those that leave room for the third.

The values are drawn again until the eight shown ones have exactly one explanation, so
a rule can be graded as surely as an answer. The rule stays, so its frequency does.

Source: RAVEN (Zhang et al. 2019), constraints of the released generator.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from rl_avr.contracts import Rule
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.grammar import ComponentGrammar
from rl_avr.puzzles.rules import (
    OFFSETS,
    RULE_ENTRIES,
    RULE_PARAMETERS,
    Row,
    explain_layout,
    explain_values,
    turned,
)

_MAX_DRAWS = 1000


class Drawn(NamedTuple):
    """A rule with nine values; the values of a layout are positions."""

    rule: Rule
    values: tuple[int, ...]


Entry = tuple[str, str, tuple[int, ...]]
"""Attribute, kind and feasible parameters."""


@dataclass
class Draws:
    """Counts sets of nine values drawn for a rule, and those that another rule explains too."""

    drawn: int = 0
    ambiguous: int = 0


def below(rng: random.Random, count: int) -> int:
    """Returns a uniform number in [0, count); several times faster than `randrange`."""
    return int(rng.random() * count)


def pick(rng: random.Random, items: Sequence[int]) -> int:
    """Returns one of `items`, uniformly."""
    return items[int(rng.random() * len(items))]


@cache
def feasible_entries(
    grammar: ComponentGrammar, group: str, kinds: tuple[str, ...]
) -> tuple[Entry, ...]:
    """Returns attribute, kind and feasible parameters of each entry a group can have.

    Args:
        grammar: the component.
        group: `layout`, `type`, `size` or `color`.
        kinds: the kinds of rule that are wanted.
    """
    entries = []
    for attribute, kind in RULE_ENTRIES[group]:
        if kind in kinds:
            fit = tuple(
                p for p in RULE_PARAMETERS[kind] if is_feasible(grammar, Rule(attribute, kind, p))
            )
            if fit:
                entries.append((attribute, kind, fit))
    return tuple(entries)


def is_feasible(grammar: ComponentGrammar, rule: Rule) -> bool:
    """Returns whether a component has rows that obey `rule`."""
    if rule.attribute == "position":
        return rule.kind == "constant" or _position_counts(rule, len(grammar.slots)) is not None
    levels = grammar.levels(rule.attribute)
    if rule.kind == "distribute_three":
        return len(levels) >= 3
    if rule.kind == "arithmetic" and len(levels) < 2:
        return False
    first, last = _first_values(rule, levels[0], levels[-1])
    return first <= last


def draw_rule(entries: Sequence[Entry], component: int, rng: random.Random) -> Rule:
    """Returns a rule: uniform over the entries, its parameter uniform over RAVEN's.

    A parameter that the component has no room for means that both are drawn again, as
    RAVEN does it, so an entry with few feasible parameters is as much rarer.
    """
    while True:
        attribute, kind, feasible = entries[below(rng, len(entries))]
        parameters = RULE_PARAMETERS[kind]
        parameter = parameters[below(rng, len(parameters))]
        if parameter in feasible:
            return Rule(attribute, kind, parameter, component)


def draw_values(grammar: ComponentGrammar, rule: Rule, rng: random.Random, draws: Draws) -> Drawn:
    """Returns nine values that obey `rule` and whose first eight no other rule explains.

    Args:
        grammar: the component.
        rule: feasible for it.
        rng: the stream.
        draws: counts the sets of values.

    Raises:
        PuzzleError: no such values were found.
    """
    is_layout = rule.attribute in ("number", "position")
    draw_row, is_independent = _row_drawer(grammar, rule, rng)
    for _ in range(_MAX_DRAWS):
        draws.drawn += 1
        first = draw_row()
        values: tuple[int, ...]
        if rule.kind == "distribute_three" and not is_independent:
            second, third = (*first[1:], first[0]), (first[2], *first[:2])
            if below(rng, 2):
                second, third = third, second
            values = (*first, *second, *third)
        else:
            values = (*first, *draw_row(), *draw_row())
        if rule.attribute == "number":
            values = _masks_of(values, len(grammar.slots), rng)
        found = (
            explain_layout(values[:8], len(grammar.slots))
            if is_layout
            else explain_values(rule.attribute, values[:8], grammar.levels(rule.attribute))
        )
        if len(found) == 1 and found[0][0].kind == rule.kind:
            return Drawn(rule, values)
        draws.ambiguous += 1
    raise PuzzleError(
        f"{rule} on the layout {grammar.layout}: no values with one explanation in "
        f"{_MAX_DRAWS} draws"
    )


def _row_drawer(
    grammar: ComponentGrammar, rule: Rule, rng: random.Random
) -> tuple[Callable[[], Row], bool]:
    """Returns a function that draws a row, and whether the rows are independent."""
    if rule.attribute == "position":
        return _position_drawer(rule, len(grammar.slots), rng), rule.kind != "distribute_three"
    levels = grammar.levels(rule.attribute)
    low, high = levels[0], levels[-1]
    if rule.kind == "distribute_three":
        return lambda: tuple(rng.sample(levels, 3)), False  # type: ignore[return-value]
    start, last = _first_values(rule, low, high)
    room = last - start + 1
    if rule.kind != "arithmetic":
        step = rule.parameter

        def stepped() -> Row:
            value = start + below(rng, room)
            return value, value + step, value + 2 * step

        return stepped, True
    offset, sign = OFFSETS[rule.attribute], rule.parameter

    def summed() -> Row:
        value = start + below(rng, room)
        limit = high - value - offset if sign > 0 else value - low - offset
        other = low + below(rng, limit - low + 1)
        return value, other, value + sign * (other + offset)

    return summed, True


def _first_values(rule: Rule, low: int, high: int) -> tuple[int, int]:
    """Returns the least and the greatest first value of a row with room for the rule."""
    if rule.kind == "constant":
        return low, high
    if rule.kind == "progression":
        return low - min(0, 2 * rule.parameter), high - max(0, 2 * rule.parameter)
    offset = OFFSETS[rule.attribute]
    return (low, high - low - offset) if rule.parameter > 0 else (2 * low + offset, high)


def _position_counts(rule: Rule, num_slots: int) -> tuple[int, int] | None:
    """Returns the least and the greatest number of entities in a row's first panel."""
    least, most = 1, num_slots
    if rule.kind == "progression":
        most -= 2 * abs(rule.parameter)
    elif rule.kind == "distribute_three":
        # three different positions need room to differ
        most -= 1
        if num_slots < 3:
            return None
    elif rule.kind == "arithmetic":
        if rule.parameter < 0:
            least = (num_slots + 1) // 2
        most -= 1
    return (least, most) if least <= most else None


def _position_drawer(rule: Rule, num_slots: int, rng: random.Random) -> Callable[[], Row]:
    counts = _position_counts(rule, num_slots)
    assert counts is not None, rule
    least, most = counts

    def first() -> int:
        return random_mask(least + below(rng, most - least + 1), num_slots, rng)

    def constant() -> Row:
        mask = first()
        return mask, mask, mask

    def progression() -> Row:
        a = first()
        b = turned(a, rule.parameter, num_slots)
        return a, b, turned(b, rule.parameter, num_slots)

    def union() -> Row:
        a = first()
        while True:
            b = random_mask(1 + below(rng, num_slots - 1), num_slots, rng)
            if b & ~a:
                return a, b, a | b

    def difference() -> Row:
        a = first()
        while True:
            b = random_mask(1 + below(rng, num_slots - 1), num_slots, rng)
            if a & ~b:
                return a, b, a & ~b

    def three() -> Row:
        count = least + below(rng, most - least + 1)
        while True:
            a, b, c = (random_mask(count, num_slots, rng) for _ in range(3))
            if a != b and b != c and a != c:
                return a, b, c

    return {
        "constant": constant,
        "progression": progression,
        "distribute_three": three,
        "arithmetic": union if rule.parameter > 0 else difference,
    }[rule.kind]


def _masks_of(counts: Sequence[int], num_slots: int, rng: random.Random) -> tuple[int, ...]:
    return tuple(random_mask(count, num_slots, rng) for count in counts)


@cache
def masks_with(count: int, num_slots: int) -> tuple[int, ...]:
    """Returns every position with `count` of `num_slots` slots filled, ascending."""
    return tuple(m for m in range(1, 1 << num_slots) if m.bit_count() == count)


def random_mask(count: int, num_slots: int, rng: random.Random) -> int:
    """Returns a position with `count` entities, uniformly."""
    return pick(rng, masks_with(count, num_slots))
