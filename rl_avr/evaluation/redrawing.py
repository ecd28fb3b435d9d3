"""The images of a problem after a change: context blanked, choices in another order, a twin.

A problem whose panels were read from a file is put together from them again. An image of
our own is drawn again from the state, once it is sure that drawing the unchanged state
gives the very same pixels.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image

from rl_avr.chat import decode_image
from rl_avr.contracts import CHOICE_LETTERS, Puzzle
from rl_avr.elicitation.schema import schema_of
from rl_avr.errors import DataError, PuzzleError
from rl_avr.evaluation.benchmarks.config import LabelStyle
from rl_avr.evaluation.panel_images import NUM_SHOWN, DrawnImages
from rl_avr.evaluation.problems import Problem
from rl_avr.puzzles.cells import scene_cell
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.panels import render_panels
from rl_avr.puzzles.render import GRID_ROWS, render_puzzle

_WHITE = 255


@dataclass(frozen=True)
class Change:
    """What is different in the images.

    Args:
        is_blind: nothing is shown but the choices.
        order: place k shows what was choice order[k]; None leaves the order.
        twin: the puzzle with another context; None leaves it.
        labels: how the choices are named; None leaves them.
    """

    is_blind: bool = False
    order: tuple[int, ...] | None = None
    twin: Puzzle | None = None
    labels: LabelStyle | None = None


def redrawn(problem: Problem, change: Change) -> Sequence[bytes] | None:
    """Returns the images after a change, or None where they cannot be changed.

    Args:
        problem: the problem.
        change: what is different.
    """
    puzzle, images = problem.prompt.puzzle, problem.prompt.images
    if isinstance(images, DrawnImages):
        look = replace(images.look, labels=change.labels or images.look.labels)
        return DrawnImages(partial(_changed_panels, images.panels, puzzle, change), look)
    config = own_render(problem)
    if config is None or change.labels not in (None, "letters"):
        return None
    image = render_puzzle(permuted(change.twin or puzzle, change.order), config)
    if change.is_blind:
        _blank_context(image, puzzle, config.panel_size_px)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=3)
    return (buffer.getvalue(),)


def own_render(problem: Problem) -> RenderConfig | None:
    """Returns how our renderer drew a problem's one image; None where it did not draw it."""
    puzzle, images = problem.prompt.puzzle, problem.prompt.images
    if not puzzle.has_state or len(images) != 1:
        return None
    try:
        image = np.asarray(decode_image(images[0]).convert("L"))
        num_rows = GRID_ROWS if puzzle.family == "rpm" else len(schema_of(puzzle).rows) + 1
        for has_letters in (True, False):
            config = RenderConfig(image.shape[0] // num_rows, has_letters)
            if np.array_equal(render_puzzle(puzzle, config), image):
                return config
    except (DataError, PuzzleError, ValueError):
        # no image of ours has such a size, or no such state can be drawn
        return None
    return None


def permuted(puzzle: Puzzle, order: Sequence[int] | None) -> Puzzle:
    """Returns the puzzle with its choices in another order, its answer still the right one.

    Choices that are drawn in an image keep their letters as text; other texts move.

    >>> puzzle = Puzzle("p", "rpm", "c", (), tuple("wxyz"), 1, (), 0, 0)
    >>> permuted(puzzle, (3, 2, 1, 0)).choices, permuted(puzzle, (3, 2, 1, 0)).answer_index
    (('z', 'y', 'x', 'w'), 2)
    """
    if order is None or puzzle.answer_index is None:
        return puzzle
    index = tuple(order).index(puzzle.answer_index)
    note = puzzle.annotation
    if note is not None:
        texts = note.choices if is_drawn(puzzle) else tuple(note.choices[k] for k in order)
        note = replace(note, choices=texts, answer=CHOICE_LETTERS[index])
    choices = tuple(puzzle.choices[k] for k in order) if puzzle.choices else ()
    return replace(puzzle, choices=choices, answer_index=index, annotation=note)


def is_drawn(puzzle: Puzzle) -> bool:
    """Returns whether the choices stand in the image and not in the prompt's words."""
    note = puzzle.annotation
    return note is None or list(note.choices) == list(CHOICE_LETTERS[: len(note.choices)])


def _changed_panels(read: Callable[[], np.ndarray], puzzle: Puzzle, change: Change) -> np.ndarray:
    panels = read().copy()
    if change.twin is not None:
        drawn = render_panels(change.twin)
        for index, panel in enumerate(change.twin.context):
            if panel != puzzle.context[index]:
                panels[index] = _resized(drawn[index], *panels.shape[1:])
    if change.is_blind:
        panels[:NUM_SHOWN] = _WHITE
    if change.order is not None:
        panels[NUM_SHOWN:] = panels[NUM_SHOWN:][list(change.order)]
    return panels


def _resized(panel: np.ndarray, height: int, width: int) -> np.ndarray:
    if panel.shape == (height, width):
        return panel
    return np.asarray(Image.fromarray(panel).resize((width, height), Image.Resampling.BOX))


def _blank_context(image: np.ndarray, puzzle: Puzzle, side: int) -> None:
    """Empties the cells of the shown panels; their frames and the "?" stay."""
    empty = scene_cell(np.full((side, side), _WHITE, np.uint8))
    for row, length in enumerate(schema_of(puzzle).rows):
        for column in range(length):
            image[row * side : (row + 1) * side, column * side : (column + 1) * side] = empty
