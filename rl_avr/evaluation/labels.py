"""Names of choices: letters, digits or Roman numerals; asked for, and read back.

    letters  A B C …      digits  1 2 3 …      roman  I II III …

The rest of the project knows letters alone. A prompt is written with other names by
`labelled_text`; what a policy says to it becomes letters again by `in_letters`, and can
then be parsed and graded as ever. No name of one style is one of another: `4` and `IV`
are no letters, and a letter is no answer where digits were asked for.
"""

import re

from rl_avr.contracts import CHOICE_LETTERS, PromptKind, Puzzle
from rl_avr.evaluation.benchmarks.config import LabelStyle
from rl_avr.prompts import (
    COT_REQUEST,
    DIRECT_REQUEST,
    AnswerForm,
    prompt_text,
)

LABELS: dict[LabelStyle, tuple[str, ...]] = {
    "letters": tuple(CHOICE_LETTERS),
    "digits": ("1", "2", "3", "4", "5", "6", "7", "8"),
    "roman": ("I", "II", "III", "IV", "V", "VI", "VII", "VIII"),
}
"""Style -> name of each choice; as many as there are letters."""
_NOUNS: dict[LabelStyle, str] = {"digits": "number", "roman": "Roman numeral"}
_ANSWER_LINE = re.compile(r"(?m)^(###\s*Answer:[ \t]*)(.*)$")
_TAGGED = re.compile(r"(?s)(<answer>)(.*?)(?=</answer>)")
_CHOICE_LINE = re.compile(r"(?m)^([A-H]|[1-8]|[IV]{1,4})(?=: )")


def read_label(text: str, style: LabelStyle, num_choices: int) -> int | None:
    """Returns the index of the choice that a text names; None where it names none.

    Args:
        text: an answer alone; spaces around it do not count.
        style: how the choices are named.
        num_choices: how many there are.

    >>> read_label(" IV ", "roman", 8), read_label("4", "digits", 4), read_label("4", "roman", 8)
    (3, 3, None)
    """
    names = LABELS[style][:num_choices]
    name = text.strip()
    return names.index(name) if name in names else None


def labelled_text(
    puzzle: Puzzle, kind: PromptKind, answer_form: AnswerForm, style: LabelStyle
) -> str:
    """Returns what a policy is asked, as `prompt_text`, with the choices named by a style.

    An open question has no choices to name.
    """
    text = prompt_text(puzzle, kind, answer_form)
    if style == "letters" or not puzzle.num_choices:
        return text
    request = COT_REQUEST if kind == "cot" else DIRECT_REQUEST
    question, _, end = text.rpartition(request)
    note = puzzle.annotation
    listed = "".join(
        f"{letter}: {choice}\n"
        for letter, choice in zip(CHOICE_LETTERS, note.choices if note else (), strict=False)
    )
    if note and question.endswith(listed):
        names = zip(LABELS[style], note.choices, strict=False)
        lines = "".join(f"{name}: {choice}\n" for name, choice in names)
        question = question.removesuffix(listed) + lines
    # of the two requests one says "a letter answer", the other "the option's letter"
    return f"{question}{request.replace('letter', _NOUNS[style])}{end}"


def in_letters(text: str, style: LabelStyle, num_choices: int) -> str:
    """Returns a completion with its choices named by letters, as the parser expects.

    Names stand in the answer line, between answer tags, at the start of a line about a
    choice, or alone. An answer that is no name of the style, a letter too, is put in
    brackets, so that it names no choice. Everything else stays; offsets behind a Roman
    numeral move.

    Args:
        text: a completion.
        style: how the prompt named the choices.
        num_choices: how many there are; 0 for an open question, whose answer stays.

    >>> in_letters("II: hexagon yes\\n### Answer: IV", "roman", 8)
    'B: hexagon yes\\n### Answer: D'
    >>> in_letters("### Answer: D", "digits", 8)
    '### Answer: (D)'
    """
    if style == "letters" or not num_choices:
        return text

    def named(answer: str) -> str:
        index = read_label(answer, style, num_choices)
        if index is not None:
            return CHOICE_LETTERS[index]
        return f"({answer.strip()})" if answer.strip() else answer

    if text.strip() and "\n" not in text.strip() and not re.search("###|<answer>", text):
        # a direct answer may be the name alone
        return named(text)
    text = _CHOICE_LINE.sub(lambda m: _line_name(m[1], style, num_choices), text)
    text = _ANSWER_LINE.sub(lambda m: m[1] + named(m[2]), text)
    return _TAGGED.sub(lambda m: m[1] + named(m[2]), text)


def _line_name(name: str, style: LabelStyle, num_choices: int) -> str:
    index = read_label(name, style, num_choices)
    return f"({name})" if index is None else CHOICE_LETTERS[index]
