"""Rules along rows: which rows of values obey a rule, and which rules explain a context.

    constant          V1 = V2 = V3
    progression s     V2 = V1 + s, V3 = V2 + s, s one of -2, -1, 1, 2;
                      position: every entity moves s slots on, round the grid
    arithmetic +/-    color, number: V3 = V1 +- V2; size: V3 = V1 + V2 + 1 or V1 - V2 - 1
                      (sizes count from 1, their levels from 0);
                      position: union (panel 2 adds a slot) or difference (one is left);
                      never for type
    distribute_three  the same three values in every row, a cyclic Latin square

The number of entities and their position share one rule; a constant one is written
as a rule of the position.

Source: RAVEN (Zhang et al. 2019), section 3 and the released data.
"""

from collections.abc import Iterator, Sequence

from rl_avr.contracts import Rule

Row = tuple[int, int, int]

RULE_PARAMETERS: dict[str, tuple[int, ...]] = {
    "constant": (0,),
    "progression": (-2, -1, 1, 2),
    "arithmetic": (1, -1),
    "distribute_three": (0,),
}

RULE_ENTRIES: dict[str, tuple[tuple[str, str], ...]] = {
    "layout": (
        ("number", "progression"),
        ("position", "progression"),
        ("number", "arithmetic"),
        ("position", "arithmetic"),
        ("number", "distribute_three"),
        ("position", "distribute_three"),
        ("position", "constant"),
    ),
    "type": (("type", "progression"), ("type", "distribute_three"), ("type", "constant")),
    "size": tuple(("size", kind) for kind in RULE_PARAMETERS),
    "color": tuple(("color", kind) for kind in RULE_PARAMETERS),
}
"""Attribute and kind of each entry that the generator draws from, uniformly, per group."""

OFFSETS = {"size": 1, "color": 0, "number": 0}
"""What an arithmetic rule adds to the second value; attributes without one have none."""


def all_rules(attribute: str) -> tuple[Rule, ...]:
    """Returns every rule, with its parameter, that `attribute` can have."""
    group = "layout" if attribute in ("number", "position") else attribute
    return tuple(
        Rule(attribute, kind, parameter)
        for name, kind in RULE_ENTRIES[group]
        if name == attribute
        for parameter in RULE_PARAMETERS[kind]
    )


def turned(mask: int, step: int, num_slots: int) -> int:
    """Returns the position after every entity has moved `step` slots on, round the grid.

    >>> bin(turned(0b1001, 1, 4))
    '0b11'
    """
    step %= num_slots
    return (mask << step | mask >> (num_slots - step)) & ((1 << num_slots) - 1)


def explain_values(
    attribute: str, context: Sequence[int], levels: Sequence[int]
) -> tuple[tuple[Rule, int], ...]:
    """Returns every rule that explains eight shown values, with the ninth it predicts.

    Args:
        attribute: `number`, `type`, `size` or `color`.
        context: eight values, row-major.
        levels: the values allowed, ascending; a rule that predicts another is left out.

    >>> explain_values("type", (1, 1, 1, 2, 2, 2, 5, 5), range(1, 6))
    ((Rule(attribute='type', kind='constant', parameter=0, component=0), 5),)
    """
    return tuple(
        (Rule(attribute, kind, parameter), ninth)
        for kind, parameter, ninth in _value_rules(attribute, context)
        if levels[0] <= ninth <= levels[-1]
    )


def _value_rules(attribute: str, context: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    """Yields kind, parameter and ninth value of each rule that the context obeys."""
    a, b, c, d, e, f, g, h = context
    step = b - a
    if step == 0:
        if attribute != "number" and b == c and d == e == f and g == h:
            yield "constant", 0, g
    elif -2 <= step <= 2 and c - b == step == e - d == f - e == h - g:
        yield "progression", step, h + step
    if attribute in OFFSETS and (attribute != "color" or b or e):
        offset = OFFSETS[attribute]
        if c == a + b + offset and f == d + e + offset:
            yield "arithmetic", 1, g + h + offset
        if c == a - b - offset and f == d - e - offset:
            yield "arithmetic", -1, g - h - offset
    ninth = _third_of_three(context)
    if ninth is not None:
        yield "distribute_three", 0, ninth


def _third_of_three(context: Sequence[int]) -> int | None:
    """Returns the ninth value of a cyclic Latin square, or None where there is none."""
    a, b, c, d, e, f, g, h = context
    if a in (b, c) or b == c:
        return None
    if d == b and e == c and f == a:
        return b if (g, h) == (c, a) else None
    if d == c and e == a and f == b:
        return a if (g, h) == (b, c) else None
    return None


def explain_layout(context: Sequence[int], num_slots: int) -> tuple[tuple[Rule, int], ...]:
    """Returns every rule of number or position that explains eight shown positions.

    Args:
        context: eight positions, row-major; bit k of each says that slot k is filled.
        num_slots: slots of the layout.

    Returns:
        The rules, each with the ninth number or position that it predicts.
    """
    counts = [mask.bit_count() for mask in context]
    numbers = explain_values("number", counts, range(1, num_slots + 1))
    positions = tuple(
        (Rule("position", kind, parameter), ninth)
        for kind, parameter, ninth in _position_rules(context, num_slots)
    )
    return numbers + positions


def _position_rules(context: Sequence[int], num_slots: int) -> Iterator[tuple[str, int, int]]:
    a, b, c, d, e, f, g, h = context
    if a == b == c and d == e == f and g == h:
        yield "constant", 0, g
    # a position that the step leaves as it is shows no movement
    if a != b and a.bit_count() == b.bit_count():
        for step in RULE_PARAMETERS["progression"]:
            pairs = ((a, b), (b, c), (d, e), (e, f), (g, h))
            if all(turned(x, step, num_slots) == y for x, y in pairs):
                yield "progression", step, turned(h, step, num_slots)
    if c == a | b and f == d | e and b & ~a and e & ~d and h & ~g:
        yield "arithmetic", 1, g | h
    if c and f and c == a & ~b and f == d & ~e and g & ~h:
        yield "arithmetic", -1, g & ~h
    ninth = _third_of_three(context)
    if ninth is not None:
        yield "distribute_three", 0, ninth


def matrix_obeys(rule: Rule, values: Sequence[int], levels: Sequence[int]) -> bool:
    """Returns whether nine values together obey `rule`.

    Args:
        rule: its component does not matter.
        values: nine values, row-major; positions for a rule of the position.
        levels: the values allowed; for a position, its slots.
    """
    wanted = (rule.kind, rule.parameter, values[8])
    if rule.attribute == "position":
        return wanted in set(_position_rules(values[:8], len(levels)))
    if min(values) < levels[0] or max(values) > levels[-1]:
        return False
    return wanted in set(_value_rules(rule.attribute, values[:8]))
