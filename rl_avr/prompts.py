"""Every word that a policy reads or writes, once: templates, labels and value names.

A compact chain of thought about a matrix puzzle has these lines, in this order:

    This is a regular puzzle.
    Type: square square square | circle circle circle | hexagon hexagon -> constant -> hexagon
    Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4
    Color: 3 4 7 | 1 1 2 | 5 2 -> arithmetic + -> 7
    Missing panel: hexagon 4 7
    A: circle no
    B: hexagon yes, 3 no
    C: hexagon yes, 4 yes, 7 yes
    ### Answer: C

An attribute line reads the shown panels row by row, names the rule and predicts the
missing value. The choices are then tried one after another, each up to its first ruled
attribute that does not fit.

A `Schema` says which attribute lines a puzzle has. With two components the label names
the component (`Left Type:`); a grid has `Number:` and `Position:` before its type.

    value       one word: a shape's name, the number of a size, color or count; a position
                is its slots, counted from 1 (`139`)
    differing   where the entities of a panel differ, their words in slot order, joined by
                a point (`square.circle.circle`); the position line says which slots
    no rule     `-> no rule` instead of rule and prediction; the attribute is `any` in the
                missing panel and is not tried in the choices
    mixed       in a choice whose slots are not known: its entities differ; claims no value

The angle is noise in every puzzle, so no chain speaks of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from rl_avr.contracts import CHOICE_LETTERS, Annotation, PromptKind, Puzzle, Rule

PREFIX = "This is a regular puzzle."
NONREGULAR_PREFIX = "This is a non-regular puzzle."
ANSWER_MARK = "### Answer:"
AnswerForm = Literal["mark", "tags"]
"""`mark`: the chain, then a line `### Answer: C`; `tags`: the chain between <think> and
</think>, then C between <answer> and </answer>."""
TAG_REQUEST = (
    "Write the reason between <think> and </think> and the answer alone between <answer> and "
    "</answer>."
)
TAG_REQUEST_DIRECT = "Write the answer alone between <answer> and </answer>."
MISSING_LABEL = "Missing panel:"
FITS, DIFFERS = "yes", "no"
NO_RULE, ANY, MIXED = "no rule", "any", "mixed"

MATRIX_QUESTION = "Which choice completes the matrix?"
GROUP_QUESTION = "Which choice belongs with the panels shown?"
ROW_QUESTION = "Which choice is the missing panel?"
COT_REQUEST = "Generate a reason first and then output a letter answer."
COT_REQUEST_OPEN = "Generate a reason first and then output a short answer."
COT_REQUEST_YES_NO = "Generate a reason first and then output yes or no."
DIRECT_REQUEST = "Answer with the option's letter from the given choices directly."
DIRECT_REQUEST_OPEN = "Answer the question with a short answer."
DIRECT_REQUEST_YES_NO = "Answer the question with yes or no."
COT_PROMPT = f"{MATRIX_QUESTION} {COT_REQUEST}"
DIRECT_PROMPT = f"{MATRIX_QUESTION} {DIRECT_REQUEST}"

ATTRIBUTE_LABELS = {"type": "Type:", "size": "Size:", "color": "Color:"}
TYPE_WORDS = {"triangle": 1, "square": 2, "pentagon": 3, "hexagon": 4, "circle": 5}
_TYPE_OF_LEVEL = {level: word for word, level in TYPE_WORDS.items()}

PANEL_QUESTIONS = {
    "type": "What is the type of {panel}?",
    "size": "What is the size of {panel}, from 0 to 5?",
    "color": "What is the color of {panel}, from 0 (white) to 9 (black)?",
}
ROW_QUESTIONS = {
    "type": "How does the type change along row {row}?",
    "size": "How does the size change along row {row}?",
    "color": "How does the color change along row {row}?",
}
ROW_ANSWERS = ("it stays the same", "it goes up", "it goes down", "it goes up and down")


def value_word(attribute: str, level: int) -> str:
    """Returns the word for a value: a shape's name, a number, or the slots of a position.

    >>> value_word("type", 2), value_word("size", 4), value_word("position", 0b1001)
    ('square', '4', '14')
    """
    if attribute == "position":
        return "".join(str(k + 1) for k in range(level.bit_length()) if level >> k & 1)
    return _TYPE_OF_LEVEL[level] if attribute == "type" else str(level)


def value_level(attribute: str, word: str) -> int | None:
    """Returns the level of a word, or None where it is no value of the attribute."""
    if attribute == "type":
        return TYPE_WORDS.get(word)
    return int(word) if len(word) == 1 and word.isdecimal() and word.isascii() else None


def rule_phrase(rule: Rule) -> str:
    """Returns a rule in words.

    >>> rule_phrase(Rule("size", "progression", -2))
    'progression -2'
    """
    if rule.kind == "progression":
        return f"progression {rule.parameter:+d}"
    if rule.kind == "arithmetic":
        return "arithmetic +" if rule.parameter > 0 else "arithmetic -"
    return rule.kind.replace("_", " ")


RULE_PHRASES = {
    (kind, parameter): rule_phrase(Rule("", kind, parameter))
    for kind, parameters in {
        "constant": (0,),
        "progression": (-2, -1, 1, 2),
        "arithmetic": (1, -1),
        "distribute_three": (0,),
    }.items()
    for parameter in parameters
}
"""(kind, parameter) -> phrase, of every rule of a regular puzzle."""
_RULE_OF_PHRASE = {phrase: key for key, phrase in RULE_PHRASES.items()}


def rule_of_phrase(attribute: str, phrase: str) -> Rule | None:
    """Returns the rule that a phrase names, or None."""
    found = _RULE_OF_PHRASE.get(phrase)
    return Rule(attribute, *found) if found else None


@dataclass(frozen=True, eq=False)
class ChainLine:
    """One attribute line of a chain.

    Args:
        component: index of the component.
        attribute: name of the attribute.
        label: what the line begins with, without its colon.
        noun: the attribute in a sentence, such as `left size`.
        words: value -> word, of every value that a chain can claim.
        phrases: (kind, parameter) -> phrase, of every rule that a chain can claim.
        clauses: (kind, parameter) -> the rule as a clause of a sentence; empty for the
            rules of regular puzzles, whose clauses are among the phrasings.
        num_slots: slots of the component; with more than one its entities may differ.
        is_always_ruled: whether the line must name a rule.
    """

    component: int
    attribute: str
    label: str
    noun: str
    words: Mapping[int, str]
    phrases: Mapping[tuple[str, int], str]
    clauses: Mapping[tuple[str, int], str] = field(default_factory=dict)
    num_slots: int = 1
    is_always_ruled: bool = True

    @cached_property
    def values(self) -> dict[str, int]:
        """Word -> value."""
        return {word: value for value, word in self.words.items()}

    @cached_property
    def rules(self) -> dict[str, Rule]:
        """Phrase -> rule."""
        return {
            phrase: Rule(self.attribute, kind, parameter, self.component)
            for (kind, parameter), phrase in self.phrases.items()
        }

    @cached_property
    def trials(self) -> dict[str, tuple[int | None, bool, int]]:
        """What a choice is said to have, such as `4 yes` -> value, verdict, end of the value.

        The verdict is whether it fits. There is no value where the entities differ.
        """
        words: dict[str, int | None] = {**self.values}
        if self.may_differ:
            words[MIXED] = None
        return {
            f"{word} {verdict}": (value, verdict == FITS, len(word))
            for word, value in words.items()
            for verdict in (FITS, DIFFERS)
        }

    @cached_property
    def section(self) -> str:
        """Name of the section among `ParsedCompletion.sections`."""
        return self.label.lower()

    @cached_property
    def is_ordered(self) -> bool:
        """Whether more and less mean something; types are ordered by their corners."""
        is_numbered = all(word == str(value) for value, word in self.words.items())
        return is_numbered or self.attribute == "type"

    @property
    def may_differ(self) -> bool:
        """Whether the entities of one panel may have several values."""
        return self.num_slots > 1 and self.attribute not in ("number", "position")


@dataclass(frozen=True, eq=False)
class Schema:
    """What a chain about a puzzle can say. One object for all puzzles of a configuration.

    Args:
        prefix: sentence that names the kind of puzzle; None where there is none.
        rows: number of panels shown in each row, the missing one not counted.
        lines: the attribute lines, in the order of a chain; none where the state of the
            puzzle is not known.
        parts: name of each component's part of a panel; empty where it is the whole.
    """

    prefix: str | None
    rows: tuple[int, ...]
    lines: tuple[ChainLine, ...]
    parts: tuple[str, ...] = ("",)

    @cached_property
    def line_of_label(self) -> dict[str, ChainLine]:
        """Label -> line."""
        return {line.label: line for line in self.lines}

    @cached_property
    def panels(self) -> tuple[tuple[str, ...], ...]:
        """Names of the shown panels, row by row."""
        names = iter(f"context:{i}" for i in range(sum(self.rows)))
        return tuple(tuple(next(names) for _ in range(length)) for length in self.rows)


_DIGITS = {level: str(level) for level in range(10)}


def regular_line(
    attribute: str, component: int = 0, num_slots: int = 1, name: str = "", adjective: str = ""
) -> ChainLine:
    """Returns the line of an attribute of a regular puzzle.

    Args:
        attribute: `number`, `position`, `type`, `size` or `color`.
        component: index of the component.
        num_slots: slots of the component.
        name: name of the component, empty where there is only one.
        adjective: the component in a sentence.
    """
    words: Mapping[int, str] = _DIGITS
    if attribute == "type":
        words = _TYPE_OF_LEVEL
    elif attribute == "position":
        words = {mask: value_word(attribute, mask) for mask in range(1, 1 << num_slots)}
    return ChainLine(
        component,
        attribute,
        f"{name} {attribute.capitalize()}".strip(),
        f"{adjective} {attribute}".strip(),
        words,
        RULE_PHRASES,
        num_slots=num_slots,
        is_always_ruled=num_slots == 1,
    )


CENTER_SCHEMA = Schema(PREFIX, (3, 3, 2), tuple(regular_line(name) for name in ATTRIBUTE_LABELS))
"""The schema of `center_single`; `rl_avr.elicitation.schema` has those of all puzzles."""


def panel_name(panel: str) -> str:
    """Returns the name of a panel in a question.

    >>> panel_name("context:2"), panel_name("choice:0")
    ('panel 3', 'choice A')
    """
    if panel == "missing":
        return "the missing panel"
    kind, index = panel.split(":")
    return (
        f"panel {int(index) + 1}" if kind == "context" else f"choice {CHOICE_LETTERS[int(index)]}"
    )


def prompt_text(puzzle: Puzzle, kind: PromptKind, answer_form: AnswerForm = "mark") -> str:
    """Returns what a policy is asked: the puzzle's question and what form of answer it wants.

    Args:
        puzzle: the puzzle.
        kind: `cot` asks for a reason first, the others for the answer alone.
        answer_form: with `tags` the request ends with how to write them.
    """
    request = _request(puzzle, kind)
    if answer_form == "tags":
        request = f"{request} {TAG_REQUEST if kind == 'cot' else TAG_REQUEST_DIRECT}"
    if puzzle.annotation:
        return f"{_annotated_question(puzzle.annotation)}{request}"
    if puzzle.family == "rpm":
        return f"{MATRIX_QUESTION} {request}"
    if puzzle.configuration == "group":
        return f"{GROUP_QUESTION} {request}"
    return f"{ROW_QUESTION} {request}"


def _request(puzzle: Puzzle, kind: PromptKind) -> str:
    """Returns what form of answer is wanted: a letter, yes or no, or a few words."""
    is_direct = kind != "cot"
    asked = puzzle.annotation.answer_kind if puzzle.annotation else "exact"
    if puzzle.num_choices or asked == "letter":
        return DIRECT_REQUEST if is_direct else COT_REQUEST
    if asked == "yes_no":
        return DIRECT_REQUEST_YES_NO if is_direct else COT_REQUEST_YES_NO
    return DIRECT_REQUEST_OPEN if is_direct else COT_REQUEST_OPEN


def answer_form_of(text: str) -> AnswerForm:
    """Returns the form of answer that a prompt's words ask for.

    >>> answer_form_of(DIRECT_PROMPT), answer_form_of(f"{DIRECT_PROMPT} {TAG_REQUEST_DIRECT}")
    ('mark', 'tags')
    """
    return "tags" if text.endswith((TAG_REQUEST, TAG_REQUEST_DIRECT)) else "mark"


def in_tags(text: str) -> str:
    """Returns a chain or a direct answer that ends with an answer line, in tags instead.

    >>> in_tags("It is round.\\n### Answer: C")
    '<think>\\nIt is round.\\n</think>\\n<answer>C</answer>'
    >>> in_tags("### Answer: C")
    '<answer>C</answer>'
    """
    chain, _, answer = text.rpartition(ANSWER_MARK)
    tagged = f"<answer>{answer.strip()}</answer>"
    return f"<think>\n{chain.strip()}\n</think>\n{tagged}" if chain.strip() else tagged


def _annotated_question(annotation: Annotation) -> str:
    """Returns the question, and the choices where they are not drawn in the image."""
    letters = CHOICE_LETTERS[: len(annotation.choices)]
    if list(annotation.choices) == list(letters):
        # a question that brings its own lettered lines ends with one of them
        has_lines = annotation.answer_kind == "letter" and "\n" in annotation.question
        return annotation.question + ("\n" if has_lines else " ")
    lines = [f"{c}: {text}" for c, text in zip(letters, annotation.choices, strict=True)]
    return "\n".join([annotation.question, *lines, ""])


def single_token_phrases(schemas: Iterable[Schema] = ()) -> tuple[str, ...]:
    """Returns the phrases that never vary, longest first.

    A tokenizer made for these templates keeps each as one token, which makes a chain
    four times shorter than its characters would.

    Args:
        schemas: schemas beside that of `center_single` whose chains are to be short, too.
    """
    phrases = {PREFIX, COT_PROMPT, f"\n{MISSING_LABEL}", f"\n{ANSWER_MARK}"}
    phrases |= {f"\n{label}" for label in ATTRIBUTE_LABELS.values()}
    phrases |= {f" -> {phrase}" for phrase in _RULE_OF_PHRASE} | {" ->", " |"}
    phrases |= {f"\n{letter}:" for letter in "ABCDEFGH"} | {f" {letter}" for letter in "ABCDEFGH"}
    phrases |= {f" {word}" for word in TYPE_WORDS} | {f" {digit}" for digit in range(10)}
    phrases |= {f" {FITS},", f" {FITS}", f" {DIFFERS}", *ROW_ANSWERS, *TYPE_WORDS}
    phrases |= {q.split("{")[0] for q in (*PANEL_QUESTIONS.values(), *ROW_QUESTIONS.values())}
    phrases |= {q.split("}")[1] for q in PANEL_QUESTIONS.values()}
    phrases |= {panel_name(f"{k}:{i}") for k in ("context", "choice") for i in range(8)}
    for schema in schemas:
        phrases |= {schema.prefix} if schema.prefix else set()
        phrases |= {f" -> {NO_RULE}", f" {ANY}", f" {MIXED}"}
        for line in schema.lines:
            phrases |= {f"\n{line.label}:", *(f" -> {p}" for p in line.phrases.values())}
            if len(line.words) <= _MOST_WORDS:
                phrases |= {f" {word}" for word in line.words.values()}
    return tuple(sorted(phrases, key=lambda phrase: (-len(phrase), phrase)))


_MOST_WORDS = 64
"""Sets of more places than six have too many words for a token each."""
