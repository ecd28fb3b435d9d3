"""How N chains lead to an answer, method by method: curves over N, tables, one HTML page.

Shares are in percent, differences in points; brackets hold intervals over the puzzles.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from rl_avr.reporting.curves import STYLE, FigureFormat, encode
from rl_avr.reporting.tables import percent, points

_TEMPLATE = "rerank.html.j2"
_COLORS = ("#D55E00", "#009E73", "#CC79A7", "#0072B2", "#E69F00", "#56B4E9")
_MARKS = ("o", "s", "^", "D", "v", "P")
_LEVEL = 0.05
_ROOM = 15.0
"""Points below a single chain's accuracy at which the axis begins; what falls further leaves it."""
_LONG = 20
"""Characters of a name above which the legend has two columns."""
Cell = Mapping[str, float | int | None]
"""`value`, `low`, `high` and `n` of an interval."""


@dataclass(frozen=True)
class MethodPoint:
    """One method with N chains.

    Args:
        name: of the method.
        group: methods of one picture; empty for the majority vote and for pass@N, which stand
            in every picture.
        n: N.
        accuracy: share of right answers.
        difference: from the majority vote with as many chains.
        p_holm: of that difference, corrected for all methods and N.
        by_seed: that difference in each seed alone.
    """

    name: str
    group: str
    n: int
    accuracy: Cell
    difference: Cell
    p_holm: float
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class PolicyStudy:
    """What was found for one policy, and of what: seeds, puzzles, chains."""

    name: str
    about: str
    points: tuple[MethodPoint, ...]


def method_curves(study: PolicyStudy, group: str, fmt: FigureFormat = "svg") -> bytes:
    """Draws accuracy against N for the methods of a group, with the majority vote and pass@N."""
    shown = [one for one in study.points if one.group in ("", group)]
    names = list(dict.fromkeys(one.name for one in shown))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        looks = iter(zip(_COLORS, _MARKS, strict=True))
        least = min(one.n for one in shown)
        alone = min(100 * float(one.accuracy["value"] or 0) for one in shown if one.n == least)
        for name in names:
            of_name = [one for one in shown if one.name == name]
            places = np.array([one.n for one in of_name])
            value, low, high = (
                100 * np.array([one.accuracy[end] for one in of_name], dtype=float)
                for end in ("value", "low", "high")
            )
            is_base = not of_name[0].group
            dash = ("--" if name.startswith("pass") else "-") if is_base else "-"
            color, mark = ("#000000", "") if is_base else next(looks)
            axes.plot(places, value, dash, color=color, marker=mark, markersize=4.5, label=name)
            axes.fill_between(places, low, high, color=color, alpha=0.08, linewidth=0)
        axes.set_xscale("log", base=2)
        ticks = sorted({one.n for one in shown})
        axes.set_xticks(ticks, [str(n) for n in ticks])
        axes.minorticks_off()
        axes.set_xlabel("N, chains a puzzle")
        axes.set_ylabel("percent right")
        axes.set_ylim(max(0.0, alone - _ROOM), 101)
        num_columns = 2 if max(map(len, names)) > _LONG else 3
        figure.legend(loc="outside upper left", ncols=num_columns, frameon=False, fontsize=9)
        return encode(figure, fmt)


def table_cells(study: PolicyStudy) -> list[list[str]]:
    """Returns accuracy by method and N as text, header first; a star is a sure difference."""
    sizes = sorted({one.n for one in study.points})
    rows = [["method", *(f"N = {n}" for n in sizes)]]
    for name in dict.fromkeys(one.name for one in study.points):
        by_n = {one.n: one for one in study.points if one.name == name}
        rows.append([name, *(percent(by_n[n].accuracy) + _star(by_n[n]) for n in sizes)])
    return rows


def difference_cells(study: PolicyStudy) -> list[list[str]]:
    """Returns each method against the majority vote at the largest N and at a quarter of it."""
    sizes = sorted({one.n for one in study.points if one.n > 1})
    sizes = [*sizes[-3:-2], *sizes[-1:]]
    rows = [["method", "N", "difference", "p (Holm)", "in each seed"]]
    for one in study.points:
        if one.group and one.n in sizes:
            seeds = ", ".join(f"{100 * value:+.1f}" for value in one.by_seed)
            p = f"{one.p_holm:.3g}"
            rows.append([one.name, str(one.n), points(one.difference), p, seeds])
    return rows


def verdict(study: PolicyStudy) -> str:
    """Returns in words which methods beat the majority vote at the largest N."""
    largest = max(one.n for one in study.points)
    last = [one for one in study.points if one.n == largest]
    base = {one.name: percent(one.accuracy) for one in last if not one.group}
    sure = [one for one in last if one.group and one.p_holm < _LEVEL]
    better, worse = (
        [one.name for one in sure if sign * float(one.difference["value"] or 0) > 0]
        for sign in (1, -1)
    )
    shown = ", ".join(f"{name} {share}" for name, share in base.items())
    return (
        f"With {largest} chains: {shown}. Better than the majority vote, with p < {_LEVEL:g} "
        f"after Holm's correction: {_listed(better)}. Worse: {_listed(worse)}. The others cannot "
        "be told from it by these puzzles."
    )


def markdown(studies: Sequence[PolicyStudy]) -> str:
    """Returns what the page says as Markdown, without the pictures."""
    parts = []
    for study in studies:
        parts += [f"## {study.name}", study.about, verdict(study)]
        parts += [_table(table_cells(study)), _table(difference_cells(study))]
    return "\n\n".join(parts) + "\n"


def render_rerank(title: str, studies: Sequence[PolicyStudy]) -> str:
    """Returns the page as HTML, which needs nothing beside itself."""
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(_TEMPLATE)
    return template.render(
        title=title,
        studies=[
            {
                "study": study,
                "verdict": verdict(study),
                "pictures": [
                    (group, _uri(method_curves(study, group)))
                    for group in dict.fromkeys(one.group for one in study.points if one.group)
                ],
                "tables": [table_cells(study), difference_cells(study)],
            }
            for study in studies
        ],
    )


def _star(one: MethodPoint) -> str:
    return "*" if one.group and one.n > 1 and one.p_holm < _LEVEL else ""


def _listed(names: Sequence[str]) -> str:
    return "; ".join(names) or "none"


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *rest = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rest])


def _uri(image: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(image).decode('ascii')}"
