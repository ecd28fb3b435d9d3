"""An explained completion for a terminal: marks always, colors where they are wanted."""

import re
import textwrap
from collections.abc import Iterator

from rewards.explain import STATUS_WORDS, Claim
from rl_avr.pipeline.text_table import text_table
from rl_avr.reporting.explanation import (
    Line,
    Piece,
    Shown,
    limited,
    number,
    remarks,
    shown_lines,
    verdict,
    visible,
)
from rl_avr.reporting.gallery import kind_title

_RIGHT, _WRONG, _BOLD, _SOFT, _END = "\x1b[4;32m", "\x1b[1;4;31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
_NAME_WIDTH = 16
_MOST_LISTED = 40
_LONGEST_WORD = 60
_LONG_WORD = re.compile(rf"\S{{0,{_LONGEST_WORD}}} +|\S{{1,{_LONGEST_WORD}}}")


def explanation_text(shown: Shown, has_colors: bool, width: int = 100) -> str:
    """Returns the explanation as text.

    Every claim is followed by ✓ or ✗, a right one that was said before by ✓×2; colors and
    underlines only repeat that.

    Args:
        shown: what is explained.
        has_colors: whether to write ANSI colors.
        width: characters in a line.
    """
    explanation = shown.explanation
    lines = [
        _styled(visible(shown.title), _BOLD, has_colors),
        f"{kind_title(shown.kind)}. {visible(shown.source)}",
        "",
        f"total   {number(explanation.score.total)}",
        f"answer  {visible(verdict(explanation))}",
        f"status  {explanation.parsed.status}: {STATUS_WORDS[explanation.parsed.status]}",
        "",
        text_table(
            [
                ("part", "value", "weight", "counts as"),
                *(
                    (part.name, number(part.value), f"{part.weight:g}", number(part.counted))
                    for part in explanation.parts
                ),
            ]
        ),
    ]
    for note in explanation.notes:
        lines += textwrap.wrap(note, width, initial_indent="  ", subsequent_indent="  ")
    num_right = sum(claim.is_true for claim in explanation.claims)
    counted = f"{num_right} of {len(explanation.claims)} claims are right"
    lines += ["", _styled(f"What the model wrote ({counted})", _BOLD, has_colors)]
    shown_rows = shown_lines(explanation)
    for line in shown_rows:
        lines += _text_lines(line, has_colors, width)
    if not shown_rows:
        lines.append("  (empty)")
    lines += _lists(shown, has_colors)
    return "\n".join(lines)


def _lists(shown: Shown, has_colors: bool) -> Iterator[str]:
    explanation = shown.explanation
    for title, items in (
        ("Wrong or said again", [f"{says}; {truth}" for says, truth in remarks(explanation)]),
        ("Not said", explanation.missed),
        ("What would be right", explanation.gold.split("\n") if explanation.gold else ()),
    ):
        if items:
            listed, num_more = limited(items, _MOST_LISTED)
            yield ""
            yield _styled(title, _BOLD, has_colors)
            yield from (f"  {visible(item)}" for item in listed)
            if num_more:
                yield f"  and {num_more} more"


def _text_lines(line: Line, has_colors: bool, width: int) -> Iterator[str]:
    """Yields a section with its name beside it, broken between words."""
    if line.is_gap:
        yield _styled(f"  … {line.pieces[0].text} …", _SOFT, has_colors)
        return
    room = max(20, width - _NAME_WIDTH - 2)
    name = visible(line.name)[:_NAME_WIDTH]
    for words in _rows(line.pieces, has_colors):
        current, used = "", 0
        for word, length in words:
            if used and used + length > room:
                yield _row(name, current, has_colors)
                name, current, used = "", "", 0
            current, used = current + word, used + length
        yield _row(name, current, has_colors)
        name = ""


def _row(name: str, text: str, has_colors: bool) -> str:
    return f"  {_styled(name.ljust(_NAME_WIDTH), _SOFT, has_colors)}{text.rstrip(' ')}"


_Word = tuple[str, int]
"""Characters that stay together, the space behind them among them, and how wide they are."""


def _rows(pieces: tuple[Piece, ...], has_colors: bool) -> Iterator[list[_Word]]:
    """Yields the words of each row of a section, claims with their marks among them."""
    row: list[_Word] = []
    is_open = False
    for piece in pieces:
        for break_number, text in enumerate(piece.text.split("\n")):
            if break_number:
                yield row
                row, is_open = [], False
            for word in [text] if piece.claim else _LONG_WORD.findall(text):
                styled, length = word, len(word)
                if piece.claim:
                    mark = _mark(piece.claim)
                    style = _RIGHT if piece.claim.is_true else _WRONG
                    styled, length = _styled(word, style, has_colors) + mark, length + len(mark)
                if is_open and row:
                    # what no space parts, such as a claim and the comma behind it
                    row[-1] = row[-1][0] + styled, row[-1][1] + length
                else:
                    row.append((styled, length))
                is_open = not word.endswith(" ") and row[-1][1] < _LONGEST_WORD
    yield row


def _mark(claim: Claim) -> str:
    if not claim.is_true:
        return "✗"
    return "✓×2" if claim.is_repeat else "✓"


def _styled(text: str, style: str, has_colors: bool) -> str:
    return f"{style}{text}{_END}" if has_colors and text else text
