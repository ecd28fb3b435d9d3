"""The gallery: what it shows, what it escapes, and that it needs nothing beside itself."""

import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from rl_avr.contracts import Annotation, Rule
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.nonregular.kinds import KINDS
from rl_avr.puzzles.nonregular.sampler import sample_nonregular
from rl_avr.puzzles.render import image_size_px, render_png, render_puzzle
from rl_avr.puzzles.sampler import sample_puzzle
from rl_avr.reporting.gallery import Item, answer_box, image_sheet, render_gallery, rule_line

RENDER = RenderConfig(panel_size_px=16)


def item(puzzle, kind="center_single", **changes):
    return Item(puzzle, kind, render_png(puzzle, RENDER), "Which one?", **changes)


def own_puzzle(puzzle, **annotation):
    note = Annotation(**{"question": "?", "choices": (), "answer": "x", **annotation})
    return dataclasses.replace(
        puzzle,
        family="annotated",
        configuration="annotated",
        context=(),
        choices=(),
        rules=(),
        answer_index=None,
        annotation=note,
    )


def picture(shade=0, form="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (300, 100), (shade, 9, 9)).save(buffer, format=form)
    return buffer.getvalue()


class _Tags(HTMLParser):
    """Collects tags with their attributes, and checks that they close in order."""

    VOID = {"meta", "input", "img", "br", "link"}

    def __init__(self, page):
        super().__init__()
        self.found, self.open = [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


def test_a_puzzle_shows_all_that_is_known_about_it(puzzle):
    page = render_gallery(
        "Title",
        "Summary.",
        [
            item(
                puzzle,
                questions=(("What is the type of panel 1?", "square"),),
                chains=(("compact", "Type: square"), ("fluent", "I see squares.")),
            )
        ],
        notes=["line 3: refused"],
    )
    for text in (
        "<h1>Title</h1>",
        "Summary.",
        "line 3: refused",
        "by-hand",
        '<dd class="answer">C</dd>',
        "type: constant<br>size: progression +1<br>color: arithmetic +1",
        "What is the type of panel 1?",
        "square",
        "Type: square",
        "I see squares.",
        "Which one?",
    ):
        assert text in page
    tags = _Tags(page)
    assert len(tags.all("pre")) == 2 and len(tags.all("section")) == 1


def test_the_page_needs_nothing_and_runs_nothing(puzzle):
    page = render_gallery("t", "s", [item(puzzle)])
    tags = _Tags(page)
    assert not tags.all("script") and not tags.all("link") and "url(" not in page
    assert "default-src 'none'" in page
    assert all(image["src"].startswith("data:image/png;base64,") for image in tags.all("img"))
    assert not re.search(r"https?://", page)


def test_what_people_wrote_is_escaped(puzzle):
    evil = "</pre><script>alert(1)</script>\"'&"
    own = own_puzzle(puzzle, question=evil, choices=(evil, "B"), answer="A", prefix=evil)
    own = dataclasses.replace(own, puzzle_id=evil, answer_index=0)
    page = render_gallery(
        evil,
        evil,
        [Item(own, evil, picture(), evil, ((evil, evil),), ((evil, evil), (evil, evil)))],
        notes=[evil],
    )
    assert "<script>" not in page
    _Tags(page)


def test_a_filter_for_every_kind_with_its_count(puzzle):
    turning = sample_nonregular("train", 0, 0, "rotation")
    items = [item(puzzle), item(turning, "rotation"), item(puzzle)]
    page = render_gallery("t", "s", items)
    tags = _Tags(page)
    radios = tags.all("input")
    assert [radio["id"] for radio in radios] == ["all", "k0", "k1"]
    assert "checked" in radios[0] and "checked" not in radios[1]
    assert [label["for"] for label in tags.all("label")] == ["all", "k0", "k1"]
    for text in (">all 3<", ">Center 2<", ">rotation 1<"):
        assert text in page
    # every item is hidden by every kind but its own
    assert [section["class"] for section in tags.all("section")] == [
        "item k0",
        "item k1",
        "item k0",
    ]
    assert "#k1:checked ~ .item:not(.k1) { display: none; }" in page
    assert "#all:checked ~ .item" not in page


@pytest.mark.parametrize("name", [*CONFIGURATIONS, *KINDS])
def test_the_frame_lies_on_the_right_choice(name):
    config = PuzzleConfig(mix={name: 1.0})
    puzzle = next(
        p for p in (sample_puzzle("train", i, 2, config) for i in range(50)) if p.answer_index
    )
    render = RenderConfig(panel_size_px=20, has_letters=False)
    drawn = render_puzzle(puzzle, render)
    height, width = image_size_px(render, puzzle)
    box = answer_box(puzzle)
    top, left = round(box["top"] * height / 100), round(box["left"] * width / 100)
    assert round(box["height"] * height / 100) == round(box["width"] * width / 100) == 20
    swapped = list(puzzle.choices)
    swapped[puzzle.answer_index] = puzzle.context[0]
    other = render_puzzle(dataclasses.replace(puzzle, choices=tuple(swapped)), render)
    differs = np.argwhere(drawn != other)
    if len(differs):
        assert differs.min(axis=0)[0] >= top and differs.max(axis=0)[0] < top + 20
        assert differs.min(axis=0)[1] >= left and differs.max(axis=0)[1] < left + 20


def test_without_a_state_there_is_no_frame_and_the_page_says_so(puzzle):
    own = own_puzzle(puzzle, question="How many?", answer="three fish")
    page = render_gallery("t", "s", [Item(own, "annotated", picture(form="JPEG"), "How many?")])
    assert answer_box(own) is None and 'class="mark"' not in page
    assert '<dd class="answer">three fish</dd>' in page
    assert "claims about panels and rules cannot" in page
    assert "data:image/jpeg;base64," in page


def test_choices_with_texts_are_listed_with_their_letters(puzzle):
    own = own_puzzle(puzzle, choices=("red", "B"), answer="A")
    own = dataclasses.replace(own, answer_index=0)
    page = render_gallery("t", "s", [Item(own, "annotated", picture(), "?")])
    assert "<dd>A: red, B</dd>" in page


def test_rules_name_their_component_where_there_are_two(puzzle):
    pair = dataclasses.replace(puzzle, configuration="in_center_single_out_center_single")
    assert rule_line(pair, Rule("size", "arithmetic", -1, component=1)) == "In size: arithmetic -1"
    assert rule_line(puzzle, Rule("type", "distribute_three")) == "type: distribute three"


def test_a_rule_of_a_kind_is_named_as_in_its_chains():
    puzzle = sample_nonregular("train", 0, 0, "reflection")
    phrases = KINDS["reflection"].rule_phrases
    for rule in puzzle.rules:
        line = rule_line(puzzle, rule)
        assert line.endswith(f": {phrases[rule.attribute, rule.kind, rule.parameter]}")
        assert "_" not in line


def test_no_puzzles_give_a_page_too():
    assert "No puzzles." in render_gallery("t", "s", [])


def test_a_sheet_of_peoples_pictures(puzzle):
    items = [
        Item(own_puzzle(puzzle, answer="größe 三"), "annotated", picture(50 * i), "?")
        for i in range(5)
    ]
    sheet = image_sheet(items, columns=2)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    # a picture of 300 x 100 becomes 240 wide; the fourth lies in the second row, second column
    row_height = 240 + 30 + 8
    assert tuple(sheet[8 + 40, 8 + 120]) == (0, 9, 9)
    assert tuple(sheet[8 + row_height + 40, 8 + 248 + 120]) == (150, 9, 9)
    assert sheet.shape[0] == 3 * row_height + 8
