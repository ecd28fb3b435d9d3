"""Ways of choosing pairs of one question's completions.

    random               a right answer against a wrong one (LLaVA-Reasoner-DPO, 2410.16198)
    hard_choice          right in all against right perception with a wrong answer
    hard_perception      right in all against a right answer with wrong perception
    length_matched       a right answer against a wrong one, lengths as close as can be
    perception_graded    equal answers, of which one sees more than the other by a margin
    gold_vs_own_error    the gold chain against a wrong answer of the policy's own (STAR)

A way only says which pairs it wants. What may be chosen or rejected at all is decided once
for all ways, in `pairs`.
"""

import random
from collections.abc import Callable, Sequence

from rl_avr.importing import named
from rl_avr.preference.config import PairsConfig
from rl_avr.preference.questions import Question, Sample

Candidate = tuple[Sample, Sample]
"""Chosen and rejected."""
Way = Callable[[Question, PairsConfig, random.Random], Sequence[Candidate]]
"""Returns all pairs that a way would take, the most wanted first."""

_ROUNDING = 1e-9


def random_pairs(question: Question, config: PairsConfig, rng: random.Random) -> list[Candidate]:
    """Returns right answers with wrong ones, in a random order."""
    return _paired(question, _is_right, _is_wrong, rng)


def hard_choice(question: Question, config: PairsConfig, rng: random.Random) -> list[Candidate]:
    """Returns what is right in all with what sees rightly and answers wrongly."""

    def sees(sample: Sample) -> bool:
        return _at_least(sample.perception, config.right_perception)

    return _paired(
        question,
        lambda sample: sample.is_right and sees(sample),
        lambda sample: not sample.is_right and sees(sample),
        rng,
    )


def hard_perception(question: Question, config: PairsConfig, rng: random.Random) -> list[Candidate]:
    """Returns what is right in all with what answers rightly and sees wrongly."""
    return _paired(
        question,
        lambda one: one.is_right and _at_least(one.perception, config.right_perception),
        lambda one: (
            one.is_right
            and one.perception is not None
            and not _at_least(one.perception, config.wrong_perception)
        ),
        rng,
    )


def length_matched(question: Question, config: PairsConfig, rng: random.Random) -> list[Candidate]:
    """Returns right answers with wrong ones of about their length, the closest first.

    Ties are in random order. Lengths are in tokens, in characters where those are not known.
    """
    has_tokens = all(sample.num_tokens for sample in question.samples)

    def gap(pair: Candidate) -> float:
        first, second = (one.num_tokens if has_tokens else len(one.text) for one in pair)
        return abs(first - second) / max(first, second, 1)

    pairs = [(gap(pair), pair) for pair in random_pairs(question, config, rng)]
    near = [one for one in pairs if one[0] <= config.length_gap + _ROUNDING]
    return [pair for _, pair in sorted(near, key=lambda one: one[0])]


def perception_graded(
    question: Question, config: PairsConfig, rng: random.Random
) -> list[Candidate]:
    """Returns equally good answers of which the first sees more, in a random order."""
    pairs = [
        (more, less)
        for more in question.samples
        for less in question.samples
        if more.outcome == less.outcome
        and more.perception is not None
        and less.perception is not None
        and _at_least(more.perception - less.perception, config.perception_margin)
    ]
    rng.shuffle(pairs)
    return pairs


def gold_vs_own_error(
    question: Question, config: PairsConfig, rng: random.Random
) -> list[Candidate]:
    """Returns the gold chain with each wrong answer, in a random order."""
    wrong = [sample for sample in question.samples if not sample.is_right]
    rng.shuffle(wrong)
    return [(question.gold, sample) for sample in wrong if question.gold is not None]


WAYS: dict[str, Way] = {
    "random": random_pairs,
    "hard_choice": hard_choice,
    "hard_perception": hard_perception,
    "length_matched": length_matched,
    "perception_graded": perception_graded,
    "gold_vs_own_error": gold_vs_own_error,
}
"""Name -> way; a question's pairs are chosen in this order, the user's own ways last."""


def ways_of(config: PairsConfig) -> dict[str, tuple[Way, int]]:
    """Returns the ways that a config asks for, each with its most pairs, in their order.

    Raises:
        ConfigError: the user's own cannot be imported.
    """
    names = [*WAYS, *sorted(config.ways.keys() - WAYS.keys())]
    return {name: (_way(name), config.ways[name]) for name in names if config.ways.get(name)}


def _way(name: str) -> Way:
    wanted = "a function (question, config, rng) that returns pairs of samples"
    return named("pairs.ways", name, WAYS, wanted)


def _paired(
    question: Question,
    is_chosen: Callable[[Sample], bool],
    is_rejected: Callable[[Sample], bool],
    rng: random.Random,
) -> list[Candidate]:
    chosen = [sample for sample in question.samples if is_chosen(sample)]
    rejected = [sample for sample in question.samples if is_rejected(sample)]
    pairs = [(one, other) for one in chosen for other in rejected]
    rng.shuffle(pairs)
    return pairs


def _is_right(sample: Sample) -> bool:
    return sample.is_right


def _is_wrong(sample: Sample) -> bool:
    return not sample.is_right


def _at_least(value: float | None, bound: float) -> bool:
    """Returns whether a value reaches a bound, which 0.9 - 0.8 in binary does not of 0.1."""
    return value is not None and value >= bound - _ROUNDING
