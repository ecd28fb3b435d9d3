"""Metrics on disk: one JSON object a line, written as they come, safe to kill."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl_avr.closing import Closing
from rl_avr.errors import DataError

_SUMMARY = "train_runtime"
"""In the row that a trainer writes at the end of a run."""
Scalar = float | int | str | bool | None


class MetricsFile(Closing):
    """A file that takes one line of metrics at a time.

    A line is `{"step": 3, "time": 1735689600.0, "reward": 0.5, ...}`. It is handed to
    the system before `write` returns, so a killed process loses one line at most.
    Opening a file that a killed process left cuts off its torn last line.

    Args:
        path: file to append to; it and its folders are made where missing.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens the file at its end."""
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            _mend_last_line(self.path)
        self._stream = self.path.open("a", encoding="ascii")

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Appends the metrics of one step.

        Args:
            step: number of the optimizer step.
            metrics: name to number or word. NaN and infinities become null, which JSON
                can hold. `step` and `time` are the file's own and are skipped here.
        """
        row: dict[str, Scalar] = {"step": int(step), "time": time.time()}
        row.update({k: _scalar(v) for k, v in metrics.items() if k not in row})
        self._stream.write(json.dumps(row, allow_nan=False) + "\n")
        self._stream.flush()

    def drop_after(self, step: int) -> None:
        """Takes out the rows of later steps, and summaries of runs that ended at this one.

        A run that goes on from a checkpoint logs them again. The file is replaced by a whole
        one, so that a kill loses nothing.
        """
        rows = [row for row in map(_row, self.path.read_bytes().split(b"\n")) if row is not None]
        kept = [row for row in rows if row["step"] <= step and _SUMMARY not in row]
        if kept == rows:
            return
        partial = self.path.with_name(f"{self.path.name}.partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="ascii")
        self._stream.close()
        partial.replace(self.path)
        self._stream = self.path.open("a", encoding="ascii")

    def close(self) -> None:
        """Closes the file; closing twice does nothing."""
        self._stream.close()


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Returns the metrics of a run, one row per step, in the order of the steps.

    A resumed run writes some steps again, and a trainer may write one step in several
    lines: the rows of a step are merged, and for each name the newest value stands. A
    last line without its line end that is no JSON was torn by a killed process and is
    left out. An empty file gives an empty list.

    Raises:
        DataError: there is no such file, or a line is no JSON object with a `step`.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError as error:
        raise DataError(f"expected a metrics file at {path}, found none") from error
    rows: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(line)
        if row is not None:
            rows[row["step"]] = {**rows.get(row["step"], {}), **row}
        elif number < len(lines):
            raise DataError(
                f"{path}, line {number}: expected a JSON object with an integer `step`, "
                f"got {line[:80]!r}; repair or delete the line"
            )
    return [rows[step] for step in sorted(rows)]


def _row(line: bytes) -> dict[str, Any] | None:
    """Returns the row in a line, or None where there is none."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def _scalar(value: Any) -> Scalar:
    if value is None or isinstance(value, bool | int | str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def _mend_last_line(path: Path) -> None:
    """Ends the last line where only its line end is missing; cuts it off where it is torn."""
    content = path.read_bytes()
    whole, _, last = content.rpartition(b"\n")
    if not last:
        return
    if _row(last) is not None:
        path.write_bytes(content + b"\n")
    else:
        path.write_bytes(whole + b"\n" if whole else b"")
