"""Rows of cells as aligned text for a terminal."""

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"^(?:—|[-+]?[\d.,]*%?)$")


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as text, header first; a column of numbers is aligned to the right.

    >>> print(text_table([("kind", "puzzles"), ("rotation", "12"), ("clock", "3")]))
      kind      puzzles
      rotation       12
      clock           3
    """
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    is_right = [all(_NUMBER.match(cell) for cell in column[1:]) for column in columns]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_right, strict=True)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)
