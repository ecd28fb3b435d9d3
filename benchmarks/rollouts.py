"""Rollouts: ours in vLLM against transformers' generate, 32 chains a puzzle of 64 new tokens.

    python benchmarks/rollouts.py                    every row, on the CPU
    python benchmarks/rollouts.py --device cuda      the same on a GPU with vLLM there
    python benchmarks/rollouts.py --only demo        the rows whose name holds a word
    python benchmarks/rollouts.py --fresh            measure again what is there
    python benchmarks/rollouts.py --quick            one row, few chains: does it run?

A row is kept in runs/bench/rollouts_DEVICE.jsonl as soon as it is measured, and is not measured
again. The two sides of a row run one right after the other, each in a process of its own: vLLM
on a CPU fixes the number of threads, and peak memory is a process's. The last rows are whole
GRPO steps, and the share of them in which weights go to the engine. `others` is the share of the
cores that other processes took meanwhile: a row in which it is not small is worth little.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from _harness import ROOT
from _rows import (
    Measured,
    exit_code,
    machine,
    mark,
    percent,
    row_arguments,
    run_sides,
    show_rows,
    why_lines,
)

SIDES = Path(__file__).with_name("_rollout_sides.py")
LIMIT_S = 300.0
BARS = {"demo policy, 100 image tokens": 1.0, "100M policy, 1000 image tokens": 5.0}
"""Least ratio of the two speeds."""
MAX_SYNC_SHARE = 0.02
MAX_START_UP_S = 25.0


@dataclass(frozen=True)
class Case:
    """What is measured: a rollout by both sides, or whole GRPO steps."""

    kind: str
    policy: str
    tokens: int
    puzzles: int
    device: str
    group: int = 32
    new_tokens: int = 64

    @property
    def name(self) -> str:
        if self.kind == "step":
            return f"{self.policy} policy, GRPO step"
        return f"{self.policy} policy, {self.tokens} image tokens"

    @property
    def sides(self) -> tuple[str, ...]:
        return ("step",) if self.kind == "step" else ("ours", "theirs")


def cases(device: str) -> list[Case]:
    """Returns the rows of a device, the quick ones first.

    The demo's policy gets the 8 puzzles of its own step, the larger one 2, which take
    transformers minutes on two cores.
    """
    demo = [Case("rollout", "demo", tokens, 8, device) for tokens in (100, 400, 1000)]
    larger = [Case("rollout", "100M", tokens, 2, device) for tokens in (100, 400, 1000)]
    steps = [Case("step", "demo", 20, 8, device), Case("step", "100M", 100, 2, device)]
    return [*demo, *larger, *steps]


def main() -> int:
    args = row_arguments(__doc__, LIMIT_S)
    wanted = [case for case in cases(args.device) if args.only in case.name]
    if args.quick:
        wanted = [replace(wanted[0], puzzles=2, group=4)]
    print(machine(args))
    print(header())
    run = partial(run_sides, SIDES, limit_s=args.limit_s)
    return exit_code(show_rows(args, "rollouts", wanted, run, row_lines))


def header() -> str:
    columns = f"{'tokens/s: ours':>15} {'theirs':>8} {'ratio':>9} {'encodings':>12}"
    return f"{'':32} {columns} {'peak GiB':>12} {'start-up':>9} {'sync':>9} {'others':>11}"


def row_lines(case: Case, row: Measured | None) -> Iterator[str]:
    """Yields a row of the table; `/` parts ours and theirs, `!` marks a bar that is missed."""
    whys = why_lines(case, row, 32)
    yield from whys
    if row is None or whys:
        return
    if case.kind == "step":
        yield step_text(case.name, row["step"])
        return
    ours, theirs = row["ours"], row["theirs"]
    ratio = ours["tokens_per_s"] / theirs["tokens_per_s"]
    speeds = f"{ours['tokens_per_s']:15.1f} {theirs['tokens_per_s']:8.1f}"
    bar = mark(ratio >= BARS.get(case.name, 0.0))
    encodings = f"{ours['encodings']:.2f} / {theirs['encodings']:.2f}"
    peaks = f"{ours['peak_gib']:.2f} / {theirs['peak_gib']:.2f}"
    start_up = f"{ours['start_up_s']:.1f} s{mark(ours['start_up_s'] <= MAX_START_UP_S)}"
    yield (
        f"{case.name:32} {speeds} {ratio:7.2f}x{bar} {encodings:>12} {peaks:>12} {start_up:>9} "
        f"{ours['sync_s']:7.3f} s {percent(ours):>4} / {percent(theirs):>4}"
    )


def step_text(name: str, step: Measured) -> str:
    share = step["sync_s"] / step["step_s"]
    return (
        f"{name:32} {step['step_s']:.2f} s a step, sync {step['sync_s']:.3f} s, "
        f"{share:.2%} of it{mark(share <= MAX_SYNC_SHARE)}, others {percent(step)}"
    )


if __name__ == "__main__":
    os.chdir(ROOT)
    raise SystemExit(main())
