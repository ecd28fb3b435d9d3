"""How well a number tells the true from the false: the area under the ROC curve.

    AUROC = P(x+ > x-) + P(x+ = x-) / 2        x+: of a true claim, x-: of a false one

1 tells them apart, 0.5 knows nothing, 0 tells them apart the wrong way round. Claims of one
puzzle hang together, so resamples draw puzzles with all their claims.

N: claims, P: puzzles, U: different numbers.
"""

from collections.abc import Mapping

import numpy as np

from rl_avr.errors import DataError
from rl_avr.evaluation.metrics import Interval


def auroc(scores_N: np.ndarray, is_true_N: np.ndarray) -> float:
    """Returns the area; NaN where all claims are true, or none is.

    >>> auroc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True]))
    0.875
    """
    return _Ranked(scores_N, is_true_N).area(np.ones(len(scores_N)))


def auroc_interval(
    scores_N: np.ndarray,
    is_true_N: np.ndarray,
    puzzles_N: np.ndarray,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> Interval:
    """Returns the area with its percentile interval over resampled puzzles.

    Args:
        scores_N: the higher the likelier true; no NaN.
        is_true_N: the truth.
        puzzles_N: number of each claim's puzzle, from 0 on.
        num_resamples: draws, 1 or more.
        confidence: two-sided coverage, above 0 and below 1.
        seed: of the draws; the same seed draws the same puzzles, so intervals can be paired.

    Returns:
        NaN without a true and a false claim; else `n` is the number of puzzles. Resamples in which
        one of them is missing are left out.
    """
    drawn = _areas({"score": scores_N}, is_true_N, puzzles_N, num_resamples, seed)["score"]
    return _interval(auroc(scores_N, is_true_N), drawn, puzzles_N, confidence)


def auroc_difference(
    scores_N: np.ndarray,
    baseline_N: np.ndarray,
    is_true_N: np.ndarray,
    puzzles_N: np.ndarray,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> Interval:
    """Returns the area of the scores less that of a baseline, on the same resamples of both.

    Args:
        scores_N: as `auroc_interval`; so are all others.
        baseline_N: scores of the baseline for the same claims.
        is_true_N: as there.
        puzzles_N: as there.
        num_resamples: as there.
        confidence: as there.
        seed: as there.
    """
    both = {"score": scores_N, "baseline": baseline_N}
    drawn = _areas(both, is_true_N, puzzles_N, num_resamples, seed)
    value = auroc(scores_N, is_true_N) - auroc(baseline_N, is_true_N)
    return _interval(value, drawn["score"] - drawn["baseline"], puzzles_N, confidence)


class _Ranked:
    """Scores sorted once, for areas under many weights."""

    def __init__(self, scores_N: np.ndarray, is_true_N: np.ndarray) -> None:
        if np.isnan(scores_N).any() or len(scores_N) != len(is_true_N):
            raise DataError("expected a number for each claim, got NaN or another count")
        self._values_U, self._rank_N = np.unique(scores_N, return_inverse=True)
        self._is_true_N = np.asarray(is_true_N, dtype=bool)

    def area(self, weights_N: np.ndarray) -> float:
        size = len(self._values_U)
        true_U = np.bincount(self._rank_N, weights_N * self._is_true_N, minlength=size)
        false_U = np.bincount(self._rank_N, weights_N * ~self._is_true_N, minlength=size)
        num_pairs = true_U.sum() * false_U.sum()
        if not num_pairs:
            return float("nan")
        below_U = false_U.cumsum() - false_U
        return float((true_U * (below_U + false_U / 2)).sum() / num_pairs)


def _areas(
    scores: Mapping[str, np.ndarray],
    is_true_N: np.ndarray,
    puzzles_N: np.ndarray,
    num_resamples: int,
    seed: int,
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    num_puzzles = int(puzzles_N.max()) + 1 if len(puzzles_N) else 0
    ranked = {name: _Ranked(values, is_true_N) for name, values in scores.items()}
    drawn: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(num_resamples if num_puzzles else 0):
        counts_P = np.bincount(rng.integers(num_puzzles, size=num_puzzles), minlength=num_puzzles)
        weights_N = counts_P[puzzles_N].astype(float)
        for name, one in ranked.items():
            drawn[name].append(one.area(weights_N))
    return {name: np.array(values) for name, values in drawn.items()}


def _interval(
    value: float, drawn: np.ndarray, puzzles_N: np.ndarray, confidence: float
) -> Interval:
    num = len(np.unique(puzzles_N))
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(drawn):
        return Interval(value, float("nan"), float("nan"), num)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), num)
