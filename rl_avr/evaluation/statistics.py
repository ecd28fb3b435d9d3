"""How sure a number is and whether two policies differ: tests and corrections.

Legend: P puzzles. `metrics` has the bootstrap over puzzles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.stats import binomtest, false_discovery_control

from rl_avr.errors import DataError
from rl_avr.evaluation.metrics import Interval, bootstrap_mean

_BATCH = 1000


def wilson(num_right: int, num: int, confidence: float) -> Interval:
    """Returns a share of right answers with its Wilson interval; NaN where there is none.

    Unlike a bootstrap it has a width where all answers are right, or all wrong.

    Args:
        num_right: right answers, 0 to num.
        num: answers, one per puzzle.
        confidence: two-sided coverage, above 0 and below 1.

    Source: Wilson 1927; `scipy.stats.binomtest`.

    >>> found = wilson(0, 10, 0.95)
    >>> found.value, found.low, round(found.high, 4)
    (0.0, 0.0, 0.2775)
    """
    if not num:
        return Interval(np.nan, np.nan, np.nan, 0)
    ends = binomtest(num_right, num).proportion_ci(confidence, method="wilson")
    return Interval(num_right / num, float(ends.low), float(ends.high), num)


def interval_of(values_P: np.ndarray, num_resamples: int, confidence: float, seed: int) -> Interval:
    """Returns the mean over puzzles: Wilson's where each is right or wrong, else bootstrap.

    Args:
        values_P: shape (P,), NaN where a puzzle could not be judged.
        num_resamples: of the bootstrap.
        confidence: two-sided coverage.
        seed: of the bootstrap.
    """
    values_P = np.asarray(values_P, dtype=float)
    judged = values_P[~np.isnan(values_P)]
    if np.isin(judged, (0.0, 1.0)).all():
        return wilson(int(judged.sum()), judged.size, confidence)
    return bootstrap_mean(values_P, num_resamples, confidence, seed)


@dataclass(frozen=True)
class McNemar:
    """Two policies' right and wrong answers to the same puzzles.

    Args:
        num_gained: puzzles that only the second answers rightly.
        num_lost: puzzles that only the first answers rightly.
        p: two-sided chance of a split as uneven where neither is better; 1 where they agree
            on every puzzle.
    """

    num_gained: int
    num_lost: int
    p: float


def mcnemar(after_P: np.ndarray, before_P: np.ndarray) -> McNemar:
    """Returns McNemar's exact test of two columns of right (1) and wrong (0).

    Under the null each puzzle on which the two differ is a fair coin:

        p = P(|X - n/2| >= |gained - n/2|),  X ~ Binomial(n = gained + lost, 1/2)

    Args:
        after_P: shape (P,), 0 or 1; NaN leaves the puzzle out.
        before_P: the same puzzles in the same order.

    Raises:
        DataError: the columns are of different puzzles or hold other values.

    >>> mcnemar(np.array([1, 1, 1, 1, 1, 0]), np.array([0, 0, 0, 0, 0, 0]))
    McNemar(num_gained=5, num_lost=0, p=0.0625)
    """
    after, before = _paired(after_P, before_P)
    if not np.isin([after, before], (0.0, 1.0)).all():
        raise DataError("expected 0 or 1 for each puzzle; compare shares by permutation_p")
    gained, lost = int((after > before).sum()), int((after < before).sum())
    num = gained + lost
    return McNemar(gained, lost, float(binomtest(gained, num).pvalue) if num else 1.0)


def permutation_p(
    after_P: np.ndarray, before_P: np.ndarray, num_resamples: int, seed: int
) -> float:
    """Returns the two-sided p-value of the mean difference when labels are swapped by puzzle.

    Under the null the two values of a puzzle could as well have been each other's, so every
    pattern of signs of the differences is equally likely. Few differences: all patterns are
    tried; else `num_resamples` random ones, and p is never below 1 / (num_resamples + 1).

    Args:
        after_P: shape (P,); NaN leaves the puzzle out.
        before_P: the same puzzles in the same order.
        num_resamples: patterns, 1 or more.
        seed: of the random ones.

    Returns:
        p in (0, 1]; 1 where no puzzle differs.

    Raises:
        DataError: the columns are of different puzzles.

    Source: Fisher 1935; Phipson and Smyth 2010 for the smallest p.

    >>> permutation_p(np.array([0.5, 0.5, 0.75]), np.array([0.25, 0.25, 0.25]), 1000, seed=0)
    0.25
    """
    after, before = _paired(after_P, before_P)
    # a sign of 0 changes nothing, so puzzles that are equal only cost time
    differences = (after - before)[after != before]
    if 2**differences.size <= num_resamples:
        patterns = np.array(list(product((-1.0, 1.0), repeat=differences.size)))
        return float(_is_as_far(patterns, differences).mean())
    rng = np.random.default_rng(seed)
    num_far = 0
    for start in range(0, num_resamples, _BATCH):
        size = (min(_BATCH, num_resamples - start), differences.size)
        num_far += int(_is_as_far(rng.choice((-1.0, 1.0), size), differences).sum())
    return (num_far + 1) / (num_resamples + 1)


def _is_as_far(patterns: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Returns for each pattern of signs whether its sum is as far from 0 as the real one."""
    observed = abs(differences.sum())
    # sums of the same numbers in another order may differ in their last digits
    return np.abs(patterns @ differences) >= observed * (1 - 1e-9)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected so that any false alarm among them is as rare as stated.

        the i-th smallest of m becomes the maximum over j <= i of min(1, (m - j + 1) p_j)

    No value gives no value.

    Source: Holm 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    scaled = np.minimum(p[order] * np.arange(p.size, 0, -1), 1)
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(scaled)
    return corrected.tolist()


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected so that the share of false alarms is as stated.

    Less strict than Holm's: for many comparisons of which some may be wrong. No value gives
    no value.

    Source: Benjamini and Hochberg 1995; `scipy.stats.false_discovery_control`.

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    [0.03, 0.04, 0.04]
    """
    return false_discovery_control(list(p_values)).tolist() if len(p_values) else []


def _paired(after_P: np.ndarray, before_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    after, before = np.asarray(after_P, dtype=float), np.asarray(before_P, dtype=float)
    if after.shape != before.shape or after.ndim != 1:
        raise DataError(
            f"expected one value per puzzle of the same puzzles, got shapes {before.shape} and "
            f"{after.shape}; measure both on one set"
        )
    is_judged = ~(np.isnan(after) | np.isnan(before))
    return after[is_judged], before[is_judged]
