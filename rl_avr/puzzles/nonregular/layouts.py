"""How the panels of a non-regular puzzle are arranged, and which one is missing.

The missing panel is the last of the last row. In a group there is no order: the
question is which choice belongs with the panels shown.
"""

from collections.abc import Sequence
from typing import TypeVar

from rl_avr.errors import PuzzleError, nearest

T = TypeVar("T")

LAYOUTS: dict[str, tuple[int, ...]] = {
    "sequence": (4,),
    "two_row": (3, 2),
    "matrix": (3, 3, 2),
    "group": (5,),
}
"""Panels shown in each row."""

ORDERED = ("sequence", "two_row", "matrix")
"""The layouts in which a row is read from left to right."""

THREE_COLUMNS = ("two_row", "matrix")
"""The layouts whose rows have three panels, so that two can make a third."""

NUM_CHOICES = 4


def full_rows(layout: str) -> tuple[int, ...]:
    """Returns the lengths of the rows with the missing panel in its place.

    >>> full_rows("two_row")
    (3, 3)
    """
    shown = shown_rows(layout)
    return (*shown[:-1], shown[-1] + 1)


def shown_rows(layout: str) -> tuple[int, ...]:
    """Returns `LAYOUTS[layout]`.

    Raises:
        PuzzleError: there is no such layout.
    """
    if layout not in LAYOUTS:
        raise PuzzleError(
            f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}; "
            f"nearest: {nearest(layout, LAYOUTS, count=1)}"
        )
    return LAYOUTS[layout]


def split_rows(panels: Sequence[T], layout: str) -> tuple[tuple[T, ...], ...]:
    """Returns the context as rows; the last row is short by the missing panel.

    >>> split_rows((1, 2, 3, 4, 5), "two_row")
    ((1, 2, 3), (4, 5))

    Raises:
        PuzzleError: the layout shows another number of panels.
    """
    lengths = shown_rows(layout)
    if len(panels) != sum(lengths):
        raise PuzzleError(
            f"context: expected {sum(lengths)} panels for the layout {layout!r}, got {len(panels)}"
        )
    rows, start = [], 0
    for length in lengths:
        rows.append(tuple(panels[start : start + length]))
        start += length
    return tuple(rows)
