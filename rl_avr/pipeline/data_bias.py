"""Can the right choice be guessed without the context? Two guessers that see choices alone.

The mode heuristic takes the choice whose values are the commonest among the choices; on
RAVEN's own answer sets, whose distractors each change one attribute of the answer, it is
right in four of five puzzles. The trained one learns any such habit from half of the
puzzles and is measured on the other half. Both are compared with chance, 1 / choices.

Source: SRAN (Hu et al. 2021) for the bias of RAVEN's answer sets and its cure, I-RAVEN.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rl_avr.contracts import Panel, Puzzle, Scene
from rl_avr.puzzles.grammar import ATTRIBUTES, position
from rl_avr.seeding import rng_for

Values = tuple[tuple[int, ...], ...]
"""What one choice shows: for each attribute the values of its entities, sorted."""

# beyond this the intervals are narrower than anyone needs
MAX_PUZZLES = 20_000
_MIN_TRAINED = 200
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class AnswerSet:
    """A puzzle as a guesser sees it.

    Args:
        kind: the puzzle's kind; only choices of one kind can be compared.
        choices: what each choice shows.
        answer_index: the right one.
    """

    kind: str
    choices: tuple[Values, ...]
    answer_index: int


@dataclass(frozen=True)
class Accuracy:
    """How often a guesser was right.

    Args:
        value: share of right guesses.
        low: lower end of the 95% interval (Wilson).
        high: upper end.
        n: puzzles.
        chance: one in so many choices.
        p: probability that chance alone is right as often or more (exact binomial test).
    """

    value: float
    low: float
    high: float
    n: int
    chance: float
    p: float


def answer_set(puzzle: Puzzle, kind: str) -> AnswerSet | None:
    """Returns the choices' values, or None where the state is not known."""
    if not puzzle.has_state or puzzle.answer_index is None:
        return None
    return AnswerSet(kind, tuple(_values(choice) for choice in puzzle.choices), puzzle.answer_index)


def _values(choice: Panel | Scene) -> Values:
    if isinstance(choice, Scene):
        return tuple((value,) for name, value in choice.values if not name.startswith("_"))
    found: list[tuple[int, ...]] = []
    for part in choice.components:
        found += [(len(part.entities),), (position(part),)]
        for name in ATTRIBUTES:
            found.append(tuple(sorted({getattr(entity, name) for entity in part.entities})))
    return tuple(found)


def bias_report(sets: Sequence[AnswerSet], seed: int = 0) -> dict[str, Any]:
    """Returns both guessers' accuracies, over all puzzles with as many choices and by kind.

    Returns:
        `mode` and `trained`, each `{"8 choices": {…}, "4 choices": {…}, kind: {…}}` with
        the fields of `Accuracy`. A kind with too few puzzles to train on is not in
        `trained`.
    """
    by_kind: dict[str, list[AnswerSet]] = defaultdict(list)
    for item in sets:
        by_kind[item.kind].append(item)
    guesses = {
        "mode": {k: _mode_hits(items, rng_for("mode", seed, k)) for k, items in by_kind.items()},
        "trained": {
            kind: _trained_hits(items, seed)
            for kind, items in by_kind.items()
            if len(items) >= _MIN_TRAINED
        },
    }
    num_choices = {kind: len(items[0].choices) for kind, items in by_kind.items()}
    return {name: _summary(hits, num_choices) for name, hits in guesses.items()}


def _summary(
    hits: dict[str, tuple[int, int]], num_choices: dict[str, int]
) -> dict[str, dict[str, float]]:
    summary = {}
    for number in sorted({num_choices[kind] for kind in hits}, reverse=True):
        same = [kind for kind in hits if num_choices[kind] == number]
        pooled = (sum(hits[kind][0] for kind in same), sum(hits[kind][1] for kind in same))
        summary[f"{number} choices"] = asdict(accuracy(*pooled, 1 / number))
        summary |= {kind: asdict(accuracy(*hits[kind], 1 / number)) for kind in sorted(same)}
    return summary


def accuracy(right: int, n: int, chance: float) -> Accuracy:
    """Returns a share with its Wilson interval.

    >>> accuracy(50, 100, 0.125).low.__round__(3)
    0.404
    """
    from scipy.stats import binomtest

    test = binomtest(right, n, chance, alternative="greater")
    interval = binomtest(right, n).proportion_ci(_CONFIDENCE, method="wilson")
    low, high = float(interval.low), float(interval.high)
    return Accuracy(right / n, low, high, n, chance, float(test.pvalue))


def mode_guess(choices: Sequence[Values], rng: random.Random) -> int:
    """Returns the choice with most values that no other value outnumbers; ties by lot.

    >>> mode_guess([((1,), (5,)), ((2,), (5,)), ((1,), (6,))], random.Random(0))
    0
    """
    columns = list(zip(*choices, strict=True))
    counts = [Counter(column) for column in columns]
    scores = [
        sum(
            count[value] == max(count.values()) for count, value in zip(counts, choice, strict=True)
        )
        for choice in choices
    ]
    return rng.choice([i for i, score in enumerate(scores) if score == max(scores)])


def _mode_hits(items: Sequence[AnswerSet], rng: random.Random) -> tuple[int, int]:
    right = sum(mode_guess(item.choices, rng) == item.answer_index for item in items)
    return right, len(items)


def _trained_hits(items: Sequence[AnswerSet], seed: int) -> tuple[int, int]:
    """Returns right guesses and puzzles of the half that was not trained on."""
    from sklearn.ensemble import RandomForestClassifier

    features = np.array([_features(item.choices) for item in items], dtype=np.float32)
    answers = np.array([item.answer_index for item in items])
    order = np.random.default_rng(seed).permutation(len(items))
    train, test = np.array_split(order, 2)
    num_choices, num_features = features.shape[1:]
    is_answer = np.arange(num_choices) == answers[:, None]
    model = RandomForestClassifier(100, min_samples_leaf=5, random_state=seed, n_jobs=1)
    model.fit(features[train].reshape(-1, num_features), is_answer[train].ravel())
    scores = model.predict_proba(features[test].reshape(-1, num_features))[:, 1]
    scores = scores.reshape(-1, num_choices)
    # equal scores are broken by lot: the first of them would favour the letter A
    ties = np.random.default_rng(seed + 1).random(scores.shape)
    best = scores == scores.max(axis=1, keepdims=True)
    guesses = np.where(best, ties, -1.0).argmax(axis=1)
    return int((guesses == answers[test]).sum()), len(test)


def _features(choices: Sequence[Values]) -> list[list[float]]:
    """Returns for each choice its letter and, for each attribute, its value, how many
    choices share it, its rank among the values that occur and how many of these there are."""
    rows: list[list[float]] = [[float(index)] for index in range(len(choices))]
    for column in zip(*choices, strict=True):
        counts = Counter(column)
        ranks = {value: rank for rank, value in enumerate(sorted(counts))}
        for row, value in zip(rows, column, strict=True):
            row += [sum(value) / len(value), counts[value], ranks[value], len(counts)]
    return rows
