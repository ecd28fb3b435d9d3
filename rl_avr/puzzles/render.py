"""Draws a puzzle as one image: the shown panels on top, the choices below.

    regular      rows 0-2 the matrix, columns 0-2, the missing panel marked with "?";
                 rows 3-4 the choices A-D and E-H, columns 0-3
    non-regular  the rows of its layout, "?" after the last panel; then one row with
                 the choices A-D

Every panel fills a square cell of `panel_size_px`, so a vision tower whose merged
patch has that size gets one token a panel.
"""

import io
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rl_avr.contracts import CHOICE_LETTERS, Panel, Puzzle, Scene
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.cells import missing_cell, panel_cell, scene_cell
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.nonregular.kinds import kind_of, render_scene
from rl_avr.puzzles.nonregular.layouts import LAYOUTS, NUM_CHOICES
from rl_avr.puzzles.panels import render_panel, render_panels

__all__ = [
    "contact_sheet",
    "image_size_px",
    "render_panel",
    "render_panels",
    "render_png",
    "render_puzzle",
]

GRID_ROWS, GRID_COLUMNS = 5, 4

_WHITE = 255
_CHOICE_COLUMNS = 4
_MATRIX_ROWS = (3, 3, 2)
_GAP_PX = 8
_FONT_PX = 11


def image_size_px(config: RenderConfig, puzzle: Puzzle | None = None) -> tuple[int, int]:
    """Returns height and width of a puzzle's image; without a puzzle, of a regular one.

    Raises:
        PuzzleError: the puzzle is not one that is drawn.
    """
    rows, columns = GRID_ROWS, GRID_COLUMNS
    if puzzle is not None:
        shown = _shown_rows(puzzle)
        if puzzle.family != "rpm":
            # the missing panel stands at the end of the last row
            rows, columns = len(shown) + 1, max(_CHOICE_COLUMNS, *shown, shown[-1] + 1)
    return rows * config.panel_size_px, columns * config.panel_size_px


def render_puzzle(puzzle: Puzzle, config: RenderConfig) -> np.ndarray:
    """Returns the image, uint8 of shape `image_size_px(config, puzzle)`.

    Raises:
        PuzzleError: the puzzle has no state to draw, or one that breaks its grammar.
    """
    side = config.panel_size_px
    canvas = np.full(image_size_px(config, puzzle), _WHITE, np.uint8)
    for (row, column), cell in _cells(puzzle, config):
        canvas[row * side : (row + 1) * side, column * side : (column + 1) * side] = cell
    return canvas


def render_png(puzzle: Puzzle, config: RenderConfig) -> bytes:
    """Returns the image as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(render_puzzle(puzzle, config)).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def contact_sheet(puzzles: Sequence[Puzzle], config: RenderConfig, columns: int = 4) -> np.ndarray:
    """Returns many puzzles side by side, each with its id, its kind and its answer.

    Args:
        puzzles: at least one.
        config: how each is drawn.
        columns: puzzles in a row.

    Returns:
        uint8 of shape (height, width).

    Raises:
        PuzzleError: no puzzle, less than one column, or a puzzle that cannot be drawn.
    """
    if not puzzles or columns < 1:
        raise PuzzleError(
            f"contact sheet: expected a puzzle and a column or more, got {len(puzzles)} puzzles "
            f"and {columns} columns"
        )
    tiles = [_captioned(puzzle, config) for puzzle in puzzles]
    width = max(tile.shape[1] for tile in tiles) + _GAP_PX
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) + _GAP_PX for row in rows]
    extent = (sum(heights) + _GAP_PX, min(columns, len(tiles)) * width + _GAP_PX)
    sheet = np.full(extent, _WHITE, np.uint8)
    top = _GAP_PX
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = column * width + _GAP_PX
            sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        top += height
    return sheet


def _captioned(puzzle: Puzzle, config: RenderConfig) -> np.ndarray:
    image = render_puzzle(puzzle, config)
    if puzzle.family == "rpm":
        kind = CONFIGURATIONS[puzzle.configuration].title
    else:
        kind = f"{kind_of(puzzle).name}, {puzzle.configuration}"
    lines = [puzzle.puzzle_id, kind]
    if puzzle.answer_index is not None:
        lines.append(f"answer {puzzle.answer_letter}")
    font = ImageFont.load_default(_FONT_PX)
    width = max(image.shape[1], *(int(font.getlength(line)) + 1 for line in lines))
    strip = Image.new("L", (width, len(lines) * (_FONT_PX + 3)), _WHITE)
    ImageDraw.Draw(strip).text((0, 0), "\n".join(lines), fill=0, font=font, spacing=1)
    tile = np.full((image.shape[0] + strip.height, width), _WHITE, np.uint8)
    tile[: image.shape[0], : image.shape[1]] = image
    tile[image.shape[0] :] = np.asarray(strip)
    return tile


def _shown_rows(puzzle: Puzzle) -> tuple[int, ...]:
    """Returns how many panels each row shows, the missing one not counted."""
    where = f"puzzle {puzzle.puzzle_id}: "
    if puzzle.family == "annotated":
        raise PuzzleError(where + "an annotated puzzle has a picture of its own; it is not drawn")
    if puzzle.family == "nonregular" and puzzle.configuration not in LAYOUTS:
        raise PuzzleError(
            f"{where}expected a layout of {', '.join(LAYOUTS)}, got {puzzle.configuration!r}"
        )
    rows = _MATRIX_ROWS if puzzle.family == "rpm" else LAYOUTS[puzzle.configuration]
    most = len(CHOICE_LETTERS) if puzzle.family == "rpm" else NUM_CHOICES
    if len(puzzle.context) != sum(rows) or not 0 < len(puzzle.choices) <= most:
        raise PuzzleError(
            f"{where}expected {sum(rows)} shown panels and 1 to {most} choices, "
            f"got {len(puzzle.context)} and {len(puzzle.choices)}"
        )
    return rows


def _cells(puzzle: Puzzle, config: RenderConfig) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Yields row, column and pixels of every cell that is not empty."""
    rows, side, draw = _shown_rows(puzzle), config.panel_size_px, _drawer(puzzle, config)
    places = [(row, column) for row, length in enumerate(rows) for column in range(length)]
    for place, panel in zip(places, puzzle.context, strict=True):
        yield place, draw(panel, None)
    yield (len(rows) - 1, rows[-1]), missing_cell(side)
    for index, panel in enumerate(puzzle.choices):
        letter = CHOICE_LETTERS[index] if config.has_letters else None
        row, column = divmod(index, _CHOICE_COLUMNS)
        yield (len(rows) + row, column), draw(panel, letter)


def _drawer(
    puzzle: Puzzle, config: RenderConfig
) -> Callable[[Panel | Scene, str | None], np.ndarray]:
    """Returns what draws one cell of this puzzle, from a panel and its letter."""
    side = config.panel_size_px
    if puzzle.family == "rpm":
        return lambda panel, letter: panel_cell(panel, puzzle.configuration, side, letter)
    kind = kind_of(puzzle).name

    def draw(panel: Panel | Scene, letter: str | None) -> np.ndarray:
        assert isinstance(panel, Scene), "kind_of has seen that all panels are scenes"
        return scene_cell(render_scene(kind, panel, side), letter)

    return draw
