"""The XML half of a problem in RAVEN's format: panels and rules, both ways.

    Data > Panels > Panel x16 > Struct > Component > Layout > Entity
    Data > Rules > Rule_Group per component > Rule x4

Every number is a level. I-RAVEN's files have a third part that says which attributes of
each choice were changed, and so which choice was not; it is never read.

Reading trusts nothing: no document type, and so no entities; bounded size; every element
and number checked against the grammar.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from rl_avr.contracts import Component, Entity, Panel
from rl_avr.errors import DataError
from rl_avr.puzzles.glyphs import CANVAS_PX, glyph
from rl_avr.puzzles.grammar import (
    ANGLES_DEG,
    CONFIGURATIONS,
    LEVELS,
    UNIFORM,
    ComponentGrammar,
    Configuration,
    Slot,
)
from rl_avr.puzzles.raven_rules import RuleName

NUM_PANELS = 16
MAX_BYTES = 4 * 2**20
"""Largest file read; nine shapes in each of sixteen panels take 200 kB."""

_LEVEL_NAMES = ("type", "size", "color", "angle")
_LAYOUT_NAMES = ("name", "Position", "Number", "Uniformity")
_ENTITY_NAMES = ("bbox", *(name.capitalize() for name in _LEVEL_NAMES))
_GRAMMARS = {part.layout: part for c in CONFIGURATIONS.values() for part in c.components}
_SLOTS = {name: [list(slot) for slot in part.slots] for name, part in _GRAMMARS.items()}
_MAX_JSON = 1000
_NUMBER = re.compile(r"[0-9]{1,3}", re.ASCII)
_UNREAD = ("mask", "real_bbox")
"""A shape's pixels as runs and the upright box around it: most of a file, and never read."""


class Problem(NamedTuple):
    """What an XML file says.

    Args:
        configuration: RAVEN's folder name.
        panels: the eight shown panels, then the eight choices.
        rule_names: name and attribute of each rule, per component.
    """

    configuration: str
    panels: tuple[Panel, ...]
    rule_names: tuple[tuple[RuleName, ...], ...]


def parse_problem(data: bytes, where: str) -> Problem:
    """Returns what the bytes of an XML file say.

    Args:
        data: the file's content.
        where: the file, for messages.

    Raises:
        DataError: naming `where` and the element that is wrong.
    """
    root = _Node(_root(data, where), None, f"{where}: Data")
    panel_nodes = root.child("Panels").children("Panel", NUM_PANELS)
    grammar = _configuration(panel_nodes[0].child("Struct"))
    panels = tuple(
        _plain_panel(node.element, grammar) or _panel(node.child("Struct"), grammar)
        for node in panel_nodes
    )
    groups = root.child("Rules").children("Rule_Group", len(grammar.components))
    names = []
    for index, group in enumerate(groups):
        group.expect("id", str(index))
        rules = group.children("Rule", 4)
        names.append(tuple((rule.text("name"), rule.text("attr")) for rule in rules))
    return Problem(grammar.folder, panels, tuple(names))


def format_problem(problem: Problem) -> str:
    """Returns the text of an XML file, laid out as RAVEN's.

    `mask` is the shape as drawn alone at 160 px, and `real_bbox` the upright box around
    it. RAVEN's own boxes follow another measure and lie up to 4 px off.
    """
    root = ET.Element("Data")
    panels = ET.SubElement(root, "Panels")
    grammar = CONFIGURATIONS[problem.configuration]
    for panel in problem.panels:
        struct = ET.SubElement(
            ET.SubElement(panels, "Panel"), "Struct", {"name": grammar.structure}
        )
        for index, part in enumerate(grammar.components):
            component = ET.SubElement(struct, "Component", {"id": str(index), "name": part.name})
            _write_layout(component, panel.components[index], part)
    rules = ET.SubElement(root, "Rules")
    for index, names in enumerate(problem.rule_names):
        group = ET.SubElement(rules, "Rule_Group", {"id": str(index)})
        for name, attribute in names:
            ET.SubElement(group, "Rule", {"name": name, "attr": attribute})
    return ET.tostring(root, encoding="unicode")


def check_component(part: Component, grammar: ComponentGrammar, where: str) -> None:
    """Checks slots, levels and uniformity of a component against its grammar.

    Raises:
        DataError: beginning with `where`.
    """
    slots = [entity.slot for entity in part.entities]
    is_apart = bool(slots) and len(set(slots)) == len(slots)
    _check(is_apart, where, "entities in different slots", slots)
    _check(0 <= part.uniformity <= UNIFORM, where, "a uniformity from 0 to 3", part.uniformity)
    for entity in part.entities:
        _check_entity(entity, grammar, where)


def _check_entity(entity: Entity, grammar: ComponentGrammar, where: str) -> None:
    allowed = {
        "slot": range(len(grammar.slots)),
        "type": LEVELS["type"],
        "size": grammar.sizes,
        "color": grammar.colors,
        "angle": range(len(ANGLES_DEG)),
    }
    for name, levels in allowed.items():
        level = getattr(entity, name)
        if level not in levels:
            raise DataError(
                f"{where}: {name}: expected a level from {levels[0]} to {levels[-1]}, got {level}"
            )


