"""The report of one or several evaluations: one HTML page that needs nothing beside itself.

Images are data URIs, the style is inline, there is no script, and a content policy in the
page forbids the browser to fetch anything. Every text is escaped.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.reporting import curves
from rl_avr.reporting.browser import KIND_WORDS, ShownProblem, add_problem_filters
from rl_avr.reporting.references import Reference
from rl_avr.reporting.tables import is_number, markdown_table, percent, table_cells

_TEMPLATE = "comparison.html.j2"
_LIGHT, _DARK = (255, 255, 255), (0, 76, 130)
"""Colours of 0% and 100%; lightness alone tells them apart."""
_WHITE_INK_FROM = 0.72
"""Share from which white letters stand out more than dark ones."""
_MOST_CONFIGURATIONS = 8
"""Groups of bars that can be told apart on a phone."""
_TESTS = ("policy", "metric", "difference", "p", "p (Holm)", "problems")
Cell = Mapping[str, Any]
"""`value`, `low`, `high` and `n` of an interval."""


@dataclass(frozen=True)
class HeatMap:
    """A metric by two tags.

    Args:
        title: which policy and metric.
        rows: values of the first tag, in order.
        columns: values of the second.
        cells: (row, column) -> its number; a pair that no problem has is missing.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]


@dataclass(frozen=True)
class PairedTest:
    """A metric of one policy against the first: the words of one row of the table."""

    policy: str
    metric: str
    difference: str
    p: str
    p_holm: str
    num: int


@dataclass(frozen=True)
class ComparisonPage:
    """What the page shows; what is empty is left out.

    Args:
        title: heading.
        summary: a paragraph below it.
        results: policy -> metric -> cell, in the order of the columns.
        chance: share that blind guessing gets right; None where there are no choices.
        references: others on the same benchmark.
        splits: policy -> metric and split -> cell, below the other rows of the table.
        by_configuration: policy -> configuration -> cell of its accuracy; a figure of its own.
        references_by_configuration: others -> configuration -> share.
        tests: every policy against the first.
        heats: accuracy by two tags.
        readings: policy, probe and measure, number, sentence.
        training: run and its rows of metrics.
        examples: problems with a chain of each policy.
        configs: run and its resolved configuration.
        versions: run and name -> version.
    """

    title: str
    summary: str
    results: Mapping[str, Mapping[str, Any]]
    chance: float | None = None
    references: tuple[Reference, ...] = ()
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    by_configuration: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    references_by_configuration: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tests: tuple[PairedTest, ...] = ()
    heats: tuple[HeatMap, ...] = ()
    readings: tuple[tuple[str, str, str, str], ...] = ()
    training: tuple[tuple[str, Sequence[curves.Row]], ...] = ()
    examples: tuple[ShownProblem, ...] = ()
    configs: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, Mapping[str, str]], ...] = field(default=())

    @property
    def table(self) -> dict[str, dict[str, Any]]:
        """Policy -> every row of the table."""
        return {name: {**one, **self.splits.get(name, {})} for name, one in self.results.items()}


def render_comparison(page: ComparisonPage) -> str:
    """Returns the page as HTML, to be written as UTF-8."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    add_problem_filters(environment)
    environment.filters |= {"label": label, "percent": percent}
    environment.globals |= {"shade": shade}
    references = [(one.who, one.share) for one in page.references]
    bars = curves.accuracy_bars(page.results, chance=page.chance, references=references)
    training = [(name, _uri(curves.reward_curves(rows))) for name, rows in page.training]
    return environment.get_template(_TEMPLATE).render(
        page=page,
        table=table_cells(page.table),
        bars=_uri(bars),
        configuration_bars=_uri(_configuration_bars(page)),
        training=[(name, uri) for name, uri in training if uri],
        words=KIND_WORDS,
    )


def comparison_markdown(page: ComparisonPage) -> str:
    """Returns the tables of the page in Markdown: results, tests, accuracy by two tags."""
    parts = [f"# {page.title}", page.summary, markdown_table(page.table)]
    parts += [
        f"{one.who} on {label(one.configuration) + ' of ' if one.configuration else ''}"
        f"{one.benchmark}: {one.share:.1%} ({one.source})."
        for one in page.references
    ]
    if page.tests:
        parts.append(_table(_TESTS, [_test_cells(one) for one in page.tests]))
    for heat in page.heats:
        rows = [
            [label(row), *(percent(heat.cells.get((row, column))) for column in heat.columns)]
            for row in heat.rows
        ]
        header = ["", *(label(column) for column in heat.columns)]
        parts += [f"**{heat.title}**", _table(header, rows)]
    return "\n\n".join(parts) + "\n"


def _configuration_bars(page: ComparisonPage) -> bytes | None:
    num = len({name for cells in page.by_configuration.values() for name in cells})
    if not 1 < num <= _MOST_CONFIGURATIONS:
        return None
    results = {
        policy: {label(name): cell for name, cell in cells.items()}
        for policy, cells in page.by_configuration.items()
    }
    references = [
        (who, {label(name): share for name, share in shares.items()})
        for who, shares in page.references_by_configuration.items()
    ]
    return curves.accuracy_bars(results, chance=page.chance, references=references)


def _test_cells(one: PairedTest) -> list[str]:
    return [one.policy, one.metric, one.difference, one.p, one.p_holm, str(one.num)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in [header, rule, *rows])
    return "\n".join("| " + " | ".join(row) + " |" for row in escaped)


def shade(cell: Cell | None) -> str:
    """Returns the colours of a heat map's cell as CSS; empty without a number.

    >>> shade({"value": 0.0}), shade({"value": 1.0}), shade(None)
    ('background: #ffffff; color: #1b1f24', 'background: #004c82; color: #ffffff', '')
    """
    value = cell.get("value") if cell else None
    if not is_number(value):
        return ""
    mixed = (
        round(light + value * (dark - light)) for light, dark in zip(_LIGHT, _DARK, strict=True)
    )
    ink = "#ffffff" if value >= _WHITE_INK_FROM else "#1b1f24"
    return f"background: #{''.join(f'{one:02x}' for one in mixed)}; color: {ink}"


def label(value: str) -> str:
    """Returns a value of a tag as a person reads it.

    >>> label("distribute_four"), label("distribute_three")
    ('2x2Grid', 'distribute three')
    """
    return CONFIGURATIONS[value].title if value in CONFIGURATIONS else value.replace("_", " ")


def _uri(image: bytes | None) -> str | None:
    if image is None:
        return None
    return f"data:image/svg+xml;base64,{base64.b64encode(image).decode('ascii')}"
