"""Text of a completion -> `ParsedCompletion`. Never raises on text, never guesses.

A line counts as a section only when all of it has the form that `prompts` shows;
a line that comes close makes no claim at all. Spans are character offsets.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from rl_avr import prompts
from rl_avr.contracts import (
    CHOICE_LETTERS,
    FinishReason,
    PanelClaim,
    ParsedCompletion,
    ParseStatus,
    RuleClaim,
    Span,
    VerdictClaim,
)

ATTRIBUTE_ORDER = tuple(prompts.ATTRIBUTE_LABELS)

_LABELS = {label: name for name, label in prompts.ATTRIBUTE_LABELS.items()}
_ATTRIBUTE_LINE = re.compile(
    r"(Type:|Size:|Color:) ([^|>]+) \| ([^|>]+) \| ([^|>]+) -> (.+) -> (\S+)"
)
_CHOICE_LINE = re.compile(r"([A-H]): (\S+ (?:yes|no)(?:, \S+ (?:yes|no)){0,2})")
_ANSWER_LINE = re.compile(r"###\s*Answer:[ \t]*(.*)")
_WORD = re.compile(r"\S+")


class _Line(NamedTuple):
    text: str
    start: int


class _Found(NamedTuple):
    """The claims found so far."""

    panels: list[PanelClaim]
    rules: list[RuleClaim]
    verdicts: list[VerdictClaim]


def parse(text: str, num_choices: int, finish_reason: FinishReason = "stop") -> ParsedCompletion:
    """Returns what a completion says.

    The status is, in this order of precedence: `truncated` when the engine stopped at
    its limit; `no_answer` or `several_answers` by the number of answer lines;
    `not_a_choice` when the answer is no letter of the puzzle; `malformed` when a
    section is missing, repeated or out of order; `ok`.

    Args:
        text: the completion, without special tokens.
        num_choices: how many letters are choices.
        finish_reason: why the engine stopped.
    """
    claims = _Found([], [], [])
    sections: list[str] = []
    answers: list[str] = []
    for line in _lines(text):
        if found := _ANSWER_LINE.fullmatch(line.text):
            sections.append("answer")
            answers.append(found[1].strip())
        elif line.text.strip() == prompts.PREFIX:
            sections.append("prefix")
        elif section := _panel_section(line, num_choices, claims):
            sections.append(section)
        elif line.text.strip():
            sections.append("other")
    choice = _choice_index(answers, num_choices)
    status = _status(sections, answers, choice, finish_reason)
    return ParsedCompletion(
        status,
        tuple(claims.panels),
        tuple(claims.rules),
        tuple(claims.verdicts),
        choice,
        tuple(sections),
    )


def _lines(text: str) -> list[_Line]:
    lines, start = [], 0
    for piece in text.split("\n"):
        lines.append(_Line(piece, start))
        start += len(piece) + 1
    return lines


def _panel_section(line: _Line, num_choices: int, claims: _Found) -> str | None:
    """Adds a line's claims; returns the section's name, or None where it is none."""
    if found := _ATTRIBUTE_LINE.fullmatch(line.text):
        return _attribute_section(line, found, claims)
    if line.text.startswith(f"{prompts.MISSING_LABEL} "):
        return _missing_section(line, claims)
    found = _CHOICE_LINE.fullmatch(line.text)
    if found and found[1] in CHOICE_LETTERS[:num_choices]:
        return _choice_section(line, found, claims)
    return None


def _attribute_section(line: _Line, found: re.Match[str], claims: _Found) -> str | None:
    attribute = _LABELS[found[1]]
    words = [
        (m[0], found.start(g) + m.start()) for g in (2, 3, 4) for m in _WORD.finditer(found[g])
    ]
    counts = [len(found[group].split()) for group in (2, 3, 4)]
    rule = prompts.rule_of_phrase(attribute, found[5])
    new = _claims([f"context:{i}" for i in range(8)], [attribute] * 8, words, line.start)
    ninth = _claims(["missing"], [attribute], [(found[6], found.start(6))], line.start)
    if counts != [3, 3, 2] or rule is None or new is None or ninth is None:
        return None
    claims.panels.extend([*new, *ninth])
    start = line.start + found.start(5)
    claims.rules.append(RuleClaim(rule, Span(start, start + len(found[5]))))
    return attribute


def _missing_section(line: _Line, claims: _Found) -> str | None:
    offset = len(prompts.MISSING_LABEL)
    words = [(m[0], offset + m.start()) for m in _WORD.finditer(line.text[offset:])]
    new = _claims(["missing"] * 3, list(ATTRIBUTE_ORDER), words, line.start)
    if new is None:
        return None
    claims.panels.extend(new)
    return "missing"


def _choice_section(line: _Line, found: re.Match[str], claims: _Found) -> str | None:
    words = [(m[0], found.start(2) + m.start()) for m in _WORD.finditer(found[2])]
    values, verdicts = words[::2], words[1::2]
    attributes = ATTRIBUTE_ORDER[: len(values)]
    index = CHOICE_LETTERS.index(found[1])
    new = _claims([f"choice:{index}"] * len(values), attributes, values, line.start)
    if new is None:
        return None
    claims.panels.extend(new)
    for attribute, (word, offset) in zip(attributes, verdicts, strict=True):
        verdict = word.rstrip(",")
        span = Span(line.start + offset, line.start + offset + len(verdict))
        claims.verdicts.append(VerdictClaim(index, attribute, verdict == prompts.FITS, span))
    return f"choice:{index}"


def _claims(
    panels: Sequence[str], attributes: Sequence[str], words: Sequence[tuple[str, int]], start: int
) -> list[PanelClaim] | None:
    """Returns one claim per word, or None where a word is no value or the count differs."""
    if len(words) != len(panels):
        return None
    new = []
    for panel, attribute, (word, offset) in zip(panels, attributes, words, strict=True):
        value = prompts.value_level(attribute, word)
        if value is None:
            return None
        span = Span(start + offset, start + offset + len(word))
        new.append(PanelClaim(panel, attribute, value, span))
    return new


def _choice_index(answers: list[str], num_choices: int) -> int | None:
    if len(answers) == 1 and len(answers[0]) == 1 and answers[0] in CHOICE_LETTERS[:num_choices]:
        return CHOICE_LETTERS.index(answers[0])
    return None


def _status(
    sections: list[str], answers: list[str], choice: int | None, finish_reason: FinishReason
) -> ParseStatus:
    if finish_reason == "length":
        return "truncated"
    if not answers:
        return "no_answer"
    if len(answers) > 1:
        return "several_answers"
    if choice is None:
        return "not_a_choice"
    tried = [s for s in sections if s.startswith("choice:")]
    expected = [*ATTRIBUTE_ORDER, "missing", *(f"choice:{i}" for i in range(len(tried))), "answer"]
    body = sections[1:] if sections[:1] == ["prefix"] else sections
    return "ok" if tried and body == expected else "malformed"
