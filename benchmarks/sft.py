"""A step of SFT on conversations about images: ours against trl's SFTTrainer and its collator.

    python benchmarks/sft.py                    every row, on the CPU
    python benchmarks/sft.py --device cuda      the same on a GPU
    python benchmarks/sft.py --only demo        the rows whose name holds a word
    python benchmarks/sft.py --fresh            measure again what is there
    python benchmarks/sft.py --quick            one row, few conversations: does it run?

A row is kept in runs/bench/sft_DEVICE.jsonl as soon as it is measured, and is not measured again.
Its sides run one after the other, each in a process of its own; what they do stands in
`_sft_sides.py`. A ratio is against the fastest of trl's micro-batches, and no ratio is shown where
the two sides' losses differ. `others` is the share of the cores that other processes took
meanwhile.
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
    gib,
    losses_gap,
    machine,
    percent,
    row_arguments,
    run_sides,
    show_rows,
    why_lines,
)

SIDES = Path(__file__).with_name("_sft_sides.py")
LIMIT_S = 120.0
LARGEST_GAP = 0.01
"""Of the losses of both sides; the sides' own rounding moves them apart, step by step."""


@dataclass(frozen=True)
class Case:
    """Steps of one policy.

    Args:
        tokens: of an image.
        batch: conversations of a step.
        micro_sizes: trl's conversations at once, comma between them.
    """

    policy: str
    tower: str
    tokens: int
    batch: int
    steps: int
    micro_sizes: str
    device: str

    @property
    def name(self) -> str:
        return f"{self.policy} policy, {self.tokens} image tokens, tower {self.tower}"

    @property
    def sides(self) -> tuple[str, ...]:
        return ("ours", *(f"trl-{micro}" for micro in self.micro_sizes.split(",")))


def cases(device: str) -> list[Case]:
    """Returns the rows of a device, the quick ones first."""
    return [
        Case("demo", "trained", 20, 32, 6, "8,32", device),
        Case("12M", "trained", 100, 16, 3, "4,16", device),
        Case("12M", "frozen", 400, 8, 3, "2,8", device),
    ]


def main() -> int:
    args = row_arguments(__doc__, LIMIT_S)
    wanted = [case for case in cases(args.device) if args.only in case.name]
    if args.quick:
        wanted = [replace(wanted[0], batch=4, steps=2, micro_sizes="4")]
    print(f"{machine(args)}; tokens a second")
    print(f"{'':45} {'ours':>8} {'trl':>8} {'ratio':>7}")
    run = partial(run_sides, SIDES, limit_s=args.limit_s)
    return exit_code(show_rows(args, "sft", wanted, run, row_lines))


def row_lines(case: Case, row: Measured | None) -> Iterator[str]:
    """Yields a row of the table, and a line for what was not measured."""
    yield from why_lines(case, row, 45)
    best = fastest(case, row)
    if row is None or best is None:
        return
    ours, trl = row["ours"], row[best]
    gap = losses_gap(ours, trl)
    if gap > LARGEST_GAP:
        yield f"{case.name:45} the losses of ours and {best} differ by {gap:.3f}"
        return
    yield (
        f"{case.name:45} {ours['tokens_per_s']:8.0f} {trl['tokens_per_s']:8.0f} "
        f"{ours['tokens_per_s'] / trl['tokens_per_s']:6.2f}x  {best}; "
        f"others {percent(ours)} / {percent(trl)}"
    )
    yield (
        f"{'':45} seconds a step {ours['step_s']:.2f} / {trl['step_s']:.2f}; peak "
        f"{gib(ours)} / {gib(trl)}; {ours['tokens']:.0f} tokens a conversation; losses "
        f"within {gap:.0e}"
    )


if __name__ == "__main__":
    os.chdir(ROOT)
    raise SystemExit(main())
