"""Images of problems that have their panels as pixels: composed into one, or one each.

    composed  rows 0-2 the eight shown panels and "?", rows 3-4 the choices with their
              names; the layout of `rl_avr.puzzles.render`, with the file's own pixels
    panels    the shown panels, then the choices with their names, an image each

Encoding takes longer than all of the loading, and a resumed or limited evaluation needs
few of the images: a `DrawnImages` reads the file and draws when it is looked at, keeps
nothing, and draws the same each time.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, overload

import numpy as np
from PIL import Image

from rl_avr.evaluation.benchmarks.config import LabelStyle
from rl_avr.evaluation.labels import LABELS
from rl_avr.puzzles.cells import missing_cell, scene_cell
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.render import GRID_COLUMNS, GRID_ROWS

NUM_SHOWN = 8
_PLACES = [divmod(index, 3) for index in range(NUM_SHOWN)]
_MISSING = (2, 2)
_MARGIN = 0.15
_WHITE = 255


@dataclass(frozen=True)
class Look:
    """How panels become images.

    Args:
        image: one image of all, or an image for each.
        labels: how the choices are named.
        panel_size_px: side of a panel's cell.
        configuration: RAVEN's folder name, where the free place for a name is known; empty
            shrinks the picture of a choice and puts the name beside it.
    """

    image: Literal["composed", "panels"] = "composed"
    labels: LabelStyle = "letters"
    panel_size_px: int = 160
    configuration: str = ""


@dataclass(frozen=True, eq=False)
class DrawnImages(Sequence[bytes]):
    """The images of a prompt, PNG, drawn whenever they are read; equal to a tuple of them.

    Args:
        panels: reads the panels, uint8 of shape (16, height, width), context first.
        look: how they become images.
    """

    panels: Callable[[], np.ndarray]
    look: Look

    def __len__(self) -> int:
        """One, or as many as there are panels."""
        return 1 if self.look.image == "composed" else 2 * NUM_SHOWN

    def __iter__(self) -> Iterator[bytes]:
        """Yields the images; the file is read once."""
        return iter(draw_images(self.panels(), self.look))

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[bytes, ...]: ...
    def __getitem__(self, index: int | slice) -> bytes | tuple[bytes, ...]:
        """Returns one image or several; all are drawn for it."""
        return draw_images(self.panels(), self.look)[index]

    def source(self) -> bytes:
        """Returns a hash of the panels and of how they are drawn; many times faster than drawing.

        Raises:
            DataError: the panels cannot be read.
        """
        panels = self.panels()
        digest = blake2b(repr((self.look, panels.shape)).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(panels).data)
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        """Compares the images."""
        return tuple(self) == tuple(other) if isinstance(other, tuple | DrawnImages) else False

    def __hash__(self) -> int:
        """Hashes the images."""
        return hash(tuple(self))


def draw_images(panels: np.ndarray, look: Look) -> tuple[bytes, ...]:
    """Returns the images of a problem, PNG, gray.

    Args:
        panels: uint8 of shape (16, height, width), the shown panels, then the choices.
        look: how they are drawn.
    """
    cells = [_cell(panel, index, look) for index, panel in enumerate(panels)]
    if look.image == "panels":
        return tuple(_png(cell) for cell in cells)
    side = look.panel_size_px
    canvas = np.full((GRID_ROWS * side, GRID_COLUMNS * side), _WHITE, np.uint8)
    choices = [(3 + index // GRID_COLUMNS, index % GRID_COLUMNS) for index in range(NUM_SHOWN)]
    placed = zip(
        [*_PLACES, _MISSING, *choices], [*cells[:8], missing_cell(side), *cells[8:]], strict=True
    )
    for (row, column), cell in placed:
        canvas[row * side : (row + 1) * side, column * side : (column + 1) * side] = cell
    return (_png(canvas),)


def _cell(panel: np.ndarray, index: int, look: Look) -> np.ndarray:
    label = LABELS[look.labels][index - NUM_SHOWN] if index >= NUM_SHOWN else None
    if look.configuration in CONFIGURATIONS:
        picture = _resized(panel, look.panel_size_px)
        return scene_cell(picture, label, look.configuration)
    picture = np.full((look.panel_size_px, look.panel_size_px), _WHITE, np.uint8)
    margin = round(look.panel_size_px * _MARGIN)
    picture[margin:, margin:] = _resized(panel, look.panel_size_px - margin)
    return scene_cell(picture, label)


def _resized(panel: np.ndarray, side: int) -> np.ndarray:
    if panel.shape == (side, side):
        return panel
    return np.asarray(Image.fromarray(panel).resize((side, side), Image.Resampling.BOX))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
