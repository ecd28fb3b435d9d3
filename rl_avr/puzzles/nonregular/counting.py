"""Counting: scattered items of one shape, and straight strokes in two directions."""

import random

from rl_avr.contracts import Scene
from rl_avr.puzzles.nonregular.drawing import Canvas, Point, cells, regular
from rl_avr.puzzles.nonregular.kind import FREE, HOLD, LEAD, NonregularKind, SceneAttribute
from rl_avr.puzzles.nonregular.laws import (
    alternate,
    arithmetic,
    constant,
    count_steps,
    nominal,
    shared,
)
from rl_avr.puzzles.nonregular.layouts import ORDERED
from rl_avr.puzzles.nonregular.picks import any_of, near

_COUNTS = {n: str(n) for n in range(1, 9)}
_ITEM_SHAPES = {0: "disc", 1: "box", 2: "triangle", 3: "diamond", 4: "plus"}
_NUM_STROKES = {n: str(n) for n in range(1, 7)}
_TRACKS = 7


def _draw_items(canvas: Canvas, scene: Scene) -> None:
    places = cells(3, 0.07, scene.value("_item_scatter"), 0.025)
    for place in places[: scene.value("item_count")]:
        _draw_item(canvas, _ITEM_SHAPES[scene.value("item_shape")], place)


def _draw_item(canvas: Canvas, shape: str, center: Point) -> None:
    x, y = center
    if shape == "disc":
        canvas.circle(center, 0.095)
    elif shape == "box":
        canvas.polygon(regular(4, center, 0.125, 45))
    elif shape == "triangle":
        canvas.polygon(regular(3, (x, y + 0.025), 0.13))
    elif shape == "diamond":
        canvas.polygon([(x, y - 0.13), (x + 0.085, y), (x, y + 0.13), (x - 0.085, y)])
    else:
        canvas.line([(x - 0.11, y), (x + 0.11, y)], 0.055)
        canvas.line([(x, y - 0.11), (x, y + 0.11)], 0.055)


_ITEM_COUNT = SceneAttribute(
    name="item_count",
    label="Item count",
    noun="number of items",
    words=_COUNTS,
    laws=(
        constant(tuple(_COUNTS), "number of items"),
        shared(tuple(_COUNTS), "number of items"),
        alternate(tuple(_COUNTS), "number of items"),
        *count_steps(tuple(_COUNTS), "number of items"),
        *arithmetic(tuple(_COUNTS), "number of items", is_rival=True),
    ),
    pick=near(tuple(_COUNTS), 6),
)
_ITEM_SHAPE = SceneAttribute(
    name="item_shape",
    label="Item shape",
    noun="shape of the items",
    words=_ITEM_SHAPES,
    laws=nominal(tuple(_ITEM_SHAPES), "shape of the items"),
    pick=any_of(tuple(_ITEM_SHAPES)),
)

COUNTING = NonregularKind(
    name="counting",
    attributes=(_ITEM_COUNT, _ITEM_SHAPE),
    plans={
        **{layout: ((LEAD, HOLD), (LEAD, FREE), (LEAD, LEAD)) for layout in ORDERED},
        "group": ((LEAD, FREE),),
    },
    draw=_draw_items,
    hidden={"_item_scatter": 32},
)


def _draw_strokes(canvas: Canvas, scene: Scene) -> None:
    rng = random.Random(scene.value("_stroke_scatter"))
    for name, is_upright in (("upright_strokes", True), ("level_strokes", False)):
        for track in rng.sample(range(_TRACKS), scene.value(name)):
            at = 0.2 + 0.7 * track / (_TRACKS - 1)
            ends = [(at, 0.12), (at, 0.96)] if is_upright else [(0.12, at), (0.96, at)]
            canvas.line(ends)


def _strokes(name: str, way: str) -> SceneAttribute:
    noun = f"number of {way} strokes"
    return SceneAttribute(
        name=name,
        label=f"{way.capitalize()} strokes",
        noun=noun,
        words=_NUM_STROKES,
        laws=(
            constant(tuple(_NUM_STROKES), noun),
            shared(tuple(_NUM_STROKES), noun),
            alternate(tuple(_NUM_STROKES), noun),
            *count_steps(tuple(_NUM_STROKES), noun, sizes=(1, 2)),
            *arithmetic(tuple(_NUM_STROKES), noun, is_rival=True),
        ),
        pick=any_of(tuple(_NUM_STROKES)),
    )


STROKES = NonregularKind(
    name="strokes",
    attributes=(_strokes("upright_strokes", "upright"), _strokes("level_strokes", "level")),
    plans={
        **{
            layout: ((LEAD, LEAD), (LEAD, HOLD), (HOLD, LEAD), (LEAD, FREE), (FREE, LEAD))
            for layout in ORDERED
        },
        "group": ((LEAD, FREE), (FREE, LEAD)),
    },
    draw=_draw_strokes,
    hidden={"_stroke_scatter": 32},
)
