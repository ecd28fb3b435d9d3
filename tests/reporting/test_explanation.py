"""The page and the terminal: whole, escaped, visible, short enough, marked without colors too."""

from html.parser import HTMLParser

import pytest
from PIL import Image

from rewards.config import RewardConfig
from rewards.explain import explain
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.reading import read
from rl_avr.pipeline.explanation_text import explanation_text
from rl_avr.reporting.explanation import Shown, remarks, render_explanation, shown_lines, visible
from rl_avr.seeding import rng_for
from rl_avr.training.puzzle_files import kind_of

HOSTILE = "<script>alert(1)</script> & \"'\n\x1b[31mred\x07\t\u202eabc\u200b\u00a0\ud800"


def shown(text, puzzle, **options):
    config = RewardConfig(**options)
    found = explain(text, read(text, puzzle), puzzle, config)
    return Shown(found, puzzle, kind_of(puzzle), "p/cot", "A test.", "Which?")


class _Page(HTMLParser):
    """Collects marked claims and everything that would be fetched or run."""

    def __init__(self, text):
        super().__init__()
        self.claims, self.tags, self.sources, self._claim = [], set(), [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        attrs = dict(attrs)
        self.sources += [v for k, v in attrs.items() if k in ("src", "href")]
        classes = (attrs.get("class") or "").split()
        self._claim = classes[1:] if classes[:1] == ["claim"] and "title" in attrs else None

    def handle_data(self, data):
        if self._claim is not None:
            self.claims.append((data, " ".join(self._claim)))
            self._claim = None


def test_claims_are_marked_in_place(puzzle, chain):
    text = chain.replace("Type: square", "Type: circle").replace("Answer: C", "Answer: B")
    page = _Page(render_explanation(shown(text, puzzle)))
    assert len(page.claims) == 46
    assert [claim for claim in page.claims if claim[1] != "right"] == [
        ("circle", "wrong"),
        ("### Answer: B", "wrong"),
    ]
    assert page.tags.isdisjoint({"script", "link", "iframe", "object"})
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)


def test_the_text_is_whole_and_in_order(zoo):
    for puzzle in zoo[::7]:
        for text in (gold_chain(puzzle), fluent_chain(puzzle, rng_for("t", puzzle.puzzle_id))):
            lines = shown_lines(shown(text, puzzle).explanation)
            found = "".join(piece.text for line in lines for piece in line.pieces)
            assert "".join(found.split()) == "".join(text.split())


def test_every_kind_has_a_page(zoo):
    for puzzle in zoo[::5]:
        text = gold_chain(puzzle)
        page = render_explanation(shown(text, puzzle))
        assert f"{puzzle.answer_letter} is right" in page and "Nothing: every panel" in page


def test_hostile_text_is_escaped_and_visible(puzzle):
    found = shown(HOSTILE, puzzle)
    page = render_explanation(found)
    page.encode("utf-8")
    assert "<script>" not in page and "&lt;script&gt;" in page
    terminal = explanation_text(found, has_colors=False)
    terminal.encode("utf-8")
    for text in (page, terminal):
        assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
        for name in ("001B", "0007", "0009", "202E", "200B", "00A0", "D800"):
            assert f"⟨U+{name}⟩" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ascii", "plain ascii"),
        ("two\nlines", "two\nlines"),
        ("图形 é 🙂", "图形 é 🙂"),
        ("\u2028\u00ad\ufeff\u3164", "⟨U+2028⟩⟨U+00AD⟩⟨U+FEFF⟩⟨U+3164⟩"),
        ("", ""),
    ],
)
def test_what_cannot_be_seen_is_named(text, expected):
    assert visible(text) == expected


def test_a_million_characters_are_cut_in_the_middle(puzzle, chain):
    head, tail = chain.split("\nMissing")
    long = f"{head}\n{'word ' * 200_000}\nMissing{tail}"
    found = shown(long, puzzle)
    (gap,) = [line for line in shown_lines(found.explanation) if line.is_gap]
    size = len(long)
    assert gap.pieces[0].text == f"{size - 8000:,} of {size:,} characters are not shown here"
    page, terminal = render_explanation(found), explanation_text(found, has_colors=False)
    assert len(page) < 80_000 and len(terminal) < 20_000
    # the ends are there with their claims
    assert "Type: square✓" in terminal and "### Answer: C✓" in terminal


def test_a_wall_of_claims_is_limited(puzzle, chain):
    line = chain.split("\n")[1].replace("square", "circle")
    found = shown("\n".join([line] * 3000), puzzle)
    assert len(remarks(found.explanation)) < 20
    assert len(explanation_text(found, has_colors=False)) < 40_000


def test_a_word_without_spaces_is_broken(puzzle):
    terminal = explanation_text(shown("x" * 10_000, puzzle), has_colors=False, width=80)
    assert max(map(len, terminal.split("\n"))) < 130


def test_words_stay_with_what_follows_them(puzzle, chain):
    terminal = explanation_text(shown(chain, puzzle), has_colors=False, width=60)
    rows = [row for row in terminal.split("\n") if "✓" in row]
    assert all(not row.strip().startswith(",") for row in rows)
    assert all(len(row) <= 61 for row in rows)


def test_an_empty_completion(puzzle):
    found = shown("", puzzle)
    assert "(empty)" in render_explanation(found)
    assert "(empty)" in explanation_text(found, has_colors=False)
    assert shown_lines(found.explanation) == []
    (line,) = shown_lines(shown(" \n\x1f\n ", puzzle).explanation)
    assert line.pieces[0].text == "⟨U+001F⟩"


def test_wrong_and_repeated_claims_are_listed_once(puzzle, chain):
    line = chain.split("\n")[1]
    wrong = line.replace("square", "circle", 1)
    text = chain.replace(line, f"{wrong}\n{line}\n{line}")
    listed = dict(remarks(shown(text, puzzle).explanation))
    assert listed["panel 1, type: circle"] == "it is square"
    # the wrong line spoke of panel 1 before, the right ones say it twice
    assert listed["panel 1, type: square"] == "said 2 times; each counts as a claim"
    assert listed["panel 2, type: square"] == "said 3 times; each counts as a claim"


def test_an_image_that_cannot_be_drawn_is_taken_or_missed(annotated, tmp_path):
    puzzle = annotated(chain=None)
    bare = shown("### Answer: C", puzzle)
    assert "cannot be drawn again" in render_explanation(bare)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    raw = (tmp_path / "a.jpg").read_bytes()
    page = render_explanation(Shown(**{**bare.__dict__, "image": raw}))
    assert "data:image/jpeg;base64," in page and "cannot be drawn again" not in page


def test_right_and_chosen_are_framed_in_the_picture(puzzle, chain):
    page = render_explanation(shown(chain.replace("Answer: C", "Answer: H"), puzzle))
    # C is in the third column of the fourth row of five, H in the fourth of the fifth
    assert 'class="mark " title="right choice" style="left: 50.000%; top: 60.000%' in page
    assert 'class="mark chosen" title="chosen, wrong" style="left: 75.000%; top: 80.000%' in page
    assert 'class="mark chosen"' not in render_explanation(shown(chain, puzzle))
