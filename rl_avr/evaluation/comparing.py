"""Finished evaluations against each other: paired tests on the same problems, as a table."""

import math
from collections.abc import Sequence
from pathlib import Path

from rl_avr.errors import DataError
from rl_avr.evaluation.breakdown import num_samples
from rl_avr.evaluation.comparison import Comparison, compare
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.readings import base_rows
from rl_avr.evaluation.results import ROWS, read_rows

_HEADER = ("policy", "metric", "before", "after", "difference", "test", "p", "Holm", "BH", "n")


def compare_runs(folders: Sequence[Path], markdown: Path | None = None) -> str:
    """Returns a table of every run against the first, for a terminal.

    Problems that probes made are left out.

    Args:
        folders: those of evaluations, the baseline first.
        markdown: file for the same table in Markdown.

    Raises:
        DataError: fewer than two runs, a folder without rows, or runs of different problems.
    """
    names = run_names(folders)
    runs = {}
    for name, folder in zip(names, folders, strict=True):
        runs[name] = base_rows(read_rows(folder))
        if not runs[name]:
            raise DataError(f"{folder / ROWS}: expected the rows of a finished evaluation; none")
    ks = {num_samples(rows) for rows in runs.values()}
    cells = [list(_HEADER), *map(_cells, compare(runs, EvalConfig(), 0, sorted({1, *ks} - {0})))]
    if markdown:
        rule = ["---", "---", *["---:"] * (len(_HEADER) - 2)]
        lines = ["| " + " | ".join(row) + " |" for row in [cells[0], rule, *cells[1:]]]
        markdown.write_text(f"Baseline: {names[0]}\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEADER))]
    padded = [[cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in cells]
    return "\n".join([f"baseline: {names[0]}", *("  ".join(row).rstrip() for row in padded)])


def run_names(folders: Sequence[Path]) -> list[str]:
    """Returns the folders' last parts, or all of each where two are alike.

    Raises:
        DataError: two folders are the same.
    """
    short = [folder.resolve().name for folder in folders]
    names = short if len(set(short)) == len(short) else [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise DataError(f"expected different folders, got {', '.join(names)}")
    return names


def _cells(one: Comparison) -> list[str]:
    low, high = (100 * end for end in (one.difference.low, one.difference.high))
    return [
        one.policy,
        one.metric,
        f"{one.before:.1%}",
        f"{one.after:.1%}",
        f"{100 * one.difference.value:+.1f} [{low:+.1f}, {high:+.1f}]",
        one.test,
        *(_p(value) for value in (one.p, one.p_holm, one.p_bh)),
        str(one.difference.n),
    ]


def _p(value: float) -> str:
    if math.isnan(value):
        return "n/a"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
