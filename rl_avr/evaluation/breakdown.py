"""Rows of an evaluation -> one number per problem, and the tables made of them.

Legend: P problems. A problem that failed counts as wrong wherever an answer was asked for,
and says nothing about perception or rules.

    greedy       the chain at temperature 0 is right
    pass@k       k sampled chains hold a right one
    majority@k   the vote of k chains is right
    best@k       the chain that the reranker ranks first of k is right
    reranked     the vote of all sampled chains, weighed by the reranker's scores, is right
    perception   share of what there is to read of the shown panels that is read rightly
    rule         share of the rules that are named rightly
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from rl_avr.errors import DataError
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.estimators import best_of_k, majority_at_k, pass_at_k
from rl_avr.evaluation.metrics import Interval, bootstrap_mean
from rl_avr.evaluation.rows import ProblemRow, Sample, Tally
from rl_avr.evaluation.statistics import interval_of

Columns = dict[str, np.ndarray]
"""Metric -> shape (P,), one value per problem; NaN where it could not be judged."""


def columns(rows: Sequence[ProblemRow], ks: Iterable[int] = (1,)) -> Columns:
    """Returns every metric that the rows have something to say about.

    Args:
        rows: problems with equally many sampled chains, failed ones apart.
        ks: the k of pass@k, majority@k and best@k; those above the number of sampled chains
            are left out, and so is a vote of one.

    Raises:
        DataError: problems with different numbers of sampled chains.
    """
    num = num_samples(rows)
    found: Columns = {}
    if any(row.greedy for row in rows):
        found["greedy"] = _column(rows, _greedy)
    has_scores = any(sample.score is not None for row in rows for sample in row.samples)
    for k in sorted({k for k in ks if k <= num}):
        found[f"pass@{k}"] = _column(rows, partial(_pass, k=k))
        if k > 1:
            found[f"majority@{k}"] = _column(rows, partial(_majority, k=k))
        if k > 1 and has_scores:
            found[f"best@{k}"] = _column(rows, partial(_best, k=k))
    if has_scores:
        found["reranked"] = _column(rows, _reranked)
    found["perception"] = _column(rows, _of_tallies(lambda sample: sample.perception), np.nan)
    found["rule"] = _column(rows, _of_tallies(lambda sample: sample.rules), np.nan)
    return {name: values for name, values in found.items() if not np.isnan(values).all()}


def accuracy(rows: Sequence[ProblemRow]) -> tuple[str, np.ndarray] | None:
    """Returns the metric by which problems are told apart, and its values, shape (P,).

    It is pass@1, without sampled chains `greedy`; none where no problem was answered.
    """
    found = columns(rows)
    return next(((name, found[name]) for name in ("pass@1", "greedy") if name in found), None)


def num_samples(rows: Sequence[ProblemRow]) -> int:
    """Returns how many chains were sampled of each problem; 0 where all failed.

    Raises:
        DataError: they are not equally many.
    """
    numbers = {len(row.samples): row.prompt_id for row in rows if row.error is None}
    if len(numbers) > 1:
        named = ", ".join(f"{num} of {name}" for num, name in sorted(numbers.items()))
        raise DataError(f"expected equally many chains of every problem, got {named}")
    return next(iter(numbers), 0)


def _column(
    rows: Sequence[ProblemRow], measure: Callable[[ProblemRow], float | None], failed: float = 0.0
) -> np.ndarray:
    """Returns one value per row: NaN for None, `failed` for a row with an error."""
    values = [failed if row.error is not None else measure(row) for row in rows]
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _greedy(row: ProblemRow) -> float | None:
    return None if row.greedy is None else float(row.greedy.is_right)


def _pass(row: ProblemRow, k: int) -> float:
    return pass_at_k(sum(sample.is_right for sample in row.samples), len(row.samples), k)


def _majority(row: ProblemRow, k: int) -> float | None:
    # the words of open answers are no letters that could be counted
    if row.gold is None:
        return None
    return majority_at_k([sample.choice for sample in row.samples], row.gold, k)


def _best(row: ProblemRow, k: int) -> float | None:
    scores = [sample.score for sample in row.samples if sample.score is not None]
    if len(scores) < len(row.samples):
        return None
    return best_of_k(scores, [sample.is_right for sample in row.samples], k)


def _reranked(row: ProblemRow) -> float | None:
    is_scored = all(sample.score is not None for sample in row.samples)
    return float(row.reranked == row.gold) if is_scored and row.gold is not None else None


def chains_of(row: ProblemRow) -> tuple[Sample, ...]:
    """Returns the sampled chains of a problem; without any, the greedy one."""
    return row.samples or ((row.greedy,) if row.greedy else ())


def _of_tallies(
    tallies_of: Callable[[Sample], Mapping[str, Tally]], attribute: str | None = None
) -> Callable[[ProblemRow], float | None]:
    """Returns what gives the mean over chains of right / total, of one attribute or of all."""

    def share(row: ProblemRow) -> float | None:
        shares = []
        for sample in chains_of(row):
            tallies = tallies_of(sample)
            kept = [t for name, t in tallies.items() if attribute in (None, name)]
            total = sum(tally.total for tally in kept)
            if total:
                shares.append(sum(tally.right for tally in kept) / total)
        return float(np.mean(shares)) if shares else None

    return share


def summary(found: Columns, config: EvalConfig, seed: int) -> dict[str, Interval]:
    """Returns metric -> mean over problems with its interval; see `interval_of`."""
    return {name: _interval(values, config, seed) for name, values in found.items()}


def by_tag(
    rows: Sequence[ProblemRow], values_P: np.ndarray, tag: str, config: EvalConfig, seed: int
) -> dict[str, Interval]:
    """Returns value of the tag -> mean over the problems that have it, with its interval.

    A problem with several values of a tag counts under each of them, once.

    Args:
        rows: the problems.
        values_P: shape (P,), one of `columns`.
        tag: `configuration`, `rule`, `attribute`, `pattern`, …
        config: of the intervals.
        seed: of the bootstrap.
    """
    places = _places(rows, tag)
    return {value: _interval(values_P[places[value]], config, seed) for value in sorted(places)}


def by_two_tags(
    rows: Sequence[ProblemRow],
    values_P: np.ndarray,
    tags: tuple[str, str],
    config: EvalConfig,
    seed: int,
) -> dict[tuple[str, str], Interval]:
    """Returns pair of values -> as `by_tag`, of every pair that some problem has."""
    first, second = (_places(rows, tag) for tag in tags)
    found = {}
    for one in sorted(first):
        for other in sorted(second):
            both = sorted({*first[one]} & {*second[other]})
            if both:
                found[one, other] = _interval(values_P[both], config, seed)
    return found


def by_number(
    rows: Sequence[ProblemRow],
    values_P: np.ndarray,
    tag: str,
    edges: Sequence[float],
    config: EvalConfig,
    seed: int,
) -> dict[str, Interval]:
    """Returns bin -> mean over the problems whose tag is a number in it, with its interval.

    Args:
        rows: the problems; one without the tag is left out.
        values_P: shape (P,), one of `columns`.
        tag: `difficulty`, say.
        edges: ascending; a bin runs from an edge to below the next, the last is open.
        config: of the intervals.
        seed: of the bootstrap.

    Raises:
        DataError: a tag that is no number, or below the first edge.
    """
    ends = [*edges[1:], np.inf]
    names = [
        f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more"
        for low, high in zip(edges, ends, strict=True)
    ]
    places: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        for value in row.values(tag)[:1]:
            try:
                number = float(value)
            except ValueError:
                number = np.nan
            if not number >= edges[0]:
                raise DataError(
                    f"{row.prompt_id}: tag {tag}: expected a number from {edges[0]:g} on, "
                    f"got {value!r}"
                )
            places.setdefault(names[int(np.searchsorted(ends, number, "right"))], []).append(index)
    return {n: _interval(values_P[places[n]], config, seed) for n in names if n in places}


def by_attribute(
    rows: Sequence[ProblemRow],
    tallies_of: Callable[[Sample], Mapping[str, Tally]],
    config: EvalConfig,
    seed: int,
) -> dict[str, Interval]:
    """Returns attribute -> share that is said rightly, the mean over problems.

    Args:
        rows: the problems.
        tallies_of: `lambda sample: sample.perception`, or `.rules`.
        config: of the intervals.
        seed: of the bootstrap.
    """
    names = {name for row in rows for sample in chains_of(row) for name in tallies_of(sample)}
    found = {}
    for name in sorted(names):
        values = _column(rows, _of_tallies(tallies_of, name), np.nan)
        found[name] = bootstrap_mean(values, config.num_bootstrap, config.confidence, seed)
    return found


def status_counts(rows: Sequence[ProblemRow]) -> dict[str, int]:
    """Returns parse status -> chains that have it, the commonest first; `failed`: problems
    without chains."""
    counts = Counter(sample.status for row in rows for sample in chains_of(row))
    failed = sum(row.error is not None for row in rows)
    found: dict[str, int] = dict(counts.most_common())
    return found | ({"failed": failed} if failed else {})


@dataclass(frozen=True)
class TokenUse:
    """What answers cost in tokens; a mean over no chain is NaN.

    Args:
        total: of all chains.
        mean: over chains.
        mean_right: over chains with a right answer.
        mean_wrong: over the others.
        per_right: total over the right chains: what a right answer costs.
    """

    total: int
    mean: float
    mean_right: float
    mean_wrong: float
    per_right: float


def token_use(rows: Sequence[ProblemRow]) -> TokenUse:
    """Returns what the sampled chains cost; without any, the greedy ones."""
    chains = [sample for row in rows for sample in chains_of(row)]
    right = [sample.num_tokens for sample in chains if sample.is_right]
    wrong = [sample.num_tokens for sample in chains if not sample.is_right]
    total = sum(right) + sum(wrong)
    per_right = total / len(right) if right else float("nan")
    return TokenUse(total, _mean([*right, *wrong]), _mean(right), _mean(wrong), per_right)


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers) if numbers else float("nan")


def _places(rows: Sequence[ProblemRow], tag: str) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        for value in dict.fromkeys(row.values(tag)):
            places.setdefault(value, []).append(index)
    return places


def _interval(values_P: np.ndarray, config: EvalConfig, seed: int) -> Interval:
    return interval_of(values_P, config.num_bootstrap, config.confidence, seed)
