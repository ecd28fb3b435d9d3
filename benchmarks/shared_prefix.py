"""An update of one group of 32 completions: shared prefixes against trl's rows.

    python benchmarks/shared_prefix.py                  every row, on the CPU
    python benchmarks/shared_prefix.py --device cuda    shapes of Qwen2.5-VL-3B in bfloat16
    python benchmarks/shared_prefix.py --only 12M       the rows whose name holds a word
    python benchmarks/shared_prefix.py --fresh          measure again what is there
    python benchmarks/shared_prefix.py --quick          one tiny row: does it run?

A row is kept in runs/bench/shared_prefix_DEVICE.jsonl as soon as it is measured, and is not
measured again. Its sides run one after the other, each in a process of its own: ours, and trl
with micro-batches of 1 and 4 completions, at the longest lengths of 1, 4, 8 and 32, where its
memory suffices; with the larger policy of 4 alone. What a side measures stands in
`_update_sides.py`. A ratio is against the fastest of trl's micro-batches. `of ideal` is the share
of the ratio of floating point operations that is reached where both sides are given the image's
features:

    linear    6 * weights * tokens, the head's over completion tokens alone on both sides
    attention 14 * layers * width * pairs of tokens that see each other

At equal peak memory trl has the fastest micro-batch that needs no more than ours does, or its
smallest where all need more. `!` marks a bar that is missed; `others` is the share of the cores
that other processes took meanwhile: a row in which it is not small is worth little.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from _harness import ROOT
from _rows import (
    Measured,
    exit_code,
    machine,
    mark,
    measured,
    percent,
    row_arguments,
    show_rows,
    side_options,
    why_not,
)

SIDES = Path(__file__).with_name("_update_sides.py")
LIMIT_S = 600.0
LONGEST = (1000, 150)
"""Tokens of prompt and completion of the rows that show memory, and that have bars."""
BARS = {"trained": 12.0, "frozen": 5.5}
"""Least ratio of the two times at these lengths."""
MIN_SHARE_OF_IDEAL = 0.9
MAX_MEMORY_RATIO = 1 / 3
"""Most memory of ours, as a share of trl's with all of the group at once."""
MAX_GAP = {"cpu": 1e-4, "cuda": 5e-2}
"""Between the two sides' mean logprobs of a completion; above it there is nothing to compare."""
STATES = {"trained": "tower trained", "frozen": "tower frozen", "given": "features given"}


@dataclass(frozen=True)
class Case:
    """One policy and lengths."""

    policy: str
    prompt: int
    completion: int
    device: str
    group: int = 32

    @property
    def name(self) -> str:
        return f"{self.policy}, P={self.prompt}, C={self.completion}"

    @property
    def is_longest(self) -> bool:
        return (self.prompt, self.completion) == LONGEST

    @property
    def micro_sizes(self) -> tuple[int, ...]:
        """trl's completions at once; of the larger policy, whose updates are long, one size."""
        if self.device != "cuda" and self.policy == "100M":
            return (4,)
        return (1, 4, 8, 32) if self.is_longest or self.device == "cuda" else (1, 4)

    @property
    def others(self) -> tuple[str, ...]:
        """Sides beside trl's."""
        return ("ours", "dense") if self.is_longest and self.policy == "12M" else ("ours",)


def cases(device: str) -> list[Case]:
    """Returns the rows of a device, the quick ones first."""
    policies = ("12M", "100M") if device == "cpu" else ("3B",)
    lengths = [(prompt, completion) for prompt in (250, 500, 1000) for completion in (64, 150)]
    return [Case(policy, *length, device) for policy in policies for length in lengths]


def main() -> int:
    args = row_arguments(__doc__, LIMIT_S)
    wanted = [case for case in cases(args.device) if args.only in case.name]
    if args.quick:
        wanted = [Case("tiny", 100, 16, args.device, 4)]
    print(machine(args))
    print(f"{'':22} {'':14} {'ours, s':>9} {'trl, s':>9} {'ratio':>8}")
    run = partial(run_case, limit_s=args.limit_s)
    rows = show_rows(args, "shared_prefix", wanted, run, row_lines)
    for case, row in zip(wanted, rows, strict=True):
        if row is not None and case.is_longest and case.group in case.micro_sizes:
            for state in ("trained", "frozen"):
                print("\n".join(memory_lines(case, row, state)))
    return exit_code(rows)


def run_case(case: Case, limit_s: float) -> dict[str, Measured]:
    """Returns side -> what it measured; one that would not fit in memory says so."""
    values = side_options(case)
    sides = {side: measured([str(SIDES), side, *values], limit_s) for side in case.others}
    for micro in case.micro_sizes:
        needed, free = needed_gib(sides, micro), free_gib(case.device)
        if needed is not None and free is not None and needed > free:
            sides[f"trl-{micro}"] = {"too_large": f"needs {needed:.1f} GiB of {free:.1f} free"}
        else:
            sides[f"trl-{micro}"] = measured([str(SIDES), f"trl-{micro}", *values], limit_s)
    return sides


def needed_gib(sides: dict[str, Measured], micro: int) -> float | None:
    """Returns what trl's micro-batch will take, by the one before; None where there is none.

    >>> needed_gib({"trl-4": {"trained": {"peak_gib": 9.0}, "gradients_gib": 1.0}}, 8)
    17.0
    """
    done = {m: side for m, side in trl_sides(sides).items() if "trained" in side}
    if not done:
        return None
    last = max(done)
    peak, gradients = done[last]["trained"]["peak_gib"], done[last]["gradients_gib"]
    return None if peak is None else gradients + (peak - gradients) * micro / last


