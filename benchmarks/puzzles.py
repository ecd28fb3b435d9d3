"""Making matrix puzzles: ours against the plain way, in calls per second of one core.

A state is a context with an answer set, exactly one explanation for every rule and exactly
one choice that fits. Given states, sixteen panels of 160 px, or one image with panels of
48 px, become arrays; then come PNG encoding, and whole sets on disk by the wall clock.

"Theirs" is `_plain_puzzles`, our own plain implementation. The original generator is not
measured here; 7 puzzles a second, files included, is what it was found to make on one core.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from _harness import Row, report
from _plain_puzzles import Plain, draw_panels, draw_puzzle, encode

from rl_avr.contracts import Puzzle
from rl_avr.pipeline.config import MakeConfig
from rl_avr.pipeline.data import make_data, num_processes
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.render import render_panels, render_png, render_puzzle
from rl_avr.puzzles.sampler import sample_puzzle

SMALL = RenderConfig(panel_size_px=48)
LARGE = RenderConfig(panel_size_px=160)
NUM_FIRST = 2000
MIX = dict.fromkeys(CONFIGURATIONS, 1.0)


def main() -> None:
    rows = [state_row(name) for name in CONFIGURATIONS]
    config = PuzzleConfig(mix=MIX)
    # each measurement takes puzzles that no other has drawn: caches are warm, not primed
    states = iter([sample_puzzle("train", index, 1, config) for index in range(12_000)])
    for name, ours, theirs in (
        ("16 panels, 160 px", render_panels, draw_panels),
        (
            "one image, 48 px panels",
            lambda puzzle: render_puzzle(puzzle, SMALL),
            lambda puzzle: draw_puzzle(puzzle, SMALL.panel_size_px),
        ),
    ):
        first = [next(states) for _ in range(NUM_FIRST)]
        cold, plain = first_rate(ours, first), rate(theirs, states)
        rows.append(row(f"given state, the first {NUM_FIRST}: {name}", cold, plain))
        rows.append(row(f"given state, later ones: {name}", rate(ours, states), plain))
    for config in (SMALL, LARGE):
        arrays = [render_puzzle(next(states), config) for _ in range(100)]
        name = f"PNG alone, {config.panel_size_px} px panels"
        rows.append(row(name, png_rate(states, config), rate(encode, cycle(arrays))))
    rows.append(make_row())
    report("puzzles", rows)


def row(name: str, ours: float, theirs: float) -> Row:
    return Row(name, ours, theirs, ours / theirs, "/s a core")


def rate(function: Callable[[Any], object], items: Iterator[Any]) -> float:
    """Returns calls per second of one core, over two seconds of it or 2,000 calls, after a
    warm-up of a quarter of that."""
    for seconds, most in ((0.5, 500), (2.0, 2000)):
        num, spent, started = 0, 0.0, time.process_time()
        while spent < seconds and num < most:
            function(next(items))
            num += 1
            spent = time.process_time() - started
    return num / spent


def first_rate(function: Callable[[Any], object], items: list[Any]) -> float:
    """Returns calls per second while the caches fill."""
    started = time.process_time()
    for item in items:
        function(item)
    return len(items) / (time.process_time() - started)


def state_row(configuration: str) -> Row:
    config = PuzzleConfig(mix={configuration: 1.0})
    plain = Plain(configuration, seed=0)
    ours = rate(lambda index: sample_puzzle("train", index, 0, config), count())
    theirs = rate(lambda _: plain.puzzle(), count())
    return row(f"state, {CONFIGURATIONS[configuration].title}", ours, theirs)


def png_rate(states: Iterator[Puzzle], config: RenderConfig) -> float:
    """Returns images encoded per second: what `render_png` takes beyond drawing."""
    batch = list(islice(states, 200))
    seconds = []
    for function in (render_puzzle, render_png):
        for puzzle in batch:  # both find every shape drawn
            function(puzzle, config)
        started = time.process_time()
        for puzzle in batch:
            function(puzzle, config)
        seconds.append(time.process_time() - started)
    return len(batch) / (seconds[1] - seconds[0])


def make_row() -> Row:
    """Whole sets on disk, 48 px panels: ours in all processes, the plain way in one."""
    num = 8000
    with tempfile.TemporaryDirectory() as folder:
        data = MakeConfig(path=f"{folder}/ours", shard_size=1000)
        started = time.perf_counter()
        make_data(data, PuzzleConfig(num_train=num, num_held_out=1, mix=MIX, render=SMALL))
        ours = num / (time.perf_counter() - started)
        started = time.perf_counter()
        num_plain = write_plain(Path(folder) / "plain.parquet")
        theirs = num_plain / (time.perf_counter() - started)
    name = f"data make, 48 px, {num_processes(0)} processes against 1"
    return Row(name, ours, theirs, ours / theirs, "puzzles/s")


def write_plain(path: Path) -> int:
    rows = []
    for configuration in CONFIGURATIONS:
        plain = Plain(configuration, seed=1)
        for _ in range(3):
            puzzle = plain.puzzle()
            image = encode(draw_puzzle(puzzle, SMALL.panel_size_px))
            rows.append({"puzzle": puzzle.to_json(), "image": image})
    pq.write_table(pa.Table.from_pylist(rows), path)
    return len(rows)


if __name__ == "__main__":
    main()
