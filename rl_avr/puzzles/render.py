"""Draws a puzzle as one image: the matrix on top, the choices below.

    rows 0-2   the matrix, columns 0-2, the missing panel marked with "?"
    rows 3-4   the choices A-D and E-H, columns 0-3

Every panel fills a square cell of `panel_size_px`, so a vision tower whose merged
patch has that size gets one token a panel. Shapes are drawn at RAVEN's 160 px with
its radii and grey values, four times enlarged, and scaled down.

Source: RAVEN (Zhang et al. 2019), released renderer: radius int(80 * size), half
side of the square int(80 / 2 * sqrt(2) * size), outline 2 px, level 0 not filled.
"""

import io
import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rl_avr.contracts import CHOICE_LETTERS, Entity, Panel, Puzzle
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.grammar import ANGLES_DEG, GREY_VALUES, SIZE_FRACTIONS

GRID_ROWS, GRID_COLUMNS = 5, 4

_CANVAS_PX = 160
_ENLARGE = 4
_WHITE = 255
_BORDER_GREY = 200
_MIN_LETTER_PX = 9


def image_size_px(config: RenderConfig) -> tuple[int, int]:
    """Returns height and width of a puzzle's image."""
    return GRID_ROWS * config.panel_size_px, GRID_COLUMNS * config.panel_size_px


def render_puzzle(puzzle: Puzzle, config: RenderConfig) -> np.ndarray:
    """Returns the image, uint8 of shape (height, width)."""
    side = config.panel_size_px
    canvas = np.full(image_size_px(config), _WHITE, np.uint8)
    tiles = [(divmod(i, 3), _tile(_entity(p), side, None)) for i, p in enumerate(puzzle.context)]
    tiles.append(((2, 2), _tile(None, side, "?")))
    for i, panel in enumerate(puzzle.choices):
        letter = CHOICE_LETTERS[i] if config.has_letters else None
        tiles.append(
            ((3 + i // GRID_COLUMNS, i % GRID_COLUMNS), _tile(_entity(panel), side, letter))
        )
    for (row, column), tile in tiles:
        canvas[row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
    return canvas


def render_png(puzzle: Puzzle, config: RenderConfig) -> bytes:
    """Returns the image as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(render_puzzle(puzzle, config)).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def _entity(panel: Panel) -> Entity:
    return panel.entities[0]


@lru_cache(maxsize=8192)
def _tile(entity: Entity | None, side: int, mark: str | None) -> np.ndarray:
    """Returns one cell, uint8 of shape (side, side), frame and mark included."""
    size = _CANVAS_PX * _ENLARGE
    image = Image.new("L", (size, size), _WHITE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, size - 1, size - 1), outline=_BORDER_GREY, width=2 * _ENLARGE)
    if entity is not None:
        _draw_entity(draw, entity)
    if mark == "?":
        font = ImageFont.load_default(size // 2)
        draw.text((size // 2, size // 2), mark, fill=0, font=font, anchor="mm")
    elif mark is not None:
        font = ImageFont.load_default(max(size // 7, _MIN_LETTER_PX * size // side))
        draw.text((size // 28, 0), mark, fill=0, font=font)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def _draw_entity(draw: ImageDraw.ImageDraw, entity: Entity) -> None:
    unit = _CANVAS_PX / 2
    centre = unit * _ENLARGE
    fraction = SIZE_FRACTIONS[entity.size]
    radius = int(unit * fraction) * _ENLARGE
    fill = GREY_VALUES[entity.color]
    width = 2 * _ENLARGE
    if entity.type == 5:
        box = (centre - radius, centre - radius, centre + radius, centre + radius)
        draw.ellipse(box, fill=fill, outline=0, width=width)
        return
    corners = _corners(entity.type, radius, int(unit / 2 * math.sqrt(2) * fraction) * _ENLARGE)
    turn = math.radians(ANGLES_DEG[entity.angle])
    points = [
        (
            centre + x * math.cos(turn) - y * math.sin(turn),
            centre + x * math.sin(turn) + y * math.cos(turn),
        )
        for x, y in corners
    ]
    draw.polygon(points, fill=fill, outline=0, width=width)


def _corners(shape: int, radius: float, half_side: float) -> list[tuple[float, float]]:
    """Returns the corners around the origin, first one up (a square lies flat)."""
    if shape == 2:
        h = half_side
        return [(-h, -h), (h, -h), (h, h), (-h, h)]
    count = {1: 3, 3: 5, 4: 6}[shape]
    return [
        (
            radius * math.sin(2 * math.pi * k / count),
            -radius * math.cos(2 * math.pi * k / count),
        )
        for k in range(count)
    ]