def _root(data: bytes, where: str) -> ET.Element:
    if len(data) > MAX_BYTES:
        raise DataError(f"{where}: expected at most {MAX_BYTES} bytes, got {len(data)}")
    try:
        # as text, so that no other encoding can hide a document type
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: expected UTF-8, got {error}") from None
    if "<!DOCTYPE" in text.upper():
        raise DataError(f"{where}: has a document type, which could define entities; refused")
    try:
        return ET.fromstring(_stripped(text))
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"{where}: expected well-formed XML, got {error}") from None


def _stripped(text: str) -> str:
    """Returns a file without the attributes that are never read.

    A value that is none in XML stays, for the parser to refuse.
    """
    for name in _UNREAD:
        start = f' {name}="'
        head, *parts = text.split(start)
        kept = [head]
        for part in parts:
            value, quote, rest = part.partition('"')
            is_value = quote and "<" not in value and "&" not in value
            kept.append(rest if is_value else start + part)
        text = "".join(kept)
    return text


class _Node:
    """An element with its path, for messages; the path is put together when one is written."""

    __slots__ = ("_parent", "_step", "element")

    def __init__(
        self, element: ET.Element, parent: "_Node | None", step: str | tuple[str, int]
    ) -> None:
        self.element, self._parent, self._step = element, parent, step

    @property
    def path(self) -> str:
        step = self._step if isinstance(self._step, str) else f"{self._step[0]}[{self._step[1]}]"
        return step if self._parent is None else f"{self._parent.path}/{step}"

    def elements(self, tag: str, count: int | None = None) -> list[ET.Element]:
        found = self.element.findall(tag)
        if not found or count not in (None, len(found)):
            expected = f"{count} elements {tag}" if count else f"an element {tag} or more"
            raise _unexpected(self.path, expected, len(found))
        return found

    def children(self, tag: str, count: int | None = None) -> list["_Node"]:
        found = self.elements(tag, count)
        return [_Node(element, self, (tag, i)) for i, element in enumerate(found)]

    def child(self, tag: str) -> "_Node":
        return _Node(self.elements(tag, 1)[0], self, tag)

    def text(self, name: str) -> str:
        value = self.element.get(name)
        if value is None:
            raise DataError(f"{self.path}: expected an attribute {name}, got none")
        return value

    def expect(self, name: str, value: str) -> None:
        if self.text(name) != value:
            raise _unexpected(f"{self.path}@{name}", repr(value), self.text(name))


def _numbers(text: str, where: str) -> object:
    try:
        return json.loads(text[:_MAX_JSON])
    except (ValueError, RecursionError):
        raise DataError(f"{where}: expected a list of numbers, got {text[:80]!r}") from None


def _unexpected(where: str, expected: str, got: object) -> DataError:
    return DataError(f"{where}: expected {expected}, got {str(got)[:80]!r}")


def _check(is_right: bool, where: str, expected: str, got: object) -> None:
    if not is_right:
        raise _unexpected(where, expected, got)


def _configuration(struct: _Node) -> Configuration:
    parts = struct.children("Component")
    structure = struct.text("name")
    layouts = [part.child("Layout").text("name") for part in parts]
    for grammar in CONFIGURATIONS.values():
        if grammar.structure == structure and [c.layout for c in grammar.components] == layouts:
            return grammar
    raise DataError(
        f"{struct.path}: expected structure and layouts of one of RAVEN's configurations, "
        f"got {structure[:80]!r} with {str(layouts)[:160]}"
    )


def _plain_panel(panel: ET.Element, grammar: Configuration) -> Panel | None:
    """Returns a panel that has what RAVEN writes and nothing else; None for any other.

    Reads no other files than `_panel`, which says what is wrong, but three times as fast.
    """
    parts = []
    try:
        (struct,) = panel
        for index, (node, part) in enumerate(zip(struct, grammar.components, strict=True)):
            (layout,) = node
            found = (struct.tag, struct.get("name"), node.tag, node.get("id"), node.get("name"))
            if found != ("Struct", grammar.structure, "Component", str(index), part.name):
                return None
            texts = [layout.get(name, "") for name in _LAYOUT_NAMES]
            number, uniformity = _layout_of(part.layout, *texts)
            entities = tuple(
                [_entity_of(part.layout, *map(node.get, _ENTITY_NAMES)) for node in layout]
            )
            tags = {layout.tag, *[node.tag for node in layout]}
            slots = {entity.slot for entity in entities}
            if tags != {"Layout", "Entity"} or not number + 1 == len(entities) == len(slots):
                return None
            parts.append(Component(entities, uniformity))
    except ValueError:
        return None
    return Panel(tuple(parts))


