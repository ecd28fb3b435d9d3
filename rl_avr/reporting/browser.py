"""A page on which one browses what a policy made of the problems of an evaluation.

Images are data URIs, style and script are inline, and a content policy in the page forbids
the browser to fetch anything or to run any other script: what a model wrote is escaped, and
would not run if it were not. Without a script the page shows everything.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rl_avr.reporting.explanation import visible
from rl_avr.reporting.page import Mark, segments

_TEMPLATE, _SCRIPT = "browser.html.j2", "browser.js"
_MOST_SHOWN = 12_000
_MOST_VALUES = 60
Kind = Literal["right", "wrong_reason", "wrong", "unparsable", "truncated", "failed"]
KIND_WORDS: dict[Kind, str] = {
    "right": "right",
    "wrong_reason": "right for the wrong reason",
    "wrong": "wrong",
    "unparsable": "unparsable",
    "truncated": "truncated",
    "failed": "failed",
}
"""Kind of a chain, or of a problem without chains -> its words."""
assert tuple(KIND_WORDS) == get_args(Kind)


@dataclass(frozen=True)
class ShownChain:
    """One chain.

    Args:
        name: `greedy`, `sample 1`, …
        kind: what the filter calls it.
        answer: what it chose, in a few words.
        facts: its length, its parts: in a few words.
        text: what the policy wrote; None where that was not recorded.
        marks: its claims, right or wrong.
    """

    name: str
    kind: Kind
    answer: str
    facts: str
    text: str | None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class ShownProblem:
    """One problem with its chains.

    Args:
        prompt_id: its name.
        tags: by which the page can be filtered.
        gold: the right answer.
        prompt: what was asked; empty where that was not recorded.
        images: the encoded images, in order.
        error: what went wrong, for a problem without chains.
        chains: its chains, in order.
    """

    prompt_id: str
    tags: tuple[tuple[str, str], ...]
    gold: str
    prompt: str
    images: tuple[bytes, ...]
    error: str | None
    chains: tuple[ShownChain, ...]

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of its chains, each once, in the order of `KIND_WORDS`."""
        found = {chain.kind for chain in self.chains} | ({"failed"} if self.error else set())
        return tuple(kind for kind in KIND_WORDS if kind in found)


def render_browser(title: str, summary: str, problems: Sequence[ShownProblem]) -> str:
    """Returns the page as HTML, to be written as UTF-8."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    add_problem_filters(environment)
    script = (folder / _SCRIPT).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    counts = Counter(kind for problem in problems for kind in problem.kinds)
    return environment.get_template(_TEMPLATE).render(
        title=title,
        summary=summary,
        problems=problems,
        words=KIND_WORDS,
        kinds=[(kind, counts[kind]) for kind in KIND_WORDS if counts[kind]],
        tags=tag_values(problems),
        script=script,
        digest=digest,
    )


def add_problem_filters(environment: Environment) -> None:
    """Adds the filters that `problem.j2`, the block of one problem, is written with."""
    environment.filters |= {"pieces": _pieces, "data_uri": _data_uri, "visible": visible}


def tag_values(problems: Sequence[ShownProblem]) -> dict[str, list[str]]:
    """Returns tag -> its values in order, of the tags that tell problems apart.

    A tag with one value tells nothing, one with more than 60 is a name.
    """
    found: dict[str, set[str]] = {}
    for problem in problems:
        for name, value in problem.tags:
            found.setdefault(name, set()).add(value)
    return {
        name: sorted(values)
        for name, values in sorted(found.items())
        if 1 < len(values) <= _MOST_VALUES
    }


def _pieces(chain: ShownChain) -> list[tuple[str, str]]:
    """Returns a chain's text in pieces, what cannot be seen named, the end of a long one cut."""
    text = chain.text or ""
    found = [(visible(piece), kind) for piece, kind in segments(text[:_MOST_SHOWN], chain.marks)]
    left = len(text) - _MOST_SHOWN
    return [*found, (f" … {left:,} more characters", "gap")] if left > 0 else found


def _data_uri(image: bytes) -> str:
    media_type = "image/jpeg" if image.startswith(b"\xff\xd8") else "image/png"
    return f"data:{media_type};base64,{base64.b64encode(image).decode('ascii')}"
