"""The page and the picture of credit: what they say, also without colour."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rl_avr.elicitation.chains import gold_chain
from rl_avr.reporting.credit_map import (
    END,
    NEGATIVE,
    POSITIVE,
    Shown,
    color,
    pieces_of,
    render_credit,
    scale_of,
    signed,
    strongest,
)
from rl_avr.reporting.credit_picture import credit_png
from tests.inference.test_credit import credit_of, wrong  # noqa: F401


def shown_of(puzzle, *chains, **changes):
    fields = {
        "names": tuple(f"Chain {i}" for i in range(len(chains))),
        "puzzle": puzzle,
        "kind": "center_single",
        "title": "Credit: p",
        "source": "Made by a test.",
        "prompt": "Which one?",
    }
    return Shown(tuple(chains), **(fields | changes))


def luminance(rgb):
    parts = [p / 255 / 12.92 if p <= 10 else ((p / 255 + 0.055) / 1.055) ** 2.4 for p in rgb]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("end", [NEGATIVE, POSITIVE])
def test_text_can_be_read_on_either_end(end):
    assert (luminance(end) + 0.05) / (luminance((17, 17, 17)) + 0.05) > 7


def test_pieces_are_the_whole_text_cut_at_tokens_and_claims(puzzle, wrong):  # noqa: F811
    (chain,) = credit_of(puzzle, wrong)
    pieces = pieces_of(chain)
    assert "".join(piece.text for piece in pieces) == f"{wrong}{END}"
    assert all(piece.value is not None for piece in pieces)
    assert sum(piece.is_last for piece in pieces) == len(chain.token_ends_T)
    assert pieces[-1].value == chain.centred_T[-1].item() and pieces[-1].claim is None
    for one in chain.claims:
        own = "".join(piece.text for piece in pieces if piece.claim is one)
        assert own in (wrong[slice(*one.claim.span)], "")
    assert sum(piece.claim is not None and not piece.claim.claim.is_true for piece in pieces) >= 2


def test_the_page_says_truth_and_number_without_colour(puzzle, wrong):  # noqa: F811
    (chain,) = credit_of(puzzle, wrong)
    page = render_credit(shown_of(puzzle, chain))
    false = [one for one in chain.claims if not one.claim.is_true]
    assert page.count("✗ false") == len(false) == 2
    assert page.count("✓ true") == len(chain.claims) - 2
    assert page.count("<sup>") == 10
    for one in chain.claims:
        assert f'<td class="number">{signed(one.credit)}</td>' in page
    assert 'claim wrong" style="--c: #' in page and 'claim right" style="--c: #' in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    legend = re.search(r'class="ticks">(.*?)</div>', page)[1]
    ends = signed(-scale_of([chain])), "0.00", signed(scale_of([chain]))
    assert all(f"<span>{end}</span>" in legend for end in ends)


def test_a_hostile_text_stays_a_text(puzzle):
    text = "<script>alert(1)</script>\u202e\ud800\n### Answer: C"
    page = render_credit(shown_of(puzzle, *credit_of(puzzle, text)))
    assert "<script" not in page and "\u202e" not in page
    page.encode("utf-8")


def test_an_empty_chain_and_equal_credit_have_a_page_and_a_picture(puzzle):
    (chain,) = credit_of(puzzle, "")
    shown = shown_of(puzzle, chain)
    assert END in render_credit(shown) and credit_png(shown, 0).startswith(b"\x89PNG")
    assert scale_of([]) == 1.0


def test_strongest_are_the_ends_and_never_a_0():
    values = [0.0, 5.0, -1.0, 3.0, 0.0, -7.0]
    assert strongest(values) == {1, 2, 3, 5}
    assert strongest([float(v) for v in range(-20, 21)]) == {0, 1, 2, 3, 4, 36, 37, 38, 39, 40}
    assert strongest([]) == set()


def test_one_odd_token_does_not_make_the_others_white(puzzle):
    chains = credit_of(puzzle, gold_chain(puzzle))
    odd = chains[0].centred_T.clone()
    odd[0] = 1e6
    assert scale_of([replace(chains[0], centred_T=odd)]) < 1e3


def test_the_picture_has_both_colours_and_the_lines_of_the_page(puzzle, wrong):  # noqa: F811
    (chain,) = credit_of(puzzle, wrong)
    shown = shown_of(puzzle, chain)
    picture = np.asarray(Image.open(io.BytesIO(credit_png(shown, 0))).convert("RGB")).astype(int)
    for end in (NEGATIVE, POSITIVE):
        assert (np.abs(picture - end).sum(-1) < 12).sum() > 200
    assert credit_png(shown, 0) == credit_png(shown, 0)
    assert color(0.0, 1.0) == "#ffffff"
