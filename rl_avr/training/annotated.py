"""What people write about their own images: checked, and made a puzzle without a state.

A record is one question: `question`, `answer`, and where there are any `choices` (2 to 8
texts; the answer is a letter then), `accepted`, `answer_kind`, `perception`, `chain`,
`prefix`, `id`. Whoever reads a source of a form of its own brings it into this one.
"""

import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

from PIL import Image

from rewards.answers import grade_text
from rewards.parts.choice import choice
from rl_avr.chat import decode_image
from rl_avr.contracts import CHOICE_LETTERS, Annotation, AnswerKind, Puzzle
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError
from rl_avr.prompts import ANSWER_MARK

OPEN_ONLY = ("accepted", "answer_kind")
"""Keys that only an open question has."""
_ANSWER_KINDS: tuple[str, ...] = get_args(AnswerKind)
_EXPECTED: dict[str, str] = {
    "letter": "a letter",
    "yes_no": "yes or no",
    "count": "a whole number",
    "number": "a number",
}
_NUMERAL = re.compile(r"[+-]?\.?[0-9][0-9.,]*(?:[eE][+-]?[0-9]+)?")


class Problem(NamedTuple):
    """What is wrong with one key of a record."""

    key: str
    reason: str


def choice_problems(record: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields what is wrong with the choices, and with an answer that is none of them."""
    choices, answer = record.get("choices"), record.get("answer")
    if choices is None or not isinstance(answer, str):
        return
    if not isinstance(choices, list) or not 2 <= len(choices) <= len(CHOICE_LETTERS):
        many = f"{len(choices)} choices" if isinstance(choices, list) else shown(choices)
        expected = f"expected a list of 2 to {len(CHOICE_LETTERS)} texts"
        yield Problem("choices", f"{expected}, got {many}")
        return
    if not all(isinstance(choice, str) and choice.strip() for choice in choices):
        yield Problem("choices", f"expected texts, got {shown(choices)}")
        return
    letters = CHOICE_LETTERS[: len(choices)]
    if answer.strip() not in list(letters):
        hint = (
            f"; {answer!r} is choice {letters[choices.index(answer)]}" if answer in choices else ""
        )
        expected = f"expected a letter of {letters[0]} to {letters[-1]}"
        yield Problem("answer", f"{expected}, got {answer!r}{hint}")


def open_problems(record: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields what is wrong with the keys that only an open question has."""
    given = [name for name in OPEN_ONLY if name in record]
    if "choices" in record:
        for name in given:
            reason = "only an open question has it; this one has 'choices', leave one out"
            yield Problem(name, reason)
        return
    accepted, kind = record.get("accepted", []), record.get("answer_kind", "exact")
    if not isinstance(accepted, list) or not all(
        isinstance(text, str) and text.strip() for text in accepted
    ):
        yield Problem("accepted", f"expected a list of texts, got {shown(accepted)}")
    if kind not in _ANSWER_KINDS:
        reason = f"expected one of {', '.join(_ANSWER_KINDS)}, got {shown(kind)}"
        yield Problem("answer_kind", reason)


def gold_problems(puzzle: Puzzle) -> Iterator[Problem]:
    """Yields the right answers of an open question that would not be graded as right."""
    note = puzzle.annotation
    if note is None or note.choices:
        return
    kind, first = note.answer_kind, 0
    plain = _plain_answers(note.answer, kind)
    if plain and not any(grade_text(text, (note.answer,), kind) == 1.0 for text in plain):
        first = 1
        yield Problem(
            "answer",
            f"{shown(note.answer)} where 'answer_kind' is {kind!r}; expected "
            f"{_EXPECTED[kind]}, or another kind",
        )
    named = [("answer", note.answer), *(("accepted", text) for text in note.accepted)]
    for name, text in named[first:]:
        parsed = read(f"{ANSWER_MARK} {text}", puzzle, kind="direct")
        if choice(parsed, puzzle) != 1.0:
            yield Problem(
                name,
                f"{shown(text)} would be graded as wrong; expected an answer in one "
                f"line that is right where 'answer_kind' is {kind!r}",
            )


def _plain_answers(answer: str, kind: AnswerKind) -> list[str]:
    """Returns plain answers of a kind, one of which a gold answer of this kind must agree with.

    Empty where any words can be of the kind.
    """
    if kind == "count":
        # numbers may be written as words up to twenty
        return ["".join(re.findall("[0-9]", answer)), *map(str, range(21))]
    if kind == "number":
        numeral = _NUMERAL.search(answer)
        return [numeral[0], f"{numeral[0]} %"] if numeral else [""]
    return {"letter": list(CHOICE_LETTERS), "yes_no": ["yes", "no"]}.get(kind, [])


def image_problem(raw: bytes, where: str) -> str | None:
    """Returns why encoded bytes cannot be read as an image; None where they can."""
    try:
        with warnings.catch_warnings():
            # Pillow decodes up to twice its own limit and only warns
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            decode_image(raw, where)
    except (DataError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return str(error)
    return None


def annotated_puzzle(record: Mapping[str, Any], image: bytes) -> Puzzle:
    """Returns the puzzle of a record without problems; without an id the content gives one."""
    choices = tuple(record.get("choices", ()))
    answer = record["answer"].strip()
    name = record["question"].encode() + b"\0" + image
    return Puzzle(
        puzzle_id=record.get("id") or hashlib.blake2b(name, digest_size=8).hexdigest(),
        family="annotated",
        configuration="annotated",
        context=(),
        choices=(),
        answer_index=CHOICE_LETTERS.index(answer) if choices else None,
        rules=(),
        difficulty=0,
        seed=0,
        annotation=Annotation(
            question=record["question"],
            choices=choices,
            answer=answer,
            perception=tuple((p["question"], p["answer"]) for p in record.get("perception", ())),
            chain=record.get("chain"),
            prefix=record.get("prefix"),
            accepted=tuple(text.strip() for text in record.get("accepted", ())),
            answer_kind=record.get("answer_kind", "exact"),
        ),
    )


def shown(value: Any) -> str:
    """Returns a value as a message names it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
