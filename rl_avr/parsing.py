"""Text of a completion -> `ParsedCompletion`. Never raises on text, never guesses.

A line counts as a section only when all of it has the form that `prompts` shows; lines
that do not are read as sentences. Spans are character offsets.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from operator import attrgetter
from typing import NamedTuple

from rl_avr.chain_lines import CHOICE_SECTIONS, Claims, KnownLines, make, read_line
from rl_avr.contracts import (
    CHOICE_LETTERS,
    FinishReason,
    PanelClaim,
    ParsedCompletion,
    ParseStatus,
    Span,
)
from rl_avr.prompts import CENTER_SCHEMA, AnswerForm, Schema

_ANSWER_LINE = re.compile(r"###\s*Answer:[ \t]*(.*)")
_TAG = re.compile(r"</?(?:think|answer)>")
_CHAIN_TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
_NOT_KNOWN = Schema(None, (), ())
_claim_key: Callable[[PanelClaim], tuple[str, int, str, int | None]] = attrgetter(
    "panel", "component", "attribute", "slot"
)

SentenceReader = Callable[[str, int, Claims], list[tuple[str, Span]]]
"""(line, its offset, claims) -> each sentence's section and place; adds their claims."""


def parse(
    text: str,
    num_choices: int,
    finish_reason: FinishReason = "stop",
    schema: Schema = CENTER_SCHEMA,
    read_sentences: SentenceReader | None = None,
    answer_form: AnswerForm = "mark",
    num_tokens: int | None = None,
    known: KnownLines | None = None,
) -> ParsedCompletion:
    """Returns what a completion says.

    The status is, in this order of precedence: `truncated` when the engine stopped at
    its limit; `no_answer` or `several_answers` by the number of answers;
    `not_a_choice` when the answer is no letter of the puzzle; `malformed` when a
    section is missing, repeated or out of order; `ok`. A schema without lines, that of
    a puzzle whose state is not known, asks for an answer at the end alone.

    Args:
        text: the completion, without special tokens.
        num_choices: how many letters are choices; 0 for an open question, which any
            words answer and for which there is no choice index.
        finish_reason: why the engine stopped.
        schema: what a chain about the puzzle can say.
        read_sentences: reads lines that are no section of the compact form.
        answer_form: how the answer is marked; see `prompts.AnswerForm`.
        num_tokens: length of the completion, where it is known.
        known: lines that were read before with this schema and as many choices; those of
            this text are added. They only save time.
    """
    claims = Claims(CHOICE_LETTERS[:num_choices], {} if known is None else known)
    if answer_form == "tags":
        body, tagged, is_marked = _tagged(text)
        found = _sections(body, schema, claims, read_sentences, marks=False)
        found.answers = tagged
        if len(body) < len(text):
            found.add("answer" if tagged else "other", len(body), len(text))
    else:
        found, is_marked = _sections(text, schema, claims, read_sentences), True
    choice = _choice_index(found.answers, claims.letters)
    status = _status(found.answers, choice, finish_reason, num_choices)
    if status == "ok" and not (
        is_marked and _is_whole(found.names, schema, claims, read_sentences is not None)
    ):
        status = "malformed"
    return ParsedCompletion.of_passages(
        status,
        tuple(claims.passages),
        choice,
        tuple(found.names),
        tuple(found.spans),
        found.answers[0] if len(found.answers) == 1 else None,
        num_tokens,
    )


def parse_direct(
    text: str,
    num_choices: int,
    finish_reason: FinishReason = "stop",
    answer_form: AnswerForm = "mark",
) -> ParsedCompletion:
    """Returns what a direct answer says: a letter alone, or an answer line alone.

    Nothing else may stand beside it, or the status is `malformed`. An open question is
    answered by an answer line, or by any one line; with `tags` only what stands in them
    is an answer.
    """
    lone = text.strip()
    start = len(text) - len(text.lstrip())
    is_letter = len(lone) == 1 and lone.isupper() and num_choices > 0
    is_words = bool(lone) and not num_choices and "\n" not in lone and not lone.startswith("###")
    if answer_form == "mark" and (is_letter or is_words):
        parsed = _lone_answer(lone, start, num_choices, finish_reason)
    else:
        parsed = parse(text, num_choices, finish_reason, _NOT_KNOWN, None, answer_form)
    is_alone = parsed.sections == ("answer",)
    if answer_form == "tags":
        is_alone = [m[0] for m in _TAG.finditer(text)] == _CHAIN_TAGS[2:] and (
            lone.startswith("<") and lone.endswith(">")
        )
        is_whole = parsed.status in ("ok", "malformed")
        status: ParseStatus = "ok" if is_alone and is_whole else parsed.status
        parsed = replace(parsed, status=status)
    if parsed.status == "ok" and not is_alone:
        return replace(parsed, status="malformed")
    return parsed


def _lone_answer(
    words: str, start: int, num_choices: int, finish_reason: FinishReason
) -> ParsedCompletion:
    choice = _choice_index([words], CHOICE_LETTERS[:num_choices])
    status = _status([words], choice, finish_reason, num_choices)
    span = Span(start, start + len(words))
    return ParsedCompletion(status, (), (), (), choice, ("answer",), (span,), words)


