"""Answer sets, as alternatives to the answer's values.

iraven  every modified group of attributes has the right value and alternative ones, and
        the choices are all combinations, so each value occurs equally often.
fair    a random tree: each choice changes one value of another choice. The answer is a
        node picked at random, not the root, so being in the middle gives nothing away.
raven   every wrong choice changes one value of the answer, so the answer is the one
        that is most like the others: RAVEN's known shortcut, kept for comparison.

For the first two an alternative is the missing value of another matrix of the same
kind, and where it equals the answer's both are drawn again. Right and wrong values then
have one distribution: nothing in the choices tells them apart. (A value drawn
uniformly would, because right values are not uniform.)

Source: RAVEN (Zhang et al. 2019); Stratified Rule-Aware Network (Hu et al. 2021),
attribute bisection tree; Scale-Localized Abstract Reasoning (Benny et al. 2021),
RAVEN-FAIR.
"""

import math
import random
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

from rl_avr.contracts import Rule
from rl_avr.puzzles.draws import below, pick
from rl_avr.puzzles.grammar import ComponentGrammar

NUM_CHOICES = 8

Group = tuple[int, str]
"""Component and group of attributes."""
Values = dict[Group, int]
"""The value of each modified group; of the others the answer's holds."""


Options = dict[Group, tuple[int, ...]]
"""Of each modified group the values that the choices may show, the right one first."""

_FAIR_GROUPS = 4


class Modifiable(NamedTuple):
    """A group that the choices may change.

    Args:
        group: component and group of attributes.
        rule: the rule that governs it.
        capacity: how many different values the choices can show, the right one included.
    """

    group: Group
    rule: Rule
    capacity: int


def capacity(grammar: ComponentGrammar, rule: Rule, max_distance: int) -> int:
    """Returns how many different values the choices can show for a rule's attribute.

    Args:
        grammar: the component.
        rule: its rule.
        max_distance: greatest distance between any two of them; 0 for any.
    """
    if rule.attribute == "position":
        return (1 << len(grammar.slots)) - 1
    count = len(grammar.levels(rule.attribute))
    return min(count, max_distance + 1) if max_distance else count


def distance(rule: Rule, one: int, other: int) -> int:
    """Returns how far two values are apart; values at distance 0 are both right or wrong.

    Levels for an attribute, entities for a number, slots for a position.
    """
    if rule.attribute == "number":
        return abs(one.bit_count() - other.bit_count())
    if rule.attribute == "position":
        return (one ^ other).bit_count()
    return abs(one - other)


def iraven_plan(modifiable: Sequence[Modifiable], rng: random.Random) -> dict[Group, int] | None:
    """Returns how many alternatives each modified group gets, or None.

    Three groups get one each; of two, one gets three and the other one; a single group
    gets seven. None where there are not enough values.
    """
    chosen = rng.sample(modifiable, min(3, len(modifiable)))
    if len(chosen) == 2:
        chosen.sort(key=lambda m: m.capacity < 4)
    counts = {3: (1, 1, 1), 2: (3, 1), 1: (7,), 0: ()}[len(chosen)]
    if not chosen or any(m.capacity <= n for m, n in zip(chosen, counts, strict=True)):
        return None
    return {m.group: n for m, n in zip(chosen, counts, strict=True)}


def fair_plan(modifiable: Sequence[Modifiable], rng: random.Random) -> dict[Group, int] | None:
    """Returns how many alternatives each modified group gets, or None.

    Up to four groups get up to two each; one or two groups get more. None where there
    are not enough values.
    """
    chosen = rng.sample(modifiable, min(_FAIR_GROUPS, len(modifiable)))
    most = {1: NUM_CHOICES, 2: 4}.get(len(chosen), 3)
    plan = {m.group: min(m.capacity, most) - 1 for m in chosen}
    return plan if math.prod(n + 1 for n in plan.values()) >= NUM_CHOICES else None


def is_apart(rule: Rule, value: int, others: Sequence[int], max_distance: int) -> bool:
    """Returns whether a value differs from all others, by no more than is allowed.

    Args:
        rule: says what a difference is.
        value: an alternative.
        others: the right value and earlier alternatives.
        max_distance: greatest distance; 0 for any.
    """
    for other in others:
        gap = distance(rule, value, other)
        if gap == 0 or (max_distance and gap > max_distance):
            return False
    return True


def iraven_choices(options: Options) -> list[Values]:
    """Returns all combinations of the options, the answer first."""
    return [dict(zip(options, values, strict=True)) for values in product(*options.values())]


def fair_choices(options: Options, rng: random.Random) -> list[Values]:
    """Returns eight different choices, the answer first.

    A random recursive tree of eight nodes, entered at a random one, the answer; along
    each edge one group takes another of its options. Drawn again until all differ.
    """
    groups = list(options)
    while True:
        neighbours: list[list[int]] = [[] for _ in range(NUM_CHOICES)]
        for node in range(1, NUM_CHOICES):
            parent = below(rng, node)
            neighbours[node].append(parent)
            neighbours[parent].append(node)
        start = below(rng, NUM_CHOICES)
        found: dict[int, Values] = {start: {g: values[0] for g, values in options.items()}}
        waiting = [start]
        while waiting:
            node = waiting.pop()
            for near in neighbours[node]:
                if near not in found:
                    found[near] = _one_changed(found[node], options, groups, rng)
                    waiting.append(near)
        choices = list(found.values())
        if len({tuple(values.values()) for values in choices}) == NUM_CHOICES:
            return choices


def _one_changed(
    values: Values, options: Options, groups: Sequence[Group], rng: random.Random
) -> Values:
    group = groups[below(rng, len(groups))]
    others = [value for value in options[group] if value != values[group]]
    return values | {group: pick(rng, others)}


def raven_choices(
    modifiable: Sequence[Modifiable],
    answer: Values,
    levels: Mapping[Group, Sequence[int]],
    max_distance: int,
    rng: random.Random,
) -> list[Values] | None:
    """Returns the answer and seven choices that change one value of it, or None.

    Args:
        modifiable: the groups.
        answer: their right values.
        levels: the values of each group, of which one is drawn uniformly.
        max_distance: greatest distance from the answer; 0 for any.
        rng: the stream.

    Returns:
        None where the groups have fewer than seven other values.
    """
    others = [
        {m.group: value}
        for m in modifiable
        for value in _unlike(m.rule, answer[m.group], levels[m.group], max_distance)
    ]
    if len(others) < NUM_CHOICES - 1:
        return None
    return [answer, *(answer | change for change in _spread(others, rng))]


def _spread(changes: list[Values], rng: random.Random) -> list[Values]:
    """Returns seven changes: the group uniformly first, then one of its values left."""
    left: dict[Group, list[Values]] = {}
    for change in changes:
        left.setdefault(next(iter(change)), []).append(change)
    for pile in left.values():
        rng.shuffle(pile)
    found: list[Values] = []
    while len(found) < NUM_CHOICES - 1:
        group = list(left)[below(rng, len(left))]
        found.append(left[group].pop())
        if not left[group]:
            del left[group]
    return found


def _unlike(rule: Rule, right: int, values: Sequence[int], max_distance: int) -> list[int]:
    """Returns the values that a rule tells from the right one and from each other."""
    found: dict[int, int] = {}
    for value in values:
        gap = distance(rule, value, right)
        if gap and not (max_distance and gap > max_distance):
            found.setdefault(value.bit_count() if rule.attribute == "number" else value, value)
    return list(found.values())
