"""A canvas in fractions of the panel, and what several kinds draw on it.

Coordinates run from 0 to 1, x to the right and y down. A canvas is larger than the
panel and scaled down at the end, which smooths the edges. Strokes are as wide as a
person needs at 48 px. The top left corner stays white, for the letter of a choice.
"""

import math
import random
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float]

BLACK, GRAY, PALE, WHITE = 0, 150, 205, 255
STROKE = 0.034
CENTER: Point = (0.5, 0.5)

TONES = (255, 200, 105, 0)
TONE_WORDS = {0: "white", 1: "light", 2: "dark", 3: "black"}

_LEAST_CANVAS_PX = 320
_LEAST_ENLARGEMENT = 3


class Canvas:
    """A white panel to draw on.

    Args:
        side: side of the panel in pixels.
    """

    def __init__(self, side: int):
        self._enlargement = max(_LEAST_ENLARGEMENT, math.ceil(_LEAST_CANVAS_PX / side))
        self._size = side * self._enlargement
        self._image = Image.new("L", (self._size, self._size), WHITE)
        self._draw = ImageDraw.Draw(self._image)

    def line(
        self,
        points: Sequence[Point],
        width: float = STROKE,
        tone: int = BLACK,
        closed: bool = False,
    ) -> None:
        """Draws a line through points with round joints, back to the first if `closed`."""
        path = [*points, points[0], points[1]] if closed else list(points)
        flat = [self._px(point) for point in path]
        self._draw.line(flat, fill=tone, width=self._width(width), joint="curve")

    def polygon(
        self,
        points: Sequence[Point],
        fill: int | None = BLACK,
        outline: int | None = None,
        width: float = STROKE,
    ) -> None:
        """Draws a filled polygon; its outline lies half outside."""
        if fill is not None:
            self._draw.polygon([self._px(point) for point in points], fill=fill)
        if outline is not None:
            self.line(points, width, outline, closed=True)

    def circle(
        self,
        center: Point,
        radius: float,
        fill: int | None = BLACK,
        outline: int | None = None,
        width: float = STROKE,
    ) -> None:
        """Draws a disc; its outline lies half outside."""
        if outline is not None:
            self._ellipse(center, radius + width / 2, outline)
            radius -= width / 2
            fill = WHITE if fill is None else fill
        if fill is not None:
            self._ellipse(center, radius, fill)

    def ring(self, center: Point, radius: float, width: float = STROKE, tone: int = BLACK) -> None:
        """Draws a circle that leaves what lies inside it."""
        (x, y), r = self._px(center), (radius + width / 2) * self._size
        box = (x - r, y - r, x + r, y + r)
        self._draw.ellipse(box, outline=tone, width=self._width(width))

    def pixels(self) -> np.ndarray:
        """Returns the panel, uint8 of shape (side, side), read-only."""
        pixels = np.array(self._image.reduce(self._enlargement))
        pixels.flags.writeable = False
        return pixels

    def _px(self, point: Point) -> Point:
        return point[0] * self._size, point[1] * self._size

    def _width(self, width: float) -> int:
        return max(1, round(width * self._size))

    def _ellipse(self, center: Point, radius: float, fill: int) -> None:
        (x, y), r = self._px(center), radius * self._size
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def toward(angle_deg: float, radius: float, center: Point = CENTER) -> Point:
    """Returns the point at a distance from `center`; 0 degrees is up, 90 is right."""
    angle = math.radians(angle_deg)
    return center[0] + radius * math.sin(angle), center[1] - radius * math.cos(angle)


def turned(points: Iterable[Point], angle_deg: float, center: Point = CENTER) -> list[Point]:
    """Returns points given about the origin, turned clockwise and moved to `center`."""
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return [(center[0] + x * cos - y * sin, center[1] + x * sin + y * cos) for x, y in points]


def regular(num_corners: int, center: Point, radius: float, turn_deg: float = 0) -> list[Point]:
    """Returns the corners of a regular polygon, the first one up."""
    return [toward(turn_deg + 360 * k / num_corners, radius, center) for k in range(num_corners)]


def cells(num: int, margin: float, scatter: int, jitter: float) -> list[Point]:
    """Returns the centres of a num x num grid in random order, each moved a little.

    The cell at the top left is left out.

    Args:
        num: cells a side.
        margin: white space around the grid.
        scatter: decides order and moves.
        jitter: greatest move along each axis.
    """
    rng = random.Random(scatter)
    step = (1 - 2 * margin) / num
    places = [
        (margin + step * (column + 0.5), margin + step * (row + 0.5))
        for row in range(num)
        for column in range(num)
    ][1:]
    rng.shuffle(places)
    return [(x + rng.uniform(-jitter, jitter), y + rng.uniform(-jitter, jitter)) for x, y in places]
