"""Arithmetic on counts, and counts inside and outside of a fence."""

import random

from rl_avr.contracts import Scene
from rl_avr.puzzles.nonregular.drawing import (
    BLACK,
    CENTER,
    WHITE,
    Canvas,
    Point,
    cells,
    regular,
)
from rl_avr.puzzles.nonregular.kind import FREE, HOLD, LEAD, NonregularKind, SceneAttribute
from rl_avr.puzzles.nonregular.laws import (
    alternate,
    arithmetic,
    constant,
    count_steps,
    nominal,
    shared,
)
from rl_avr.puzzles.nonregular.layouts import ORDERED, THREE_COLUMNS
from rl_avr.puzzles.nonregular.picks import any_of, near

_SUMS = {n: str(n) for n in range(1, 8)}
_NUM_DOTS = {n: str(n) for n in range(6)}
_FENCES = {0: "circle", 1: "square", 2: "hexagon"}


def _draw_arithmetic(canvas: Canvas, scene: Scene) -> None:
    places = iter(cells(4, 0.05, scene.value("_dot_scatter"), 0.015))
    for _ in range(scene.value("filled_dots")):
        canvas.circle(next(places), 0.086)
    for _ in range(scene.value("hollow_dots")):
        canvas.circle(next(places), 0.071, WHITE, BLACK, 0.03)


def _dots(name: str, look: str) -> SceneAttribute:
    noun = f"number of {look} dots"
    values = tuple(_SUMS)
    return SceneAttribute(
        name=name,
        label=f"{look.capitalize()} dots",
        noun=noun,
        words=_SUMS,
        laws=(
            constant(values, noun),
            *arithmetic(values, noun),
            *count_steps(values, noun, is_rival=True),
        ),
        pick=near(values, 6),
    )


ARITHMETIC = NonregularKind(
    name="arithmetic",
    attributes=(_dots("filled_dots", "filled"), _dots("hollow_dots", "hollow")),
    plans={
        layout: ((LEAD, LEAD), (LEAD, HOLD), (HOLD, LEAD), (LEAD, FREE), (FREE, LEAD))
        for layout in THREE_COLUMNS
    },
    draw=_draw_arithmetic,
    hidden={"_dot_scatter": 32},
)


def _draw_inside(canvas: Canvas, scene: Scene) -> None:
    fence = _FENCES[scene.value("fence")]
    if fence == "circle":
        canvas.ring(CENTER, 0.28)
    else:
        corners = regular(4, CENTER, 0.37, 45) if fence == "square" else regular(6, CENTER, 0.3)
        canvas.polygon(corners, None, BLACK)
    scatter = scene.value("_fence_scatter")
    for place in cells(3, 0.3, scatter, 0.006)[: scene.value("inside_dots")]:
        canvas.circle(place, 0.047)
    for place in _border(scatter)[: scene.value("outside_dots")]:
        canvas.circle(place, 0.047)


def _border(scatter: int) -> list[Point]:
    """Returns places around the fence in random order; none at the top left."""
    steps = (0.08, 0.29, 0.5, 0.71, 0.92)
    edges = {steps[0], steps[-1]}
    places = [(x, y) for x in steps for y in steps if x in edges or y in edges][1:]
    random.Random(scatter + 1000).shuffle(places)
    return places


def _fenced(name: str, where: str) -> SceneAttribute:
    noun = f"number of dots {where} the fence"
    values = tuple(_NUM_DOTS)
    return SceneAttribute(
        name=name,
        label=f"{where.capitalize()} dots",
        noun=noun,
        words=_NUM_DOTS,
        laws=(
            constant(values, noun),
            shared(values, noun),
            alternate(values, noun),
            *count_steps(values, noun, sizes=(1, 2)),
            *arithmetic(values, noun),
        ),
        pick=any_of(values),
    )


_FENCE = SceneAttribute(
    name="fence",
    label="Fence",
    noun="shape of the fence",
    words=_FENCES,
    laws=nominal(tuple(_FENCES), "shape of the fence"),
    pick=any_of(tuple(_FENCES)),
)

INSIDE = NonregularKind(
    name="inside",
    attributes=(_fenced("inside_dots", "inside"), _fenced("outside_dots", "outside"), _FENCE),
    plans={
        **{
            layout: (
                (LEAD, LEAD, HOLD),
                (LEAD, HOLD, HOLD),
                (HOLD, LEAD, FREE),
                (LEAD, FREE, HOLD),
                (FREE, LEAD, HOLD),
            )
            for layout in ORDERED
        },
        "group": ((LEAD, FREE, FREE), (FREE, LEAD, FREE)),
    },
    draw=_draw_inside,
    hidden={"_fence_scatter": 32},
)
