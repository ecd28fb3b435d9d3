"""Single panels as RAVEN draws them: 160 by 160 pixels, white, no frame.

Components are drawn in order, the outer one first. A shape covers what lies below
wherever it has ink; the interior of color level 0 has none. Two of the configurations
have a black line of one pixel between their halves.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from rl_avr.contracts import Entity, Panel, Puzzle, Scene
from rl_avr.errors import PuzzleError, nearest
from rl_avr.puzzles.glyphs import CANVAS_PX, glyph
from rl_avr.puzzles.grammar import CONFIGURATIONS, Slot

DIVIDERS: dict[str, Any] = {
    "Left_Right": np.s_[:, CANVAS_PX // 2],
    "Up_Down": np.s_[CANVAS_PX // 2, :],
}
"""Where a structure has its black line."""


def render_panel(panel: Panel | Scene, configuration: str, side: int = CANVAS_PX) -> np.ndarray:
    """Returns a panel, uint8 of shape (side, side).

    At 160 px these are RAVEN's pixels; other sides are that picture scaled.

    Args:
        panel: a panel of RAVEN's grammar.
        configuration: RAVEN's folder name.
        side: height and width in pixels.

    Raises:
        PuzzleError: the panel is not one of this configuration.
    """
    ink = np.zeros((CANVAS_PX, CANVAS_PX), np.uint8)
    for entity, slot in placed(panel, configuration):
        shape = glyph(entity.type, entity.size, entity.angle, slot)
        patch = shape.ink(entity.color)
        height, width = patch.shape
        below = ink[shape.row : shape.row + height, shape.column : shape.column + width]
        np.copyto(below, patch, where=patch > 0)
    divider = DIVIDERS.get(CONFIGURATIONS[configuration].structure)
    if divider is not None:
        ink[divider] = 255
    picture = 255 - ink
    if side == CANVAS_PX:
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BOX))


def render_panels(puzzle: Puzzle) -> np.ndarray:
    """Returns context, then choices, uint8 of shape (panels, 160, 160); 16 panels as a rule.

    Raises:
        PuzzleError: the puzzle is not a matrix puzzle of RAVEN's grammar.
    """
    if puzzle.family != "rpm":
        raise PuzzleError(
            f"puzzle {puzzle.puzzle_id}: expected the family 'rpm' for panels in RAVEN's pixels, "
            f"got {puzzle.family!r}; draw it as one image with render_puzzle, if it has a state"
        )
    panels = (*puzzle.context, *puzzle.choices)
    return np.stack([render_panel(panel, puzzle.configuration) for panel in panels])


def placed(panel: Panel | Scene, configuration: str) -> Iterator[tuple[Entity, Slot]]:
    """Yields every entity with its slot, in the order of drawing.

    Raises:
        PuzzleError: the configuration is unknown, or the panel is not one of it.
    """
    grammar = CONFIGURATIONS.get(configuration)
    if grammar is None:
        raise PuzzleError(
            f"expected one of RAVEN's configurations, got {configuration!r}; "
            f"nearest: {nearest(configuration, CONFIGURATIONS)}"
        )
    if not isinstance(panel, Panel) or len(panel.components) != len(grammar.components):
        raise PuzzleError(
            f"expected a panel of {configuration} with {len(grammar.components)} components, "
            f"got {panel!r}"
        )
    for component, part in zip(panel.components, grammar.components, strict=True):
        for entity in component.entities:
            if not 0 <= entity.slot < len(part.slots):
                raise PuzzleError(
                    f"{configuration}, {part.name}: expected a slot from 0 to "
                    f"{len(part.slots) - 1}, got {entity!r}"
                )
            yield entity, part.slots[entity.slot]