def _panel(struct: _Node, grammar: Configuration) -> Panel:
    struct.expect("name", grammar.structure)
    nodes = struct.children("Component", len(grammar.components))
    parts = []
    for index, (node, part) in enumerate(zip(nodes, grammar.components, strict=True)):
        node.expect("id", str(index))
        node.expect("name", part.name)
        parts.append(_component(node.child("Layout"), part))
    return Panel(tuple(parts))


def _component(layout: _Node, grammar: ComponentGrammar) -> Component:
    try:
        number, uniformity = _layout_of(
            grammar.layout, *[layout.text(name) for name in _LAYOUT_NAMES]
        )
    except DataError as error:
        raise DataError(f"{layout.path}{error}") from None
    found = layout.elements("Entity")
    if number != len(found) - 1:
        raise _unexpected(f"{layout.path}@Number", f"{len(found) - 1}, one per entity", number)
    entities = []
    for index, element in enumerate(found):
        try:
            entities.append(_entity_of(grammar.layout, *map(element.get, _ENTITY_NAMES)))
        except DataError as error:
            raise DataError(f"{layout.path}/Entity[{index}]{error}") from None
    if len({entity.slot for entity in entities}) < len(entities):
        raise _unexpected(layout.path, "entities in different slots", [e.slot for e in entities])
    return Component(tuple(entities), uniformity)


# the same few texts stand in a file over and over, and in all files of a configuration
@lru_cache(maxsize=2**10)
def _layout_of(layout: str, name: str, slots: str, *level_texts: str) -> tuple[int, int]:
    """Returns the level of the number, and the uniformity."""
    _check(name == layout, "@name", repr(layout), name)
    _check(
        _numbers(slots, "@Position") == _SLOTS[layout],
        "@Position",
        f"the slots {_SLOTS[layout]}",
        slots,
    )
    number, uniformity = _levels(_LAYOUT_NAMES[2:], level_texts)
    _check(uniformity <= UNIFORM, "@Uniformity", f"a uniformity from 0 to {UNIFORM}", uniformity)
    return number, uniformity


@lru_cache(maxsize=2**15)
def _entity_of(layout: str, box_text: str | None, *level_texts: str | None) -> Entity:
    slots = _SLOTS[layout]
    texts = []
    for name, text in zip(_ENTITY_NAMES, (box_text, *level_texts), strict=True):
        if text is None:
            raise DataError(f": expected an attribute {name}, got none")
        texts.append(text)
    box = _numbers(texts[0], "@bbox")
    _check(box in slots, "@bbox", f"a slot of {layout}", box)
    shape, size, color, angle = _levels(_ENTITY_NAMES[1:], texts[1:])
    entity = Entity(shape, size, color, angle, _SLOTS[layout].index(box))  # type: ignore[arg-type]
    _check_entity(entity, _GRAMMARS[layout], "")
    return entity


def _levels(names: Sequence[str], texts: Sequence[str]) -> list[int]:
    for name, text in zip(names, texts, strict=True):
        _check(bool(_NUMBER.fullmatch(text)), f"@{name}", "a level", text)
    return [int(text) for text in texts]


def _write_layout(parent: ET.Element, part: Component, grammar: ComponentGrammar) -> None:
    layout = ET.SubElement(
        parent,
        "Layout",
        {
            "name": grammar.layout,
            "Number": str(len(part.entities) - 1),
            "Position": json.dumps(grammar.slots),
            "Uniformity": str(part.uniformity),
        },
    )
    for entity in part.entities:
        slot = grammar.slots[entity.slot]
        box, runs = _seen(entity, slot)
        texts = {name.capitalize(): str(getattr(entity, name)) for name in _LEVEL_NAMES}
        ET.SubElement(
            layout, "Entity", {"bbox": json.dumps(slot), "real_bbox": box, "mask": runs, **texts}
        )


def _seen(entity: Entity, slot: Slot) -> tuple[str, str]:
    """Returns the box that holds a shape's pixels, and the pixels as runs.

    A run is its first pixel, counted from 1 along the rows of the panel, and its length.
    """
    shape = glyph(entity.type, entity.size, entity.angle, slot)
    seen = shape.silhouette()
    mask = np.zeros((CANVAS_PX, CANVAS_PX), bool)
    height, width = seen.shape
    mask[shape.row : shape.row + height, shape.column : shape.column + width] = seen
    middles, lengths = [], []
    for axis in (1, 0):
        (found,) = np.nonzero(mask.any(axis))
        middles.append(round(float(found[0] + found[-1]) / 2 / CANVAS_PX, 4))
        lengths.append(round(float(found[-1] - found[0] + 1) / CANVAS_PX, 4))
    edges = np.flatnonzero(np.diff(np.pad(mask.ravel().astype(np.int8), 1)))
    starts, stops = edges[::2], edges[1::2]
    runs = np.column_stack([starts + 1, stops - starts]).ravel().tolist()
    return json.dumps(middles + lengths), json.dumps(runs, separators=(",", ":"))
