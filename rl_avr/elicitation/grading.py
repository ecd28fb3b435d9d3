"""Grades answers to perception questions: the same words, never a part of them."""

import re

from rl_avr.elicitation.forms import Question
from rl_avr.prompts import ANSWER_MARK

_PUNCTUATION = re.compile(r"[.,;:!?\"'()\[\]{}<>*_`“”‘’]")
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])")
_LETTERED = re.compile(r"\(?([A-H])(?:[.:)]+\s*|$)(.*)", re.DOTALL)
_ARTICLES = ("a ", "an ", "the ")


def normalized(text: str) -> str:
    """Returns an answer in lower case, without punctuation, articles and spare spaces.

    Signs stay, so `progression +1` and `progression -1` differ.

    >>> normalized(" The Grid,  of two-by-two. ")
    'grid of two by two'
    """
    text = _HYPHEN.sub(" ", _PUNCTUATION.sub(" ", text.casefold()))
    text = " ".join(text.split())
    for article in _ARTICLES:
        text = text.removeprefix(article)
    return text


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
    if question.form != "multiple_choice":
        return normalized(text) in {normalized(a) for a in (question.answer, *question.accepted)}
    lettered = _LETTERED.fullmatch(text)
    gold_words = {normalized(a) for a in question.accepted}
    if lettered is None:
        is_letter = len(text) == 1 and text.upper() == question.answer
        return is_letter or normalized(text) in gold_words
    letter, words = lettered.groups()
    return letter == question.answer and (not words.strip() or normalized(words) in gold_words)
