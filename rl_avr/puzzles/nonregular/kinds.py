"""The kinds of non-regular puzzles, by name, and their pictures.

Source: MARVEL (Jiang et al. 2024), its patterns (temporal movement, quantities,
mathematical, spatial relationship, 2D geometry) and layouts; the kinds are our own.
"""

from functools import lru_cache

import numpy as np

from rl_avr.contracts import Puzzle, Scene
from rl_avr.errors import PuzzleError, nearest
from rl_avr.puzzles.nonregular.contact import CONTACT
from rl_avr.puzzles.nonregular.counting import COUNTING, STROKES
from rl_avr.puzzles.nonregular.dots import ARITHMETIC, INSIDE
from rl_avr.puzzles.nonregular.drawing import Canvas
from rl_avr.puzzles.nonregular.kind import NonregularKind
from rl_avr.puzzles.nonregular.nesting import NESTING
from rl_avr.puzzles.nonregular.overlay import OVERLAY, TILES
from rl_avr.puzzles.nonregular.reflection import REFLECTION
from rl_avr.puzzles.nonregular.symmetry import SYMMETRY
from rl_avr.puzzles.nonregular.translation import TRANSLATION
from rl_avr.puzzles.nonregular.turning import CLOCK, ROTATION

KINDS: dict[str, NonregularKind] = {
    kind.name: kind
    for kind in (
        ROTATION,
        CLOCK,
        REFLECTION,
        TRANSLATION,
        COUNTING,
        STROKES,
        ARITHMETIC,
        OVERLAY,
        TILES,
        SYMMETRY,
        INSIDE,
        CONTACT,
        NESTING,
    )
}

_LEAST_SIDE_PX = 8
_KIND_OF_NAMES = {
    frozenset([*(a.name for a in kind.attributes), *kind.hidden]): kind for kind in KINDS.values()
}


def kind_called(name: str) -> NonregularKind:
    """Returns the kind called `name`.

    Raises:
        PuzzleError: there is none.
    """
    if name not in KINDS:
        raise PuzzleError(
            f"kind: expected one of {', '.join(KINDS)}, got {name!r}; "
            f"nearest: {nearest(name, KINDS, count=1)}"
        )
    return KINDS[name]


def kind_of(puzzle: Puzzle) -> NonregularKind:
    """Returns the kind of a non-regular puzzle; the names of its scenes' values tell it.

    Raises:
        PuzzleError: the puzzle has no scenes, or scenes of no kind.
    """
    scenes = (*puzzle.context, *puzzle.choices)
    if not scenes or not all(isinstance(scene, Scene) for scene in scenes):
        raise PuzzleError(f"puzzle {puzzle.puzzle_id}: expected scenes in all panels")
    found = {
        frozenset(name for name, _ in scene.values) for scene in scenes if isinstance(scene, Scene)
    }
    names = found.pop()
    if found or names not in _KIND_OF_NAMES:
        raise PuzzleError(
            f"puzzle {puzzle.puzzle_id}: expected scenes of one kind of {', '.join(KINDS)}, "
            f"got values called {', '.join(sorted(names.union(*found)))}"
        )
    return _KIND_OF_NAMES[names]


# 2048 panels of 160 px are 52 MB.
@lru_cache(maxsize=2048)
def render_scene(kind_name: str, scene: Scene, side: int) -> np.ndarray:
    """Returns the picture of a scene, read-only uint8 of shape (side, side), 255 white.

    Args:
        kind_name: a key of `KINDS`.
        scene: a scene of that kind.
        side: side of the picture in pixels, at least 8.

    Raises:
        PuzzleError: there is no such kind, the side is too small, or the scene's values
            are not those of the kind.
    """
    kind = kind_called(kind_name)
    if side < _LEAST_SIDE_PX:
        raise PuzzleError(f"side: expected at least {_LEAST_SIDE_PX} px, got {side}")
    check_scene(kind, scene)
    canvas = Canvas(side)
    kind.draw(canvas, scene)
    return canvas.pixels()


def check_scene(kind: NonregularKind, scene: Scene) -> None:
    """Checks that a scene has exactly the values of its kind, all in range.

    Raises:
        PuzzleError: naming the value that is missing, unknown or out of range.
    """
    values = dict(scene.values)
    expected = {**{a.name: a.words for a in kind.attributes}, **kind.hidden}
    if values.keys() != expected.keys():
        raise PuzzleError(
            f"{kind.name}: expected a scene with {', '.join(expected)}, got {', '.join(values)}"
        )
    for attribute in kind.attributes:
        if values[attribute.name] not in attribute.words:
            raise PuzzleError(
                f"{kind.name}: {attribute.name}: expected one of {list(attribute.words)[:16]}, "
                f"got {values[attribute.name]!r}"
            )
    for name, count in kind.hidden.items():
        if not 0 <= values[name] < count:
            raise PuzzleError(
                f"{kind.name}: {name}: expected 0 to {count - 1}, got {values[name]!r}"
            )
