"""Containment and order: three shapes, one inside the other, whose order shifts."""

import random
from itertools import permutations

from rl_avr.contracts import Scene
from rl_avr.puzzles.nonregular.drawing import (
    BLACK,
    CENTER,
    TONE_WORDS,
    TONES,
    WHITE,
    Canvas,
    Point,
    regular,
)
from rl_avr.puzzles.nonregular.kind import FREE, HOLD, LEAD, NonregularKind, SceneAttribute
from rl_avr.puzzles.nonregular.laws import Law, Text, constant, mapping, nominal, shared
from rl_avr.puzzles.nonregular.layouts import ORDERED
from rl_avr.puzzles.nonregular.picks import any_of

_SHAPES = ("circle", "square", "triangle", "diamond")
_ORDERS = tuple(permutations(range(len(_SHAPES)), 3))
"""Outer, middle and inner shape of each value."""
_WORDS = {k: "-".join(_SHAPES[shape] for shape in order) for k, order in enumerate(_ORDERS)}
_OUTER_RADIUS = 0.44
_CLEARANCE = 0.05


def _draw(canvas: Canvas, scene: Scene) -> None:
    names = [_SHAPES[shape] for shape in _ORDERS[scene.value("nest_order")]]
    center, radius = CENTER, _OUTER_RADIUS
    if names[0] == "triangle":
        # Its middle is nearer to its base than to its tip; moved down, it may be larger.
        center, radius = (0.5, 0.61), 0.52
    for name, tone in zip(names, (WHITE, WHITE, TONES[scene.value("core_tone")]), strict=True):
        radius = _draw_shape(canvas, name, center, radius, tone)


def _draw_shape(canvas: Canvas, name: str, center: Point, radius: float, tone: int) -> float:
    """Draws a shape in a circle of `radius`; returns the radius that is free in it."""
    if name == "circle":
        canvas.circle(center, radius, tone, BLACK)
        return radius - _CLEARANCE
    if name == "triangle":
        canvas.polygon(regular(3, center, radius), tone, BLACK)
        return radius / 2 - _CLEARANCE / 2
    canvas.polygon(regular(4, center, radius, 45 if name == "square" else 0), tone, BLACK)
    return radius / 2**0.5 - _CLEARANCE / 2


def _pick_orders(rng: random.Random, k: int) -> list[int]:
    """Returns orders of the same three shapes."""
    shapes = rng.sample(range(len(_SHAPES)), 3)
    return [_ORDERS.index(order) for order in rng.sample(list(permutations(shapes)), k)]


def _shifts() -> tuple[Law, ...]:
    """Returns the laws that reorder; an entry says which shape comes to each place."""
    laws = []
    for kind, parameter, sources, phrase, sentence in (
        (
            "shift",
            1,
            (2, 0, 1),
            "shift inward",
            "Each shape moves one place inward, and the inner one becomes the outer one.",
        ),
        (
            "shift",
            -1,
            (1, 2, 0),
            "shift outward",
            "Each shape moves one place outward, and the outer one becomes the inner one.",
        ),
        (
            "swap",
            0,
            (1, 0, 2),
            "outer pair swaps",
            "The outer and the middle shape swap from each panel to the next.",
        ),
        (
            "swap",
            1,
            (0, 2, 1),
            "inner pair swaps",
            "The middle and the inner shape swap from each panel to the next.",
        ),
        (
            "swap",
            2,
            (2, 1, 0),
            "outer and inner swap",
            "The outer and the inner shape swap from each panel to the next.",
        ),
    ):
        images = {
            k: _ORDERS.index((order[sources[0]], order[sources[1]], order[sources[2]]))
            for k, order in enumerate(_ORDERS)
        }
        laws.append(mapping(Text(kind, parameter, phrase, sentence), images))
    return tuple(laws)


_NEST_ORDER = SceneAttribute(
    name="nest_order",
    label="Nest order",
    noun="order of the shapes from outside to inside",
    words=_WORDS,
    laws=(
        constant(tuple(_WORDS), "order of the shapes"),
        shared(tuple(_WORDS), "order of the shapes"),
        *_shifts(),
    ),
    pick=_pick_orders,
)
_CORE_TONE = SceneAttribute(
    name="core_tone",
    label="Core tone",
    noun="tone of the inner shape",
    words=TONE_WORDS,
    laws=nominal(tuple(TONE_WORDS), "tone of the inner shape"),
    pick=any_of(tuple(TONE_WORDS)),
)

NESTING = NonregularKind(
    name="nesting",
    attributes=(_NEST_ORDER, _CORE_TONE),
    plans={
        **{layout: ((LEAD, HOLD), (LEAD, FREE), (LEAD, LEAD)) for layout in ORDERED},
        "group": ((LEAD, FREE), (FREE, LEAD)),
    },
    draw=_draw,
)
