"""Graders of short answers to open questions: a function for each kind of answer.

    kind      right is                                                  value
    exact     the same words                                            0 or 1
    letter    one lettered option                                       0 or 1
    yes_no    yes or no                                                 0 or 1
    count     one whole number                                          0 or 1
    number    a number within 5 % of the gold one                       0 or 1
    anls      a text at least half like the gold one                    0 or (0.5, 1]
    name      a text like the gold one                                  [0, 1]
    tuple     items, in whatever order                                  [0, 1]
    set       all of several options; some of them                      0, 0.2 or 1

A gold answer itself is always worth 1, an empty text always 0. "The same words" is
meant after `elicitation.grading.normalized`. Characters that only look like others
differ from them, and those without a width count: a minus sign that is no hyphen makes
no number. No time grows faster than the answer; a few readers stop at a length that no
right answer has.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

from rapidfuzz.distance import Levenshtein

from rl_avr.contracts import CHOICE_LETTERS, AnswerKind
from rl_avr.elicitation.grading import folded, is_option, is_same, normalized
from rl_avr.elicitation.question_words import NUMBER_WORDS
from rl_avr.errors import RewardError, nearest

Grader = Callable[[str, Sequence[str]], float]
"""(answer, gold answers) -> value in [0, 1]; neither is blank."""

_MOST_DIGITS = 40
_TOLERANCE = Decimal("0.05")
_PART_OF_A_SET = 0.2

_COUNT_WORDS = (
    *NUMBER_WORDS,
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
    *("seventeen", "eighteen", "nineteen", "twenty"),
)
_COUNT_OF_WORD = {word: count for count, word in enumerate(_COUNT_WORDS)}
_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+"
_COUNT = re.compile(rf"{_GROUPED}|[0-9]+")
_NUMBER = re.compile(
    rf"([+-]?(?:(?:{_GROUPED}|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{{1,3}})?)\s?(%\.?)?"
)
_AROUND_NUMBERS = " \t\n()[]{}*_`\"'“”‘’!;,"
_YES_NO = {"yes": True, "true": True, "no": False, "false": False}


def grade_text(text: str, golds: Sequence[str], kind: AnswerKind) -> float:
    """Returns what an answer to an open question is worth, in [0, 1].

    Args:
        text: the one answer, without its mark.
        golds: the gold answer, then the others that are accepted.
        kind: how it is graded.

    An empty answer is worth 0, and so is any answer where there is no gold one.

    Raises:
        RewardError: there is no such kind; never for the text.

    >>> grade_text("Four.", ("4",), "count"), grade_text("4 or 5", ("4",), "count")
    (1.0, 0.0)
    """
    grader = GRADERS.get(kind)
    if grader is None:
        raise RewardError(
            f"answer_kind: expected one of {', '.join(GRADERS)}, got {kind!r}; nearest: "
            f"{nearest(str(kind), GRADERS, 1)}"
        )
    golds = [gold for gold in golds if gold.strip()]
    return grader(text, golds) if golds and text.strip() else 0.0


def exact(text: str, golds: Sequence[str]) -> float:
    """Returns 1 where the answer has the same words as a gold one; else 0."""
    return float(is_same(text, golds))


def letter(text: str, golds: Sequence[str]) -> float:
    """Returns 1 where the answer is the right option's letter, its words, or both; else 0.

    The first gold answer is the letter, the others are the words. Letter and words that
    name different options: 0. Where the first is no letter, `exact` grades.

    >>> letter("(C) a circle", ["C", "circle"]), letter("B: circle", ["C", "circle"])
    (1.0, 0.0)
    """
    right = golds[0].strip().upper()
    if len(right) != 1 or right not in CHOICE_LETTERS:
        return exact(text, golds)
    return float(is_option(text, right, golds[1:]))


def yes_no(text: str, golds: Sequence[str]) -> float:
    """Returns 1 where the answer is the right one of yes and no; else 0.

    True means yes and false means no, in the answer as in the gold one: a statement to
    be judged is the same question. No other word may stand beside it.

    >>> yes_no("True.", ["yes"]), yes_no("yes and no", ["yes"])
    (1.0, 0.0)
    """
    said = _YES_NO.get(normalized(text))
    if said is None:
        return exact(text, golds)
    return float(said in [_YES_NO.get(normalized(gold)) for gold in golds])


def count(text: str, golds: Sequence[str]) -> float:
    """Returns 1 where the answer is the right whole number, in digits or as a word; else 0.

    Words go from zero to twenty; thousands may be set apart by commas. A sign, a
    fraction, a unit or a second number: 0. A gold answer that is no such number must be
    repeated in its words.

    >>> count("Four.", ["4"]), count("-4", ["4"]), count("1,200", ["1200"])
    (1.0, 0.0, 1.0)
    """
    said = _whole_number(text)
    if said is None:
        return exact(text, [gold for gold in golds if _whole_number(gold) is None])
    return float(said in [_whole_number(gold) for gold in golds])


def _whole_number(text: str) -> int | None:
    bare = _bare_number(text)
    if len(bare) <= _MOST_DIGITS and _COUNT.fullmatch(bare.removesuffix(".")):
        return int(bare.removesuffix(".").replace(",", ""))
    return _COUNT_OF_WORD.get(normalized(text))


def _bare_number(text: str) -> str:
    return text.strip().strip(_AROUND_NUMBERS)


def number(text: str, golds: Sequence[str]) -> float:
    """Returns 1 where the answer is a number within 5 % of a gold one; else 0.

        |answer - gold| <= 0.05 |gold|

    so a gold 0 wants 0. The bound itself counts, exactly as written in decimals. `12 %`
    is 0.12, and thousands may be set apart by commas. A unit makes a text that is no
    number: `12 km` is right only where a gold answer has the same words, and `12` is
    wrong there. Infinity, NaN and more than 40 characters are no numbers. A year is a
    number like others and gets the same 5 %, as in the benchmark; `exact` asks for the
    very year.

    Source: relaxed accuracy, ChartQA (2203.10244).

    >>> number("105", ["100"]), number("105.1", ["100"]), number("5%", ["0.05"])
    (1.0, 0.0, 1.0)
    """
    said = _decimal(text)
    if said is None:
        return exact(text, [gold for gold in golds if _decimal(gold) is None])
    known = [value for gold in golds if (value := _decimal(gold)) is not None]
    return float(any(abs(said - value) <= _TOLERANCE * abs(value) for value in known))


def _decimal(text: str) -> Decimal | None:
    bare = _bare_number(text)
    found = _NUMBER.fullmatch(bare) if len(bare) <= _MOST_DIGITS else None
    if found is None:
        return None
    value = Decimal(found[1].replace(",", ""))
    return value / 100 if found[2] else value


def anls(text: str, golds: Sequence[str]) -> float:
    """Returns how like a gold answer the answer is, 0 below one half.

        NL = edits / max(|answer|, |gold|)      value = max over golds of 1 - NL if NL < 0.5 else 0

    without case and spare spaces. |answer| >= 2 |gold| needs at least |answer| - |gold| >=
    |answer| / 2 edits, so NL >= 0.5: such an answer is worth 0 without being compared, and
    one compared has at most twice the gold's characters.

    Source: average normalised Levenshtein similarity, DocVQA (2007.00398); of one answer.

    >>> anls("Pariss", ["paris"]), anls("Paris, of course", ["paris"])
    (0.8333333333333334, 0.0)
    """
    said = _plain(text)
    likely = [gold for gold in map(_plain, golds) if len(said) < 2 * len(gold)]
    best = max((_likeness(said, gold) for gold in likely), default=0.0)
    return best if best > 0.5 else 0.0


def name(text: str, golds: Sequence[str]) -> float:
    """Returns how like a gold answer the answer is, without case and spare spaces.

        value = max over golds of 1 - edits / max(|answer|, |gold|)

    edits >= |answer| - |gold|, so an answer is worth at most |gold| / |answer|: a long
    text that holds the name is worth little. Time is |answer| times |gold| / 64, linear
    in the answer.

    Source: OCR reward, GLM-4.1V (2507.01006).

    >>> name("Pariss", ["paris"]), name("xyz", ["paris"])
    (0.8333333333333334, 0.0)
    """
    said = _plain(text)
    return max(_likeness(said, gold) for gold in map(_plain, golds))


def _likeness(said: str, gold: str) -> float:
    longest = max(len(said), len(gold))
    return (longest - Levenshtein.distance(said, gold)) / longest


def _plain(text: str) -> str:
    return " ".join(folded(text).split())


def overlap(text: str, golds: Sequence[str]) -> float:
    """Returns the overlap of the answer's items with a gold answer's, order left out.

        value = max over golds of |answer ∩ gold| / |answer ∪ gold|

    Items are set apart by commas and compared by their words. Both are bags: an item
    said once more than it is there is one more wrong item, so repeating does not pay, as
    naming every value does not.

    Source: class overlap, Curr-ReFT (2503.07065).

    >>> overlap("circle, size 3", ["circle, size 4"]), overlap("circle, circle", ["circle"])
    (0.3333333333333333, 0.5)
    """
    said = Counter(_items(text))
    bags = [Counter(_items(gold)) for gold in golds]
    return max(((said & bag).total() / ((said | bag).total() or 1) for bag in bags), default=0.0)


def options(text: str, golds: Sequence[str]) -> float:
    """Returns 1 for all right options, 0.2 for some of them and no wrong one; else 0.

    Options are set apart by commas and compared by their words; a repeated one is the
    same one. Each gold answer is one such list.

    Source: multiple choice with several right options, Curr-ReFT (2503.07065).

    >>> options("C, A", ["A, C"]), options("A", ["A, C"]), options("A, B, C", ["A, C"])
    (1.0, 0.2, 0.0)
    """
    said = frozenset(_items(text))
    sets = [frozenset(_items(gold)) for gold in golds]
    if not said:
        return 0.0
    return 1.0 if said in sets else _PART_OF_A_SET * any(said < gold for gold in sets)


def _items(text: str) -> list[str]:
    """Returns the words of each item; one that has none is as it stands."""
    found = ((normalized(item), item.strip()) for item in text.split(","))
    return [words or bare for words, bare in found if bare]


GRADERS: dict[AnswerKind, Grader] = {
    "exact": exact,
    "letter": letter,
    "yes_no": yes_no,
    "count": count,
    "number": number,
    "anls": anls,
    "name": name,
    "tuple": overlap,
    "set": options,
}
