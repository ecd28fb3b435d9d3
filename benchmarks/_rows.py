"""Rows of a long benchmark: each measured in a process of its own, kept as soon as it is there.

A file holds one JSON object a line. A benchmark that is stopped goes on after its last row.
"""

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rl_avr.parent_process import end_with_parent

FOLDER = Path("runs/bench")
Measured = dict[str, Any]
"""What a process wrote; or `timed_out_s`, the limit it ran into; or `failed`, its last words; or
`too_large`, why it was not started."""


def measured(command: Sequence[str], limit_s: float) -> Measured:
    """Returns what the command writes, as JSON, to the file that is its last argument.

    At the limit the command and all that it started are killed; it does not outlive this process
    either. `others_share` is added: how much
    of this machine's cores other processes took meanwhile, which makes a timing worth less.
    """
    then = core_seconds()
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "out.json", Path(folder) / "log.txt"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, *command, str(out)],
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return {"timed_out_s": limit_s}
            finally:
                _end(process)
        if code != 0 or not out.exists():
            return {"failed": f"exit {code}:\n{log.read_text(errors='replace')[-2000:]}"}
        return {**json.loads(out.read_text()), "others_share": others_share(then, core_seconds())}


def others_share(then: Sequence[float], now: Sequence[float]) -> float | None:
    """Returns how much of the cores' time between two `core_seconds` went to others than us.

    >>> others_share((0.0, 10.0, 100.0), (30.0, 60.0, 200.0))
    0.2
    """
    if not then:
        return None
    own, busy, whole = (b - a for a, b in zip(then, now, strict=True))
    return round(max(busy - own, 0.0) / whole, 2)


def core_seconds() -> Sequence[float]:
    """Returns seconds of all cores: our ended children's, everybody's, and with the idle ones.

    Empty where the system has no /proc/stat.
    """
    stat = Path("/proc/stat")
    if not stat.exists():
        return ()
    ticks = [int(word) for word in stat.read_text().splitlines()[0].split()[1:9]]
    second = os.sysconf("SC_CLK_TCK")
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    idle = ticks[3] + ticks[4]
    whole = sum(ticks)
    return children.ru_utime + children.ru_stime, (whole - idle) / second, whole / second


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class RowFile:
    """The rows that are there; of those with one name and settings the newest counts.

    Args:
        path: file of JSON lines.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def find(self, name: str, case: Measured) -> Measured | None:
        """Returns the row of that name if it was measured with the settings in `case`."""
        rows = [row for row in self._rows() if row["name"] == name and row["case"] == case]
        return rows[-1] if rows else None

    def add(self, name: str, case: Measured, sides: dict[str, Measured]) -> Measured:
        """Appends a row, and returns it; one of which a side failed is not kept."""
        row = {"name": name, "case": case, "time": time.strftime("%Y-%m-%d %H:%M"), **sides}
        if not any("failed" in side for side in sides.values()):
            with self._path.open("ab") as stream:
                # the next line must not go on with one that a killed process tore
                stream.write(b"" if self._ends_whole() else b"\n")
                stream.write(json.dumps(row).encode() + b"\n")
        return row

    def _ends_whole(self) -> bool:
        return self._path.read_bytes()[-1:] in (b"", b"\n")

    def _rows(self) -> list[Measured]:
        if not self._path.exists():
            return []
        return [row for line in self._path.read_text().splitlines() if (row := _row(line))]


def _row(line: str) -> Measured | None:
    try:
        return json.loads(line)
    except ValueError:  # a killed process tore the last line
        return None


def row_arguments(doc: str, limit_s: float) -> argparse.Namespace:
    """Returns the options that all benchmarks of rows have."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", default="", help="word in the names of the rows to measure")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there")
    parser.add_argument("--quick", action="store_true", help="one small row: does it run?")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where rows are kept")
    parser.add_argument("--limit-s", type=float, default=limit_s, help="most seconds of one side")
    return parser.parse_args()


def machine(args: argparse.Namespace) -> str:
    """Returns where a benchmark runs, for its first line."""
    return f"{args.device}, {platform.machine()}, {os.cpu_count()} cores"


def show_rows(
    args: argparse.Namespace,
    benchmark: str,
    cases: Sequence[Any],
    run: Callable[[Any], dict[str, Measured]],
    lines: Callable[[Any, Measured | None], Iterable[str]],
) -> list[Measured | None]:
    """Measures the rows that are not there, prints all, and returns one for each case.

    Args:
        args: of `row_arguments`.
        benchmark: its name, in that of the file of rows.
        cases: dataclasses, each with a name.
        run: case -> side -> what it measured.
        lines: of the table; the row is None where its device is not there.
    """
    file = RowFile(args.folder / f"{benchmark}_{args.device}.jsonl")
    can_run = args.device == "cpu" or has_gpu()
    rows = []
    for case in cases:
        row = file.find(case.name, asdict(case))
        if can_run and (row is None or args.fresh):
            row = file.add(case.name, asdict(case), run(case))
        for line in lines(case, row):
            print(line, flush=True)
        rows.append(row)
    return rows


def exit_code(rows: Iterable[Measured | None]) -> int:
    """Returns 1 where a side failed, else 0."""
    sides = [side for row in rows if row for side in row.values() if isinstance(side, dict)]
    return int(any("failed" in side for side in sides))


def side_options(case: Any) -> list[str]:
    """Returns a case as options of the script of its sides, which need not know all sizes."""
    fields = {key: value for key, value in asdict(case).items() if key != "micro_sizes"}
    return [f"--{key.replace('_', '-')}={value}" for key, value in fields.items()]


def run_sides(script: Path, case: Any, limit_s: float) -> dict[str, Measured]:
    """Returns side -> what the script measured of a case."""
    options = side_options(case)
    return {side: measured([str(script), side, *options], limit_s) for side in case.sides}


def why_lines(case: Any, row: Measured | None, width: int) -> list[str]:
    """Returns a line for all that was not measured, the case's name in so many columns."""
    if row is None:
        return [f"{case.name:{width}} not measured: no run on a {case.device} device"]
    whys = ((side, why_not(row[side])) for side in case.sides)
    return [f"{case.name:{width}} {side} not measured: {why}" for side, why in whys if why]


def fastest(case: Any, row: Measured | None) -> str | None:
    """Returns the fastest of the other sides' names; None where there is nothing to compare."""
    if row is None or "step_s" not in row["ours"]:
        return None
    others = [name for name in case.sides[1:] if "step_s" in row[name]]
    return min(others, key=lambda name: row[name]["step_s"], default=None)


def losses_gap(one: Measured, other: Measured) -> float:
    """Returns the largest difference between two sides' losses of a step."""
    return max(abs(a - b) for a, b in zip(one["losses"], other["losses"], strict=True))


def gib(side: Measured) -> str:
    """Returns a side's peak memory."""
    return "?" if side["peak_gib"] is None else f"{side['peak_gib']:.2f} GiB"


def why_not(side: Measured) -> str | None:
    """Returns why a side was not measured; None where it was."""
    if "timed_out_s" in side:
        return f"not finished in {side['timed_out_s']:g} s"
    return side.get("too_large") or side.get("failed")


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def percent(side: Measured) -> str:
    """Returns how much of the cores other processes took from a side."""
    share = side["others_share"]
    return "?" if share is None else f"{share:.0%}"


def mark(is_met: bool) -> str:
    """Returns what stands behind a figure with a bar."""
    return " " if is_met else "!"
