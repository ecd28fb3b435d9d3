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
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from _harness import ROOT
from _rows import Measured, RowFile, has_gpu, measured, percent, row_arguments, why_not

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
    rows = RowFile(args.folder / f"grpo_{args.device}.jsonl")
    can_run = args.device == "cpu" or has_gpu()
    print(f"{args.device}, {platform.machine()}, {os.cpu_count()} cores; seconds a step")
    print(f"{'':45} {'ours':>8} {'trl':>8} {'ratio':>7}")
    has_failed = False
    for case in wanted:
        row = rows.find(case.name, asdict(case))
        if can_run and (row is None or args.fresh):
            sides = {side: run_side(case, side, args.limit_s) for side in case.sides}
            row = rows.add(case.name, asdict(case), sides)
            has_failed |= any("failed" in side for side in sides.values())
        for line in row_lines(case, row):
            print(line, flush=True)
    return int(has_failed)


def run_side(case: Case, side: str, limit_s: float) -> Measured:
    settings = {k: v for k, v in asdict(case).items() if k != "micro_sizes"}
    values = [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]
    return measured([str(SIDES), side, *values], limit_s)


def row_lines(case: Case, row: Measured | None) -> Iterator[str]:
    """Yields a row of the table, and a line for what was not measured."""
    if row is None:
        yield f"{case.name:45} not measured: no run on a {case.device} device"
        return
    for name in case.sides:
        if (why := why_not(row[name])) is not None:
            yield f"{case.name:45} {name} not measured: {why}"
    theirs = [name for name in case.sides[1:] if "step_s" in row[name]]
    if "step_s" not in row["ours"] or not theirs:
        return
    best = min(theirs, key=lambda name: row[name]["step_s"])
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
