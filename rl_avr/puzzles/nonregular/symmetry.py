"""Symmetry: figures with one axis, told apart by its direction."""

import random
from functools import cache

from rl_avr.contracts import Scene
from rl_avr.puzzles.nonregular.drawing import BLACK, TONE_WORDS, TONES, Canvas, toward
from rl_avr.puzzles.nonregular.kind import FREE, HOLD, LEAD, NonregularKind, SceneAttribute
from rl_avr.puzzles.nonregular.laws import alternate, around, constant, nominal, shared
from rl_avr.puzzles.nonregular.layouts import THREE_COLUMNS
from rl_avr.puzzles.nonregular.picks import any_of

_AXES = {0: "upright", 1: "rising", 2: "level", 3: "falling"}
_NUM_CORNERS = 10
_NUM_FIGURES = 32
_RADII = (0.16, 0.29, 0.44)
_LEAST_DIFFERENCE = 1.0
"""How far, summed over the corners, a figure must be from symmetry about another axis."""


def _other_axes(radii: tuple[float, ...]) -> float:
    """Returns how near a figure comes to symmetry about any axis but the first."""
    n = len(radii)
    return min(sum(abs(radii[k] - radii[(m - k) % n]) for k in range(n)) for m in range(1, n))


@cache
def _figures() -> tuple[tuple[float, ...], ...]:
    """Returns the radii of figures whose only axis runs through their first corner."""
    rng = random.Random(0)
    found: list[tuple[float, ...]] = []
    while len(found) < _NUM_FIGURES:
        half = [rng.choice(_RADII) for _ in range(_NUM_CORNERS // 2 + 1)]
        radii = (*half, *half[-2:0:-1])
        if radii not in found and _other_axes(radii) >= _LEAST_DIFFERENCE:
            found.append(radii)
    return tuple(found)


def _draw(canvas: Canvas, scene: Scene) -> None:
    radii = _figures()[scene.value("_figure") // 2]
    # Upside down the axis is the same.
    turn = 45 * scene.value("axis") + 180 * (scene.value("_figure") % 2)
    corners = [toward(turn + 360 * k / _NUM_CORNERS, radius) for k, radius in enumerate(radii)]
    canvas.polygon(corners, TONES[scene.value("figure_tone")], BLACK, 0.04)


_AXIS = SceneAttribute(
    name="axis",
    label="Axis",
    noun="direction of the axis of symmetry",
    words=_AXES,
    laws=(
        constant(tuple(_AXES), "direction of the axis"),
        shared(tuple(_AXES), "direction of the axis of symmetry"),
        alternate(tuple(_AXES), "direction of the axis"),
        *around(4, "The axis of symmetry turns", lambda n: f"{45 * n} degrees", (1, 2), False),
    ),
    pick=any_of(tuple(_AXES)),
)
_FIGURE_TONE = SceneAttribute(
    name="figure_tone",
    label="Figure tone",
    noun="tone of the figure",
    words=TONE_WORDS,
    laws=nominal(tuple(TONE_WORDS), "tone of the figure"),
    pick=any_of(tuple(TONE_WORDS)),
)

SYMMETRY = NonregularKind(
    name="symmetry",
    attributes=(_AXIS, _FIGURE_TONE),
    plans={
        # With four panels and four axes, a tone that stays would leave few contexts.
        "sequence": ((LEAD, FREE), (LEAD, LEAD)),
        **{layout: ((LEAD, HOLD), (LEAD, FREE), (LEAD, LEAD)) for layout in THREE_COLUMNS},
        "group": ((LEAD, FREE),),
    },
    draw=_draw,
    hidden={"_figure": 2 * _NUM_FIGURES},
)
