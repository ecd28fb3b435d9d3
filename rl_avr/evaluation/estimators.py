"""What k chains of a problem would score, estimated from the n that were sampled.

Legend: n chains of one problem, of which c are right; k of them are drawn without
replacement. pass@k and best-of-k are exact means over all draws; majority@k is a mean over
disjoint draws, which is unbiased too.
"""

from collections.abc import Sequence
from itertools import groupby
from math import comb

import numpy as np

from rl_avr.errors import DataError
from rl_avr.evaluation.metrics import majority_vote


def pass_at_k(num_right: int, num_samples: int, k: int) -> float:
    """Returns the chance that k of n chains hold a right one: 1 - C(n - c, k) / C(n, k).

    Args:
        num_right: c, 0 to n.
        num_samples: n.
        k: 1 to n.

    Raises:
        DataError: k is not in 1 to n.

    Source: Evaluating Large Language Models Trained on Code (Chen et al. 2021), equation 1.

    >>> pass_at_k(1, 4, 1), pass_at_k(1, 4, 2), pass_at_k(3, 4, 2)
    (0.25, 0.5, 1.0)
    """
    _check_k(k, num_samples)
    return 1 - comb(num_samples - num_right, k) / comb(num_samples, k)


def majority_at_k(choices: Sequence[int | None], gold: int, k: int) -> float:
    """Returns how often the vote of k chains is right: the mean over n // k disjoint draws.

    Chains are independent, so the draws are those of neighbours; the n % k last chains are
    left out. See `majority_vote` for ties and for chains without an answer.

    Raises:
        DataError: k is not in 1 to n.

    >>> majority_at_k([3, 1, 3, 1, 1, 3], gold=1, k=3), majority_at_k([3, 1, 3], gold=1, k=1)
    (0.5, 0.3333333333333333)
    """
    _check_k(k, len(choices))
    starts = range(0, len(choices) - k + 1, k)
    return sum(majority_vote(choices[i : i + k]) == gold for i in starts) / len(starts)


def best_of_k(scores: Sequence[float], right: Sequence[bool], k: int) -> float:
    """Returns how often the chain that a reranker ranks first of k is right.

    The i-th lowest of n scores is the highest of C(i - 1, k - 1) of all C(n, k) draws. Among
    equal scores the chain is picked by lot. k = 1 is the share of right chains.

    Args:
        scores: one per chain, the higher the better.
        right: whether each is right.
        k: 1 to n.

    Raises:
        DataError: k is not in 1 to n.

    >>> best_of_k([0.1, 0.2, 0.3, 0.4], [True, False, True, False], k=2)
    0.3333333333333333
    """
    num = len(scores)
    _check_k(k, num)
    ranked = sorted(zip(scores, right, strict=True))
    found, below = 0.0, 0
    for _, group in groupby(ranked, key=lambda pair: pair[0]):
        tied = [is_right for _, is_right in group]
        draws = comb(below + len(tied), k) - comb(below, k)
        found += draws * sum(tied) / len(tied)
        below += len(tied)
    return found / comb(num, k)


def vote_share(choices: Sequence[int | None]) -> float:
    """Returns the share of all chains that chose as the majority did; 0 without any answer.

    A chain without an answer is a vote for nothing, so it lowers the share.

    >>> vote_share([2, 2, None, 5])
    0.5
    """
    winner = majority_vote(choices)
    return 0.0 if winner is None else float(np.mean([choice == winner for choice in choices]))


def _check_k(k: int, num_samples: int) -> None:
    if not 1 <= k <= num_samples:
        raise DataError(f"k: expected 1 to the {num_samples} chains of the problem, got {k}")
