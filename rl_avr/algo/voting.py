"""Which answer N chains of one prompt lead to, by votes that a score may weigh.

    answer = argmax_a  sum of w_i over the chains i that answer a

    best_of_n          w_i = 1 for the chain with the highest score, else 0
    self_consistency   w_i = 1
    weighted_softmax   w_i = exp(s_i / temperature) / sum_j exp(s_j / temperature)
    weighted_sigmoid   w_i = 1 / (1 + exp(-s_i / temperature))
    weighted_rank      w_i = rank of s_i / N, the lowest score ranks 1
    weighted_raw       w_i = s_i, which is flawed; see `raw_weights`

Answers with equal sums are told apart by the sum of their scores, then by which was seen
first. A chain without an answer, None, never votes, and its score is not read; without any
answer the verdict abstains.

Legend: N chains with an answer, s_i score of chain i, the higher the better.
Source: self-consistency (Wang et al. 2022); an implicit reward as the score that ranks and
weighs, LLaVA-Reasoner (2410.16198), section 4.5, which leaves the form of the weight open.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, pstdev

from scipy.special import betainc

from rl_avr.errors import DataError

Choices = Sequence[str | None]
Weigh = Callable[[Sequence[float], float], list[float]]
"""(scores of the chains with an answer, temperature) -> what each of them weighs."""


@dataclass(frozen=True)
class Verdict:
    """What a vote comes to.

    Args:
        answer: the answer that won; None where no chain has one.
        distribution: answer -> its share of the votes, summing to 1, in the order in which
            answers were seen; empty without any.
        winner_index: the chain to show for it: of those that gave the answer the one with
            the highest score, the first of equals; None without an answer.
        num_votes: how many equal votes the chains' weights count as, (sum w)^2 / sum w^2; 0
            without an answer. Source: Kish 1965, the effective sample size.
    """

    answer: str | None
    distribution: Mapping[str, float]
    winner_index: int | None
    num_votes: float = 0.0


def best_weights(scores: Sequence[float], temperature: float) -> list[float]:
    """Returns 1 for the highest score, and for its equals; 0 for all others.

    >>> best_weights([0.5, 2.0, 1.0], 1.0)
    [0.0, 1.0, 0.0]
    """
    best = max(scores, default=0.0)
    return [float(score == best) for score in scores]


def equal_weights(scores: Sequence[float], temperature: float) -> list[float]:
    """Returns 1 for every chain: the vote is then the majority's.

    >>> equal_weights([0.5, 2.0], 1.0)
    [1.0, 1.0]
    """
    return [1.0] * len(scores)


def softmax_weights(scores: Sequence[float], temperature: float) -> list[float]:
    """Returns exp(s_i / temperature), scaled to sum to 1.

    A low temperature ranks as the best chain does, a high one counts as the majority does. A
    constant that is added to every score changes nothing.

    >>> softmax_weights([1.0, 1.0], 0.5)
    [0.5, 0.5]
    """
    highest = max(scores, default=0.0)
    powers = [math.exp((score - highest) / temperature) for score in scores]
    return [power / math.fsum(powers) for power in powers]


def sigmoid_weights(scores: Sequence[float], temperature: float) -> list[float]:
    """Returns 1 / (1 + exp(-s_i / temperature)), 1/2 at a score of 0.

    No single chain can outvote many, and the sign of a score counts: a chain that the policy
    likes less than its reference weighs under 1/2.

    >>> sigmoid_weights([0.0, 99.0, -999.0], 1.0)
    [0.5, 1.0, 0.0]
    """
    # exp of a large positive number overflows
    return [
        1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
        for x in (score / temperature for score in scores)
    ]


def rank_weights(scores: Sequence[float], temperature: float) -> list[float]:
    """Returns rank / N, from 1 for the lowest; equal scores share their mean rank.

    Only the order of the scores counts, so there is no temperature to choose.

    >>> rank_weights([0.1, 99.0, 0.3, 0.1], 1.0)
    [0.375, 1.0, 0.75, 0.375]
    """
    ordered = sorted(scores)
    ranks = {s: ordered.index(s) + (ordered.count(s) + 1) / 2 for s in set(scores)}
    return [ranks[score] / len(scores) for score in scores]


def raw_weights(scores: Sequence[float], temperature: float) -> list[float]:
    """Returns the scores themselves. Flawed; kept for comparison alone.

    An implicit reward is a signed log ratio: a chain with a score below 0 votes against its
    own answer, so that more chains for an answer can make it lose, and a constant added to
    every score changes who wins. A sum below 0 has no share of the distribution; where none
    is above 0 all shares are equal and say nothing.

    >>> vote = METHODS["weighted_raw"]
    >>> vote(["A", "B"], [-1.0, -1.5]).answer, vote(["A", "A", "B"], [-1.0, -1.0, -1.5]).answer
    ('A', 'B')
    """
    return list(scores)


def vote(
    weigh: Weigh, choices: Choices, scores: Sequence[float], temperature: float = 1.0
) -> Verdict:
    """Returns the verdict of chains whose scores `weigh` makes weights.

    Args:
        weigh: one of those above.
        choices: one per chain, None without an answer.
        scores: one per chain.
        temperature: > 0, in units of the scores; only softmax and sigmoid read it.

    Raises:
        DataError: the score of a chain with an answer is no finite number, or there is not
            one score a chain.

    >>> found = vote(softmax_weights, ["A", "A", "B", None], [0.0, 0.0, 1.0, 9.0])
    >>> found.answer, found.winner_index
    ('B', 2)
    >>> vote(softmax_weights, [None], [0.0])
    Verdict(answer=None, distribution={}, winner_index=None, num_votes=0.0)
    """
    indices = _voters(choices, scores)
    weights = dict(zip(indices, weigh([scores[i] for i in indices], temperature), strict=True))
    chains: dict[str, list[int]] = {}
    for i in indices:
        chains.setdefault(str(choices[i]), []).append(i)
    if not chains:
        return Verdict(None, {}, None)
    # exact sums: answers with the same weights in another order are tied
    sums = {a: math.fsum(weights[i] for i in members) for a, members in chains.items()}
    merit = {a: math.fsum(scores[i] for i in members) for a, members in chains.items()}
    # of equals max takes the first, and answers stand in the order in which they were seen
    answer = max(chains, key=lambda a: (sums[a], merit[a]))
    positive = {a: max(total, 0.0) for a, total in sums.items()}
    whole = math.fsum(positive.values())
    shares = {a: one / whole if whole else 1 / len(chains) for a, one in positive.items()}
    squares = math.fsum(w * w for w in weights.values())
    num_votes = math.fsum(weights.values()) ** 2 / squares if squares else float(len(indices))
    return Verdict(answer, shares, max(chains[answer], key=lambda i: scores[i]), num_votes)


METHODS: dict[str, Callable[..., Verdict]] = {
    "best_of_n": partial(vote, best_weights),
    "self_consistency": partial(vote, equal_weights),
    "weighted_softmax": partial(vote, softmax_weights),
    "weighted_sigmoid": partial(vote, sigmoid_weights),
    "weighted_rank": partial(vote, rank_weights),
    "weighted_raw": partial(vote, raw_weights),
}
"""Name -> (choices, scores, temperature 1.0) -> verdict."""


def mixture(
    choices: Choices, columns: Mapping[str, Sequence[float]], weights: Mapping[str, float]
) -> list[float]:
    """Returns one score per chain: the weighted sum of several scores, made comparable.

        s_i = sum over k of w_k (s_ki - mean_k) / std_k

    Mean and standard deviation are over the chains with an answer; a chain without one gets
    0. A score that is the same for all of them adds nothing. One score alone is returned as
    it is, times its weight, so that a temperature keeps its unit.

    Args:
        choices: one per chain.
        columns: name of a score -> one number per chain.
        weights: name -> weight; names that are not here are not read.

    >>> mixture(["A", "B", None], {"x": [1.0, 3.0, 0.0], "y": [5.0, 5.0, 0.0]}, {"x": 1, "y": 2})
    [-1.0, 1.0, 0.0]
    >>> mixture(["A", "B"], {"x": [1.0, 3.0]}, {"x": 2.0})
    [2.0, 6.0]
    """
    mixed = [0.0] * len(choices)
    for name, weight in weights.items():
        column = columns[name]
        indices = _voters(choices, column)
        voting = [column[i] for i in indices]
        is_alone = len(weights) == 1
        centre = 0.0 if is_alone or not voting else fmean(voting)
        spread = 1.0 if is_alone or not voting else pstdev(voting)
        for i in indices:
            mixed[i] += weight * (column[i] - centre) / spread if spread else 0.0
    return mixed


def cannot_lose(choices: Choices, num_left: int) -> bool:
    """Returns whether no `num_left` further chains can change what most chains answer.

    The first answer leads the second by more chains than are left: an exact bound, for
    `self_consistency` alone.

    >>> cannot_lose(["A", "A", "A", "B"], num_left=1), cannot_lose(["A", "A", "A", "B"], 2)
    (True, False)
    """
    answers = [choice for choice in choices if choice is not None]
    first, second = _two_largest([answers.count(one) for one in set(answers)])
    return first - second > num_left


def doubt(verdict: Verdict) -> float:
    """Returns the posterior chance that the second answer is really more frequent than the first.

        P(p < 1/2),  p ~ Beta(v_1 + 1, v_2 + 1)

    p is how often the first comes where one of the two does, of which nothing is known
    beforehand; v are their votes, of unequal weights as many equal ones as they count as.
    Stopping once this is below alpha errs, at each look, in at most that share of cases: it
    is no bound over several looks, nor on the answer being wrong.

    Returns:
        In [0, 1/2]; 1/2 without an answer.

    Source: Adaptive-Consistency (2305.11860), the Beta criterion.

    >>> doubt(vote(equal_weights, ["A"] * 3, [0.0] * 3))
    0.0625
    """
    first, second = _two_largest(verdict.distribution.values())
    return float(betainc(first * verdict.num_votes + 1, second * verdict.num_votes + 1, 0.5))


def _voters(choices: Choices, scores: Sequence[float]) -> list[int]:
    """Returns the chains with an answer, whose scores must be numbers."""
    if len(choices) != len(scores):
        raise DataError(f"expected one score a chain, got {len(scores)} for {len(choices)} chains")
    indices = [i for i, choice in enumerate(choices) if choice is not None]
    for i in indices:
        if not math.isfinite(scores[i]):
            raise DataError(f"score of chain {i}: expected a finite number, got {scores[i]}")
    return indices


def _two_largest(numbers: Iterable[float]) -> tuple[float, float]:
    first, second = sorted([*numbers, 0.0, 0.0], reverse=True)[:2]
    return first, second
