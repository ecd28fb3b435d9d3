"""The cells of a composed image: a panel in a frame, any size, with a letter or a "?".

Shapes are drawn at RAVEN's 160 px with its radii and grey values, four times enlarged,
and scaled down, so that they stay smooth in small cells.

A lone shape in the middle and its letter are drawn together on one canvas. Layouts with
more shapes are put together from scaled patches, one for each shape; where two meet in
one pixel the darker one stays. A letter stands in the corner, or between the slots
where shapes reach into the corner.

Source: RAVEN (Zhang et al. 2019), released renderer: radius int(80 * size), half
side of the square int(80 / 2 * sqrt(2) * size), outline 2 px, level 0 not filled.
"""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rl_avr.contracts import Panel, Scene
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.byte_cache import ByteCache
from rl_avr.puzzles.glyphs import CANVAS_PX, NUM_CORNERS, extents, slot_centre
from rl_avr.puzzles.grammar import ANGLES_DEG, CONFIGURATIONS, GREY_VALUES, Slot
from rl_avr.puzzles.panels import DIVIDERS, placed

LONE = "center_single"
"""The configuration whose pictures never change: policies were trained on these pixels."""

_ENLARGE = 4
_SIZE = CANVAS_PX * _ENLARGE
_WIDTH = 2 * _ENLARGE
_WHITE = 255
_BORDER_GREY = 200
_MIN_LETTER_PX = 9
# from this side on a single black pixel of the enlarged canvas changes the pixel it ends in
_MIN_EXACT_PX = 32
_WHOLE: Slot = (0.5, 0.5, 1, 1)
_FREE_PLACES = {"distribute_four": 0.5, "distribute_nine": 0.33}
"""Row and column of the letter where shapes reach into the corner: between four slots."""


def panel_cell(
    panel: Panel | Scene, configuration: str, side: int, letter: str | None = None
) -> np.ndarray:
    """Returns a panel's cell, uint8 of shape (side, side), frame and letter included.

    Args:
        panel: a panel of RAVEN's grammar.
        configuration: RAVEN's folder name.
        side: side of the cell in pixels.
        letter: letter of a choice.

    Raises:
        PuzzleError: the panel is not one of this configuration.
    """
    shapes = tuple(placed(panel, configuration))
    if configuration == LONE:
        if len(shapes) != 1:
            raise PuzzleError(f"{LONE}: expected a panel with one entity, got {panel!r}")
        entity = shapes[0][0]
        return _lone_cell(entity.type, entity.size, entity.color, entity.angle, side, letter)
    ink = _empty_cell(configuration, side, letter).copy()
    for entity, slot in shapes:
        rows, columns, patch = _patch(
            entity.type, entity.size, entity.color, entity.angle, slot, side
        )
        below = ink[rows, columns]
        np.maximum(below, patch, out=below)
    return np.subtract(_WHITE, ink, out=ink)


def scene_cell(
    picture: np.ndarray, letter: str | None = None, configuration: str = LONE
) -> np.ndarray:
    """Returns the cell of a picture, uint8 of the same shape: frame and letter on top.

    Args:
        picture: uint8 of shape (side, side).
        letter: letter of a choice, or another name of a few characters.
        configuration: RAVEN's folder name, which decides where a letter is in no shape's way.
    """
    return np.minimum(picture, _WHITE - _empty_cell(configuration, picture.shape[0], letter))


def missing_cell(side: int) -> np.ndarray:
    """Returns the cell with a "?", uint8 of shape (side, side)."""
    return _missing_cell(side)


class _Patch(NamedTuple):
    """A shape scaled down: where it lies in the cell, and its ink, 255 minus gray; uint8."""

    rows: slice
    columns: slice
    ink: np.ndarray


class _Cover(NamedTuple):
    """How much of each pixel the outline and the interior cover; uint8, 255 at most in all."""

    rows: slice
    columns: slice
    outline: np.ndarray
    fill: np.ndarray


def _color_patch(shape: int, size: int, color: int, angle: int, slot: Slot, side: int) -> _Patch:
    cover = _cover(shape, size, angle, slot, side)
    if not color:
        return _Patch(cover.rows, cover.columns, cover.outline)
    inside = np.multiply(cover.fill, _WHITE - GREY_VALUES[color], dtype=np.uint16) // 255
    return _Patch(cover.rows, cover.columns, cover.outline + inside.astype(np.uint8))


def _draw_cover(shape: int, size: int, angle: int, slot: Slot, side: int) -> _Cover:
    row, column = (middle * _ENLARGE for middle in slot_centre(slot))
    # counterclockwise, as in RAVEN
    spec = _Shape(shape, *extents(size, slot), -math.radians(ANGLES_DEG[angle]))
    reach = spec.radius * _ENLARGE + _WIDTH
    rows, columns = (_window(middle, reach, side) for middle in (row, column))
    top, left = rows.start * _SIZE / side, columns.start * _SIZE / side
    bottom, right = rows.stop * _SIZE / side, columns.stop * _SIZE / side
    y, x = math.floor(top), math.floor(left)
    outline, fill = (
        _scaled_shape(
            spec,
            (column - x, row - y),
            inks,
            (left - x, top - y, right - x, bottom - y),
            (columns.stop - columns.start, rows.stop - rows.start),
        )
        for inks in ((0, 255), (255, 0))
    )
    # the two are rounded on their own and may add up to 256
    return _Cover(rows, columns, outline, np.minimum(fill, 255 - outline))


