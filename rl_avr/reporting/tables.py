"""Results as words: for a terminal, for Markdown, and row by row for the page.

    {"warm": {"pass@1": {"value": 0.41, "low": 0.37, "high": 0.45, "n": 500}, ...},
     "grpo": {...}, "difference": {...}, "seconds": {...}}

Every key beside `difference` and `seconds` is a policy, in the order of the columns.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

Results = Mapping[str, Mapping[str, Any]]

MISSING = "n/a"
_NOT_POLICIES = ("difference", "seconds")


def policy_names(results: Results) -> tuple[str, ...]:
    """Returns the policies that were measured, in order.

    >>> policy_names({"warm": {}, "grpo": {}, "difference": {}, "seconds": {}})
    ('warm', 'grpo')
    """
    return tuple(name for name in results if name not in _NOT_POLICIES)


def metric_names(results: Results) -> tuple[str, ...]:
    """Returns the names of the metrics of all policies, each once, in order."""
    names = [name for policy in policy_names(results) for name in results[policy]]
    return tuple(dict.fromkeys(names))


def percent(cell: Mapping[str, Any] | None) -> str:
    """Returns a share with its interval in percent, `n/a` where it could not be judged.

    >>> percent({"value": 0.412, "low": 0.37, "high": 0.455, "n": 500})
    '41.2% [37.0, 45.5]'
    """
    return _cell(cell, "{:.1f}", "%")


def points(cell: Mapping[str, Any] | None) -> str:
    """Returns a difference of shares with its interval, signed, in percentage points.

    >>> points({"value": 0.2, "low": -0.01, "high": 0.41, "n": 500})
    '+20.0 [-1.0, +41.0]'
    """
    return _cell(cell, "{:+.1f}", "")


def table_cells(results: Results) -> list[list[str]]:
    """Returns the table as text, header first: metric, each policy, difference, puzzles.

    The difference is a column only where it was measured. Without a metric the header
    stands alone.
    """
    policies, difference = policy_names(results), results.get("difference")
    header = ["metric", *policies, *(["difference"] if difference else []), "puzzles"]
    rows = [header]
    for name in metric_names(results):
        cells = [results[policy].get(name) for policy in policies]
        row = [name, *(percent(cell) for cell in cells)]
        if difference:
            row.append(points(difference.get(name)))
        counts = {str(cell["n"]) for cell in cells if cell and cell.get("n") is not None}
        rows.append([*row, "/".join(sorted(counts, key=int)) or MISSING])
    return rows


def results_table(results: Results) -> str:
    """Returns the results as a table in plain text, columns padded, no trailing line end.

    Shares are in percent, differences in percentage points, intervals in brackets.
    """
    rows = table_cells(results)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in rows]
    return "\n".join("  ".join(row).rstrip() for row in padded)


def markdown_table(results: Results) -> str:
    """Returns the results as a Markdown table, no trailing line end."""
    header, *rows = table_cells(results)
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _cell(cell: Mapping[str, Any] | None, number: str, unit: str) -> str:
    if not cell or not is_number(cell.get("value")):
        return MISSING
    text = number.format(_hundredfold(cell["value"])) + unit
    if not (is_number(cell.get("low")) and is_number(cell.get("high"))):
        return text
    ends = ", ".join(number.format(_hundredfold(cell[end])) for end in ("low", "high"))
    return f"{text} [{ends}]"


def _hundredfold(share: float) -> float:
    return round(100 * share, 1) + 0.0  # + 0.0 turns -0.0 into 0.0


def is_number(value: Any) -> TypeGuard[float]:
    """Returns whether a value of a JSON file is a finite number."""
    is_numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return is_numeric and math.isfinite(value)
