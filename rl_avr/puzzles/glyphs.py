"""RAVEN's shapes at RAVEN's 160 pixels, as weights from which the ink of any color follows.

A shape is drawn upright on whole pixels, without antialiasing, then turned about the
centre of its slot with bilinear weights; only the turn makes gray edges. The released
pictures are met to the last gray level with these conventions, all read off pixels:

    centre     truncated to whole pixels
    corners    truncated toward the centre; a circle is a polygon of 12 corners where its
               radius is below 10, 20 below 15, 72 otherwise, and these are not truncated
    outline    every side is a band from 1 px outside to 1 px inside with a small cross on
               both its ends; a band's corners are moved to whole rows, and each row is
               filled between the rounded ends of its span
    turn       counterclockwise; source positions in units of 1/32 px
    gray       the ink, 255 minus gray, is rounded half up

Source: pixels and masks of problems released in RAVEN's format (Zhang et al. 2019).
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from rl_avr.puzzles.byte_cache import ByteCache
from rl_avr.puzzles.grammar import ANGLES_DEG, GREY_VALUES, SIZE_FRACTIONS, Slot

CANVAS_PX = 160
NUM_CORNERS = {1: 3, 3: 5, 4: 6}
"""By type level; a square has its own size and a circle no corners to see."""

_Point = tuple[float, float]

_MARGIN_PX = 3
_UNIT = 1024
"""A weight of one; bilinear weights are products of two numbers of 1/32."""
_TIE = 5e-5
"""The pictures' arithmetic has steps of 1/65536 px; what is that close to a half goes up."""


class Glyph(NamedTuple):
    """A turned shape in its place on the canvas.

    Args:
        row: first row of the patch on the canvas.
        column: first column.
        outline: uint16, the outline's weight, 0 to 1024.
        fill: uint16, the interior's weight, likewise.
    """

    row: int
    column: int
    outline: np.ndarray
    fill: np.ndarray

    def ink(self, color: int) -> np.ndarray:
        """Returns 255 minus gray where the shape has color level `color`; uint8.

        Level 0 has no ink inside: what lies below shows through.
        """
        return self._weighted(255 - GREY_VALUES[color]).astype(np.uint8)

    def silhouette(self) -> np.ndarray:
        """Returns where the shape, interior included, covers a pixel wholly; bool."""
        return self._weighted(255) == 255

    def _weighted(self, inside: int) -> np.ndarray:
        total = np.multiply(self.outline, 255, dtype=np.int32)
        if inside:
            total += np.multiply(self.fill, inside, dtype=np.int32)
        total += _UNIT // 2
        total >>= 10
        return total


def slot_centre(slot: Slot) -> tuple[int, int]:
    """Returns row and column of a slot's centre, in pixels of the canvas."""
    return int(slot[0] * CANVAS_PX), int(slot[1] * CANVAS_PX)


def extents(size: int, slot: Slot) -> tuple[int, int]:
    """Returns circumradius, and half the side of a square, in pixels of the canvas."""
    unit = min(slot[2], slot[3]) * CANVAS_PX / 2
    fraction = SIZE_FRACTIONS[size]
    return int(unit * fraction), int(unit / 2 * math.sqrt(2) * fraction)


def _draw_glyph(shape: int, size: int, angle: int, slot: Slot) -> Glyph:
    radius, half_side = extents(size, slot)
    outline = _outline(shape, radius, half_side)
    # between the outermost pixels of a row: every shape is convex
    seen = np.logical_or.accumulate(outline, axis=1)
    inside = seen & np.logical_or.accumulate(outline[:, ::-1], axis=1)[:, ::-1] & ~outline
    centre, reach = slot_centre(slot), outline.shape[0] // 2
    rows, columns = (
        np.arange(max(middle - reach, 0), min(middle + reach + 1, CANVAS_PX)) for middle in centre
    )
    positions = _source_positions(rows, columns, centre, ANGLES_DEG[angle])
    corner = (centre[0] - reach, centre[1] - reach)
    weights = [_bilinear(mask, corner, *positions) for mask in (outline, inside)]
    return Glyph(
        int(rows[0]),
        int(columns[0]),
        weights[0].astype(np.uint16),
        weights[1].astype(np.uint16),
    )


glyph = ByteCache(_draw_glyph, 64 * 2**20)
"""`glyph(type, size, angle, slot)` returns a `Glyph`; all 4,960 of the grammar fit."""


