"""How often N chains lead to the right answer, by every method, from one pool for all N.

A pool of M chains stands for every N up to M: N of them are drawn without replacement, many
times, and all methods vote on the same draws. With N = 1 every chain is a draw, with N = M
the pool is the only one. pass@N is exact. A draw that leads to no answer counts as wrong.

The puzzle is the unit: its accuracies are means over draws and over the seeds of a policy
first. Differences are from the majority vote, puzzle by puzzle.

Legend: P puzzles, M chains of a pool, N chains of a draw, S seeds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rl_avr.algo.voting import METHODS, mixture
from rl_avr.errors import DataError
from rl_avr.evaluation.estimators import pass_at_k
from rl_avr.evaluation.metrics import Interval, bootstrap_difference, bootstrap_mean
from rl_avr.evaluation.pools import Pool
from rl_avr.evaluation.statistics import holm, permutation_p
from rl_avr.seeding import rng_for

MAJORITY = "majority"
ORACLE = "pass@N"
_CONFIDENCE = 0.95
_PERMUTATIONS = 20_000
"""Many, as the correction for all comparisons multiplies the smallest p that they can give."""


@dataclass(frozen=True)
class Contender:
    """One way to an answer.

    Args:
        name: in tables and pictures.
        group: contenders of one picture.
        method: one of `METHODS`.
        scores: score -> weight; empty where none is looked at.
        temperature: of the method.
    """

    name: str
    group: str
    method: str
    scores: tuple[tuple[str, float], ...] = ()
    temperature: float = 1.0


def _by(name: str, group: str, method: str, temperature: float = 1.0, **scores: float) -> Contender:
    return Contender(name, group, method, tuple(scores.items()), temperature)


CONTENDERS: tuple[Contender, ...] = (
    Contender(MAJORITY, "", "self_consistency"),
    _by("softmax, sum, T 1", "votes", "weighted_softmax", sum=1.0),
    _by("softmax, sum, T 4", "votes", "weighted_softmax", 4.0, sum=1.0),
    _by("sigmoid, sum", "votes", "weighted_sigmoid", sum=1.0),
    _by("rank, sum", "votes", "weighted_rank", sum=1.0),
    _by("raw, sum", "votes", "weighted_raw", sum=1.0),
    _by("softmax, bounded, T 1", "votes", "weighted_softmax", bounded=1.0),
    _by("softmax, answer, T 1", "parts", "weighted_softmax", answer=1.0),
    _by("softmax, rules, T 1", "parts", "weighted_softmax", rules=1.0),
    _by("softmax, choices, T 1", "parts", "weighted_softmax", choices=1.0),
    _by("softmax, agreement, T 1/4", "parts", "weighted_softmax", 0.25, agreement=1.0),
    _by("softmax, sum + agreement", "parts", "weighted_softmax", sum=1.0, agreement=1.0),
    _by("softmax, agreement + logprob", "parts", "weighted_softmax", agreement=1.0, logprob=1.0),
    _by("best, sum", "best of N", "best_of_n", sum=1.0),
    _by("best, mean", "best of N", "best_of_n", mean=1.0),
    _by("best, answer", "best of N", "best_of_n", answer=1.0),
    _by("best, bounded", "best of N", "best_of_n", bounded=1.0),
    _by("best, logprob", "near the reference", "best_of_n", logprob=1.0),
    _by("best, proximal", "near the reference", "best_of_n", proximal=1.0),
    _by("softmax, proximal, T 1", "near the reference", "weighted_softmax", proximal=1.0),
    # without what training taught: by how much `proximal` is better was learned
    _by("best, reference", "near the reference", "best_of_n", reference=1.0),
    _by("softmax, reference, T 1", "near the reference", "weighted_softmax", reference=1.0),
)
"""What is compared. `bounded`, `proximal` and `reference` came of pools of other puzzles than those
that the project's own figures are of; the rest was fixed before any pool was seen. Those whose
scores not every pool has are left out."""


@dataclass(frozen=True)
class Point:
    """One contender with N chains.

    Args:
        contender: its name, or pass@N.
        group: of its picture.
        n: N.
        accuracy: mean over puzzles, each the mean over seeds and draws.
        difference: from the majority vote with as many chains.
        p: of a paired permutation test of that difference over the puzzles.
        p_holm: corrected for all contenders and N of the policy.
        by_seed: the difference in each seed alone.
    """

    contender: str
    group: str
    n: int
    accuracy: Interval
    difference: Interval
    p: float
    p_holm: float
    by_seed: tuple[float, ...]


def study(
    seeds: Sequence[Sequence[Pool]],
    *,
    num_draws: int = 32,
    num_bootstrap: int = 2000,
    seed: int = 0,
    on_puzzle: Callable[[], object] = lambda: None,
) -> list[Point]:
    """Returns every contender at every N, in order; pass@N last.

    Args:
        seeds: pools of a policy, one sequence a seed, of the same puzzles.
        num_draws: draws of a pool for each N.
        num_bootstrap: resamples of the puzzles.
        seed: of draws and resamples.
        on_puzzle: hears of each pool that is done.

    Raises:
        DataError: no puzzle, other puzzles in another seed, pools of different sizes, or a
            puzzle whose right answer is not known.
    """
    size = _check(seeds)
    known = set.intersection(*(set(pool.scores) for pools in seeds for pool in pools))
    contenders = [one for one in CONTENDERS if known.issuperset(dict(one.scores))]
    names = [*(one.name for one in contenders), ORACLE]
    sizes = [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256) if n <= size]
    accuracy_CNPS = np.zeros((len(names), len(sizes), len(seeds[0]), len(seeds)))
    for s, pools in enumerate(seeds):
        by_id = {pool.prompt_id: pool for pool in pools}
        for p, first in enumerate(seeds[0]):
            pool = by_id[first.prompt_id]
            for i, n in enumerate(sizes):
                draws = list(draws_of(pool, n, num_draws, seed))
                for c, contender in enumerate(contenders):
                    right = [is_right(pool, contender, draw) for draw in draws]
                    accuracy_CNPS[c, i, p, s] = np.mean(right)
                accuracy_CNPS[-1, i, p, s] = pass_at_k(sum(pool.right or ()), size, n)
            on_puzzle()
    points = [
        _point(names[c], _group(contenders, c), n, accuracy_CNPS[[c, 0], i], num_bootstrap, seed)
        for c in range(len(names))
        for i, n in enumerate(sizes)
    ]
    tested = [k for k, one in enumerate(points) if one.n > 1 and one.group]
    corrected = dict(zip(tested, holm([points[k].p for k in tested]), strict=True))
    return [
        Point(**{**vars(one), "p_holm": corrected.get(k, one.p)}) for k, one in enumerate(points)
    ]


def draws_of(pool: Pool, n: int, num_draws: int, seed: int) -> Iterator[list[int]]:
    """Yields chains of a pool, n at a time: each alone, all at once, or `num_draws` random draws.

    Every draw has its chains in an order of its own, so that no tie goes to the same one.
    """
    size = len(pool.answers)
    if n == 1:
        yield from ([i] for i in range(size))
        return
    rng = rng_for("pool study", seed, pool.prompt_id, n)
    for _ in range(num_draws if n < size else 1):
        yield rng.sample(range(size), n)


def is_right(pool: Pool, contender: Contender, draw: Sequence[int]) -> bool:
    """Returns whether a contender answers rightly from some chains of a pool."""
    answers = [pool.answers[i] for i in draw]
    weights = dict(contender.scores)
    columns = {name: [pool.scores[name][i] for i in draw] for name in weights}
    scores = mixture(answers, columns, weights) if weights else [0.0] * len(draw)
    verdict = METHODS[contender.method](answers, scores, contender.temperature)
    assert pool.right is not None
    return verdict.winner_index is not None and pool.right[draw[verdict.winner_index]]


def _point(
    name: str, group: str, n: int, pair_2PS: np.ndarray, num_bootstrap: int, seed: int
) -> Point:
    own_P, baseline_P = pair_2PS.mean(axis=2)
    return Point(
        contender=name,
        group=group,
        n=n,
        accuracy=bootstrap_mean(own_P, num_bootstrap, _CONFIDENCE, seed),
        difference=bootstrap_difference(own_P, baseline_P, num_bootstrap, _CONFIDENCE, seed),
        p=permutation_p(own_P, baseline_P, _PERMUTATIONS, seed),
        p_holm=1.0,
        by_seed=tuple((pair_2PS[0] - pair_2PS[1]).mean(axis=0).tolist()),
    )


def _group(contenders: Sequence[Contender], index: int) -> str:
    return contenders[index].group if index < len(contenders) else ""


def _check(seeds: Sequence[Sequence[Pool]]) -> int:
    """Returns how many chains every pool has."""
    ids: Mapping[int, set[str]] = {s: {one.prompt_id for one in p} for s, p in enumerate(seeds)}
    if not seeds or not seeds[0]:
        raise DataError("expected pools of at least one puzzle, got none")
    for s, found in ids.items():
        if found != ids[0]:
            raise DataError(
                f"seed {s}: expected the puzzles of seed 0, got {len(found)} puzzles of which "
                f"{len(found & ids[0])} of its {len(ids[0])} are the same; rerank one set"
            )
    sizes = {len(pool.answers) for pools in seeds for pool in pools}
    if len(sizes) > 1:
        raise DataError(
            f"expected pools of one size, got {min(sizes)} to {max(sizes)} chains; sample them "
            "with one rerank.num_chains and rerank.stop none"
        )
    unknown = next((one.prompt_id for pools in seeds for one in pools if one.right is None), None)
    if unknown is not None:
        raise DataError(f"{unknown}: expected a puzzle with a known answer")
    return sizes.pop()
