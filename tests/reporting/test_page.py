"""The page: read back with an HTML parser, as a browser would see it."""

import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from rl_avr.metric_names import GROUP_MEMORY
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzle
from rl_avr.reporting.page import (
    Chain,
    Example,
    Mark,
    Report,
    panel_words,
    render_report,
    segments,
    summarize,
)

CHAIN_TEXT = """\nType: square circle | <script>alert("x")</script> & &amp; {{ 1 + 1 }}
Size: 0 1 2 -> progression +1 -> 4
### Answer: C"""
METRICS = [
    {"step": s, "reward": s / 10, "completions/mean_length": 90.0, GROUP_MEMORY: s / 4}
    for s in range(1, 6)
]


class _Page(HTMLParser):
    """Collects tags, links, claims, and the text inside the elements of a class."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.claims, self.chains = [], [], [], []
        self._open = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.links += [values[name] for name in ("src", "href") if name in values]
        css = values.get("class", "")
        if css.startswith("claim"):
            self.claims.append([css.split()[1], ""])
        if css == "text":
            self.chains.append("")
        if tag not in ("meta", "img", "br"):
            self._open.append(css)

    def handle_endtag(self, tag):
        self._open.pop()

    def handle_data(self, data):
        if self._open and self._open[-1].startswith("claim"):
            self.claims[-1][1] += data
        if "text" in self._open:
            self.chains[-1] += data

    @property
    def graded(self):
        """Claims inside chains, without the two of the legend."""
        return [tuple(claim) for claim in self.claims[2:]]


def _cell(value, half):
    return {"value": value, "low": value - half, "high": value + half, "n": 500}


def _results(difference, half):
    return {
        "warm": {"pass@1": _cell(0.4, 0.03), "majority@8": _cell(0.5, 0.04)},
        "grpo": {"pass@1": _cell(0.4 + difference, 0.03), "majority@8": _cell(0.6, 0.04)},
        "difference": {"pass@1": _cell(difference, half)},
    }


def _mark(word, is_correct):
    start = CHAIN_TEXT.index(word)
    return Mark(start, start + len(word), is_correct)


@pytest.fixture(scope="module")
def puzzle():
    return sample_puzzle("held_out", 0, 0, PuzzleConfig())


@pytest.fixture(scope="module")
def report(puzzle):
    marks = (_mark("progression +1", False), _mark("square", True), _mark("<script>", False))
    before = Chain(CHAIN_TEXT, marks, None, False, {"choice": 0.0, "perception": None})
    after = Chain(CHAIN_TEXT, (_mark("circle", True),), "C", True, {"choice": 1.0})
    return Report(
        title="Run <1> & more",
        results=_results(0.2, 0.03),
        seconds={"step": {"sample": 3.0, "update": 6.0}, "note": "none"},
        metrics=METRICS,
        examples=(Example(puzzle, before, after),),
        config_text="trainer:\n  name: <b>",
        versions={"trl": "0.24.0"},
    )


@pytest.fixture(scope="module")
def html(report):
    return render_report(report)


def test_what_a_model_wrote_is_shown_and_never_run(html):
    page = _Page(html)
    assert "script" not in page.tags
    assert page.chains == [CHAIN_TEXT, CHAIN_TEXT]
    assert "<title>Run &lt;1&gt; &amp; more</title>" in html
    assert "name: &lt;b&gt;" in html


def test_marks_land_on_the_right_characters(html):
    assert _Page(html).graded == [
        ("right", "square"),
        ("wrong", "<script>"),
        ("wrong", "progression +1"),
        ("right", "circle"),
    ]


def test_the_page_needs_nothing_beside_itself(html):
    page = _Page(html)
    assert page.links
    assert all(link.startswith("data:image/") for link in page.links)
    assert not re.search(r"https?://|url\(|@import|javascript:", html)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in html


def test_the_picture_is_the_puzzle_at_a_readable_size(html, puzzle):
    (link,) = [link for link in _Page(html).links if link.startswith("data:image/png")]
    picture = Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2])))
    assert picture.width >= 4 * 96
    assert picture.height >= 5 * 96
    assert panel_words(puzzle.answer) in html
    assert f"<strong>{puzzle.answer_letter}</strong>" in html


def test_verdicts_parts_and_seconds_are_words_not_colours_alone(html):
    words = " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.S).split())
    assert "No answer \u2717 wrong" in words
    assert "Answer C \u2713 right" in words
    assert "choice 0.00 perception n/a" in words
    assert "step / sample 3" in words
    assert "step / update 6" in words
    assert "note" not in words.partition("Seconds")[2].partition("How it was made")[0]


def test_memory_is_the_most_of_what_was_logged(html):
    memory = html.partition("<h2>Memory</h2>")[2].partition("<h2>")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", memory).split())
    assert words == "what GiB an update, for each group, above what was held before 1.25"


def test_the_longest_phase_has_the_full_bar(html):
    assert re.findall(r'class="bar" style="width: ([\d.]+)%"', html) == ["50.0", "100.0"]


def test_same_report_same_page(report, html):
    assert render_report(report) == html


def test_an_empty_report_says_what_is_missing():
    html = render_report(Report("Nothing yet"))
    for sentence in (
        "There is no comparison yet",
        "No results yet",
        "No training metrics yet",
        "No examples yet",
        "No timings yet",
        "No memory was measured",
        "No configuration was recorded",
        "No versions were recorded",
    ):
        assert sentence in html
    assert "img" not in _Page(html).tags


def test_one_policy_alone_and_null_values_give_a_page():
    null = {"value": None, "low": None, "high": None, "n": 0}
    html = render_report(Report("Warm start", results={"warm": {"perception": null}}))
    assert '<span class="value">n/a</span>' in html
    assert "There is no comparison yet" in html


def test_a_chain_without_text_is_named_empty(puzzle):
    chain = Chain("", (Mark(0, 5, True),), None, False, {})
    page = _Page(render_report(Report("x", examples=(Example(puzzle, chain, chain),))))
    assert page.chains == ["(empty)", "(empty)"]
    assert page.graded == []


@pytest.mark.parametrize(
    ("difference", "half", "verdict"),
    [(0.2, 0.03, "training helped"), (-0.2, 0.03, "did harm"), (0.02, 0.03, "includes zero")],
)
def test_the_summary_judges_by_the_interval(difference, half, verdict):
    summary = summarize(_results(difference, half))
    assert verdict in summary
    assert "40.0% [37.0, 43.0]" in summary
    assert f"{100 * difference:+.1f} [" in summary


def test_segments_join_to_the_text_whatever_the_marks():
    text = "abcdef"
    marks = [Mark(4, 99, False), Mark(1, 3, True), Mark(2, 5, False), Mark(3, 3, True)]
    pieces = segments(text, marks)
    assert pieces == [("a", ""), ("bc", "right"), ("de", "wrong"), ("f", "wrong")]
    assert segments(text, [Mark(-2, 1, True)]) == [("a", "right"), ("bcdef", "")]
    assert segments("", marks) == []


def test_a_lone_surrogate_keeps_the_offsets_and_can_be_written():
    pieces = segments("a\ud800 square", [Mark(3, 9, True)])
    assert pieces == [("a? ", ""), ("square", "right")]
    "".join(text for text, _ in pieces).encode("utf-8")