class _Found:
    """Sections in the order of the text, where they stand, and the answers among them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.spans: list[Span] = []
        self.answers: list[str] = []

    def add(self, name: str, start: int, end: int) -> None:
        """Adds a section of the characters [start, end)."""
        self.names.append(name)
        self.spans.append(make(Span, (start, end)))


def _sections(
    text: str,
    schema: Schema,
    claims: Claims,
    read_sentences: SentenceReader | None,
    marks: bool = True,
) -> _Found:
    """Returns the sections of a text; their claims are added to `claims`."""
    found = _Found()
    names, spans = found.names, found.spans
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        section = read_line(line, start, schema, claims)
        if section is None and (stripped := line.strip()):
            if marks and (answer := _ANSWER_LINE.fullmatch(line)):
                section = "answer"
                found.answers.append(answer[1].strip())
            elif stripped == schema.prefix:
                section = "prefix"
            elif read_sentences is None:
                section = "other"
            else:
                for name, span in read_sentences(line, start, claims):
                    names.append(name)
                    spans.append(span)
        if section:
            names.append(section)
            spans.append(make(Span, (start, end)))
        start = end + 1
    claims.end_passage()
    return found


def _tagged(text: str) -> tuple[str, list[str], bool]:
    """Returns the text before the answer's tag, the answers, and whether all tags are right.

    The tags before the answer become line ends, so offsets stay. Only an answer behind
    all reasoning counts; with more than one opening tag each of them counts, so that
    neither nesting nor repeating chooses for the reader.
    """
    tags = list(_TAG.finditer(text))
    names = [tag[0] for tag in tags]
    opened = [i for i, name in enumerate(names) if name == "<answer>"]
    first = tags[opened[0]].start() if opened else len(text)
    body = _TAG.sub(lambda tag: "\n" * len(tag[0]), text[:first])
    if len(opened) > 1:
        return body, [""] * len(opened), False
    is_answered = bool(opened) and names[opened[0] + 1 :] == ["</answer>"]
    before = names[: opened[0]] if opened else names
    is_outside = before.count("<think>") == before.count("</think>") and (
        not before or before[-1] == "</think>"
    )
    if not is_answered or not is_outside:
        return body, [], False
    opening, closing = tags[opened[0]], tags[opened[0] + 1]
    answer = text[opening.end() : closing.start()].strip()
    is_right = names == _CHAIN_TAGS and not (
        text[: tags[0].start()].strip()
        or text[tags[1].end() : opening.start()].strip()
        or text[closing.end() :].strip()
    )
    return body, [answer], is_right


def _choice_index(answers: list[str], letters: str) -> int | None:
    if len(answers) == 1 and len(answers[0]) == 1 and answers[0] in letters:
        return letters.index(answers[0])
    return None


def _status(
    answers: list[str],
    choice: int | None,
    finish_reason: FinishReason,
    num_choices: int,
) -> ParseStatus:
    if finish_reason == "length":
        return "truncated"
    if not answers:
        return "no_answer"
    if len(answers) > 1:
        return "several_answers"
    if choice is None and (num_choices or not answers[0]):
        return "not_a_choice"
    return "ok"


class _Form(NamedTuple):
    """What a whole chain of a schema has.

    Attributes:
        panels: the names of the panels shown.
        sections: those of a compact chain before the choices, in order.
        stated: panel, component and attribute of all that is told of the panels shown.
    """

    panels: list[str]
    sections: list[str]
    stated: frozenset[tuple[str, int, str]]


@cache
def _form_of(schema: Schema) -> _Form:
    panels = [panel for row in schema.panels for panel in row]
    return _Form(
        panels,
        [*(line.section for line in schema.lines), "missing"],
        frozenset((p, line.component, line.attribute) for p in panels for line in schema.lines),
    )


def _is_whole(sections: list[str], schema: Schema, claims: Claims, has_sentences: bool) -> bool:
    """Returns whether every section is there, once and in order."""
    body = sections[1:] if sections[:1] == ["prefix"] else sections
    if not schema.lines:
        return body[-1] == "answer"
    before = _form_of(schema).sections
    num_tried = len(body) - len(before) - 1
    if 0 < num_tried <= len(CHOICE_SECTIONS) and body == [
        *before,
        *CHOICE_SECTIONS[:num_tried],
        "answer",
    ]:
        return True
    tried = [s for s in body if s.startswith("choice:")]
    return bool(
        has_sentences
        and 0 < len(tried) <= len(CHOICE_SECTIONS)
        and _is_whole_prose(
            body, [*before, *CHOICE_SECTIONS[: len(tried)], "answer"], schema, claims
        )
    )


def _is_whole_prose(body: list[str], expected: list[str], schema: Schema, claims: Claims) -> bool:
    """Returns whether sentences describe all panels, explain, predict and eliminate.

    Sentences that make no claim may stand anywhere before the answer.
    """
    told = [s for s in body[:-1] if s not in ("other", "comparison")] + body[-1:]
    runs = [s for i, s in enumerate(told) if i == 0 or told[i - 1] != s]
    form = _form_of(schema)
    if runs != [*form.panels, *expected]:
        return False
    keys = [_claim_key(claim) for _, passage in claims.passages for claim in passage.panels]
    shown = [key for key in keys if key[0].startswith("context:")]
    missing = [key[1:3] for key in keys if key[0] == "missing"]
    ruled = [(line.component, line.attribute) for line in claims.ruled(schema)]
    return (
        len(set(shown)) == len(shown)
        and {key[:3] for key in shown} == form.stated
        and sorted(missing) == sorted(2 * ruled)
    )
