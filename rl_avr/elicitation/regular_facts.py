"""Facts about regular puzzles: layout, parts, counts, each entity, comparisons, rules."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

from rl_avr.contracts import Entity, Panel, Puzzle
from rl_avr.elicitation import question_words as words
from rl_avr.elicitation.facts import (
    Fact,
    StateKey,
    compare,
    make_fact,
    named_panels,
    panel_comparisons,
    rule_facts,
    trend_facts,
    whole_facts,
)
from rl_avr.elicitation.fluent import where
from rl_avr.elicitation.schema import schema_of
from rl_avr.prompts import CENTER_SCHEMA, ChainLine, Schema, panel_name, value_word
from rl_avr.puzzles.grammar import ATTRIBUTES, CONFIGURATIONS, LEVELS, bits, position


def regular_facts(puzzle: Puzzle) -> Iterator[Fact]:
    """Yields what can be asked about a regular puzzle, in grid order, from coarse to fine."""
    schema = schema_of(puzzle)
    nouns = {line.noun: line.noun for line in schema.lines}
    yield from whole_facts(puzzle)
    yield from _configuration_facts(puzzle)
    panels = [(n, panel) for n, panel in named_panels(puzzle) if isinstance(panel, Panel)]
    for name, panel in panels:
        yield from _count_facts(name, panel, schema)
    yield from trend_facts(puzzle, nouns)
    for name, panel in panels:
        for component in range(len(panel.components)):
            yield from _component_facts(name, panel, component, schema)
    for name, panel in panels:
        yield from _object_comparisons(name, panel, schema)
    yield from panel_comparisons(puzzle, nouns)
    yield from rule_facts(puzzle, nouns)


def _configuration_facts(puzzle: Puzzle) -> Iterator[Fact]:
    name = puzzle.configuration
    layouts = list(words.SHAPE_LAYOUTS.values())
    yield make_fact("shape_layout", {}, words.SHAPE_LAYOUTS[name], layouts)
    components = CONFIGURATIONS[name].components
    small = ["1", "2", "3", "4"]
    yield make_fact("num_parts", {}, str(len(components)), small)
    if not any(component.has_layout_rule for component in components):
        yield make_fact("num_shapes_each", {}, str(len(components)), small)


def _lines_of(schema: Schema, component: int) -> dict[str, ChainLine]:
    return {line.attribute: line for line in schema.lines if line.component == component}


def _count_facts(name: str, panel: Panel, schema: Schema) -> Iterator[Fact]:
    """Yields how many shapes each grid of a panel has, and the whole panel beside it."""
    total_slots = 0
    for component, part in enumerate(panel.components):
        lines = _lines_of(schema, component)
        total_slots += lines["type"].num_slots
        if "number" in lines:
            count = len(part.entities)
            domain = [str(n) for n in range(1, lines["number"].num_slots + 1)]
            key = StateKey(name, "number", count, component)
            args = {"where": where(schema, component, name)}
            yield make_fact("num_objects", args, str(count), domain, key=key)
    if len(panel.components) > 1 and total_slots > len(panel.components):
        domain = [str(n) for n in range(len(panel.components), total_slots + 1)]
        total = str(len(panel.entities))
        yield make_fact("num_objects", {"where": panel_name(name)}, total, domain, panel=name)


def _component_facts(name: str, panel: Panel, component: int, schema: Schema) -> Iterator[Fact]:
    """Yields the values of one part of a panel: of each entity, and the slots they fill."""
    part = panel.components[component]
    lines = _lines_of(schema, component)
    place = where(schema, component, name)
    num_slots = lines["type"].num_slots
    if num_slots == 1:
        for attribute in ATTRIBUTES:
            level = getattr(part.entities[0], attribute)
            key = StateKey(name, attribute, level, component)
            yield _attribute_fact(attribute, level, place, key)
        return
    mask = position(part)
    yield _position_fact(mask, place, num_slots, StateKey(name, "position", mask, component))
    empty = [slot for slot in range(num_slots) if not mask >> slot & 1]
    if empty:
        # A filled and an empty one, so that neither yes nor no is the better guess. Which
        # ones turns with the panel, or some slots would be asked about more often.
        turn = int(name.partition(":")[2])
        for slots, answer in ((bits(mask), "yes"), (empty, "no")):
            args = {"where": place, "slot": str(slots[turn % len(slots)] + 1)}
            yield Fact("slot_filled", tuple(args.items()), answer, panel=name)
    yield from _entity_facts(name, sorted(part.entities, key=_slot), component, place, num_slots)


def _slot(entity: Entity) -> int:
    return entity.slot


def _attribute_fact(attribute: str, level: int, place: str, key: StateKey) -> Fact:
    args = {"attribute": attribute, "where": place, "scale": words.SCALES[attribute]}
    word = value_word(attribute, level)
    accepted = () if attribute == "type" else (f"{attribute} {word}", f"level {word}")
    domain = [value_word(attribute, other) for other in LEVELS[attribute]]
    return make_fact("attribute", args, word, domain, accepted=accepted, key=key)


def slot_list(mask: int) -> tuple[str, tuple[str, ...]]:
    """Returns filled slots as a list in words, and other ways to write it.

    >>> slot_list(0b1101)
    ('1, 3 and 4', ('134', '1 3 4', '1+3+4', 'slots 1, 3 and 4', 'slots 1 3 4'))
    """
    numbers = [str(slot + 1) for slot in bits(mask)]
    if len(numbers) == 1:
        return numbers[0], (f"slot {numbers[0]}", f"slots {numbers[0]}")
    text = f"{', '.join(numbers[:-1])} and {numbers[-1]}"
    spaced = " ".join(numbers)
    return text, ("".join(numbers), spaced, "+".join(numbers), f"slots {text}", f"slots {spaced}")


def _position_fact(mask: int, place: str, num_slots: int, key: StateKey) -> Fact:
    """Returns which slots are filled; wrong lists have as many slots as the right one."""
    text, accepted = slot_list(mask)
    domain = _slot_lists(mask.bit_count(), num_slots)
    return make_fact("position", {"where": place}, text, domain, accepted=accepted, key=key)


@cache
def _slot_lists(count: int, num_slots: int) -> tuple[str, ...]:
    """Returns the lists of `count` slots; of one less, too, where there is only one."""
    least = count if count < num_slots else count - 1
    masks = range(1, 1 << num_slots)
    return tuple(slot_list(mask)[0] for mask in masks if least <= mask.bit_count() <= count)


def _entity_facts(
    name: str, entities: Sequence[Entity], component: int, place: str, num_slots: int
) -> Iterator[Fact]:
    types = Counter(entity.type for entity in entities)
    for entity in entities:
        own = _object_name(entity, place)
        for attribute in ATTRIBUTES:
            level = getattr(entity, attribute)
            key = StateKey(name, attribute, level, component, entity.slot)
            yield _attribute_fact(attribute, level, own, key)
        if types[entity.type] == 1 and len(entities) > 1:
            args = {"where": place, "shape": value_word("type", entity.type)}
            domain = [str(slot + 1) for slot in range(num_slots)]
            key = StateKey(name, "type", entity.type, component, entity.slot)
            yield make_fact("object_place", args, str(entity.slot + 1), domain, key=key)


def _object_name(entity: Entity, place: str) -> str:
    return f"the shape in slot {entity.slot + 1} of {place}"


def _object_comparisons(name: str, panel: Panel, schema: Schema) -> Iterator[Fact]:
    """Yields how neighbouring shapes compare, and the shapes of two parts with one each."""
    for component, part in enumerate(panel.components):
        place = where(schema, component, name)
        entities = sorted(part.entities, key=_slot)
        for one, other in pairwise(entities):
            places = (_object_name(one, place), _object_name(other, place))
            yield from _compared(name, one, other, places)
    if len(panel.components) == 2 and len(panel.entities) == 2:
        one, other = panel.entities
        yield from _compared(name, one, other, (where(schema, 0, name), where(schema, 1, name)))


def _compared(name: str, one: Entity, other: Entity, places: tuple[str, str]) -> Iterator[Fact]:
    for attribute in ATTRIBUTES:
        values = getattr(one, attribute), getattr(other, attribute)
        answer, domain = compare(_ONE_ENTITY[attribute], *values)
        args = {"attribute": attribute, "first": places[0], "second": places[1]}
        yield make_fact("compare_objects", args, answer, domain, panel=name)


_ONE_ENTITY = {line.attribute: line for line in CENTER_SCHEMA.lines}
"""Lines of attributes that one entity has; two entities can always be compared."""
