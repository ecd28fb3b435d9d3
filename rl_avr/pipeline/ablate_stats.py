"""How sure the table of an ablation is: over seeds, and over the puzzles of these very runs.

Legend: S seeds, P puzzles. With every seed every arm of a table is measured on the same
puzzles, so arms are compared seed by seed and puzzle by puzzle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from rl_avr.errors import DataError
from rl_avr.evaluation.metrics import Interval, bootstrap_difference, bootstrap_mean

BySeed = Mapping[int, np.ndarray]
"""Seed -> shape (P,), share of right answers to each puzzle."""


@dataclass(frozen=True)
class Standing:
    """Where an arm stands.

    Args:
        accuracy: mean over seeds with the t interval over seeds; of one seed, with the
            bootstrap interval over puzzles.
        chance: share that blind answers get right.
        is_informative: whether that interval leaves chance out.
        each_seed: seed -> its share of right answers with the bootstrap interval over puzzles.
        by_seed: difference to the first arm with the t interval over paired seeds; None for
            the first arm.
        by_puzzle: the same difference with the bootstrap interval over paired puzzles.
    """

    accuracy: Interval
    chance: float
    is_informative: bool
    each_seed: Mapping[int, Interval]
    by_seed: Interval | None = None
    by_puzzle: Interval | None = None


def t_mean(values_S: np.ndarray, confidence: float) -> Interval:
    """Returns the mean with its t interval: mean ± t(S - 1) s / sqrt(S).

    One value gives NaN for both ends: nothing is known about its spread. Equal values give
    low = value = high.

    Args:
        values_S: shape (S,), S at least 1.
        confidence: two-sided coverage, above 0 and below 1.

    >>> found = t_mean(np.array([0.5, 0.6, 0.7]), 0.95)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3), found.n
    (0.6, 0.352, 0.848, 3)
    """
    count, value = len(values_S), float(np.mean(values_S))
    if count == 1:
        return Interval(value, np.nan, np.nan, 1)
    quantile = student.ppf((1 + confidence) / 2, count - 1)
    half = float(quantile * np.std(values_S, ddof=1) / np.sqrt(count))
    return Interval(value, value - half, value + half, count)


def standings(
    right: Mapping[str, BySeed], chance_P: np.ndarray, num_resamples: int, confidence: float
) -> dict[str, Standing]:
    """Returns arm -> where it stands; others are compared with the first arm.

    Two arms are compared on the seeds that both have; without any there is no difference.

    Args:
        right: arm -> its right answers; an arm without a seed is left out.
        chance_P: shape (P,), what blind answers get right.
        num_resamples: of the bootstrap over puzzles.
        confidence: of all intervals.

    Raises:
        DataError: arms that were not measured on the same puzzles.
    """
    found: dict[str, Standing] = {}
    first = next(iter(right.values()), {})
    for arm, by_seed in right.items():
        for seed, right_P in by_seed.items():
            if right_P.shape != chance_P.shape:
                raise DataError(
                    f"{arm}, seed {seed}: measured on {len(right_P)} puzzles, expected the same "
                    f"{len(chance_P)} as the others; remove the folders of the jobs that differ "
                    "and run the ablation again"
                )
        if not by_seed:
            continue
        standing = _standing(by_seed, chance_P, num_resamples, confidence)
        common = [seed for seed in by_seed if seed in first]
        if by_seed is not first and common:
            ours_SP, theirs_SP = (np.stack([side[s] for s in common]) for side in (by_seed, first))
            standing = replace(
                standing,
                by_seed=t_mean((ours_SP - theirs_SP).mean(axis=1), confidence),
                by_puzzle=bootstrap_difference(
                    ours_SP.mean(axis=0), theirs_SP.mean(axis=0), num_resamples, confidence, 0
                ),
            )
        found[arm] = standing
    return found


def _standing(
    by_seed: BySeed, chance_P: np.ndarray, num_resamples: int, confidence: float
) -> Standing:
    each_seed = {
        seed: bootstrap_mean(right_P, num_resamples, confidence, seed=0)
        for seed, right_P in sorted(by_seed.items())
    }
    accuracy = next(iter(each_seed.values()))
    if len(each_seed) > 1:
        means_S = np.array([one.value for one in each_seed.values()])
        accuracy = t_mean(means_S, confidence)
    low, high = np.clip([accuracy.low, accuracy.high], 0, 1)
    accuracy = replace(accuracy, low=float(low), high=float(high))
    chance = float(chance_P.mean())
    return Standing(accuracy, chance, not accuracy.low <= chance <= accuracy.high, each_seed)


def ranks(found: Mapping[str, Standing]) -> dict[str, int]:
    """Returns arm -> place from 1, the best first; an uninformative arm has none.

    >>> at = lambda value, told: Standing(Interval(value, 0, 1, 3), 0.1, told, {})
    >>> ranks({"a": at(0.5, True), "b": at(0.1, False), "c": at(0.7, True)})
    {'c': 1, 'a': 2}
    """
    told = [arm for arm, standing in found.items() if standing.is_informative]
    best_first = sorted(told, key=lambda arm: -found[arm].accuracy.value)
    return {arm: place for place, arm in enumerate(best_first, start=1)}
