"""How many claims of a completion are true: what several parts ask for, worked out once.

Lines that the texts of a group share are judged once, too, and their counts added up. This
is for texts in which each line is a section of its own; what other texts claim is judged
together, because it may repeat or contradict itself.
"""

from collections.abc import Mapping, Sequence, Set
from operator import eq
from typing import NamedTuple

from rewards.state import Fits, Key, LastAnswer, Prediction, Values, fits_of, values_of
from rewards.truth import stated_keys
from rl_avr.contracts import ParsedCompletion, Passage, Puzzle, Rule
from rl_avr.elicitation.schema import schema_of
from rl_avr.puzzles.puzzle_cache import MOST_GROUPS, PuzzleCache


class Counts(NamedTuple):
    """How many claims there are, and how many facts they state rightly.

    Args:
        num_shown: claims about shown panels and choices.
        num_right: facts that they state rightly; see `_num_facts`.
        num_seen: what they say rightly of what the chain of the context states.
        num_sure: what of that they nowhere say wrongly.
        num_rules: claims about rules.
        num_right_rules: rules that they name rightly.
        num_verdicts: verdicts on choices.
        num_right_verdicts: what they say rightly.
    """

    num_shown: int
    num_right: int
    num_seen: int
    num_sure: int
    num_rules: int
    num_right_rules: int
    num_verdicts: int
    num_right_verdicts: int


class Truths(NamedTuple):
    """The claims of a completion, judged.

    Args:
        counts: of all claims but predictions.
        predictions: the claims about the missing panel, and how often each is made.
        num_foreseen: facts that those state rightly.
        foreseen: what those say rightly.
    """

    counts: Counts
    predictions: Mapping[Prediction, int]
    num_foreseen: int
    foreseen: Set[Key]


Judgement = tuple[tuple[int, ...], Sequence[Prediction]]
"""The `Counts` of passages, and what they predict, one prediction after the other."""

MOST_PASSAGES = 256
"""How many judged passages of a puzzle are kept."""


class Known(NamedTuple):
    """What the claims about a puzzle are judged by.

    Args:
        values: the values of its panels.
        stated: the names of what its chain states about the shown panels.
        shown: component and attribute -> their values there, in order; None where there are
            several.
        fits: which attributes of the choices fit.
        rules: its rules.
        before: passages that were judged before.
    """

    values: Values
    stated: Set[Key]
    shown: Mapping[tuple[int, str], Sequence[int | None]]
    fits: Fits
    rules: Sequence[Rule]
    before: dict[Passage, Judgement]


def _known(puzzle: Puzzle) -> Known:
    values, stated = values_of(puzzle), stated_keys(puzzle)
    panels = [f"context:{index}" for index in range(len(puzzle.context))]
    shown = {
        (line.component, line.attribute): [
            values[panel, line.component, line.attribute, None] for panel in panels
        ]
        for line in schema_of(puzzle).lines
    }
    return Known(values, stated, shown, fits_of(puzzle), puzzle.rules, {})


known_of = PuzzleCache(_known, MOST_GROUPS)
"""Returns what the claims about a puzzle are judged by."""


def _truths(parsed: ParsedCompletion, puzzle: Puzzle) -> Truths:
    passages = [passage for _, passage in parsed.passages]
    sections = {passage.section for passage in passages}
    # no two sections of one line each are about the same, so they may be judged one by one
    is_apart = len(sections) == len(passages) and None not in sections
    known = known_of(puzzle)
    judged, others = [], []
    for passage in passages:
        if is_apart and passage.is_shared:
            judged.append(known.before.get(passage) or _judge_once(passage, known))
        elif is_apart and passage.is_even and (even := _judge_even(passage, known)):
            judged.append(even)
        else:
            others.append(passage)
    if others or not judged:
        judged.append(_judge(others, known))
    all_counts = [counts for counts, _ in judged]
    counts = map(sum, zip(*all_counts, strict=True)) if len(judged) > 1 else all_counts[0]
    predictions: dict[Prediction, int] = {}
    for _, told in judged:
        for prediction in told:
            predictions[prediction] = predictions.get(prediction, 0) + 1
    values = known.values
    foreseen = {
        key
        for component, attribute, slot, value in predictions
        if values[key := ("missing", component, attribute, slot)] == value
    }
    return Truths(Counts._make(counts), predictions, _num_facts(foreseen, values), foreseen)


def _judge_once(passage: Passage, known: Known) -> Judgement:
    """Returns a shared passage judged, and keeps it."""
    if len(known.before) >= MOST_PASSAGES:
        known.before.clear()
    known.before[passage] = judged = _judge([passage], known)
    return judged


def _judge_even(passage: Passage, known: Known) -> Judgement | None:
    """Returns an even passage judged, sooner than `_judge` does; None where it has to."""
    panels, rules = passage.panels, passage.rules
    _, attribute, value, _, _, component, _ = panels[-1]
    true = known.shown.get((component, attribute), ())
    num_shown = len(panels) - len(rules)
    if len(true) != num_shown:
        return None
    num_right = sum(map(eq, [claim[2] for claim in panels], true))
    num_right_rules = sum([rule in known.rules for rule, _, _ in rules])
    counts = num_shown, num_right, num_right, num_right, len(rules), num_right_rules, 0, 0
    return counts, [(component, attribute, None, value)] if rules else ()


def _judge(passages: Sequence[Passage], known: Known) -> Judgement:
    """Returns passages judged together."""
    values, _, _, fits, rules, _ = known
    right, wrong = set[Key](), set[Key]()
    add_right, add_wrong = right.add, wrong.add
    right_rules, right_verdicts = set[Rule](), set[tuple[int, int, str]]()
    predictions: list[Prediction] = []
    num_panels = num_rules = num_verdicts = 0
    for passage in passages:
        num_panels += len(passage.panels)
        for panel, attribute, value, _, _, component, slot in passage.panels:
            if panel != "missing":
                key = panel, component, attribute, slot
                if values[key] == value:
                    add_right(key)
                else:
                    add_wrong(key)
            else:
                predictions.append((component, attribute, slot, value))
        num_rules += len(passage.rules)
        for rule, _, _ in passage.rules:
            if rule in rules:
                right_rules.add(rule)
        num_verdicts += len(passage.verdicts)
        for index, attribute, told, _, _, component in passage.verdicts:
            tried = index, component, attribute
            if fits[tried] == told:
                right_verdicts.add(tried)
    seen = right & known.stated
    counts = (
        num_panels - len(predictions),
        _num_facts(right, values),
        len(seen),
        len(seen - wrong) if wrong else len(seen),
        num_rules,
        len(right_rules),
        num_verdicts,
        len(right_verdicts),
    )
    return counts, predictions


def _num_facts(keys: Set[Key], values: Values) -> int:
    """Returns how many facts several keys are.

    Where the entities of a panel agree, telling it slot by slot is one fact, or a sure
    value could be told once more for each slot.
    """
    if not [key for key in keys if key[3] is not None]:
        return len(keys)
    wholes = ((key, (*key[:3], None)) for key in keys)
    return len({key if values[whole] is None else whole for key, whole in wholes})


truths_of = LastAnswer(_truths)
"""Returns the claims of a completion, judged."""
