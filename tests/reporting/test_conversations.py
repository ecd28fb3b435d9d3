"""Conversations on a terminal and on a page: what is trained on can be told from the rest."""

import re

from rl_avr.reporting.conversations import (
    Piece,
    ShownConversation,
    conversation_text,
    render_conversations,
    token_pieces,
)

PIECES = (Piece("<|im_start|>user\nHow many?", False), Piece("4\n<b>", True), Piece("\n", False))


def shown(pieces=PIECES, images=(b"png",)):
    return ShownConversation("x.parquet, row 3", "perception", pieces, images, 12, 5, 4)


class Letters:
    """A tokenizer of one letter a token; 0 is an image mark."""

    def decode(self, ids):
        return "".join("#" if i == 0 else chr(i) for i in ids)


def test_tokens_that_are_trained_alike_become_one_piece_and_marks_are_counted():
    ids = [*map(ord, "ab"), 0, 0, 0, *map(ord, "cdef"), 0]
    trained = [False] * 5 + [False, True, True, False, False]
    assert token_pieces(ids, trained, 0, Letters()) == (
        Piece("ab#×3c", False),
        Piece("de", True),
        Piece("f#×1", False),
    )
    assert token_pieces([], [], 0, Letters()) == ()


def test_a_terminal_shows_trained_words_between_marks_and_in_colour_where_it_can():
    text = conversation_text(shown())
    assert text.splitlines() == [
        "x.parquet, row 3: 12 tokens, 5 of them images', 4 trained on",
        "  <|im_start|>user",
        "  How many?⟦4",
        "  <b>⟧",
        "  ",
    ]
    coloured = conversation_text(shown(), has_colour=True)
    assert re.findall(r"\x1b\[1;32m(.*?)\x1b\[0m", coloured, re.DOTALL) == ["⟦4\n  <b>⟧"]
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == text


def test_what_cannot_be_seen_is_named_and_what_is_too_long_is_cut():
    pieces = (Piece("a\x1b[31m\u200b", True), Piece("x" * 20_000, False), Piece("end", True))
    text = conversation_text(shown(pieces))
    assert "⟦a⟨U+001B⟩[31m⟨U+200B⟩⟧" in text and "\x1b" not in text
    # 7 + 20,000 + 3 characters, 12,000 of them shown
    assert text.endswith("xxx … 8,010 more characters") and "end" not in text


def test_the_page_marks_trained_words_alone_and_escapes_them():
    page = render_conversations([shown(), shown(images=())], "SFT, 2 conversations", "kind  got")
    marked = re.findall(r"<mark>(.*?)</mark>", page, re.DOTALL)
    # the first is the legend's
    assert marked == ["like this", "4\n&lt;b&gt;", "4\n&lt;b&gt;"]
    assert page.count("data:image/png;base64,cG5n") == 1 and page.count("no image") == 1
    assert "&lt;|im_start|&gt;user\nHow many?<mark>" in page
    assert "default-src 'none'" in page and "<script" not in page
