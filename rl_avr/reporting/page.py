"""The report of a run: one HTML page that needs nothing beside itself.

Images are data URIs, the style is inline, there is no script, and a content policy in
the page forbids the browser to fetch anything. Every text is escaped by Jinja; what a
model wrote is never trusted.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rl_avr.contracts import Panel, Puzzle, Rule, Scene
from rl_avr.metric_names import GROUP_MEMORY, PEAK_GPU_MEMORY, PEAK_MEMORY
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.grammar import TYPE_NAMES
from rl_avr.puzzles.render import render_png
from rl_avr.reporting import curves
from rl_avr.reporting.tables import (
    MISSING,
    Results,
    is_number,
    percent,
    points,
    policy_names,
    table_cells,
)

_TEMPLATE = "report.html.j2"
_PICTURE = RenderConfig(panel_size_px=112, has_letters=True)

_MEANINGS = {
    "pass@1": "a sampled answer is right, mean over the samples",
    "pass": "at least one of k samples is right",
    "greedy": "the answer made of the likeliest tokens is right",
    "majority": "the most frequent answer among k samples is right",
    "perception": "statements about panels that are right",
    "rule": "statements about rules that are right",
}

_MEMORY = {
    PEAK_MEMORY: "the process at its peak",
    PEAK_GPU_MEMORY: "tensors on its GPU at their peak",
    GROUP_MEMORY: "an update, for each group, above what was held before",
}

_CURVES: tuple[tuple[Callable[..., bytes | None], str, str], ...] = (
    (
        curves.reward_curves,
        "Reward, part by part",
        "Mean over the completions of a step; pale: each step, bold: moving average.",
    ),
    (
        curves.spread_curves,
        "Spread of rewards",
        "A group whose completions all earn the same reward teaches nothing.",
    ),
    (
        curves.gap_curve,
        "Sampling engine against policy",
        "Both should give a token the same probability; a growing gap is an error.",
    ),
    (
        curves.length_curve,
        "Length of completions",
        "Mean number of tokens that the policy wrote.",
    ),
    (
        curves.entropy_curve,
        "Entropy",
        "How undecided the policy is; near zero it no longer explores.",
    ),
)


@dataclass(frozen=True)
class Mark:
    """A graded claim: characters [start, end) of a chain's text, and whether they are right."""

    start: int
    end: int
    is_correct: bool


@dataclass(frozen=True)
class Chain:
    """One completion with its grades.

    Args:
        text: what the policy wrote; anything at all.
        marks: the graded claims. Where two overlap, the first keeps the shared part.
        choice_letter: the letter chosen, None without exactly one answer.
        is_correct: whether that letter is right.
        parts: reward parts by name; None where a part could not judge.
    """

    text: str
    marks: tuple[Mark, ...]
    choice_letter: str | None
    is_correct: bool
    parts: dict[str, float | None]


@dataclass(frozen=True)
class Example:
    """A puzzle with a chain of the policy before training and one of the policy after."""

    puzzle: Puzzle
    before: Chain
    after: Chain


@dataclass(frozen=True)
class Report:
    """What the page shows. An empty field gives a sentence that says so.

    Args:
        title: heading of the page.
        results: policy to metric to value, low, high and n, as `tables` describes.
        seconds: phase of a step to seconds; groups of phases may nest.
        metrics: the rows of `read_metrics`.
        examples: puzzles to show, 6 or more for a reader to get an impression.
        config_text: the resolved configuration.
        versions: package or machine to version.
    """

    title: str
    results: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    examples: tuple[Example, ...] = ()
    config_text: str = ""
    versions: dict[str, str] = field(default_factory=dict)


