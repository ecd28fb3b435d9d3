"""A step of DPO on pairs of chains about images: ours against trl's DPOTrainer and its collator.

    python benchmarks/dpo.py                    every row, on the CPU
    python benchmarks/dpo.py --device cuda      the same on a GPU
    python benchmarks/dpo.py --only single      the rows whose name holds a word
    python benchmarks/dpo.py --fresh            measure again what is there
    python benchmarks/dpo.py --quick            one row, short texts: does it run?

Prompts of 500 tokens, most of them an image's, completions of 150, vision tower frozen, weights in
float32. A row is kept in runs/bench/dpo_DEVICE.jsonl as soon as it is measured, and is not measured
again. Its sides run one after the other, each in a process of its own; what they do stands in
`_dpo_sides.py`. A ratio is against the fastest of trl's micro-batches, with the bar behind it; the
second ratio has our reference's pass before training in it, for one epoch, as trl has its own in
every step. No ratio is shown where the two sides' losses differ. `others` is the share of the cores
that other processes took meanwhile.
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
    mark,
    percent,
    row_arguments,
    run_sides,
    show_rows,
    why_lines,
)

SIDES = Path(__file__).with_name("_dpo_sides.py")
LIMIT_S = 400.0
LARGEST_GAP = 1e-3
"""Of the losses of both sides; the sides' own rounding moves them apart, step by step."""
BARS = {1: 1.9, 3: 3.0}
"""Pairs of a question -> how many times faster a step is to be."""


@dataclass(frozen=True)
class Case:
    """Steps of one policy.

    Args:
        trained: all weights of the language model, or LoRA beside them.
        tokens: of an image.
        prompt: tokens, those of the image among them.
        completion: tokens.
        pairs: of a question.
        batch: pairs of a step.
        micro_sizes: trl's pairs at once, comma between them.
    """

    policy: str
    trained: str
    tokens: int
    prompt: int
    completion: int
    pairs: int
    batch: int
    steps: int
    micro_sizes: str
    device: str

    @property
    def name(self) -> str:
        kind = "single pairs" if self.pairs == 1 else f"{self.pairs} pairs of a question"
        return f"{self.policy} policy, {self.trained}, {kind}"

    @property
    def sides(self) -> tuple[str, ...]:
        return ("ours", *(f"trl-{micro}" for micro in self.micro_sizes.split(",")))


def cases(device: str) -> list[Case]:
    """Returns the rows of a device."""
    return [
        Case("12M", trained, 400, 500, 150, pairs, 6, 3, "1,3", device)
        for trained in ("weights", "LoRA")
        for pairs in BARS
    ]


def main() -> int:
    args = row_arguments(__doc__, LIMIT_S)
    wanted = [case for case in cases(args.device) if args.only in case.name]
    if args.quick:
        short = {"tokens": 100, "prompt": 150, "completion": 20, "batch": 3, "micro_sizes": "3"}
        wanted = [replace(wanted[0], steps=2, **short)]
    print(f"{machine(args)}; seconds a step")
    print(f"{'':45} {'ours':>8} {'trl':>8} {'ratio':>7}  with the reference's pass")
    run = partial(run_sides, SIDES, limit_s=args.limit_s)
    return exit_code(show_rows(args, "dpo", wanted, run, row_lines))


def row_lines(case: Case, row: Measured | None) -> Iterator[str]:
    """Yields a row of the table, and a line for what was not measured."""
    yield from why_lines(case, row, 45)
    best = fastest(case, row)
    if row is None or best is None:
        return
    ours, trl = row["ours"], row[best]
    gap = losses_gap(ours, trl)
    if gap > LARGEST_GAP:
        yield f"{case.name:45} the losses of ours and {best} differ by {gap:.4f}"
        return
    ratio = trl["step_s"] / ours["step_s"]
    whole = trl["step_s"] / (ours["step_s"] + ours["reference_s"])
    bar = BARS[case.pairs]
    yield (
        f"{case.name:45} {ours['step_s']:8.2f} {trl['step_s']:8.2f} {ratio:6.2f}x"
        f"{mark(ratio >= bar)} {whole:.2f}x  bar {bar:g}x; {best}; others "
        f"{percent(ours)} / {percent(trl)}; peak {gib(ours)} / {gib(trl)}; losses within "
        f"{gap:.0e}"
    )


if __name__ == "__main__":
    os.chdir(ROOT)
    raise SystemExit(main())