def _source_positions(
    rows: np.ndarray, columns: np.ndarray, centre: tuple[int, int], angle_deg: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns where pixels come from before the turn, row and column, in 1/32 px."""
    cosine, sine = (f(math.radians(angle_deg)) for f in (math.cos, math.sin))
    y, x = centre
    # both parts are rounded to 1/1024 px before they are added
    row = np.rint((cosine * rows + y - sine * x - cosine * y) * 1024)
    column = np.rint((-sine * rows + x - cosine * x + sine * y) * 1024)
    row = row[:, None] + np.rint(sine * columns * 1024)
    column = column[:, None] + np.rint(cosine * columns * 1024)
    return (row.astype(np.int32) + 16) >> 5, (column.astype(np.int32) + 16) >> 5


def _bilinear(
    mask: np.ndarray, corner: tuple[int, int], rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Returns the weight of `mask`, 0 to 1024, at positions on the canvas in 1/32 px."""
    side = mask.shape[0]
    padded = np.pad(mask, 2).astype(int)
    row, column = ((p >> 5) - c for p, c in zip((rows, columns), corner, strict=True))
    down, right = rows & 31, columns & 31
    total = np.zeros(rows.shape, int)
    for i, row_weight in ((0, 32 - down), (1, down)):
        for j, column_weight in ((0, 32 - right), (1, right)):
            at = np.clip(row + i + 2, 0, side + 3), np.clip(column + j + 2, 0, side + 3)
            total += padded[at] * row_weight * column_weight
    return total


@lru_cache(maxsize=256)
def _outline(shape: int, radius: int, half_side: int) -> np.ndarray:
    """Returns the pixels of the upright outline around the middle of a square; bool."""
    corners = _corners(shape, radius, half_side)
    reach = radius + _MARGIN_PX
    mask = np.zeros((2 * reach + 1, 2 * reach + 1), bool)
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        for x, y in _band(start, end) | _cross(start) | _cross(end):
            mask[y + reach, x + reach] = True
    return mask


def _corners(shape: int, radius: int, half_side: int) -> list[_Point]:
    """Returns (x, y) of the corners around the origin."""
    if shape == 2:
        h = half_side
        return [(-h, -h), (h, -h), (h, h), (-h, h)]
    if shape == 5:
        step = 30 if radius < 10 else 18 if radius < 15 else 5
        turns = [math.radians(degrees) for degrees in range(0, 360, step)]
        return [(radius * math.cos(turn), radius * math.sin(turn)) for turn in turns]
    turns = [2 * math.pi * k / NUM_CORNERS[shape] for k in range(NUM_CORNERS[shape])]
    return [(_truncate(radius * math.sin(t)), -_truncate(radius * math.cos(t))) for t in turns]


def _truncate(value: float) -> int:
    return int(value + math.copysign(1e-6, value))


def _round(value: float) -> int:
    return math.floor(value + 0.5 + _TIE)


def _cross(point: _Point) -> set[tuple[int, int]]:
    x, y = _round(point[0]), _round(point[1])
    return {(x, y), (x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)}


def _band(start: _Point, end: _Point) -> set[tuple[int, int]]:
    """Returns the pixels between the two lines 1 px beside a side, and on its border."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    nx, ny = dy / length, -dx / length
    corners = [
        (start[0] + nx, start[1] + ny),
        (start[0] - nx, start[1] - ny),
        (end[0] - nx, end[1] - ny),
        (end[0] + nx, end[1] + ny),
    ]
    sides = list(zip(corners, corners[1:] + corners[:1], strict=True))
    spans: dict[int, list[float]] = {}
    pixels: set[tuple[int, int]] = set()
    for side in sides:
        pixels |= _line(*side)
        for row, x in _crossings(*side):
            spans.setdefault(row, []).append(x)
    for row, ends in spans.items():
        pixels |= {(x, row) for x in range(_round(min(ends)), _round(max(ends)) + 1)}
    return pixels


def _crossings(start: _Point, end: _Point) -> list[tuple[int, float]]:
    """Returns row and x of a side in every row it crosses, both ends moved to whole rows."""
    (x, _), first, last = start, _round(start[1]), _round(end[1])
    if first == last:
        return [(first, x), (first, end[0])]
    step = (end[0] - x) / (last - first)
    sign = 1 if last > first else -1
    return [(row, x + step * (row - first)) for row in range(first, last + sign, sign)]


def _line(start: _Point, end: _Point) -> set[tuple[int, int]]:
    """Returns whole steps along the longer axis from the smaller end, and the other end."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    if max(dx, dy, key=abs) < 0:
        start, end, dx, dy = end, start, -dx, -dy
    (x, y), pixels = start, {(_round(end[0]), _round(end[1]))}
    if abs(dx) > abs(dy):
        pixels |= {(_round(x) + k, _round(y + dy / dx * k)) for k in range(int(dx) + 1)}
    else:
        pixels |= {(_round(x + dx / dy * k), _round(y) + k) for k in range(int(dy) + 1)}
    return pixels
