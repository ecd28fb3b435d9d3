"""Conversations of SFT as training sees them: what is trained on is marked, and what is not.

On a terminal trained words stand between ⟦ and ⟧, and in colour where it has any; the page
is one HTML file that needs nothing beside itself.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rl_avr.reporting.explanation import visible

_TEMPLATE = "conversations.html.j2"
_OPEN, _CLOSE = "⟦", "⟧"
_COLOUR, _PLAIN = "\x1b[1;32m", "\x1b[0m"
_MOST_SHOWN = 12_000


class Piece(NamedTuple):
    """Words of a conversation that are all trained on, or none of them."""

    text: str
    is_trained: bool


@dataclass(frozen=True)
class ShownConversation:
    """One conversation, token by token.

    Args:
        name: where it came from.
        kind: of `sft_warmstart.config.Kind`.
        pieces: all of it, in order; runs of image marks are written once.
        images: encoded as PNG.
        num_tokens: with those of its images.
        num_image_tokens: of these, the images'.
        num_trained: of these, what is trained on.
    """

    name: str
    kind: str
    pieces: tuple[Piece, ...]
    images: tuple[bytes, ...]
    num_tokens: int
    num_image_tokens: int
    num_trained: int

    @property
    def facts(self) -> str:
        """Its tokens in a line."""
        return (
            f"{self.num_tokens:,} tokens, {self.num_image_tokens:,} of them images', "
            f"{self.num_trained:,} trained on"
        )


def token_pieces(
    ids: Sequence[int], trained: Sequence[bool], image_id: int, tokenizer: Any
) -> tuple[Piece, ...]:
    """Returns a conversation's words in pieces that are trained on or not.

    Args:
        ids: token ids.
        trained: one a token.
        image_id: the id of an image mark; several in a row become one with their number.
        tokenizer: decodes.
    """
    mark = tokenizer.decode([image_id])
    pieces: list[Piece] = []
    tokens = zip(ids, trained, strict=True)
    for (is_image, is_trained), run in groupby(tokens, lambda t: (t[0] == image_id, bool(t[1]))):
        found = [token for token, _ in run]
        text = f"{mark}×{len(found)}" if is_image else tokenizer.decode(found)
        if pieces and pieces[-1].is_trained == is_trained:
            text = pieces.pop().text + text
        pieces.append(Piece(text, is_trained))
    return tuple(pieces)


def conversation_text(shown: ShownConversation, has_colour: bool = False) -> str:
    """Returns a conversation for a terminal.

    >>> pieces = (Piece("How many? ", False), Piece("Four.", True))
    >>> print(conversation_text(ShownConversation("row 3", "perception", pieces, (), 5, 0, 2)))
    row 3: 5 tokens, 0 of them images', 2 trained on
      How many? ⟦Four.⟧
    """
    words = []
    for piece in _cut(shown.pieces):
        # a line end that is trained on would hide at the end of a line
        text = visible(piece.text)
        if piece.is_trained:
            text = f"{_OPEN}{text}{_CLOSE}"
            text = f"{_COLOUR}{text}{_PLAIN}" if has_colour else text
        words.append(text)
    body = "".join(words).replace("\n", "\n  ")
    return f"{shown.name}: {shown.facts}\n  {body}"


def _cut(pieces: Sequence[Piece]) -> list[Piece]:
    """Returns the first pieces of a conversation that is too long to read."""
    found, left = [], _MOST_SHOWN
    for piece in pieces:
        if left <= 0:
            break
        found.append(piece._replace(text=piece.text[:left]))
        left -= len(piece.text)
    num_left = sum(len(piece.text) for piece in pieces) - _MOST_SHOWN
    return [*found, Piece(f" … {num_left:,} more characters", False)] if num_left > 0 else found


def render_conversations(shown: Sequence[ShownConversation], title: str, summary: str) -> str:
    """Returns the page as HTML, to be written as UTF-8."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "cut": _cut, "data_uri": _data_uri}
    return environment.get_template(_TEMPLATE).render(shown=shown, title=title, summary=summary)


def _data_uri(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode('ascii')}"
