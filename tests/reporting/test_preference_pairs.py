"""The page of pairs: both sides whole, claims marked, nothing that a browser would run or fetch."""

import re

from rl_avr.reporting.preference_pairs import (
    ShownPair,
    ShownSide,
    Statement,
    render_pairs,
    side_pieces,
)


def side(text, *statements, answer="C"):
    return ShownSide(text, answer, "choice 1.00", statements)


def page(chosen, rejected, **changes):
    given = {
        "name": "p/cot/random/0",
        "way": "random",
        "category": "center_single",
        "accuracy": 0.25,
        "gold": "C",
        "question": "Which?",
        "images": (b"\x89PNG",),
    } | changes
    return render_pairs("Pairs", "a table", [ShownPair(**given, chosen=chosen, rejected=rejected)])


def text_of(html):
    """Returns what a reader sees of each side's text."""
    found = re.findall(r'<div class="text">(.*?)</div>', html, re.DOTALL)
    return [re.sub(r"<[^>]+>", "", one) for one in found]


def test_pieces_join_to_the_text_and_have_their_marks():
    one = side("A: 4 no, 5 yes", Statement(3, 4, True, False), Statement(9, 14, False, True))
    assert side_pieces(one) == [
        ("A: ", ""),
        ("4", "claim right"),
        (" no, ", ""),
        ("5 yes", "claim wrong own"),
    ]
    assert one.num_own == 1


def test_overlapping_claims_and_claims_beyond_the_text_lose_a_part():
    found = side_pieces(side("abcdef", Statement(0, 4, True, True), Statement(2, 99, False, False)))
    assert found == [("abcd", "claim right own"), ("ef", "claim wrong")]
    assert side_pieces(side("ab", Statement(5, 9, True, True))) == [("ab", "")]


def test_a_long_text_is_cut_and_says_so():
    *_, (last, kind) = side_pieces(side("x" * 8_100))
    assert (last, kind) == (" … 100 more characters", "gap")


def test_both_sides_are_there_chosen_first():
    html = page(side("Size: 4"), side("Size: 5", answer="A"))
    assert text_of(html) == ["Size: 4", "Size: 5"]
    assert html.index('class="side chosen"') < html.index('class="side rejected"')
    assert "accuracy</span> 25.0%" in html and "data:image/png;base64" in html


def test_what_a_model_wrote_is_never_markup():
    evil = '<script>alert(1)</script><img src="http://x/y.png" onerror=z>\u202e'
    html = page(side(evil), side(""), question=evil, name=evil)
    assert "<script" not in html and 'src="http' not in html
    assert "⟨U+202E⟩" in html and "(empty)" in html
    assert "default-src 'none'" in html


def test_a_lone_surrogate_can_be_written():
    assert page(side("\ud800"), side("b")).encode("utf-8")
