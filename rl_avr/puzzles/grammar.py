"""RAVEN's grammar: the seven configurations, the attributes' levels, what a level means.

A configuration has one or two components; a component has slots, and an entity in
some of them. Values of an attribute are levels, except that `number` is a count and
`position` a number whose bit k says that slot k is filled.

Source: RAVEN (Zhang et al. 2019), attribute tables and layouts of the released data.
"""

from dataclasses import dataclass
from functools import cache

from rl_avr.contracts import Component, Entity, Panel

ATTRIBUTES = ("type", "size", "color")
"""The attributes of an entity that carry rules, in the order of the rules."""

LEVELS: dict[str, tuple[int, ...]] = {
    "type": (1, 2, 3, 4, 5),
    "size": (0, 1, 2, 3, 4, 5),
    "color": (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
}
"""Allowed levels. Type level 0 means no shape and is never drawn."""

TYPE_NAMES = ("none", "triangle", "square", "pentagon", "hexagon", "circle")
SIZE_FRACTIONS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
GREY_VALUES = (255, 224, 196, 168, 140, 112, 84, 56, 28, 0)
ANGLES_DEG = (-135, -90, -45, 0, 45, 90, 135, 180)
UPRIGHT = 3
UNIFORM = 3
"""The one of the four uniformity levels at which all entities of a panel are alike."""

Slot = tuple[float, float, float, float]
"""Row centre, column centre, height and width, as fractions of the panel."""


@dataclass(frozen=True)
class ComponentGrammar:
    """One part of a configuration.

    Args:
        name: RAVEN's name of the component: Grid, Left, Right, Up, Down, Out or In.
        layout: RAVEN's name of the layout.
        slots: places of entities, row-major.
        sizes: allowed size levels.
        colors: allowed color levels.
    """

    name: str
    layout: str
    slots: tuple[Slot, ...]
    sizes: tuple[int, ...] = LEVELS["size"]
    colors: tuple[int, ...] = LEVELS["color"]

    def levels(self, attribute: str) -> tuple[int, ...]:
        """Returns the values that `attribute` can take here, counts for `number`."""
        if attribute == "number":
            return tuple(range(1, len(self.slots) + 1))
        return {"type": LEVELS["type"], "size": self.sizes, "color": self.colors}[attribute]

    @property
    def has_layout_rule(self) -> bool:
        """Whether number and position can vary at all."""
        return len(self.slots) > 1


@dataclass(frozen=True)
class Configuration:
    """A configuration: RAVEN's folder name, the paper's name, its structure, its components."""

    folder: str
    title: str
    structure: str
    components: tuple[ComponentGrammar, ...]


def _grid(centres: tuple[float, ...], side: float) -> tuple[Slot, ...]:
    return tuple((row, column, side, side) for row in centres for column in centres)


_WHOLE: tuple[Slot, ...] = ((0.5, 0.5, 1, 1),)
_OUT = ComponentGrammar("Out", "Out_Center_Single", _WHOLE, sizes=(3, 4, 5), colors=(0,))

CONFIGURATIONS: dict[str, Configuration] = {
    c.folder: c
    for c in (
        Configuration(
            "center_single",
            "Center",
            "Singleton",
            (ComponentGrammar("Grid", "Center_Single", _WHOLE),),
        ),
        Configuration(
            "distribute_four",
            "2x2Grid",
            "Singleton",
            (ComponentGrammar("Grid", "Distribute_Four", _grid((0.25, 0.75), 0.5)),),
        ),
        Configuration(
            "distribute_nine",
            "3x3Grid",
            "Singleton",
            (ComponentGrammar("Grid", "Distribute_Nine", _grid((0.16, 0.5, 0.83), 0.33)),),
        ),
        Configuration(
            "left_center_single_right_center_single",
            "L-R",
            "Left_Right",
            (
                ComponentGrammar("Left", "Left_Center_Single", ((0.5, 0.25, 0.5, 0.5),)),
                ComponentGrammar("Right", "Right_Center_Single", ((0.5, 0.75, 0.5, 0.5),)),
            ),
        ),
        Configuration(
            "up_center_single_down_center_single",
            "U-D",
            "Up_Down",
            (
                ComponentGrammar("Up", "Up_Center_Single", ((0.25, 0.5, 0.5, 0.5),)),
                ComponentGrammar("Down", "Down_Center_Single", ((0.75, 0.5, 0.5, 0.5),)),
            ),
        ),
        Configuration(
            "in_center_single_out_center_single",
            "O-IC",
            "Out_In",
            (_OUT, ComponentGrammar("In", "In_Center_Single", ((0.5, 0.5, 0.33, 0.33),))),
        ),
        Configuration(
            "in_distribute_four_out_center_single",
            "O-IG",
            "Out_In",
            (
                _OUT,
                ComponentGrammar(
                    "In", "In_Distribute_Four", _grid((0.42, 0.58), 0.15), sizes=(2, 3, 4, 5)
                ),
            ),
        ),
    )
}
"""By folder name."""


def position(component: Component) -> int:
    """Returns the filled slots as a number; bit k is slot k."""
    mask = 0
    for entity in component.entities:
        mask |= 1 << entity.slot
    return mask


def panel_value(
    panel: Panel, attribute: str, component: int = 0, slot: int | None = None
) -> int | None:
    """Returns the value of an attribute, or None where the panel has no single one.

    Args:
        panel: the panel.
        attribute: `number`, `position`, or one of `ATTRIBUTES`.
        component: index of the component.
        slot: one slot of it; None for all entities, which must then agree.
    """
    if component >= len(panel.components):
        return None
    part = panel.components[component]
    if attribute == "number":
        return len(part.entities)
    if attribute == "position":
        return position(part)
    if attribute not in ATTRIBUTES:
        return None
    if slot is None and len(part.entities) == 1:
        return getattr(part.entities[0], attribute)
    found = {
        getattr(entity, attribute)
        for entity in part.entities
        if slot is None or entity.slot == slot
    }
    return found.pop() if len(found) == 1 else None


def level(panel: Panel, attribute: str) -> int:
    """Returns the level of `attribute` in a panel with one entity."""
    return getattr(panel.components[0].entities[0], attribute)


def single(values: dict[str, int], angle: int = UPRIGHT) -> Panel:
    """Returns the one-entity panel with these levels, one per name in `ATTRIBUTES`."""
    entity = Entity(values["type"], values["size"], values["color"], angle)
    return Panel((Component((entity,)),))


@cache
def bits(mask: int) -> tuple[int, ...]:
    """Returns the indices of the bits that are set.

    >>> bits(0b1001)
    (0, 3)
    """
    return tuple(k for k in range(mask.bit_length()) if mask >> k & 1)