def free_gib(device: str) -> float | None:
    """Returns the memory that can be had; None on a GPU, which says so itself."""
    path = Path("/proc/meminfo")
    if device != "cpu" or not path.exists():
        return None
    fields = dict(line.split(":") for line in path.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) / 2**20


def trl_sides(row: Measured) -> dict[int, Measured]:
    """Returns completions at once -> the side.

    >>> trl_sides({"ours": {"a": 1}, "trl-4": {"a": 2}})
    {4: {'a': 2}}
    """
    return {int(name[4:]): side for name, side in row.items() if name.startswith("trl-")}


def row_lines(case: Case, row: Measured | None) -> Iterator[str]:
    """Yields a row of the table: a line for each state, and for what was not measured."""
    if row is None:
        yield f"{case.name:22} not measured: no run on a {case.device} device"
        return
    theirs = {micro: side for micro, side in trl_sides(row).items() if why_not(side) is None}
    others = {f"trl-{micro}": side for micro, side in trl_sides(row).items()}
    for name, side in {"ours": row["ours"], **others}.items():
        if (why := why_not(side)) is not None:
            yield f"{case.name:22} {name} not measured: {why}"
    if why_not(row["ours"]) is not None or not theirs:
        return
    gap = largest_gap(row["ours"], theirs)
    if gap > MAX_GAP[case.device]:
        yield f"{case.name:22} nothing to compare: the sides' logprobs differ by {gap:.1e}"
        return
    for state, what in STATES.items():
        yield f"{case.name:22} {what:14} {state_text(case, row['ours'], theirs, state)}"
    if "given" in row.get("dense", {}):
        ours, dense = row["ours"]["given"]["s"], row["dense"]["given"]["s"]
        yield f"{case.name:22} {'  a dense mask':14} {ours:9.2f} {dense:9.2f} {dense / ours:7.2f}x"


def largest_gap(ours: Measured, theirs: dict[int, Measured]) -> float:
    """Returns the largest difference between mean logprobs of a completion."""
    return max(
        abs(a - b)
        for side in theirs.values()
        for a, b in zip(ours["mean_logprobs"], side["mean_logprobs"], strict=False)
    )


def state_text(case: Case, ours: Measured, theirs: dict[int, Measured], state: str) -> str:
    """Returns both times, their ratio, and what trl's is made of."""
    micro = fastest(theirs, state)
    best = theirs[micro][state]
    ratio = best["s"] / ours[state]["s"]
    bar = BARS.get(state, 0.0) if case.is_longest else 0.0
    timed = "all" if best["timed"] >= best["of"] else f"{best['timed']} of {best['of']}"
    text = (
        f"{ours[state]['s']:9.2f} {best['s']:9.2f} {ratio:7.2f}x{mark(ratio >= bar)} "
        f"trl: {micro} at once, {timed} timed"
    )
    if state == "given":
        share = ratio / ours["operations_ratio"]
        bar_mark = mark(share >= MIN_SHARE_OF_IDEAL)
        text += f"; {share:.0%}{bar_mark} of ideal {ours['operations_ratio']:.2f}x"
    return f"{text}; others {percent(ours)} / {percent(theirs[micro])}"


def fastest(theirs: dict[int, Measured], state: str) -> int:
    return min(theirs, key=lambda micro: theirs[micro][state]["s"])


def memory_lines(case: Case, row: Measured, state: str) -> Iterator[str]:
    """Yields peak against time, and what both say at equal memory and with the group at once."""
    theirs = {micro: side for micro, side in trl_sides(row).items() if why_not(side) is None}
    ours = row["ours"].get(state)
    if ours is None or not theirs or ours["peak_gib"] is None:
        return
    yield f"{case.name}, {STATES[state]}: peak GiB of the update, seconds"
    yield f"  {'ours, one group':18} {ours['peak_gib']:8.2f} {ours['s']:9.2f}"
    for micro, side in theirs.items():
        figures = f"{side[state]['peak_gib']:8.2f} {side[state]['s']:9.2f}"
        yield f"  {f'trl, {micro} at once':18} {figures}"
    micro, is_within = equal_memory(ours["peak_gib"], theirs, state)
    note = "" if is_within else ", which needs more than ours"
    ratio = theirs[micro][state]["s"] / ours["s"]
    yield f"  at equal peak memory, trl with {micro} at once{note}: {ratio:.2f}x"
    if case.group in theirs:
        share = ours["peak_gib"] / theirs[case.group][state]["peak_gib"]
        bar = mark(share <= MAX_MEMORY_RATIO)
        yield f"  one group at once: ours needs {share:.2f}{bar} of trl's peak"
    else:
        why = why_not(trl_sides(row)[case.group])
        yield f"  one group at once: not measured: {why}"


def equal_memory(ours_gib: float, theirs: dict[int, Measured], state: str) -> tuple[int, bool]:
    """Returns trl's fastest micro-batch that needs no more than ours, and whether one does.

    >>> sides = {m: {"trained": {"peak_gib": 1.0 * m, "s": 9.0 - m}} for m in (1, 4, 8)}
    >>> equal_memory(5.0, sides, "trained"), equal_memory(0.5, sides, "trained")
    ((4, True), (1, False))
    """
    within = {m: s for m, s in theirs.items() if s[state]["peak_gib"] <= ours_gib}
    return (fastest(within, state), True) if within else (min(theirs), False)


if __name__ == "__main__":
    os.chdir(ROOT)
    raise SystemExit(main())
