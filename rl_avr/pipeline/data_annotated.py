"""Reads people's own puzzles: JSONL, one puzzle a line, its image in a file beside it.

    {"image": "photos/17.png", "question": "Which choice completes the row?",
     "choices": ["A", "B", "C", "D"], "answer": "B"}

`choices` are the texts of two to eight choices, or their letters where they are drawn in
the image; without it the question is open and `answer` is free text. An open question may
have `accepted` (a list of other right answers) and `answer_kind`, how an answer is graded
(`rewards.answers` has the kinds; without it, by its exact words):

    {"image": "photos/18.png", "question": "How many fish are there?",
     "answer": "2", "accepted": ["a pair"], "answer_kind": "count"}

Optional besides: `perception` (a list of `{"question", "answer"}`), `chain` (a chain of
thought), `prefix` (the sentence that names the kind of puzzle), `id`, and `split`.

A line that cannot be used is named with everything that is wrong with it; the others are
not touched by it.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from PIL import Image

from rewards.answers import grade_text
from rewards.parts.choice import choice
from rl_avr.chat import decode_image
from rl_avr.contracts import CHOICE_LETTERS, Annotation, AnswerKind, Puzzle
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError, nearest
from rl_avr.prompts import ANSWER_MARK
from rl_avr.puzzles.config import RenderConfig
from rl_avr.training.puzzle_files import SPLITS, Row, puzzle_row

_TEXTS = ("image", "question", "answer")
_OPTIONAL_TEXTS = ("chain", "prefix", "id", "split")
_OPEN_ONLY = ("accepted", "answer_kind")
_KEYS = (*_TEXTS, *_OPTIONAL_TEXTS, *_OPEN_ONLY, "choices", "perception")
_ANSWER_KINDS: tuple[str, ...] = get_args(AnswerKind)
_EXPECTED: dict[str, str] = {
    "letter": "a letter",
    "yes_no": "yes or no",
    "count": "a whole number",
    "number": "a number",
}
_NUMERAL = re.compile(r"[+-]?\.?[0-9][0-9.,]*(?:[eE][+-]?[0-9]+)?")
_HELD_OUT_SHARE = 0.1


class Good(NamedTuple):
    """A puzzle that can be used."""

    split: str
    row: Row


class Bad(NamedTuple):
    """A place in the source that cannot be used, and everything that is wrong with it."""

    where: str
    reason: str


class _Problems(Exception):
    """What is wrong with one line."""


def read_annotated(source: Path, render: RenderConfig | None = None) -> Iterator[Good | Bad]:
    """Yields one outcome for every line that is not empty; nothing is drawn.

    Raises:
        DataError: the file itself cannot be read.
    """
    reader = _Reader(source)
    try:
        with open(source, "rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.strip():
                    continue
                try:
                    yield reader.read(number, raw)
                except _Problems as problems:
                    yield Bad(f"line {number}", str(problems))
    except OSError as error:
        raise DataError(f"{source}: expected a JSONL file; got: {error}") from error


def split_of_image(image: bytes) -> str:
    """Returns `held_out` for a tenth of all images, `train` for the others.

    The image decides, so two questions about one image never fall into two splits.
    """
    digest = hashlib.blake2b(image, digest_size=8).digest()
    return "held_out" if int.from_bytes(digest, "big") < _HELD_OUT_SHARE * 2**64 else "train"


class _Reader:
    """Checks lines one after another, against those before too."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._line_of_id: dict[str, int] = {}
        self._line_of_puzzle: dict[int, int] = {}
        self._split_of_image: dict[bytes, tuple[str, int]] = {}

    def read(self, number: int, raw: bytes) -> Good:
        record = _parsed(raw)
        problems = list(_problems(record))
        if problems:
            raise _Problems("; ".join(problems))
        image = self._image(record["image"])
        puzzle = _puzzle(record, image)
        _check_gold(puzzle)
        row = puzzle_row(puzzle, image)
        split = record.get("split") or split_of_image(image)
        self._check_others(number, puzzle.puzzle_id, row["state_hash"], image, split)
        return Good(split, row)

    def _image(self, name: str) -> bytes:
        path = self._source.parent / name
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise _Problems(f"image {name!r}: {error.strerror}, looked for {path}") from error
        try:
            decode_image(raw, f"image {name!r}")
        except (DataError, Image.DecompressionBombError) as error:
            raise _Problems(str(error)) from error
        return raw

    def _check_others(
        self, number: int, puzzle_id: str, state: int, image: bytes, split: str
    ) -> None:
        """Refuses what a line before has; only a line that is used is remembered."""
        digest = hashlib.blake2b(image, digest_size=16).digest()
        other_split, line = self._split_of_image.get(digest, (split, 0))
        if puzzle_id in self._line_of_id:
            raise _Problems(f"id {puzzle_id!r} stands in line {self._line_of_id[puzzle_id]} too")
        if state in self._line_of_puzzle:
            first = self._line_of_puzzle[state]
            raise _Problems(f"the same image and question stand in line {first} too")
        if other_split != split:
            raise _Problems(
                f"split {split!r}: line {line} has the same image in the split {other_split!r}"
            )
        self._line_of_id[puzzle_id] = number
        self._line_of_puzzle[state] = number
        self._split_of_image.setdefault(digest, (split, number))


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        record = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _Problems(f"expected JSON; got: {error}") from error
    if not isinstance(record, dict):
        raise _Problems(f"expected a JSON object, got {type(record).__name__}")
    return {name: value for name, value in record.items() if value is not None}


