"""Grades answers to perception questions: the same words, never a part of them."""

import re
from collections.abc import Iterable

from rl_avr.elicitation.forms import Question
from rl_avr.prompts import ANSWER_MARK

_OTHER_MARKS = r",;!?\"'()\[\]{}<>*_`“”‘’"
_MARKS = f".:{_OTHER_MARKS}"
# between two digits a point or a colon is part of a number: 1.5 is not 1 5; before a number <
# and > compare, and before a word ! negates
_PUNCTUATION = re.compile(
    rf"(?!<\s*[0-9]|>\s*[0-9]|!\w)[{_OTHER_MARKS}]|(?<![0-9])[.:]|[.:](?![0-9])"
)
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])")
# case folding would make these other characters into plain letters: long s, the sign of
# kelvin, ligatures
_FOLDS_TO_ASCII = re.compile("([\u017f\u212a\ufb00-\ufb06]+)")
# all marks around a letter belong to it, or `A, square` would lose its A as an article
_LETTERED = re.compile(
    rf"[{_MARKS}\s]*([A-Ha-h])(?:\s*[{_MARKS}][{_MARKS}\s]*|\s+[-–—]\s+|\s*$)(.*)", re.DOTALL
)
# before another letter an A is an option, too: `A B: square` names two
_ARTICLE = re.compile(r"a (?![a-h](?: |$))|an |the ")


def folded(text: str) -> str:
    """Returns a text without its case; a character that only looks like a letter stays.

    >>> folded("KELVIN"), folded("\u212aELVIN") == "kelvin"
    ('kelvin', False)
    """
    if text.isascii():
        return text.lower()
    pieces = _FOLDS_TO_ASCII.split(text)
    pieces[::2] = [piece.casefold() for piece in pieces[::2]]
    return "".join(pieces)


def normalized(text: str) -> str:
    """Returns an answer in lower case, without punctuation, article and spare spaces.

    Signs stay, so `progression +1` and `progression -1` differ, and so do the point and
    the colon between two digits. Characters without a width are no spaces and stay, too.

    >>> normalized(" The Grid,  of two-by-two. ")
    'grid of two by two'
    >>> normalized("1.5.")
    '1.5'
    """
    text = _HYPHEN.sub(" ", _PUNCTUATION.sub(" ", folded(text)))
    text = " ".join(text.split())
    article = _ARTICLE.match(text)
    return text[article.end() :] if article else text


def is_same(text: str, golds: Iterable[str]) -> bool:
    """Returns whether a text is one of several right answers, after normalisation.

    What has nothing but punctuation must be the same character by character; an empty
    text is never right.

    >>> is_same("The circle.", ["circle"]), is_same("?", ["!"]), is_same("", [""])
    (True, False, False)
    """
    words = normalized(text)
    if words:
        return words in {normalized(gold) for gold in golds}
    bare = text.strip()
    return bool(bare) and bare in {gold.strip() for gold in golds}


def is_option(text: str, letter: str, golds: Iterable[str]) -> bool:
    """Returns whether a text names one option: by its letter, its words, or both.

    Where letter and words stand together, both must be right.

    Args:
        text: what was answered.
        letter: the right option's letter.
        golds: the right option's words, in every accepted form.

    >>> is_option("C: circle", "C", ["circle"]), is_option("B: circle", "C", ["circle"])
    (True, False)
    """
    lettered = _LETTERED.fullmatch(text.strip())
    if lettered is None:
        return is_same(text, golds)
    found, words = lettered.groups()
    return found.upper() == letter.upper() and (not words.strip() or is_same(words, golds))


def grade_answer(question: Question, text: str) -> bool:
    """Returns whether a text answers a question rightly.

    All of it must be the gold answer or an accepted variant, in whatever case,
    punctuation and articles; an answer mark before it is left out. An answer that only
    contains the right words is wrong. Where a letter and the words of an option stand
    together, both must be right.

    Args:
        question: the question with its gold answer.
        text: what was answered.

    >>> grade_answer(Question("How many?", "4", ("four",)), "Four.")
    True
    >>> grade_answer(Question("Which type?", "circle"), "not a circle")
    False
    """
    text = text.strip().removeprefix(ANSWER_MARK).strip()
    if question.form == "multiple_choice":
        return is_option(text, question.answer, question.accepted)
    return is_same(text, (question.answer, *question.accepted))
