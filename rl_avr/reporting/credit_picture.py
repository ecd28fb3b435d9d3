"""A chain with its credit as one picture, for a paper or a slide: what the page shows, as PNG.

The text stands on a grid of characters of one width; a token is a coloured box on it, a claim a
line below its characters: solid where it is true, wavy where it is false, dotted where nothing can
judge it.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from rl_avr.inference.credit import ChainCredit
from rl_avr.reporting.credit_map import (
    NEGATIVE,
    POSITIVE,
    Piece,
    Shown,
    color,
    mark_of,
    pieces_of,
    puzzle_image,
    scale_of,
    signed,
    ticks,
)

_COLUMNS = 76
"""Characters of a line before it is broken."""
_MOST_LINES = 60
_FONT_PT = 10
_CHARACTER_IN = 0.602 * _FONT_PT / 72
"""Width of DejaVu Sans Mono, as a share of its size."""
_LINE_IN = 0.3
_PICTURE_IN = 2.6
_MARGIN_IN = 0.25
_HEAD_IN, _LEGEND_IN = 0.45, 0.75
_DPI = 160
_LABEL_PT = 7
_WAVE, _WAVES_A_CHARACTER = 0.055, 1.25
"""Height of the line below a false claim, in lines, and how often it goes up and down."""


@dataclass(frozen=True)
class _Run:
    """Characters of a piece, or the number of its token, on one line of the grid."""

    line: int
    column: int
    text: str
    piece: Piece
    is_label: bool = False

    @property
    def width(self) -> int:
        """How many characters wide it is."""
        if self.is_label:
            return math.ceil(len(self.text) * _LABEL_PT / _FONT_PT) + 1
        return len(self.text)


def credit_png(shown: Shown, index: int) -> bytes:
    """Returns one chain's picture: the puzzle, the chain, and the scale of all chains shown.

    Args:
        shown: the chains of the page.
        index: which of them.
    """
    chain, scale = shown.chains[index], scale_of(shown.chains)
    runs = _laid_out(chain)
    num_lines = max((run.line for run in runs), default=0) + 1
    image = puzzle_image(shown)
    left = _PICTURE_IN + _MARGIN_IN if image else 0.0
    width = left + _COLUMNS * _CHARACTER_IN + 2 * _MARGIN_IN
    picture_in = _picture_height(image)
    body = max(num_lines * _LINE_IN, picture_in)
    height = _HEAD_IN + body + _LEGEND_IN + 2 * _MARGIN_IN
    figure = Figure(figsize=(width, height), dpi=_DPI)

    def axes(x: float, y: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, y / height, w / width, h / height))

    top = height - _MARGIN_IN - _HEAD_IN
    if image:
        place = axes(_MARGIN_IN, top - picture_in, _PICTURE_IN, picture_in)
        place.imshow(np.asarray(Image.open(io.BytesIO(image)).convert("RGB")))
        place.set_axis_off()
    x = _MARGIN_IN + left
    text = axes(x, top - num_lines * _LINE_IN, _COLUMNS * _CHARACTER_IN, num_lines * _LINE_IN)
    _draw(text, runs, num_lines, scale)
    head = f"{shown.names[index]}: implicit reward {signed(chain.total)}"
    figure.text(_MARGIN_IN / width, 1 - _MARGIN_IN / height, head, va="top", fontsize=11)
    _legend(axes(x, _MARGIN_IN + 0.35, 3.2, 0.16), scale)
    said = "claims: solid line true, wavy false, dotted unknown"
    figure.text((x + 3.6) / width, (_MARGIN_IN + 0.36) / height, said, fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _picture_height(image: bytes | None) -> float:
    if image is None:
        return 0.0
    width_px, height_px = Image.open(io.BytesIO(image)).size
    return _PICTURE_IN * height_px / width_px


def _laid_out(chain: ChainCredit) -> list[_Run]:
    """Breaks the text at its own line ends and where a line is full; cuts what is too long."""
    runs: list[_Run] = []
    line = column = 0
    for piece in pieces_of(chain):
        for number, part in enumerate(piece.text.split("\n")):
            if number:
                line, column = line + 1, 0
            while part:
                is_full = column + len(part) > _COLUMNS and len(part) <= _COLUMNS
                if column >= _COLUMNS or (column and is_full):
                    line, column = line + 1, 0
                if line >= _MOST_LINES:
                    return [*runs, _Run(line, 0, "… the rest is not shown", _NO_TOKEN)]
                fitting, part = part[: _COLUMNS - column], part[_COLUMNS - column :]
                runs.append(_Run(line, column, fitting, piece))
                column += len(fitting)
        if piece.is_strong and piece.is_last:
            # it may reach into the margin, so that it never stands alone on a line
            runs.append(_Run(line, column, signed(piece.value), piece, is_label=True))
            column += runs[-1].width
    return runs


_NO_TOKEN = Piece("", None, False, False, None)


def _draw(axes: Axes, runs: list[_Run], num_lines: int, scale: float) -> None:
    axes.set_xlim(0, _COLUMNS)
    axes.set_ylim(num_lines, 0)
    axes.set_axis_off()
    for run in runs:
        value, claim = run.piece.value, run.piece.claim
        if value is not None:
            box = Rectangle((run.column, run.line + 0.12), run.width, 0.68, lw=0, clip_on=False)
            box.set_facecolor(color(value, scale))
            axes.add_patch(box)
        if run.is_label:
            _write(axes, run.column + run.width / 2, run.line + 0.36, run.text, _LABEL_PT, True)
            continue
        for place, character in enumerate(run.text):
            x = run.column + place + 0.5
            _write(axes, x, run.line + 0.46, character, _FONT_PT, run.piece.is_strong)
        if claim:
            _underline(axes, run, mark_of(claim.claim.is_true))


def _write(axes: Axes, x: float, y: float, text: str, size: float, is_bold: bool) -> None:
    axes.text(
        *(x, y, text),
        family="DejaVu Sans Mono",
        fontsize=size,
        weight="bold" if is_bold else "normal",
        ha="center",
        va="center_baseline",
        parse_math=False,
    )


def _underline(axes: Axes, run: _Run, mark: str) -> None:
    x = np.linspace(run.column, run.column + run.width, 16 * run.width + 1)
    height = _WAVE if mark == "wrong" else 0.0
    y = run.line + 0.86 + height * np.sin(2 * np.pi * _WAVES_A_CHARACTER * x)
    style = ":" if mark == "unjudged" else "-"
    axes.plot(x, y, color="black", lw=1.3, ls=style, clip_on=False)


def _legend(axes: Axes, scale: float) -> None:
    ends = [tuple(part / 255 for part in end) for end in (NEGATIVE, POSITIVE)]
    colors = LinearSegmentedColormap.from_list("credit", [ends[0], (1, 1, 1), ends[1]])
    axes.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=colors, extent=(0, 100, 0, 1))
    places, numbers = zip(*ticks(scale), strict=True)
    axes.set_xticks(places, numbers, fontsize=8)
    axes.set_yticks([])
    axes.set_xlabel("credit of a token less the chain's mean, in nats", fontsize=8)
