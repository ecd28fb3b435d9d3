"""Text of a completion -> `ParsedCompletion`. Never raises on text, never guesses.

A line counts as a section only when all of it has the form that `prompts` shows;
a line that comes close makes no claim at all. Spans are character offsets.

What a line means depends on the schema and on the lines before it alone: which
attributes the text called ruled, and which slots it called filled.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from operator import attrgetter
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
from rl_avr.prompts import CENTER_SCHEMA, AnswerForm, ChainLine, Schema

_ANSWER_LINE = re.compile(r"###\s*Answer:[ \t]*(.*)")
_TAG = re.compile(r"</?(?:think|answer)>")
_CHAIN_TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
_WORD = re.compile(r"\S+")
_BAR = "|"
_MISSING = prompts.MISSING_LABEL[:-1]
_NOT_KNOWN = Schema(None, (), ())
_VERDICTS = {prompts.FITS: True, prompts.DIFFERS: False}
_CHOICES = tuple(f"choice:{i}" for i in range(len(CHOICE_LETTERS)))
_claim_key: Callable[[PanelClaim], tuple[str, int, str, int | None]] = attrgetter(
    "panel", "component", "attribute", "slot"
)
_new = tuple.__new__
"""Makes a claim in half the time of its own constructor, which is a Python function."""

Slots = dict[tuple[str, int], int]
"""(panel, component) -> position that the text claims."""
Word = tuple[str, int]
"""A word and its offset."""


class Claims:
    """What a text has claimed so far.

    Attributes:
        panels: claims about panels.
        rules: claims about rules.
        verdicts: verdicts on choices.
        unruled: (component, attribute) that the text says no rule holds for.
        slots: positions that the text claims.

    Args:
        letters: the letters of the choices.
    """

    def __init__(self, letters: str) -> None:
        self.letters = letters
        self.panels: list[PanelClaim] = []
        self.rules: list[RuleClaim] = []
        self.verdicts: list[VerdictClaim] = []
        self.unruled: set[tuple[int, str]] = set()
        self.slots: Slots = {}

    def is_ruled(self, line: ChainLine) -> bool:
        """Returns whether the text leaves an attribute with a rule."""
        return (line.component, line.attribute) not in self.unruled

    def ruled(self, schema: Schema) -> Sequence[ChainLine]:
        """Returns the lines of the attributes that the text leaves with a rule."""
        if not self.unruled:
            return schema.lines
        return [line for line in schema.lines if self.is_ruled(line)]


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
    """
    claims = Claims(CHOICE_LETTERS[:num_choices])
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
    return ParsedCompletion(
        status,
        tuple(claims.panels),
        tuple(claims.rules),
        tuple(claims.verdicts),
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
        self.spans.append(_new(Span, (start, end)))


def _sections(
    text: str,
    schema: Schema,
    claims: Claims,
    read_sentences: SentenceReader | None,
    marks: bool = True,
) -> _Found:
    """Returns the sections of a text; their claims are added to `claims`."""
    found = _Found()
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        if marks and line.startswith("###") and (answer := _ANSWER_LINE.fullmatch(line)):
            found.add("answer", start, end)
            found.answers.append(answer[1].strip())
        elif stripped := line.strip():
            if stripped == schema.prefix:
                found.add("prefix", start, end)
            elif section := _section(line, start, schema, claims):
                found.add(section, start, end)
            elif read_sentences is None:
                found.add("other", start, end)
            else:
                for name, span in read_sentences(line, start, claims):
                    found.names.append(name)
                    found.spans.append(span)
        start = end + 1
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


def _section(line: str, start: int, schema: Schema, claims: Claims) -> str | None:
    """Adds a line's claims; returns the section's name, or None where it is none."""
    label, colon, rest = line.partition(": ")
    if not colon:
        return None
    if chain_line := schema.line_of_label.get(label):
        return _attribute_section(rest, start + len(label) + 2, chain_line, schema, claims)
    if label == _MISSING:
        return _missing_section(rest, start + len(label) + 2, schema, claims)
    if schema.lines and len(label) == 1 and label in claims.letters:
        return _choice_section(claims.letters.index(label), rest, start + 3, schema, claims)
    return None


class _Form(NamedTuple):
    """What a whole chain of a schema has.

    Attributes:
        panels: the names of the panels shown.
        places: what each word of an attribute line is about: the panel's name, or None
            for the bar between two rows.
        sections: those of a compact chain before the choices, in order.
        stated: panel, component and attribute of all that is told of the panels shown.
    """

    panels: list[str]
    places: tuple[str | None, ...]
    sections: list[str]
    stated: frozenset[tuple[str, int, str]]


@cache
def _form_of(schema: Schema) -> _Form:
    panels = [panel for row in schema.panels for panel in row]
    places = [place for row in schema.panels for place in (*row, None)]
    return _Form(
        panels,
        tuple(places[:-1]),
        [*(line.section for line in schema.lines), "missing"],
        frozenset((p, line.component, line.attribute) for p in panels for line in schema.lines),
    )


def _attribute_section(
    rest: str, start: int, line: ChainLine, schema: Schema, claims: Claims
) -> str | None:
    """Reads `values | values | values -> rule -> ninth`, or `-> no rule` at the end."""
    shown, *after = rest.split(" -> ")
    rule_start = start + len(shown) + len(" -> ")
    new: list[PanelClaim] = []
    if not _add_shown(new, shown, start, line, schema, claims.slots):
        return None
    if after == [prompts.NO_RULE] and not line.is_always_ruled:
        rule = None
    elif len(after) == 2 and (rule := line.rules.get(after[0])):
        ninth_start = rule_start + len(after[0]) + len(" -> ")
        if not add_value(new, "missing", line, after[1], ninth_start, claims.slots):
            return None
    else:
        return None
    claims.panels += new
    if line.attribute == "position":
        claims.slots |= {(claim.panel, claim.component): claim.value for claim in new}
    key = (line.component, line.attribute)
    if rule is None:
        claims.unruled.add(key)
    else:
        claims.unruled.discard(key)
        claims.rules.append(RuleClaim(rule, Span(rule_start, rule_start + len(after[0]))))
    return line.section


def _add_shown(
    new: list[PanelClaim], shown: str, start: int, line: ChainLine, schema: Schema, slots: Slots
) -> bool:
    """Adds the claims of `values | values | values`; returns False where it is not that."""
    places = _form_of(schema).places
    words = shown.split(" ")
    if len(words) != len(places) or words != shown.split():
        return _add_spaced(new, shown, start, line, schema, slots)
    attribute, component, value_of = line.attribute, line.component, line.values.get
    for place, word in zip(places, words, strict=True):
        end = start + len(word)
        if place is None:
            if word != _BAR:
                return False
        elif (value := value_of(word)) is not None:
            span = _new(Span, (start, end))
            new.append(_new(PanelClaim, (place, attribute, value, span, component, None)))
        elif not add_value(new, place, line, word, start, slots):
            return False
        start = end + 1
    return True


def _add_spaced(
    new: list[PanelClaim], shown: str, start: int, line: ChainLine, schema: Schema, slots: Slots
) -> bool:
    """Does what `_add_shown` does where words may have any white space between them."""
    rows = shown.split(f" {_BAR} ")
    if len(rows) != len(schema.rows):
        return False
    for row, panels in zip(rows, schema.panels, strict=True):
        words = _words(row, start)
        if len(words) != len(panels):
            return False
        for panel, word in zip(panels, words, strict=True):
            if not add_value(new, panel, line, *word, slots):
                return False
        start += len(row) + len(f" {_BAR} ")
    return True


def _words(text: str, start: int) -> list[Word]:
    """Returns the words between white space."""
    return [(m[0], start + m.start()) for m in _WORD.finditer(text)]


def _missing_section(rest: str, start: int, schema: Schema, claims: Claims) -> str | None:
    """Reads one word per attribute, `any` exactly where the text said that no rule holds."""
    words = _words(rest, start)
    if len(words) != len(schema.lines):
        return None
    new: list[PanelClaim] = []
    for line, (word, word_start) in zip(schema.lines, words, strict=True):
        if claims.unruled and not claims.is_ruled(line):
            if word != prompts.ANY:
                return None
        elif not add_value(new, "missing", line, word, word_start, claims.slots):
            return None
    claims.panels += new
    return "missing"


def _choice_section(
    index: int, rest: str, start: int, schema: Schema, claims: Claims
) -> str | None:
    """Reads `value yes, value no` for the ruled attributes, from the first one on."""
    tried = rest.split(", ")
    ruled = claims.ruled(schema)
    if len(tried) > len(ruled):
        return None
    new: list[PanelClaim] = []
    verdicts = []
    panel = _CHOICES[index]
    slots: Slots = {}
    for line, words in zip(ruled, tried, strict=False):
        value, _, verdict = words.partition(" ")
        fits = _VERDICTS.get(verdict)
        is_mixed = value == prompts.MIXED and line.may_differ
        if fits is None or not (is_mixed or add_value(new, panel, line, value, start, slots)):
            return None
        if line.attribute == "position":
            slots[panel, line.component] = new[-1].value
        end = start + len(words)
        span = _new(Span, (end - len(verdict), end))
        verdicts.append(_new(VerdictClaim, (index, line.attribute, fits, span, line.component)))
        start = end + len(", ")
    claims.panels += new
    claims.verdicts += verdicts
    return panel


def add_value(
    new: list[PanelClaim], panel: str, line: ChainLine, word: str, start: int, slots: Slots
) -> bool:
    """Adds the claims of a value's word; returns False where it is no value.

    Args:
        new: where the claims go.
        panel: the panel spoken of.
        line: the attribute spoken of.
        word: the word.
        start: its offset.
        slots: positions claimed so far; they say which slots differing words mean.
    """
    value = line.values.get(word)
    if value is not None:
        span = _new(Span, (start, start + len(word)))
        new.append(_new(PanelClaim, (panel, line.attribute, value, span, line.component, None)))
        return True
    if "." not in word or not line.may_differ:
        return False
    pieces = word.split(".")
    filled = _filled(slots.get((panel, line.component), 0), line.num_slots)
    if len(filled) != len(pieces):
        return False
    attribute, component, value_of = line.attribute, line.component, line.values.get
    for slot, piece in zip(filled, pieces, strict=True):
        value = value_of(piece)
        if value is None:
            return False
        end = start + len(piece)
        span = _new(Span, (start, end))
        new.append(_new(PanelClaim, (panel, attribute, value, span, component, slot)))
        start = end + 1
    return True


@lru_cache(maxsize=1024)
def _filled(mask: int, num_slots: int) -> list[int]:
    return [slot for slot in range(num_slots) if mask >> slot & 1]


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


def _is_whole(sections: list[str], schema: Schema, claims: Claims, has_sentences: bool) -> bool:
    """Returns whether every section is there, once and in order."""
    body = sections[1:] if sections[:1] == ["prefix"] else sections
    if not schema.lines:
        return body[-1] == "answer"
    before = _form_of(schema).sections
    num_tried = len(body) - len(before) - 1
    if 0 < num_tried <= len(_CHOICES) and body == [*before, *_CHOICES[:num_tried], "answer"]:
        return True
    tried = [s for s in body if s.startswith("choice:")]
    return bool(
        has_sentences
        and 0 < len(tried) <= len(_CHOICES)
        and _is_whole_prose(body, [*before, *_CHOICES[: len(tried)], "answer"], schema, claims)
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
    keys = [*map(_claim_key, claims.panels)]
    shown = [key for key in keys if key[0].startswith("context:")]
    missing = [key[1:3] for key in keys if key[0] == "missing"]
    ruled = [(line.component, line.attribute) for line in claims.ruled(schema)]
    return (
        len(set(shown)) == len(shown)
        and {key[:3] for key in shown} == form.stated
        and sorted(missing) == sorted(2 * ruled)
    )
