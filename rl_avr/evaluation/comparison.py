"""Is one policy better than another? Paired tests on the same problems, corrected.

Legend: P problems. Metrics that are right or wrong for each problem, `greedy` and the like,
are tested by McNemar's exact test, shares by a permutation test; the interval of the
difference is the paired bootstrap's in either case.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rl_avr.errors import DataError
from rl_avr.evaluation.breakdown import Columns, columns
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.metrics import Interval, bootstrap_difference
from rl_avr.evaluation.rows import ProblemRow
from rl_avr.evaluation.statistics import benjamini_hochberg, holm, mcnemar, permutation_p

Test = Literal["mcnemar", "permutation"]
_NUM_PERMUTATIONS = 10_000


@dataclass(frozen=True)
class Comparison:
    """One metric of one policy against the baseline.

    Args:
        policy: name of the policy.
        metric: name of the metric.
        before: mean of the baseline over the problems that both could be judged on.
        after: mean of the policy over the same.
        difference: after - before with its paired interval; its `n` is P.
        test: which test gave p.
        p: two-sided, of this comparison alone.
        p_holm: p corrected over all comparisons of the table, against any false alarm.
        p_bh: likewise, for the share of false alarms.
    """

    policy: str
    metric: str
    before: float
    after: float
    difference: Interval
    test: Test
    p: float
    p_holm: float = float("nan")
    p_bh: float = float("nan")


def compare(
    runs: Mapping[str, Sequence[ProblemRow]],
    config: EvalConfig,
    seed: int,
    ks: Iterable[int] = (1,),
) -> list[Comparison]:
    """Returns a comparison of every policy with the first one, metric by metric.

    Metrics that only one of the two has are left out. The correction is over all
    comparisons that are returned.

    Args:
        runs: policy -> its rows; the first is the baseline.
        config: of the intervals.
        seed: of bootstrap and permutations.
        ks: see `columns`.

    Raises:
        DataError: fewer than two runs, or runs of different problems.
    """
    if len(runs) < 2:
        raise DataError(f"expected two runs or more to compare, got {len(runs)}")
    (first, baseline), *others = runs.items()
    ks = tuple(ks)
    before = columns(baseline, ks)
    found = []
    for name, rows in others:
        after = columns(in_order_of(baseline, rows, (first, name)), ks)
        found += [
            compare_columns(name, metric, after, before, config, seed)
            for metric in before
            if metric in after
        ]
    return corrected(found)


def compare_columns(
    policy: str, metric: str, after: Columns, before: Columns, config: EvalConfig, seed: int
) -> Comparison:
    """Returns one comparison, not corrected; the columns are of the same problems in order."""
    is_judged = ~(np.isnan(after[metric]) | np.isnan(before[metric]))
    ours, theirs = after[metric][is_judged], before[metric][is_judged]
    difference = bootstrap_difference(ours, theirs, config.num_bootstrap, config.confidence, seed)
    is_binary = bool(np.isin([ours, theirs], (0.0, 1.0)).all())
    if is_binary:
        p = mcnemar(ours, theirs).p
    else:
        p = permutation_p(ours, theirs, _NUM_PERMUTATIONS, seed)
    before_mean, after_mean = (
        float(np.mean(side)) if side.size else np.nan for side in (theirs, ours)
    )
    test: Test = "mcnemar" if is_binary else "permutation"
    return Comparison(policy, metric, before_mean, after_mean, difference, test, p)


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Returns the comparisons with their p-values corrected over all of them."""
    p = [one.p for one in comparisons]
    return [
        replace(one, p_holm=of_holm, p_bh=of_bh)
        for one, of_holm, of_bh in zip(comparisons, holm(p), benjamini_hochberg(p), strict=True)
    ]


def in_order_of(
    first: Sequence[ProblemRow], other: Sequence[ProblemRow], names: tuple[str, str]
) -> list[ProblemRow]:
    """Returns the rows of `other` in the order of `first`.

    Raises:
        DataError: they are not of the same problems, or one stands twice.
    """
    by_id = {row.prompt_id: row for row in other}
    ours = {row.prompt_id for row in first}
    if len(by_id) < len(other) or len(ours) < len(first):
        raise DataError(f"{' and '.join(names)}: expected every problem once")
    if ours != by_id.keys():
        only = [len(ours - by_id.keys()), len(by_id.keys() - ours)]
        raise DataError(
            f"expected runs of the same problems; {only[0]} are only in {names[0]}, {only[1]} "
            f"only in {names[1]}; evaluate both on one set"
        )
    return [by_id[row.prompt_id] for row in first]
