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
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from _harness import ROOT
from _rows import Measured, RowFile, has_gpu, measured, percent, row_arguments, why_not

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
    rows = RowFile(args.folder / f"sft_{args.device}.jsonl")
    can_run = args.device == "cpu" or has_gpu()
    print(f"{args.device}, {platform.machine()}, {os.cpu_count()} cores; tokens a second")
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
    return measured([str(SIDES), side, *(f"--{k}={v}" for k, v in settings.items())], limit_s)


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
    best = max(theirs, key=lambda name: row[name]["tokens_per_s"])
    ours, trl = row["ours"], row[best]
    gap = max(abs(a - b) for a, b in zip(ours["losses"], trl["losses"], strict=True))
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
        f"{memory(ours)} / {memory(trl)}; {ours['tokens']:.0f} tokens a conversation; losses "
        f"within {gap:.0e}"
    )


def memory(side: Measured) -> str:
    return "?" if side["peak_gib"] is None else f"{side['peak_gib']:.2f} GiB"


if __name__ == "__main__":
    os.chdir(ROOT)
    raise SystemExit(main())
