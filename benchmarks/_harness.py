"""One benchmark's table and its JSON: both sides measured in one process, as a ratio.

A benchmark imports this module first: the folder of a script comes first on the import path,
where `rollouts.py` would stand before the package of that name; here it goes to the end.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path = [
    str(ROOT),
    *(path for path in sys.path if Path(path).resolve() != Path(__file__).parent),
    str(Path(__file__).parent),
]
import rl_avr  # noqa: E402, F401  # its import hook must come before transformers and trl


@dataclass(frozen=True)
class Row:
    """One figure: ours, theirs, and how many times better ours is."""

    name: str
    ours: float
    theirs: float
    ratio: float
    unit: str


def seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """Returns the median wall-clock seconds of `repeats` calls, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def report(name: str, rows: Iterable[Row]) -> None:
    """Prints the table and writes runs/bench/NAME.json."""
    rows = list(rows)
    print(f"{'':40} {'ours':>10} {'theirs':>10} {'ratio':>8}  unit")
    for row in rows:
        print(f"{row.name:40} {row.ours:10.2f} {row.theirs:10.2f} {row.ratio:7.2f}x  {row.unit}")
    path = Path("runs/bench") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    path.write_text(
        json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
    )
    print(f"written: {path}")
