"""RAVEN's attributes: their levels, and what a level means to the renderer.

Source: RAVEN (Zhang et al. 2019), attribute tables of the released generator.
"""

from rl_avr.contracts import Entity, Panel

ATTRIBUTES = ("type", "size", "color")
"""The attributes that carry rules in a one-entity layout, in the order of the rules."""

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


def level(panel: Panel, attribute: str) -> int:
    """Returns the level of `attribute` in a panel with one entity."""
    return getattr(panel.entities[0], attribute)


def single(values: dict[str, int], angle: int = UPRIGHT) -> Panel:
    """Returns the one-entity panel with these levels, one per name in `ATTRIBUTES`."""
    return Panel((Entity(values["type"], values["size"], values["color"], angle),))
