"""Rotation in time: a pointer that turns, and a clock with two hands."""

from rl_avr.contracts import Scene
from rl_avr.puzzles.nonregular.drawing import (
    BLACK,
    CENTER,
    GRAY,
    WHITE,
    Canvas,
    Point,
    regular,
    toward,
    turned,
)
from rl_avr.puzzles.nonregular.kind import FREE, HOLD, LEAD, NonregularKind, SceneAttribute
from rl_avr.puzzles.nonregular.laws import alternate, around, constant, nominal, shared
from rl_avr.puzzles.nonregular.picks import any_of

_COMPASS = ("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest")
_HEADINGS = dict(enumerate(_COMPASS))
_POINTERS = {0: "arrow", 1: "wedge", 2: "pin", 3: "paddle", 4: "trident"}
_SIDES = {0: "left", 1: "right"}
_HOURS = {0: "12", **{hour: str(hour) for hour in range(1, 12)}}

_SHAFT_END: Point = (0.0, 0.36)


def _draw_rotation(canvas: Canvas, scene: Scene) -> None:
    angle = 45 * scene.value("heading")
    pointer = _POINTERS[scene.value("pointer")]
    if pointer == "wedge":
        canvas.polygon(turned([(0, -0.4), (0.15, 0.34), (-0.15, 0.34)], angle))
    else:
        neck = {"arrow": -0.2, "pin": -0.15, "paddle": -0.15, "trident": -0.36}[pointer]
        canvas.line(turned([_SHAFT_END, (0, neck)], angle), 0.05)
    if pointer == "arrow":
        canvas.polygon(turned([(0, -0.4), (0.16, -0.12), (-0.16, -0.12)], angle))
    elif pointer == "pin":
        canvas.circle(toward(angle, 0.25), 0.11, WHITE, BLACK, 0.045)
    elif pointer == "paddle":
        square = [(-0.11, -0.36), (0.11, -0.36), (0.11, -0.14), (-0.11, -0.14)]
        canvas.polygon(turned(square, angle), WHITE, BLACK, 0.045)
    elif pointer == "trident":
        prongs = [(-0.17, -0.36), (-0.17, -0.1), (0.17, -0.1), (0.17, -0.36)]
        canvas.line(turned(prongs, angle), 0.05)
    x = 0.25 if _SIDES[scene.value("dot_side")] == "right" else -0.25
    canvas.circle(turned([(x, 0.1)], angle)[0], 0.07)


_POINTER = SceneAttribute(
    name="pointer",
    label="Pointer",
    noun="shape of the pointer",
    words=_POINTERS,
    laws=nominal(tuple(_POINTERS), "shape of the pointer"),
    pick=any_of(tuple(_POINTERS)),
)
_HEADING = SceneAttribute(
    name="heading",
    label="Heading",
    noun="direction in which the head of the pointer lies",
    words=_HEADINGS,
    laws=(
        constant(tuple(_HEADINGS), "direction of the pointer"),
        shared(tuple(_HEADINGS), "direction of the pointer"),
        *around(8, "The pointer turns", lambda n: f"{45 * n} degrees", (1, 2, 3, 4)),
    ),
    pick=any_of(tuple(_HEADINGS)),
)
_DOT_SIDE = SceneAttribute(
    name="dot_side",
    label="Dot side",
    noun="side of the dot, seen along the pointer",
    words=_SIDES,
    laws=nominal(tuple(_SIDES), "side of the dot, seen along the pointer,"),
    pick=any_of(tuple(_SIDES)),
)

ROTATION = NonregularKind(
    name="rotation",
    attributes=(_POINTER, _HEADING, _DOT_SIDE),
    plans={
        "sequence": ((HOLD, LEAD, HOLD), (FREE, LEAD, HOLD), (HOLD, LEAD, LEAD)),
        "two_row": ((HOLD, LEAD, HOLD), (FREE, LEAD, HOLD), (LEAD, LEAD, HOLD)),
        "matrix": ((HOLD, LEAD, HOLD), (FREE, LEAD, HOLD), (LEAD, LEAD, HOLD)),
        # Same pointer, same side: the five are one figure, turned.
        "group": ((LEAD, FREE, LEAD), (FREE, LEAD, FREE)),
    },
    draw=_draw_rotation,
)


def _draw_clock(canvas: Canvas, scene: Scene) -> None:
    canvas.circle(CENTER, 0.43, WHITE, GRAY, 0.02)
    for hour in range(12):
        start = 0.34 if hour % 3 == 0 else 0.38
        width = 0.03 if hour % 3 == 0 else 0.016
        canvas.line([toward(30 * hour, start), toward(30 * hour, 0.42)], width, GRAY)
    short = 30 * scene.value("short_hand")
    canvas.line([CENTER, toward(short, 0.2)], 0.075)
    canvas.line([CENTER, toward(30 * scene.value("long_hand"), 0.33)], 0.032)
    canvas.polygon(regular(24, CENTER, 0.05))


def _hand(name: str, length: str) -> SceneAttribute:
    noun = f"hour at which the {length} hand points"
    return SceneAttribute(
        name=name,
        label=f"{length.capitalize()} hand",
        noun=noun,
        words=_HOURS,
        laws=(
            constant(tuple(_HOURS), noun),
            shared(tuple(_HOURS), noun),
            alternate(tuple(_HOURS), noun),
            *around(
                12,
                f"The {length} hand moves",
                lambda n: "1 hour" if n == 1 else f"{n} hours",
                (1, 2, 3, 4, 5),
            ),
        ),
        pick=any_of(tuple(_HOURS)),
    )


CLOCK = NonregularKind(
    name="clock",
    attributes=(_hand("long_hand", "long"), _hand("short_hand", "short")),
    plans={
        **{
            layout: ((LEAD, LEAD), (LEAD, HOLD), (HOLD, LEAD), (LEAD, FREE), (FREE, LEAD))
            for layout in ("sequence", "two_row", "matrix")
        },
        "group": ((LEAD, FREE), (FREE, LEAD)),
    },
    draw=_draw_clock,
)
