"""Reflection in time: a flag that is mirrored from panel to panel.

A pose is the direction of the pole's top and the side of the pennant: the eight poses
are the eight turns and mirrorings of a square, and a mirror swaps them in pairs.
"""

from rl_avr.contracts import Scene
from rl_avr.puzzles.nonregular.drawing import CENTER, TONE_WORDS, TONES, Canvas, Point
from rl_avr.puzzles.nonregular.kind import FREE, HOLD, LEAD, NonregularKind, SceneAttribute
from rl_avr.puzzles.nonregular.laws import Law, Row, Text, constant, nominal, row_law
from rl_avr.puzzles.nonregular.layouts import ORDERED
from rl_avr.puzzles.nonregular.picks import any_of

_WAYS = {"up": (0, -1), "right": (1, 0), "down": (0, 1), "left": (-1, 0)}
_POSE_WAYS = tuple(
    (top, side)
    for top in _WAYS
    for side in _WAYS
    if (top in ("up", "down")) != (side in ("up", "down"))
)
_POSES = {k: f"{top}-{side}" for k, (top, side) in enumerate(_POSE_WAYS)}

_MIRRORS = {
    "left to right": lambda x, y: (-x, y),
    "top to bottom": lambda x, y: (x, -y),
    "over the rising diagonal": lambda x, y: (-y, -x),
    "over the falling diagonal": lambda x, y: (y, x),
}


def _images(mirror: str) -> dict[int, int]:
    """Returns pose -> the pose that the mirror makes of it."""
    named = {way: name for name, way in _WAYS.items()}
    return {
        k: _POSE_WAYS.index(
            (named[_MIRRORS[mirror](*_WAYS[top])], named[_MIRRORS[mirror](*_WAYS[side])])
        )
        for k, (top, side) in enumerate(_POSE_WAYS)
    }


def _mirror_laws() -> tuple[Law, ...]:
    """Returns one law per mirror, and one per ordered pair of mirrors that take turns.

    A pair's parameter is 4 times the index of its first mirror plus that of its second.
    """
    laws = []
    for i, first in enumerate(_MIRRORS):
        for j, second in enumerate(_MIRRORS):
            if i == j:
                text = Text(
                    "mirror", i, f"mirrored {first}", f"Each panel mirrors the one before {first}."
                )
            else:
                text = Text(
                    "mirror_pair",
                    4 * i + j,
                    f"mirrored {first} then {second}",
                    f"The flag is mirrored {first}, then {second}, in turns.",
                )
            images = _images(first), _images(second)

            def follow(row: Row, images: tuple[dict[int, int], ...] = images) -> int:
                return images[(len(row) - 1) % 2][row[-1]]

            laws.append(row_law(text, tuple(_POSES), follow, layouts=ORDERED))
    return tuple(laws)


def _draw(canvas: Canvas, scene: Scene) -> None:
    top, side = (_WAYS[way] for way in _POSE_WAYS[scene.value("flag_pose")])

    def at(along: float, out: float) -> Point:
        return (
            CENTER[0] + along * top[0] + out * side[0],
            CENTER[1] + along * top[1] + out * side[1],
        )

    canvas.line([at(-0.37, -0.13), at(0.38, -0.13)], 0.06)
    pennant = [at(0.35, -0.13), at(0.17, 0.3), at(-0.03, -0.13)]
    canvas.polygon(pennant, TONES[scene.value("flag_tone")], 0, 0.036)


REFLECTION = NonregularKind(
    name="reflection",
    attributes=(
        SceneAttribute(
            name="flag_pose",
            label="Flag pose",
            noun="pose of the flag (where the pole's top is, then where the pennant points)",
            words=_POSES,
            laws=(constant(tuple(_POSES), "pose of the flag"), *_mirror_laws()),
            pick=any_of(tuple(_POSES)),
        ),
        SceneAttribute(
            name="flag_tone",
            label="Flag tone",
            noun="tone of the flag",
            words=TONE_WORDS,
            laws=nominal(tuple(TONE_WORDS), "tone of the flag"),
            pick=any_of(tuple(TONE_WORDS)),
        ),
    ),
    plans={layout: ((LEAD, HOLD), (LEAD, FREE), (LEAD, LEAD)) for layout in ORDERED},
    draw=_draw,
)