def render_report(report: Report) -> str:
    """Returns the page as HTML, to be written as UTF-8."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["part"] = lambda v: f"{v:.2f}" if is_number(v) else MISSING
    return environment.get_template(_TEMPLATE).render(
        report=report,
        summary=summarize(report.results),
        table=table_cells(report.results),
        meanings=_MEANINGS,
        bars=_svg_uri(curves.accuracy_bars(report.results)),
        curves=_curves(report.metrics),
        examples=[_example(example) for example in report.examples],
        seconds=_seconds_rows(report.seconds),
        memory=_memory_rows(report.metrics),
    )


def summarize(results: Results) -> str:
    """Returns the results in plain words.

    A difference counts as one only where its interval leaves out zero. Without two
    policies and a difference the sentence says what is missing.
    """
    policies = policy_names(results)
    difference = (results.get("difference") or {}).get("pass@1")
    if len(policies) < 2 or not difference or not is_number(difference.get("value")):
        return (
            "There is no comparison yet: it needs the accuracy (pass@1) of the policy before "
            "and after training, and their difference."
        )
    before, after = (results[policy].get("pass@1") for policy in policies[:2])
    return (
        f"Both policies answered the same {difference.get('n', MISSING)} held-out matrix puzzles, "
        f"none of which was used in training; guessing among the eight choices is right in "
        f"{100 * curves.CHANCE:.1f}% of them. Before reinforcement learning ({policies[0]}) a "
        f"sampled answer was right in {percent(before)}, after it ({policies[1]}) in "
        f"{percent(after)}. That is a difference of {points(difference)} percentage points: "
        f"{_verdict(difference)} Brackets hold bootstrap intervals over the puzzles."
    )


def segments(text: str, marks: Sequence[Mark]) -> list[tuple[str, str]]:
    """Cuts a text at its marks.

    Returns:
        Pieces in order, each with `right`, `wrong` or `` (no claim). Joined they are the
        text, in which a lone surrogate, which no file can hold, became `?`. Marks beyond
        the text are cut to it and empty ones dropped.

    >>> segments("circle no", [Mark(0, 6, True)])
    [('circle', 'right'), (' no', '')]
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    pieces, cursor = [], 0
    for mark in sorted(marks, key=lambda mark: mark.start):
        start, end = max(mark.start, cursor), min(mark.end, len(text))
        if start >= end:
            continue
        pieces += [(text[cursor:start], ""), (text[start:end], _grade(mark.is_correct))]
        cursor = end
    return [piece for piece in [*pieces, (text[cursor:], "")] if piece[0]]


def rule_words(rule: Rule) -> str:
    """Returns a rule in the words of the chains.

    >>> rule_words(Rule("color", "arithmetic", -1))
    'color: arithmetic -'
    """
    parameter = {
        "progression": f" {rule.parameter:+d}",
        "arithmetic": " +" if rule.parameter > 0 else " -",
    }.get(rule.kind, "")
    return f"{rule.attribute}: {rule.kind.replace('_', ' ')}{parameter}"


def panel_words(panel: Panel | Scene) -> str:
    """Returns a panel's shapes in words and levels; a scene's values by name."""
    if isinstance(panel, Scene):
        shown = [(name, value) for name, value in panel.values if not name.startswith("_")]
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown)
    return ", ".join(
        f"{TYPE_NAMES[e.type]}, size {e.size}, color {e.color}" for e in panel.entities
    )


def _grade(is_correct: bool) -> str:
    return "right" if is_correct else "wrong"


def _verdict(difference: Mapping[str, Any]) -> str:
    low, high = difference.get("low"), difference.get("high")
    if not (is_number(low) and is_number(high)):
        return "without an interval nothing can be said about chance."
    if low > 0:
        return "training helped, by more than the draw of the puzzles explains."
    if high < 0:
        return "training did harm, by more than the draw of the puzzles explains."
    return "the interval includes zero, so these puzzles do not show a change."


def _example(example: Example) -> dict[str, Any]:
    puzzle = example.puzzle
    return {
        "puzzle": puzzle,
        "image": _uri(render_png(puzzle, _PICTURE), "image/png"),
        "answer": panel_words(puzzle.answer),
        "rules": [rule_words(rule) for rule in puzzle.rules],
        "chains": [
            {"name": name, "chain": chain, "segments": segments(chain.text, chain.marks)}
            for name, chain in (("Before", example.before), ("After", example.after))
        ],
    }


def _curves(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    drawn = ((title, caption, _svg_uri(draw(rows))) for draw, title, caption in _CURVES)
    return [{"title": t, "caption": c, "image": uri} for t, c, uri in drawn if uri is not None]


def _seconds_rows(seconds: Mapping[str, Any], prefix: str = "") -> list[dict[str, Any]]:
    """Returns name, text and share of the longest, groups flattened to `group / phase`."""
    flat = _flatten(seconds, prefix)
    longest = max((value for _, value in flat), default=0.0)
    return [
        {"name": name, "text": f"{value:.3g}", "share": value / longest if longest > 0 else 0.0}
        for name, value in flat
    ]


def _flatten(seconds: Mapping[str, Any], prefix: str) -> list[tuple[str, float]]:
    flat: list[tuple[str, float]] = []
    for name, value in seconds.items():
        if isinstance(value, Mapping):
            flat += _flatten(value, f"{prefix}{name} / ")
        elif is_number(value):
            flat.append((prefix + name, float(value)))
    return flat


def _memory_rows(metrics: Sequence[curves.Row]) -> list[tuple[str, str]]:
    """Returns what takes memory and its most in GiB, for the figures that were logged."""
    found = [(what, curves.series(metrics, name)[1]) for name, what in _MEMORY.items()]
    return [(what, f"{values.max():.3g}") for what, values in found if values.size]


def _svg_uri(image: bytes | None) -> str | None:
    return None if image is None else _uri(image, "image/svg+xml")


def _uri(image: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(image).decode('ascii')}"
