"""Text of a completion -> `ParsedCompletion`. Never raises on text, never guesses.

A line counts as a section only when all of it has the form that `prompts` shows;
a line that comes close makes no claim at all. Spans are character offsets.

What a line means depends on the schema and on the lines before it alone: which
attributes the text called ruled, and which slots it called filled.
"""

import re
from collections.abc import Callable

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
from rl_avr.prompts import CENTER_SCHEMA, ChainLine, Schema

_CHOICE_LINE = re.compile(r"([A-H]): (\S+ (?:yes|no)(?:, \S+ (?:yes|no))*)")
_ANSWER_LINE = re.compile(r"###\s*Answer:[ \t]*(.*)")
_WORD = re.compile(r"\S+")
_NOT_KNOWN = Schema(None, (), ())

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
    """

    def __init__(self) -> None:
        self.panels: list[PanelClaim] = []
        self.rules: list[RuleClaim] = []
        self.verdicts: list[VerdictClaim] = []
        self.unruled: set[tuple[int, str]] = set()
        self.slots: Slots = {}

    def is_ruled(self, line: ChainLine) -> bool:
        """Returns whether the text leaves an attribute with a rule."""
        return (line.component, line.attribute) not in self.unruled


SentenceReader = Callable[[str, int, str, Claims], list[str]]
"""(line, its offset, the choices' letters, claims) -> sections found; adds their claims."""


def parse(
    text: str,
    num_choices: int,
    finish_reason: FinishReason = "stop",
    schema: Schema = CENTER_SCHEMA,
    read_sentences: SentenceReader | None = None,
) -> ParsedCompletion:
    """Returns what a completion says.

    The status is, in this order of precedence: `truncated` when the engine stopped at
    its limit; `no_answer` or `several_answers` by the number of answer lines;
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
    """
    claims = Claims()
    sections: list[str] = []
    answers: list[str] = []
    letters = CHOICE_LETTERS[:num_choices]
    start = 0
    for line in text.split("\n"):
        if found := _ANSWER_LINE.fullmatch(line):
            sections.append("answer")
            answers.append(found[1].strip())
        elif stripped := line.strip():
            if stripped == schema.prefix:
                sections.append("prefix")
            elif section := _section(line, start, letters, schema, claims):
                sections.append(section)
            elif read_sentences is None:
                sections.append("other")
            else:
                sections += read_sentences(line, start, letters, claims) or ["other"]
        start += len(line) + 1
    choice = _choice_index(answers, letters)
    status = _status(sections, answers, choice, finish_reason, num_choices)
    if status == "ok" and not _is_whole(sections, schema, claims, read_sentences is not None):
        status = "malformed"
    return ParsedCompletion(
        status,
        tuple(claims.panels),
        tuple(claims.rules),
        tuple(claims.verdicts),
        choice,
        tuple(sections),
    )


def parse_direct(
    text: str, num_choices: int, finish_reason: FinishReason = "stop"
) -> ParsedCompletion:
    """Returns what a direct answer says: a letter alone, or an answer line alone.

    Nothing else may stand beside it, or the status is `malformed`. An open question is
    answered by an answer line, or by any one line.
    """
    lone = text.strip()
    if "\n" not in lone and ((len(lone) == 1 and lone.isupper()) or (lone and not num_choices)):
        text = lone if lone.startswith("###") else f"{prompts.ANSWER_MARK} {lone}"
    parsed = parse(text, num_choices, finish_reason, _NOT_KNOWN)
    if parsed.status == "ok" and parsed.sections != ("answer",):
        return ParsedCompletion("malformed", (), (), (), parsed.choice_index, parsed.sections)
    return parsed


def answer_text(text: str) -> str | None:
    """Returns the words of the one answer line, or None where there is none or several."""
    found = [m[1].strip() for line in text.split("\n") if (m := _ANSWER_LINE.fullmatch(line))]
    return found[0] if len(found) == 1 else None


def _section(line: str, start: int, letters: str, schema: Schema, claims: Claims) -> str | None:
    """Adds a line's claims; returns the section's name, or None where it is none."""
    label, colon, rest = line.partition(": ")
    if not colon:
        return None
    if chain_line := schema.line_of_label.get(label):
        return _attribute_section(rest, start + len(label) + 2, chain_line, schema, claims)
    if label == prompts.MISSING_LABEL[:-1]:
        return _missing_section(line, start, len(label) + 2, schema, claims)
    if schema.lines and len(label) == 1 and label in letters:
        return _choice_section(line, start, schema, claims)
    return None


def _attribute_section(
    rest: str, start: int, line: ChainLine, schema: Schema, claims: Claims
) -> str | None:
    """Reads `values | values | values -> rule -> ninth`, or `-> no rule` at the end."""
    shown, *after = rest.split(" -> ")
    rows = shown.split(" | ")
    if len(rows) != len(schema.rows):
        return None
    new: list[PanelClaim] = []
    cursor = start
    for row, panels in zip(rows, schema.panels, strict=True):
        words = [(m[0], cursor + m.start()) for m in _WORD.finditer(row)]
        if len(words) != len(panels):
            return None
        for panel, word in zip(panels, words, strict=True):
            if not add_value(new, panel, line, word, claims.slots):
                return None
        cursor += len(row) + len(" | ")
    rule_start = start + len(shown) + len(" -> ")
    if after == [prompts.NO_RULE] and not line.is_always_ruled:
        rule = None
    elif len(after) == 2 and (rule := line.rules.get(after[0])):
        ninth = (after[1], rule_start + len(after[0]) + len(" -> "))
        if not add_value(new, "missing", line, ninth, claims.slots):
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


def _missing_section(
    line: str, start: int, offset: int, schema: Schema, claims: Claims
) -> str | None:
    """Reads one word per attribute, `any` exactly where the text said that no rule holds."""
    words = [(m[0], start + m.start()) for m in _WORD.finditer(line, offset)]
    if len(words) != len(schema.lines):
        return None
    new: list[PanelClaim] = []
    for chain_line, word in zip(schema.lines, words, strict=True):
        if not claims.is_ruled(chain_line):
            if word[0] != prompts.ANY:
                return None
        elif not add_value(new, "missing", chain_line, word, claims.slots):
            return None
    claims.panels += new
    return "missing"


def _choice_section(line: str, start: int, schema: Schema, claims: Claims) -> str | None:
    """Reads a value and a verdict for the ruled attributes, from the first one on."""
    found = _CHOICE_LINE.fullmatch(line)
    ruled = [chain_line for chain_line in schema.lines if claims.is_ruled(chain_line)]
    if found is None:
        return None
    words = [(m[0], start + m.start()) for m in _WORD.finditer(line, found.start(2))]
    if len(words) > 2 * len(ruled):
        return None
    index = CHOICE_LETTERS.index(found[1])
    new: list[PanelClaim] = []
    verdicts = []
    panel = f"choice:{index}"
    slots: Slots = {}
    for chain_line, value, word in zip(ruled, words[::2], words[1::2], strict=False):
        is_mixed = value[0] == prompts.MIXED and chain_line.may_differ
        if not is_mixed and not add_value(new, panel, chain_line, value, slots):
            return None
        if chain_line.attribute == "position":
            slots[panel, chain_line.component] = new[-1].value
        verdict = word[0].rstrip(",")
        span = Span(word[1], word[1] + len(verdict))
        fits = verdict == prompts.FITS
        verdicts.append(VerdictClaim(index, chain_line.attribute, fits, span, chain_line.component))
    claims.panels += new
    claims.verdicts += verdicts
    return panel


def add_value(new: list[PanelClaim], panel: str, line: ChainLine, word: Word, slots: Slots) -> bool:
    """Adds the claims of a value's word; returns False where it is no value.

    Args:
        new: where the claims go.
        panel: the panel spoken of.
        line: the attribute spoken of.
        word: the word and its offset.
        slots: positions claimed so far; they say which slots differing words mean.
    """
    text, start = word
    value = line.values.get(text)
    if value is not None:
        span = Span(start, start + len(text))
        new.append(PanelClaim(panel, line.attribute, value, span, line.component))
        return True
    if not line.may_differ or "." not in text:
        return False
    pieces = text.split(".")
    mask = slots.get((panel, line.component), 0)
    filled = [slot for slot in range(line.num_slots) if mask >> slot & 1]
    if len(filled) != len(pieces) or any(piece not in line.values for piece in pieces):
        return False
    for slot, piece in zip(filled, pieces, strict=True):
        span = Span(start, start + len(piece))
        claim = PanelClaim(panel, line.attribute, line.values[piece], span, line.component, slot)
        new.append(claim)
        start += len(piece) + 1
    return True


def _choice_index(answers: list[str], letters: str) -> int | None:
    if len(answers) == 1 and len(answers[0]) == 1 and answers[0] in letters:
        return letters.index(answers[0])
    return None


def _status(
    sections: list[str],
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
    tried = [s for s in body if s.startswith("choice:")]
    if not tried:
        return False
    ending = ["missing", *(f"choice:{i}" for i in range(len(tried))), "answer"]
    lines = [line.section for line in schema.lines]
    if body == [*lines, *ending]:
        return True
    return has_sentences and _is_whole_prose(body, [*lines, *ending], schema, claims)


def _is_whole_prose(body: list[str], expected: list[str], schema: Schema, claims: Claims) -> bool:
    """Returns whether sentences describe all panels, explain, predict and eliminate.

    Sentences that make no claim may stand anywhere before the answer.
    """
    told = [s for s in body[:-1] if s not in ("other", "comparison")] + body[-1:]
    runs = [s for i, s in enumerate(told) if i == 0 or told[i - 1] != s]
    panels = [panel for row in schema.panels for panel in row]
    if runs != [*panels, *expected]:
        return False
    shown = [c for c in claims.panels if c.panel.startswith("context:")]
    keys = {(c.panel, c.component, c.attribute, c.slot) for c in shown}
    wanted = {(p, line.component, line.attribute) for p in panels for line in schema.lines}
    ruled = [line for line in schema.lines if claims.is_ruled(line)]
    missing = [(c.component, c.attribute) for c in claims.panels if c.panel == "missing"]
    return (
        len(keys) == len(shown)
        and {key[:3] for key in keys} == wanted
        and sorted(missing) == sorted(2 * [(line.component, line.attribute) for line in ruled])
    )
