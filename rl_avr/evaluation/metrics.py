"""Votes, means over puzzles, and how far the means can be trusted.

Legend: P puzzles. The puzzle is the unit that is resampled: chains of one puzzle
are not independent, so a caller averages them first.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

from rl_avr.errors import DataError


def majority_vote(choices: Sequence[int | None]) -> int | None:
    """Returns the choice that most chains of one puzzle made.

    None is a chain without an answer and does not vote. Of several choices with
    equally many votes the first to appear wins: the chains are independent draws in
    no order, so that is a fair draw among the tied ones, and unlike the lowest
    letter it favours no position in the answer set. All None, or no chain at all,
    gives None.

    Args:
        choices: one per chain, an index into the answer set or None.

    Source: self-consistency (Wang et al. 2022), section 2, the unweighted vote.

    >>> majority_vote([2, None, 5, 5, None, None])
    5
    >>> majority_vote([7, 1, 1, 7])
    7
    """
    votes = Counter(choice for choice in choices if choice is not None)
    return votes.most_common(1)[0][0] if votes else None


@dataclass(frozen=True)
class Interval:
    """A mean over puzzles with the interval around it.

    Args:
        value: the mean; NaN where no puzzle could be judged.
        low: lower end of the interval.
        high: upper end of the interval.
        n: number of puzzles that could be judged.
    """

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """Returns the fields by name, ready for JSON: NaN becomes None.

        >>> Interval(0.5, 0.25, 0.75, 4).as_dict()
        {'value': 0.5, 'low': 0.25, 'high': 0.75, 'n': 4}
        """
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        finite = {name: None if np.isnan(x) else float(x) for name, x in numbers.items()}
        return {**finite, "n": self.n}


def bootstrap_mean(
    values_P: np.ndarray, num_resamples: int, confidence: float, seed: int
) -> Interval:
    """Returns the mean over puzzles with its percentile bootstrap interval.

    The interval runs from the (1 - confidence) / 2 to the (1 + confidence) / 2
    quantile of the means of `num_resamples` draws of P puzzles with replacement. One
    puzzle, or puzzles that are all equal, give low = value = high: there is no spread
    to resample, which is not the same as being sure. No judged puzzle gives NaN.

    Args:
        values_P: shape (P,), a share or a score per puzzle; NaN where a puzzle could
            not be judged, which leaves it out.
        num_resamples: draws, 1 or more.
        confidence: two-sided coverage, above 0 and below 1.
        seed: of the draws; the same seed gives the same interval.

    Raises:
        DataError: the values are not one per puzzle.

    Source: An Introduction to the Bootstrap (Efron and Tibshirani 1993), section 13.3.

    >>> bootstrap_mean(np.array([1.0, np.nan, 1.0]), 100, 0.95, seed=0)
    Interval(value=1.0, low=1.0, high=1.0, n=2)
    """
    values_P = np.asarray(values_P, dtype=float)
    if values_P.ndim != 1:
        raise DataError(
            f"expected one value per puzzle, shape (P,), got shape {values_P.shape}; "
            "average the chains of a puzzle first"
        )
    judged_P = values_P[~np.isnan(values_P)]
    if judged_P.size == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    value = float(judged_P.mean())
    if np.all(judged_P == judged_P[0]):
        value = float(judged_P[0])
        return Interval(value, value, value, judged_P.size)
    ends = bootstrap(
        (judged_P,),
        np.mean,
        n_resamples=num_resamples,
        batch=100,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(value, float(ends.low), float(ends.high), judged_P.size)


def bootstrap_difference(
    after_P: np.ndarray,
    before_P: np.ndarray,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> Interval:
    """Returns the mean of after - before, puzzle by puzzle, with its interval.

    Both policies saw the same puzzles, so a resample draws pairs. How hard a puzzle is
    cancels, and the interval is narrower than that of two separate samples. A pair in
    which either side is NaN is left out; degenerate cases are those of
    `bootstrap_mean`.

    Args:
        after_P: shape (P,), as in `bootstrap_mean`.
        before_P: shape (P,), the same puzzles in the same order.
        num_resamples: draws, 1 or more.
        confidence: two-sided coverage, above 0 and below 1.
        seed: of the draws.

    Raises:
        DataError: the two are not of the same puzzles.

    >>> bootstrap_difference(np.array([1.0, 0.5]), np.array([0.5, 0.0]), 100, 0.95, seed=0)
    Interval(value=0.5, low=0.5, high=0.5, n=2)
    """
    after_P, before_P = np.asarray(after_P, dtype=float), np.asarray(before_P, dtype=float)
    if after_P.shape != before_P.shape:
        raise DataError(
            f"expected the same puzzles before and after, got shapes {before_P.shape} and "
            f"{after_P.shape}; measure both on one split"
        )
    return bootstrap_mean(after_P - before_P, num_resamples, confidence, seed)
