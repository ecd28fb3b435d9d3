"""Does a policy know when it is right? Its votes as confidence, against its answers.

Legend: P problems, K bins. The confidence in a problem's voted answer is the share of its
chains that chose it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rl_avr.errors import DataError
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.estimators import vote_share
from rl_avr.evaluation.metrics import Interval, bootstrap_mean, majority_vote
from rl_avr.evaluation.rows import ProblemRow
from rl_avr.evaluation.statistics import wilson


@dataclass(frozen=True)
class Bin:
    """One line of the reliability table: confidence above `low`, up to `high`.

    Args:
        low: lower edge; the first bin holds it, too.
        high: upper edge.
        confidence: mean confidence of its problems.
        accuracy: share of right votes, with Wilson's interval.
    """

    low: float
    high: float
    confidence: float
    accuracy: Interval


@dataclass(frozen=True)
class Calibration:
    """How far confidence and accuracy agree.

    Args:
        ece: expected calibration error, in [0, 1]: the mean over problems of the distance
            between accuracy and confidence of their bin. Chance alone makes it greater than
            0, the more so the fewer problems a bin has, so it has no interval here.
        brier: mean of (confidence - right)^2, with its bootstrap interval.
        bins: the reliability table, bins without problems left out.
    """

    ece: float
    brier: Interval
    bins: tuple[Bin, ...]


def votes(rows: Sequence[ProblemRow]) -> tuple[np.ndarray, np.ndarray]:
    """Returns confidence and whether the vote is right, of each problem with choices.

    A problem that failed has confidence 0 and is wrong.

    Returns:
        Two arrays of shape (P,), the second of 0 and 1; open questions are left out.
    """
    found = []
    for row in rows:
        if row.gold is not None:
            choices = [sample.choice for sample in row.samples]
            found.append((vote_share(choices), float(majority_vote(choices) == row.gold)))
    confidence, right = zip(*found, strict=True) if found else ((), ())
    return np.array(confidence, dtype=float), np.array(right, dtype=float)


def calibration(
    confidence_P: np.ndarray,
    right_P: np.ndarray,
    config: EvalConfig,
    seed: int,
    num_bins: int = 10,
) -> Calibration:
    """Returns calibration error, Brier score and reliability table.

        ECE = sum_k n_k / P |accuracy_k - confidence_k|,  bins of equal width over [0, 1]

    Args:
        confidence_P: shape (P,), in [0, 1].
        right_P: shape (P,), 0 or 1.
        config: of the intervals.
        seed: of the bootstrap.
        num_bins: K, 1 or more.

    Raises:
        DataError: no problem, a confidence out of range, or columns of different lengths.

    Source: On Calibration of Modern Neural Networks (Guo et al. 2017), equation 3; Brier 1950.
    """
    if confidence_P.shape != right_P.shape or not confidence_P.size:
        raise DataError(
            "expected a confidence and an answer for each of at least one problem, got shapes "
            f"{confidence_P.shape} and {right_P.shape}"
        )
    if not ((confidence_P >= 0) & (confidence_P <= 1)).all():
        raise DataError("expected confidences in [0, 1]; take shares of votes")
    edges = np.linspace(0, 1, num_bins + 1)
    place = np.searchsorted(edges[1:-1], confidence_P, side="left")
    bins, ece = [], 0.0
    for k in range(num_bins):
        inside = place == k
        num = int(inside.sum())
        if not num:
            continue
        accuracy = wilson(int(right_P[inside].sum()), num, config.confidence)
        mean = float(confidence_P[inside].mean())
        bins.append(Bin(float(edges[k]), float(edges[k + 1]), mean, accuracy))
        ece += num / confidence_P.size * abs(accuracy.value - mean)
    squares = (confidence_P - right_P) ** 2
    brier = bootstrap_mean(squares, config.num_bootstrap, config.confidence, seed)
    return Calibration(ece, brier, tuple(bins))
