"""Translation along a path: a dot and a ring walk around the border of a 3x3 board."""

from rl_avr.contracts import Scene
from rl_avr.puzzles.nonregular.drawing import BLACK, GRAY, PALE, Canvas, Point
from rl_avr.puzzles.nonregular.kind import FREE, HOLD, LEAD, NonregularKind, SceneAttribute
from rl_avr.puzzles.nonregular.laws import around, constant, shared
from rl_avr.puzzles.nonregular.layouts import ORDERED
from rl_avr.puzzles.nonregular.picks import any_of

_PLACES = {
    0: "top-left",
    1: "top",
    2: "top-right",
    3: "right",
    4: "bottom-right",
    5: "bottom",
    6: "bottom-left",
    7: "left",
}
_CELLS = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
"""Row and column of each place, clockwise."""
_EDGE, _CELL = 0.175, 0.255
_END = _EDGE + 3 * _CELL


def _center(place: int) -> Point:
    row, column = _CELLS[place]
    return _EDGE + _CELL * (column + 0.5), _EDGE + _CELL * (row + 0.5)


def _draw(canvas: Canvas, scene: Scene) -> None:
    low, high = _EDGE + _CELL, _EDGE + 2 * _CELL
    canvas.polygon([(low, low), (high, low), (high, high), (low, high)], PALE)
    for k in range(4):
        at = _EDGE + _CELL * k
        canvas.line([(_EDGE, at), (_END, at)], 0.014, GRAY)
        canvas.line([(at, _EDGE), (at, _END)], 0.014, GRAY)
    canvas.ring(_center(scene.value("ring_place")), 0.092, 0.034)
    canvas.circle(_center(scene.value("dot_place")), 0.058, BLACK)


def _token(name: str, token: str) -> SceneAttribute:
    noun = f"place of the {token}"
    return SceneAttribute(
        name=name,
        label=f"{token.capitalize()} place",
        noun=noun,
        words=_PLACES,
        laws=(
            constant(tuple(_PLACES), noun),
            shared(tuple(_PLACES), noun),
            *around(
                8,
                f"The {token} walks",
                lambda n: "1 cell" if n == 1 else f"{n} cells",
                (1, 2, 3, 4),
            ),
        ),
        pick=any_of(tuple(_PLACES)),
    )


TRANSLATION = NonregularKind(
    name="translation",
    attributes=(_token("dot_place", "dot"), _token("ring_place", "ring")),
    plans={
        **{
            layout: ((LEAD, LEAD), (LEAD, HOLD), (HOLD, LEAD), (LEAD, FREE), (FREE, LEAD))
            for layout in ORDERED
        },
        "group": ((LEAD, FREE), (FREE, LEAD)),
    },
    draw=_draw,
)
