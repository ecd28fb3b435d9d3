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
_MAX_JSON = 1000
_NUMBER = re.compile(r"[0-9]{1,3}", re.ASCII)


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
    root = _Node(_root(data, where), f"{where}: Data")
    panel_nodes = root.child("Panels").children("Panel", NUM_PANELS)
    structs = [node.child("Struct") for node in panel_nodes]
    grammar = _configuration(structs[0])
    panels = tuple(_panel(struct, grammar) for struct in structs)
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
    _check(
        bool(slots) and len(set(slots)) == len(slots), where, "entities in different slots", slots
    )
    _check(0 <= part.uniformity <= UNIFORM, where, "a uniformity from 0 to 3", part.uniformity)
    allowed = {
        "slot": range(len(grammar.slots)),
        "type": LEVELS["type"],
        "size": grammar.sizes,
        "color": grammar.colors,
        "angle": range(len(ANGLES_DEG)),
    }
    for entity in part.entities:
        for name, levels in allowed.items():
            level = getattr(entity, name)
            if level not in levels:
                raise DataError(
                    f"{where}: {name}: expected a level from {levels[0]} to {levels[-1]}, "
                    f"got {level}"
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
        return ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"{where}: expected well-formed XML, got {error}") from None


class _Node:
    """An element with its path, for messages."""

    def __init__(self, element: ET.Element, path: str) -> None:
        self._element, self.path = element, path

    def children(self, tag: str, count: int | None = None) -> list["_Node"]:
        found = self._element.findall(tag)
        expected = f"{count} elements {tag}" if count else f"an element {tag} or more"
        _check(len(found) == count if count else bool(found), self.path, expected, len(found))
        return [
            _Node(element, f"{self.path}/{tag}" + (f"[{i}]" if count != 1 else ""))
            for i, element in enumerate(found)
        ]

    def child(self, tag: str) -> "_Node":
        return self.children(tag, 1)[0]

    def text(self, name: str) -> str:
        value = self._element.get(name)
        if value is None:
            raise DataError(f"{self.path}: expected an attribute {name}, got none")
        return value

    def expect(self, name: str, value: str) -> None:
        _check(self.text(name) == value, f"{self.path}@{name}", repr(value), self.text(name))

    def level(self, name: str) -> int:
        text = self.text(name)
        _check(bool(_NUMBER.fullmatch(text)), f"{self.path}@{name}", "a level", text)
        return int(text)

    def numbers(self, name: str) -> object:
        text = self.text(name)
        try:
            return json.loads(text[:_MAX_JSON])
        except (ValueError, RecursionError):
            raise DataError(
                f"{self.path}@{name}: expected a list of numbers, got {text[:80]!r}"
            ) from None


def _check(is_right: bool, where: str, expected: str, got: object) -> None:
    if not is_right:
        raise DataError(f"{where}: expected {expected}, got {str(got)[:80]!r}")


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
    layout.expect("name", grammar.layout)
    slots = [list(slot) for slot in grammar.slots]
    _check(
        layout.numbers("Position") == slots,
        f"{layout.path}@Position",
        f"the slots {slots}",
        layout.text("Position"),
    )
    nodes = layout.children("Entity")
    number = layout.level("Number")
    _check(
        number == len(nodes) - 1,
        f"{layout.path}@Number",
        f"{len(nodes) - 1}, one per entity",
        number,
    )
    entities = []
    for node in nodes:
        box = node.numbers("bbox")
        _check(box in slots, f"{node.path}@bbox", f"a slot of {grammar.layout}", box)
        levels = {name: node.level(name.capitalize()) for name in _LEVEL_NAMES}
        entities.append(Entity(**levels, slot=slots.index(box)))  # type: ignore[arg-type]
    component = Component(tuple(entities), layout.level("Uniformity"))
    check_component(component, grammar, layout.path)
    return component


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
