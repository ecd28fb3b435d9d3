"""Preference pairs of one question. What a question gives depends on no other question.

accuracy in [min, max], compared as fractions       else too hard or too easy
every way wants pairs, the first ones best
chosen: whole or answered; rejected: as the config allows; texts differ; no pair twice
of these the pairs whose completions were used least, up to the way's number
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Literal

from rl_avr.chat import user_messages
from rl_avr.contracts import Prompt
from rl_avr.preference.config import PairsConfig
from rl_avr.preference.pair_record import PreferencePair
from rl_avr.preference.questions import Question, Sample
from rl_avr.preference.ways import Candidate, Way
from rl_avr.seeding import derive_seed
from rl_avr.training.puzzle_files import kind_of

Fate = Literal["kept", "unjudged", "too_hard", "too_easy", "no_pair", "held_out", "unbalanced"]
"""What became of a question: it gives pairs, or the first filter that took it."""
FATE_WORDS: dict[Fate, str] = {
    "kept": "gives pairs",
    "unjudged": "no answer could be judged",
    "too_hard": "accuracy below min_accuracy",
    "too_easy": "accuracy above max_accuracy",
    "no_pair": "no way found a pair",
    "held_out": "puzzle is in a held-out set",
    "unbalanced": "no pair left by balance",
}


def make_pairs(
    question: Question,
    config: PairsConfig,
    ways: Mapping[str, tuple[Way, int]],
    seed: int,
    images: Sequence[str] = (),
) -> tuple[Fate, list[tuple[PreferencePair, Candidate]]]:
    """Returns what becomes of a question, and its pairs with what they were made of.

    Args:
        question: the question.
        config: bounds, and what may be chosen or rejected.
        ways: name -> way and its most pairs, in order; an earlier one takes its pairs first.
        seed: of the run; with the prompt's id and the way's name it decides every draw.
        images: names of the question's images within the folder of pairs.
    """
    fate = accuracy_fate(question.accuracy, config)
    if fate is not None:
        return fate, []
    found: list[tuple[PreferencePair, Candidate]] = []
    taken: set[tuple[str, str]] = set()
    for name, (way, most) in ways.items():
        rng = random.Random(derive_seed("pairs", seed, question.prompt.prompt_id, name))
        wanted = way(question, config, rng)
        allowed = [pair for pair in wanted if _is_allowed(pair, config) and _key(pair) not in taken]
        for number, pair in enumerate(least_used(allowed, most)):
            taken.add(_key(pair))
            found.append((_record(question, name, number, pair, images), pair))
    return ("kept" if found else "no_pair"), found


def accuracy_fate(accuracy: Fraction | None, config: PairsConfig) -> Fate | None:
    """Returns the filter that takes a question by its accuracy, or None; bounds are inside.

    >>> accuracy_fate(Fraction(17, 20), PairsConfig(max_accuracy=0.85)) is None
    True
    """
    if accuracy is None:
        return "unjudged"
    # the decimal that was written, not the nearest binary fraction
    if accuracy < Fraction(str(config.min_accuracy)):
        return "too_hard"
    return "too_easy" if accuracy > Fraction(str(config.max_accuracy)) else None


def least_used(wanted: Iterable[Candidate], most: int) -> list[Candidate]:
    """Returns up to `most` pairs; of those whose texts were used least the first, each time.

    So no completion comes twice while there is a pair of unused ones. Of equal pairs the first
    alone counts.
    """
    left = list({_key(pair): pair for pair in reversed(list(wanted))}.values())[::-1]
    uses = Counter[str]()
    found: list[Candidate] = []
    while left and len(found) < most:
        place = min(range(len(left)), key=lambda i: sum(uses[text] for text in _key(left[i])))
        pair = left.pop(place)
        uses.update(_key(pair))
        found.append(pair)
    return found


def category_of(prompt: Prompt) -> str:
    """Returns the kind of puzzle, with the kind of prompt where that wants no chain."""
    kind = kind_of(prompt.puzzle)
    return kind if prompt.kind == "cot" else f"{kind}, {prompt.kind}"


def _is_allowed(pair: Candidate, config: PairsConfig) -> bool:
    chosen, rejected = pair
    is_good = chosen.is_whole if config.chosen == "whole" else chosen.is_answered
    return is_good and _may_be_rejected(rejected, config) and chosen.text != rejected.text


def _may_be_rejected(sample: Sample, config: PairsConfig) -> bool:
    if config.rejected == "answered":
        return sample.is_answered
    return config.rejected == "any" or sample.finish_reason == "stop"


def _key(pair: Candidate) -> tuple[str, str]:
    return pair[0].text, pair[1].text


def _record(
    question: Question, way: str, number: int, pair: Candidate, images: Sequence[str]
) -> PreferencePair:
    chosen, rejected = pair
    prompt = question.prompt
    assert question.accuracy is not None
    return PreferencePair(
        pair_id=f"{prompt.prompt_id}/{way}/{number}",
        prompt_id=prompt.prompt_id,
        puzzle_id=prompt.puzzle.puzzle_id,
        category=category_of(prompt),
        question=user_messages(prompt.text),
        images=tuple(images),
        chosen=chosen.text,
        rejected=rejected.text,
        chosen_ids=None,
        rejected_ids=None,
        chosen_finish=chosen.finish_reason,
        rejected_finish=rejected.finish_reason,
        way=way,
        accuracy=float(question.accuracy),
        chosen_scores=chosen.parts,
        rejected_scores=rejected.parts,
        chosen_choice=chosen.answer,
        rejected_choice=rejected.answer,
    )
