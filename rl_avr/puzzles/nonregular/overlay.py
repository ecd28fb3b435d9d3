"""Overlay of line figures, and tile patterns that are overlaid, rolled or turned."""

import random
from collections.abc import Callable, Sequence
from functools import cache

from rl_avr.contracts import Scene
from rl_avr.puzzles.nonregular.drawing import BLACK, GRAY, Canvas
from rl_avr.puzzles.nonregular.kind import LEAD, NonregularKind, SceneAttribute
from rl_avr.puzzles.nonregular.laws import Law, Text, combination, mapping
from rl_avr.puzzles.nonregular.layouts import THREE_COLUMNS
from rl_avr.puzzles.nonregular.picks import near_masks

_LOW, _HIGH = 0.21, 0.89
_CORNERS = ((_LOW, _LOW), (_HIGH, _LOW), (_HIGH, _HIGH), (_LOW, _HIGH))
_LINES = ((0, 1), (1, 2), (2, 3), (3, 0), (3, 1), (0, 2))
"""Corners that each line joins: top, right, bottom, left, rising, falling."""


def _set_words(num_places: int) -> dict[int, str]:
    """Returns set -> the numbers of its places from 1, such as `135`."""
    return {
        mask: "".join(str(k + 1) for k in range(num_places) if mask >> k & 1) or "none"
        for mask in range(2**num_places)
    }


def _combinations(num_places: int, things: str) -> tuple[Law, ...]:
    texts: dict[str, tuple[str, str, Callable[[int, int], int]]] = {
        "union": ("union", "that are in either of the first two", lambda a, b: a | b),
        "intersection": ("intersection", "that are in both of the first two", lambda a, b: a & b),
        "xor": ("in exactly one", "that are in exactly one of the first two", lambda a, b: a ^ b),
        "without": (
            "first without second",
            "of the first that are not in the second",
            lambda a, b: a & ~b,
        ),
    }
    return tuple(
        combination(
            Text(kind, 0, phrase, f"The third panel of a row has the {things} {which}."),
            num_places,
            combine,
        )
        for kind, (phrase, which, combine) in texts.items()
    )


def _draw_lines(canvas: Canvas, scene: Scene) -> None:
    mask = scene.value("lines")
    for k, (start, end) in enumerate(_LINES):
        if mask >> k & 1:
            canvas.line([_CORNERS[start], _CORNERS[end]], 0.05)
    for corner in _CORNERS:
        canvas.circle(corner, 0.04, BLACK if mask else GRAY)


OVERLAY = NonregularKind(
    name="overlay",
    attributes=(
        SceneAttribute(
            name="lines",
            label="Lines",
            noun="set of lines (1 top, 2 right, 3 bottom, 4 left, 5 rising, 6 falling)",
            words=_set_words(6),
            laws=_combinations(6, "lines"),
            pick=near_masks(6, (2, 3, 4)),
        ),
    ),
    plans={layout: ((LEAD,),) for layout in THREE_COLUMNS},
    draw=_draw_lines,
)


def _draw_tiles(canvas: Canvas, scene: Scene) -> None:
    mask = scene.value("tiles")
    edge, cell = 0.18, 0.255
    end = edge + 3 * cell
    for k in range(9):
        x, y = edge + cell * (k % 3), edge + cell * (k // 3)
        corners = [(x, y), (x + cell, y), (x + cell, y + cell), (x, y + cell)]
        if mask >> k & 1:
            canvas.polygon(corners)
    for k in range(4):
        at = edge + cell * k
        canvas.line([(edge, at), (end, at)], 0.016, GRAY)
        canvas.line([(at, edge), (at, end)], 0.016, GRAY)


def _moved(target: Callable[[int, int], tuple[int, int]]) -> dict[int, int]:
    """Returns pattern -> pattern with the tile of (row, column) at `target` of it."""
    places = [target(k // 3, k % 3) for k in range(9)]
    moves = [1 << (3 * row + column) for row, column in places]
    return {mask: sum(moves[k] for k in range(9) if mask >> k & 1) for mask in range(512)}


def _moves() -> tuple[Law, ...]:
    rolls = {"right": (0, 1), "down": (1, 0), "left": (0, -1), "up": (-1, 0)}
    laws = [
        mapping(
            Text(
                "roll",
                k,
                f"rolls {way}",
                f"All tiles move one place {way} from each panel to the next; "
                "those that leave the board come back on the other side.",
            ),
            _moved(lambda r, c, by=by: ((r + by[0]) % 3, (c + by[1]) % 3)),  # type: ignore[misc]
        )
        for k, (way, by) in enumerate(rolls.items())
    ]
    for sign, way in ((1, "clockwise"), (-1, "counterclockwise")):
        text = Text(
            "quarter_turn",
            sign,
            f"quarter turn {way}",
            f"The pattern makes a quarter turn {way} from each panel to the next.",
        )
        laws.append(
            mapping(text, _moved(lambda r, c: (c, 2 - r) if sign > 0 else (2 - c, r)))  # noqa: B023
        )
    for axis, way in enumerate(("left to right", "top to bottom")):
        text = Text(
            "tile_mirror", axis, f"mirrored {way}", f"Each panel mirrors the one before {way}."
        )
        laws.append(
            mapping(text, _moved(lambda r, c: (r, 2 - c) if axis == 0 else (2 - r, c)))  # noqa: B023
        )
    text = Text("invert", 0, "inverted", "Black and white tiles swap from each panel to the next.")
    laws.append(mapping(text, {mask: 511 - mask for mask in range(512)}))
    return tuple(laws)


def _pick_tiles(rng: random.Random, k: int) -> Sequence[int]:
    """Returns patterns that look alike: one tile moved, or one pattern turned and rolled."""
    alike = near_masks(9, (3, 4, 5, 6))(rng, k)
    orbit = _orbit(alike[0])
    return rng.sample(orbit, k) if len(orbit) >= k and rng.random() < 0.5 else alike


_GENERATORS = (
    _moved(lambda r, c: (r, (c + 1) % 3)),
    _moved(lambda r, c: (c, 2 - r)),
    _moved(lambda r, c: (r, 2 - c)),
)


@cache
def _orbit(mask: int) -> tuple[int, ...]:
    """Returns every pattern that rolls, turns and mirrors make of one, itself included."""
    found = [mask]
    for pattern in found:
        found += sorted({image[pattern] for image in _GENERATORS} - set(found))
    return tuple(found)


TILES = NonregularKind(
    name="tiles",
    attributes=(
        SceneAttribute(
            name="tiles",
            label="Tiles",
            noun="set of black tiles, numbered from 1 at the top left to 9 row by row",
            words=_set_words(9),
            laws=(*_moves(), *_combinations(9, "black tiles")),
            pick=_pick_tiles,
        ),
    ),
    plans={layout: ((LEAD,),) for layout in ("sequence", *THREE_COLUMNS)},
    draw=_draw_tiles,
)
