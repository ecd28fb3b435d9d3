"""A whole GRPO step (rollout, reward, update, sync): ours against trl's trainer.

    python benchmarks/grpo.py                    every row, on the CPU
    python benchmarks/grpo.py --device cuda      the same on a GPU with vLLM there
    python benchmarks/grpo.py --only demo        the rows whose name holds a word
    python benchmarks/grpo.py --fresh            measure again what is there
    python benchmarks/grpo.py --quick            one row, few chains: does it run?

A row is kept in runs/bench/grpo_DEVICE.jsonl as soon as it is measured, and is not measured
again. Its sides run one after the other, each in a process of its own; what they do stands in
`_step_sides.py`. A ratio is against the fastest of trl's micro-batches. `others` is the share of
the cores that other processes took meanwhile.
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
    fastest,
    machine,
    percent,
    row_arguments,
    run_sides,
    show_rows,
    why_lines,
)

SIDES = Path(__file__).with_name("_step_sides.py")
LIMIT_S = 600.0


@dataclass(frozen=True)
class Case:
    """Whole steps of one policy.

    Args:
        tokens: of an image, about.
        micro_sizes: trl's completions at once, comma between them.
    """

    policy: str
    tower: str
    tokens: int
    puzzles: int
    new_tokens: int
    steps: int
    micro_sizes: str
    device: str
    group: int = 32

    @property
    def name(self) -> str:
        return f"{self.policy} policy, {self.tokens} image tokens, tower {self.tower}"

    @property
    def sides(self) -> tuple[str, ...]:
        return ("ours", *(f"trl-{micro}" for micro in self.micro_sizes.split(",")))


def cases(device: str) -> list[Case]:
    """Returns the rows of a device, the quick ones first.

    The demo's policy gets the 8 puzzles of its own step, a larger one a single puzzle.
    """
    return [
        Case("demo", "frozen", 20, 8, 112, 4, "32,256", device),
        Case("12M", "frozen", 250, 1, 64, 3, "4,32", device),
        Case("12M", "frozen", 1000, 1, 64, 2, "4", device),
        Case("12M", "trained", 1000, 1, 64, 2, "4", device),
        Case("100M", "frozen", 250, 1, 64, 2, "4", device),
    ]


def main() -> int:
    args = row_arguments(__doc__, LIMIT_S)
    wanted = [case for case in cases(args.device) if args.only in case.name]
    if args.quick:
        wanted = [replace(wanted[0], puzzles=2, group=4, steps=2, micro_sizes="8")]
    print(f"{machine(args)}; seconds a step")
    print(f"{'':45} {'ours':>8} {'trl':>8} {'ratio':>7}")
    run = partial(run_sides, SIDES, limit_s=args.limit_s)
    return exit_code(show_rows(args, "grpo", wanted, run, row_lines))


def row_lines(case: Case, row: Measured | None) -> Iterator[str]:
    """Yields a row of the table, and a line for what was not measured."""
    yield from why_lines(case, row, 45)
    best = fastest(case, row)
    if row is None or best is None:
        return
    ours, trl = row["ours"], row[best]
    phases = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in ours["phases"].items())
    yield (
        f"{case.name:45} {ours['step_s']:8.2f} {trl['step_s']:8.2f} "
        f"{trl['step_s'] / ours['step_s']:6.2f}x  {best}; others {percent(ours)} / {percent(trl)}"
    )
    yield f"{'':45} ours: {phases}; tokens {ours['tokens']:.0f} / {trl['tokens']:.0f}"


if __name__ == "__main__":
    os.chdir(ROOT)
    raise SystemExit(main())
