"""What a page and a terminal show of an explained completion; the page is one HTML file.

Text of a model is never trusted: Jinja escapes it, characters that cannot be seen are
written out, and a text too long to read is cut in the middle.
"""

import base64
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rewards.explain import STATUS_WORDS, Claim, Explanation, PartValue
from rl_avr.contracts import Puzzle
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.reporting.gallery import answer_box, kind_title, rule_line

_TEMPLATE = "explanation.html.j2"
_PICTURE = RenderConfig(panel_size_px=112, has_letters=True)
_MOST_SHOWN = 16_000
_HEAD_SHOWN, _TAIL_SHOWN = 5_000, 3_000
_MOST_LISTED = 200
_NO_VALUE = "—"


@dataclass(frozen=True)
class Shown:
    """An explained completion and where it came from.

    Args:
        explanation: why it got its reward.
        puzzle: the puzzle that it answers.
        kind: kind of the puzzle.
        title: heading.
        source: where it was found, in a sentence or less.
        prompt: what was asked.
        image: the encoded image, where there is one that cannot be drawn.
    """

    explanation: Explanation
    puzzle: Puzzle
    kind: str
    title: str
    source: str
    prompt: str
    image: bytes | None = None


@dataclass(frozen=True)
class Piece:
    """Characters that a reader can see, and the claim that they make, if any."""

    text: str
    claim: Claim | None = None


@dataclass(frozen=True)
class Line:
    """A section of the text as it is shown; `is_gap` where something is left out instead."""

    name: str
    pieces: tuple[Piece, ...]
    is_gap: bool = False


def shown_lines(explanation: Explanation) -> list[Line]:
    """Returns the text section by section, its claims in place.

    Of a text longer than 16,000 characters the middle is one line that says how
    much of it is left out. What lies between sections and can be seen is a line without
    a name; an empty text has none.
    """
    text = explanation.text
    size = len(text)
    if size <= _MOST_SHOWN:
        return list(_lines(explanation, 0, size))
    left_out = size - _HEAD_SHOWN - _TAIL_SHOWN
    gap = Line("", (Piece(f"{left_out:,} of {size:,} characters are not shown here"),), True)
    head = _lines(explanation, 0, _HEAD_SHOWN)
    return [*head, gap, *_lines(explanation, size - _TAIL_SHOWN, size)]


def _lines(explanation: Explanation, start: int, stop: int) -> Iterator[Line]:
    """Yields what lies in the characters [start, stop)."""
    cursor = start
    for section in explanation.sections:
        low, high = max(section.span.start, start), min(section.span.end, stop)
        if low >= high:
            continue
        yield from _between(explanation.text[cursor:low])
        cursor = max(cursor, high)
        yield Line(section.name, tuple(_pieces(explanation.text, low, high, section.claims)))
    yield from _between(explanation.text[cursor:stop])


def _between(text: str) -> Iterator[Line]:
    if text.strip(" \n"):
        yield Line("", (Piece(visible(text.strip(" \n"))),))


def _pieces(text: str, start: int, stop: int, claims: Sequence[Claim]) -> Iterator[Piece]:
    """Yields the characters [start, stop), cut at claims; an overlapped claim loses its part."""
    cursor = start
    for claim in sorted(claims, key=lambda claim: claim.span.start):
        low, high = max(claim.span.start, cursor), min(claim.span.end, stop)
        if low >= high:
            continue
        if cursor < low:
            yield Piece(visible(text[cursor:low]))
        yield Piece(visible(text[low:high]), claim)
        cursor = high
    if cursor < stop:
        yield Piece(visible(text[cursor:stop]))


def visible(text: str) -> str:
    r"""Returns a text in which control, zero-width and look-alike space characters are named.

    Line ends stay; a lone surrogate, which no file can hold, is named too.

    >>> visible("a\u200bb\x00\tc")
    'a⟨U+200B⟩b⟨U+0000⟩⟨U+0009⟩c'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if character in " \n" or (character.isprintable() and not _is_filler(character)):
        return character
    return f"⟨U+{ord(character):04X}⟩"


def _is_filler(character: str) -> bool:
    """Whether a character that counts as printable shows nothing, such as Hangul's filler."""
    return "FILLER" in unicodedata.name(character, "") or character in "\u034f\u2800"


def number(value: float | None) -> str:
    """Returns a value as it stands in a table.

    >>> number(0.5), number(None)
    ('0.50', '—')
    """
    return _NO_VALUE if value is None else f"{value:.2f}"


def remarks(explanation: Explanation) -> list[tuple[str, str]]:
    """Returns what is wrong or said again: what the text says, and what is to be said to it.

    Each once, in the order of the text.
    """
    times = Counter(claim.says for claim in explanation.claims)
    found: dict[str, str] = {}
    for claim in explanation.claims:
        again = f"said {times[claim.says]} times" if times[claim.says] > 1 else ""
        if not claim.is_true:
            found[claim.says] = f"{claim.truth}; {again}" if again else claim.truth
        elif claim.is_repeat:
            found[claim.says] = f"{again or 'spoken of before'}; each counts as a claim"
    return list(found.items())


def limited(items: Sequence[Any], most: int = _MOST_LISTED) -> tuple[Sequence[Any], int]:
    """Returns the first items, and how many more there are."""
    return items[:most], max(0, len(items) - most)


def render_explanation(shown: Shown) -> str:
    """Returns the page as HTML, to be written as UTF-8."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "visible": visible}
    explanation, puzzle = shown.explanation, shown.puzzle
    wrong, num_more = limited(remarks(explanation))
    return environment.get_template(_TEMPLATE).render(
        shown=shown,
        explanation=explanation,
        puzzle=puzzle,
        kind=kind_title(shown.kind),
        status=STATUS_WORDS[explanation.parsed.status],
        verdict=verdict(explanation),
        is_right=_choice_value(explanation) == 1.0,
        total=explanation.score.total,
        parts=explanation.parts,
        lines=shown_lines(explanation),
        num_right=sum(claim.is_true for claim in explanation.claims),
        wrong=wrong,
        num_more=num_more,
        rules=[rule_line(puzzle, rule) for rule in puzzle.rules],
        image=_image(shown),
        right_box=answer_box(puzzle),
        chosen_box=_chosen_box(explanation, puzzle),
    )


def verdict(explanation: Explanation) -> str:
    """Returns the answer and whether it is right, in a few words."""
    value = _choice_value(explanation)
    if explanation.chosen is None:
        return f"no single answer; right is {explanation.right}"
    if value is None:
        return f"{explanation.chosen}; nothing is known to grade it by"
    if value == 1.0:
        return f"{explanation.chosen} is right"
    worth = f", worth {value:.2f}" if value else ""
    return f"{explanation.chosen} is not right{worth}; right is {explanation.right}"


def _choice_value(explanation: Explanation) -> float | None:
    parts: dict[str, PartValue] = {part.name: part for part in explanation.parts}
    return parts["choice"].value


def _chosen_box(explanation: Explanation, puzzle: Puzzle) -> dict[str, float] | None:
    """Returns where a wrong choice lies in the picture."""
    index = explanation.parsed.choice_index
    if index is None or index == puzzle.answer_index or not puzzle.has_state:
        return None
    return answer_box(replace(puzzle, answer_index=index))


def _image(shown: Shown) -> str | None:
    image = shown.image
    if image is None and shown.puzzle.has_state:
        image = render_png(shown.puzzle, _PICTURE)
    if image is None:
        return None
    media_type = "image/jpeg" if image.startswith(b"\xff\xd8") else "image/png"
    return f"data:{media_type};base64,{base64.b64encode(image).decode('ascii')}"
