"""Preference pairs side by side: the puzzle, what was chosen, what was rejected; one HTML page.

Images are data URIs, the style is inline, there is no script, and a content policy in the
page forbids the browser to fetch anything. What a model wrote is escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rl_avr.reporting.browser import add_problem_filters
from rl_avr.reporting.explanation import visible

_TEMPLATE = "preference_pairs.html.j2"
_MOST_SHOWN = 8_000


class Statement(NamedTuple):
    """A claim: its characters [start, end), its truth, and whether only this side makes it."""

    start: int
    end: int
    is_true: bool
    is_own: bool


@dataclass(frozen=True)
class ShownSide:
    """What was chosen or rejected.

    Args:
        text: the completion.
        answer: its answer, in a few words.
        facts: its reward parts, in a few words.
        statements: its claims in the order of the text.
    """

    text: str
    answer: str
    facts: str
    statements: tuple[Statement, ...]

    @property
    def num_own(self) -> int:
        """Claims that the other side does not make."""
        return sum(one.is_own for one in self.statements)


@dataclass(frozen=True)
class ShownPair:
    """One pair with its question."""

    name: str
    way: str
    category: str
    accuracy: float
    gold: str
    question: str
    images: tuple[bytes, ...]
    chosen: ShownSide
    rejected: ShownSide


def render_pairs(title: str, summary: str, pairs: Sequence[ShownPair]) -> str:
    """Returns the page as HTML, to be written as UTF-8."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    add_problem_filters(environment)
    environment.filters["side_pieces"] = side_pieces
    return environment.get_template(_TEMPLATE).render(title=title, summary=summary, pairs=pairs)


def side_pieces(side: ShownSide) -> list[tuple[str, str]]:
    """Returns a text in pieces, each with the classes of its style; none without a claim.

    Of overlapping claims the first keeps the shared part. The end of a long text is cut.

    >>> side_pieces(ShownSide("A: 4 no", "A", "", (Statement(3, 4, True, True),)))
    [('A: ', ''), ('4', 'claim right own'), (' no', '')]
    """
    text, pieces, cursor = side.text[:_MOST_SHOWN], [], 0
    for one in side.statements:
        start, end = max(one.start, cursor), min(one.end, len(text))
        if start < end:
            kind = f"claim {'right' if one.is_true else 'wrong'}{' own' if one.is_own else ''}"
            pieces += [(text[cursor:start], ""), (text[start:end], kind)]
            cursor = end
    pieces.append((text[cursor:], ""))
    found = [(visible(piece), kind) for piece, kind in pieces if piece]
    left = len(side.text) - _MOST_SHOWN
    return [*found, (f" … {left:,} more characters", "gap")] if left > 0 else found
