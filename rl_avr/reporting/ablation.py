"""What an ablation found: Markdown tables, a picture of bars, one HTML page with both.

Shares are in percent, differences in points; brackets hold intervals.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rl_avr.reporting.curves import STYLE, FigureFormat, encode
from rl_avr.reporting.tables import is_number, percent, points

_TEMPLATE = "ablation.html.j2"
_HEADER = (
    *("arm", "place", "right [over seeds]", "against the first, by seed", "by puzzle"),
    *("each seed", "chance", "paper", "", "trained tokens", "last loss", "minutes"),
)
_COLORS = {True: "#0072B2", False: "#C9C9C9"}
_ROW_IN, _WIDTH_IN = 0.42, 6.4
Cell = Mapping[str, Any]
"""`value`, `low` and `high` of an interval."""


@dataclass(frozen=True)
class SeedCell:
    """One seed of an arm.

    Args:
        seed: which.
        right: share of right answers.
        is_at_chance: whether its interval over puzzles holds chance.
    """

    seed: int
    right: float
    is_at_chance: bool


@dataclass(frozen=True)
class ArmRow:
    """One arm.

    Args:
        title: what it is called.
        right: share of right answers.
        chance: share that blind answers get right.
        is_informative: whether its interval leaves chance out.
        place: from 1; None for an uninformative arm.
        by_seed: difference to the first arm, its interval over seeds; None for the first.
        by_puzzle: the same difference, its interval over puzzles.
        paper: percent in the paper, or None.
        verdict: what it says beside the paper's.
        each_seed: the seeds whose jobs are done, in order.
        trained_tokens: tokens with a loss, mean over seeds.
        last_loss: mean over seeds of what training logged last; None where it logged nothing.
        minutes: of a job, mean over seeds.
    """

    title: str
    right: Cell
    chance: float
    is_informative: bool
    place: int | None
    by_seed: Cell | None
    by_puzzle: Cell | None
    paper: float | None
    verdict: str
    each_seed: tuple[SeedCell, ...]
    trained_tokens: float
    last_loss: float | None
    minutes: float


@dataclass(frozen=True)
class ArmTable:
    """Arms that were compared, the question they answer, and what the paper measured."""

    title: str
    paper: str
    rows: tuple[ArmRow, ...]


def table_cells(table: ArmTable) -> list[tuple[str, ...]]:
    """Returns the table as text, header first."""
    return [_HEADER, *(_cells(row) for row in table.rows)]


def _cells(row: ArmRow) -> tuple[str, ...]:
    return (
        row.title,
        str(row.place) if row.place else "uninformative",
        percent(row.right),
        points(row.by_seed) if row.by_seed else "",
        points(row.by_puzzle) if row.by_puzzle else "",
        ", ".join(f"{100 * one.right:.1f}%{'*' * one.is_at_chance}" for one in row.each_seed),
        f"{100 * row.chance:.1f}%",
        "" if row.paper is None else f"{row.paper:g}%",
        row.verdict,
        f"{row.trained_tokens:,.0f}",
        "" if row.last_loss is None else f"{row.last_loss:.2f}",
        f"{row.minutes:.1f}",
    )


def markdown(tables: Sequence[ArmTable]) -> str:
    """Returns all tables as Markdown, each under its question."""
    parts = []
    for table in tables:
        header, *rows = table_cells(table)
        rule = ["---", *["---:"] * 7, "---", *["---:"] * 3]
        lines = ["| " + " | ".join(row) + " |" for row in [header, rule, *rows]]
        parts.append("\n".join([f"**{table.title}** {table.paper}".strip(), "", *lines]))
    return "\n\n".join(parts) + "\n"


def arm_bars(tables: Sequence[ArmTable], fmt: FigureFormat = "svg") -> bytes | None:
    """Draws every arm as a bar with its interval; None without arms.

    A dotted line marks chance, a diamond the paper's number, circles the seeds; an uninformative
    arm is gray.
    """
    tables = [table for table in tables if table.rows]
    if not tables:
        return None
    counts = [len(table.rows) for table in tables]
    with matplotlib.rc_context(STYLE):
        height = _ROW_IN * sum(counts) + 0.75 * len(tables) + 0.4
        figure = Figure(figsize=(_WIDTH_IN, height), layout="constrained")
        stack = figure.subplots(len(tables), 1, sharex=True, height_ratios=counts, squeeze=False)
        for axes, table in zip(stack[:, 0], tables, strict=True):
            _draw(axes, table)
        stack[-1, 0].set_xlabel("percent right\ncircles: seeds, dotted: chance, diamond: paper")
        return encode(figure, fmt)


def _draw(axes: Axes, table: ArmTable) -> None:
    places = np.arange(len(table.rows))
    value, low, high = (
        100 * np.array([_number(row.right, end) for row in table.rows])
        for end in ("value", "low", "high")
    )
    axes.grid(axis="y", visible=False)
    axes.barh(
        places,
        value,
        0.6,
        xerr=np.nan_to_num(np.clip([value - low, high - value], 0, None)).tolist(),
        color=[_COLORS[row.is_informative] for row in table.rows],
        error_kw={"capsize": 3, "elinewidth": 1.2},
    )
    for place, row in zip(places, table.rows, strict=True):
        axes.vlines(100 * row.chance, place - 0.4, place + 0.4, "#000000", linestyles=":")
        seeds = [100 * one.right for one in row.each_seed]
        axes.plot(
            seeds, [place] * len(seeds), "o", mec="#000000", mfc="#FFFFFF", markersize=5, zorder=3
        )
        if row.paper is not None:
            axes.plot(row.paper, place, "D", color="#D55E00", markersize=6)
    axes.set_yticks(places, [row.title for row in table.rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_title(table.title, loc="left", fontsize=10)


def _number(cell: Cell, name: str) -> float:
    number = cell.get(name)
    return float(number) if is_number(number) else np.nan


def render_ablation(title: str, tables: Sequence[ArmTable], notes: Sequence[str]) -> str:
    """Returns the page as HTML, which needs nothing beside itself.

    Args:
        title: heading.
        tables: what was found.
        notes: lines below the tables.
    """
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(_TEMPLATE)
    image = arm_bars(tables)
    uri = f"data:image/svg+xml;base64,{base64.b64encode(image).decode()}" if image else None
    shown = [(table, table_cells(table)) for table in tables]
    return template.render(title=title, tables=shown, notes=notes, bars=uri)