def _scaled_shape(
    spec: "_Shape",
    centre: tuple[float, float],
    inks: tuple[int, int],
    box: tuple[float, float, float, float],
    extent: tuple[int, int],
) -> np.ndarray:
    """Returns a box around a shape, drawn with the inks of interior and outline, scaled."""
    image = Image.new("L", (math.ceil(box[2]), math.ceil(box[3])))
    _draw_shape(ImageDraw.Draw(image), spec, centre, *inks)
    return np.array(image.resize(extent, Image.Resampling.BOX, box=box))


def _window(middle: float, reach: float, side: int) -> slice:
    start, stop = (middle - reach) * side / _SIZE, (middle + reach) * side / _SIZE
    return slice(max(math.floor(start), 0), min(math.ceil(stop), side))


def _draw_empty_cell(configuration: str, side: int, letter: str | None) -> np.ndarray:
    """Returns the ink of frame, divider and letter."""
    image, draw = _framed()
    divider = DIVIDERS.get(CONFIGURATIONS[configuration].structure)
    middle = CANVAS_PX // 2 * _ENLARGE
    if divider is DIVIDERS["Left_Right"]:
        draw.rectangle((middle, 0, middle + _ENLARGE - 1, _SIZE), fill=0)
    elif divider is DIVIDERS["Up_Down"]:
        draw.rectangle((0, middle, _SIZE, middle + _ENLARGE - 1), fill=0)
    if letter is not None:
        _draw_letter(draw, letter, side, _FREE_PLACES.get(configuration))
    return _WHITE - _scaled(image, side)


def _draw_lone_cell(
    shape: int, size: int, color: int, angle: int, side: int, letter: str | None
) -> np.ndarray:
    if letter is not None and side >= _MIN_EXACT_PX:
        marked = _marked(_lone_cell(shape, size, color, angle, side, None), side, letter)
        if marked is not None:
            return marked
    image, draw = _framed()
    middle = _SIZE / 2
    # clockwise, unlike RAVEN: see LONE
    spec = _Shape(shape, *extents(size, _WHOLE), math.radians(ANGLES_DEG[angle]))
    _draw_shape(draw, spec, (middle, middle), GREY_VALUES[color], 0)
    if letter is not None:
        _draw_letter(draw, letter, side)
    return _scaled(image, side)


def _marked(bare: np.ndarray, side: int, letter: str) -> np.ndarray | None:
    """Returns a cell with a letter put in, or None where shape and letter share a pixel.

    Pixel for pixel what drawing both on one canvas gives, many times faster.
    """
    plain, marked = _empty_cell(LONE, side, None), _empty_cell(LONE, side, letter)
    is_letter = marked != plain
    if (is_letter & (bare != _WHITE - plain)).any():
        return None
    return np.where(is_letter, _WHITE - marked, bare)


def _draw_missing_cell(side: int) -> np.ndarray:
    image, draw = _framed()
    font = ImageFont.load_default(_SIZE // 2)
    draw.text((_SIZE // 2, _SIZE // 2), "?", fill=0, font=font, anchor="mm")
    return _scaled(image, side)


def _framed() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (_SIZE, _SIZE), _WHITE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, _SIZE - 1, _SIZE - 1), outline=_BORDER_GREY, width=_WIDTH)
    return image, draw


def _scaled(image: Image.Image, side: int) -> np.ndarray:
    return np.array(image.resize((side, side), Image.Resampling.BOX))


def _draw_letter(
    draw: ImageDraw.ImageDraw, letter: str, side: int, place: float | None = None
) -> None:
    font = ImageFont.load_default(max(_SIZE // 7, _MIN_LETTER_PX * _SIZE // side))
    if place is None:
        draw.text((_SIZE // 28, 0), letter, fill=0, font=font)
    else:
        draw.text((place * _SIZE, place * _SIZE), letter, fill=0, font=font, anchor="mm")


class _Shape(NamedTuple):
    """What to draw: lengths in pixels of the 160-px canvas, the turn in radians, clockwise."""

    type: int
    radius: int
    half_side: int
    turn: float


def _draw_shape(
    draw: ImageDraw.ImageDraw, spec: _Shape, centre: tuple[float, float], fill: int, outline: int
) -> None:
    cx, cy = centre
    turn, radius = spec.turn, spec.radius * _ENLARGE
    if spec.type == 5:
        box = (cx - radius, cy - radius, cx + radius, cy + radius)
        draw.ellipse(box, fill=fill, outline=outline, width=_WIDTH)
        return
    points = [
        (
            cx + x * math.cos(turn) - y * math.sin(turn),
            cy + x * math.sin(turn) + y * math.cos(turn),
        )
        for x, y in _corners(spec.type, radius, spec.half_side * _ENLARGE)
    ]
    draw.polygon(points, fill=fill, outline=outline, width=_WIDTH)


def _corners(shape: int, radius: float, half_side: float) -> list[tuple[float, float]]:
    """Returns the corners around the origin, first one up (a square lies flat)."""
    if shape == 2:
        h = half_side
        return [(-h, -h), (h, -h), (h, h), (-h, h)]
    count = NUM_CORNERS[shape]
    return [
        (
            radius * math.sin(2 * math.pi * k / count),
            -radius * math.cos(2 * math.pi * k / count),
        )
        for k in range(count)
    ]


_lone_cell = ByteCache(_draw_lone_cell, 32 * 2**20)
_patch = ByteCache(_color_patch, 32 * 2**20)
_cover = ByteCache(_draw_cover, 12 * 2**20)
_empty_cell = ByteCache(_draw_empty_cell, 4 * 2**20)
_missing_cell = ByteCache(_draw_missing_cell, 2**20)