def _problems(record: dict[str, Any]) -> Iterator[str]:
    for name in record:
        if name not in _KEYS:
            yield f"unknown key {name!r}; nearest: {nearest(name, _KEYS, count=1)}"
    for name in (*_TEXTS, *_OPTIONAL_TEXTS):
        if name not in record:
            if name in _TEXTS:
                yield f"{name!r} is missing"
        elif not isinstance(record[name], str) or not record[name].strip():
            yield f"{name!r}: expected text, got {_shown(record[name])}"
    yield from _choice_problems(record)
    yield from _open_problems(record)
    yield from _perception_problems(record.get("perception", []))
    if record.get("split", SPLITS[0]) not in SPLITS:
        yield f"'split': expected one of {', '.join(SPLITS)}, got {_shown(record['split'])}"


def _choice_problems(record: dict[str, Any]) -> Iterator[str]:
    choices, answer = record.get("choices"), record.get("answer")
    if choices is None or not isinstance(answer, str):
        return
    if not isinstance(choices, list) or not 2 <= len(choices) <= len(CHOICE_LETTERS):
        many = f"{len(choices)} choices" if isinstance(choices, list) else _shown(choices)
        yield f"'choices': expected a list of 2 to {len(CHOICE_LETTERS)} texts, got {many}"
        return
    if not all(isinstance(choice, str) and choice.strip() for choice in choices):
        yield f"'choices': expected texts, got {_shown(choices)}"
        return
    letters = CHOICE_LETTERS[: len(choices)]
    if answer.strip() not in list(letters):
        hint = (
            f"; {answer!r} is choice {letters[choices.index(answer)]}" if answer in choices else ""
        )
        yield f"'answer': expected a letter of {letters[0]} to {letters[-1]}, got {answer!r}{hint}"
        return
    _, mark, said = str(record.get("chain", "")).rpartition(ANSWER_MARK)
    if mark and said.strip() != answer.strip():
        yield f"'chain' ends with the answer {said.strip()!r}, 'answer' is {answer!r}"


def _open_problems(record: dict[str, Any]) -> Iterator[str]:
    """Yields what is wrong with the keys that only an open question has."""
    given = [name for name in _OPEN_ONLY if name in record]
    if "choices" in record:
        for name in given:
            yield f"{name!r}: only an open question has it; this one has 'choices', leave one out"
        return
    accepted, kind = record.get("accepted", []), record.get("answer_kind", "exact")
    if not isinstance(accepted, list) or not all(
        isinstance(text, str) and text.strip() for text in accepted
    ):
        yield f"'accepted': expected a list of texts, got {_shown(accepted)}"
    if kind not in _ANSWER_KINDS:
        yield f"'answer_kind': expected one of {', '.join(_ANSWER_KINDS)}, got {_shown(kind)}"


def _check_gold(puzzle: Puzzle) -> None:
    """Refuses an open question whose right answers would not be graded as right."""
    note = puzzle.annotation
    if note is None or note.choices:
        return
    kind, problems = note.answer_kind, []
    plain = _plain_answers(note.answer, kind)
    if plain and not any(grade_text(text, (note.answer,), kind) == 1.0 for text in plain):
        problems.append(
            f"'answer': {_shown(note.answer)} where 'answer_kind' is {kind!r}; expected "
            f"{_EXPECTED[kind]}, or another kind"
        )
    named = [("answer", note.answer), *(("accepted", text) for text in note.accepted)]
    for name, text in named[len(problems) :]:
        parsed = read(f"{ANSWER_MARK} {text}", puzzle, kind="direct")
        if choice(parsed, puzzle) != 1.0:
            problems.append(
                f"{name!r}: {_shown(text)} would be graded as wrong; expected an answer in one "
                f"line that is right where 'answer_kind' is {kind!r}"
            )
    if problems:
        raise _Problems("; ".join(problems))


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


def _perception_problems(perception: Any) -> Iterator[str]:
    if not isinstance(perception, list):
        yield f"'perception': expected a list, got {_shown(perception)}"
        return
    for index, item in enumerate(perception):
        keys = set(item) if isinstance(item, dict) else None
        if keys != {"question", "answer"} or not all(
            isinstance(text, str) and text.strip() for text in item.values()
        ):
            yield (
                f"'perception' {index}: expected an object with the texts 'question' and "
                f"'answer', got {_shown(item)}"
            )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _puzzle(record: dict[str, Any], image: bytes) -> Puzzle:
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
