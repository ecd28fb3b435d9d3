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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rl_avr.errors import DataError, nearest
from rl_avr.prompts import ANSWER_MARK
from rl_avr.puzzles.config import RenderConfig
from rl_avr.training.annotated import (
    OPEN_ONLY,
    annotated_puzzle,
    choice_problems,
    gold_problems,
    image_problem,
    open_problems,
    shown,
)
from rl_avr.training.puzzle_files import SPLITS, Row, puzzle_row

_TEXTS = ("image", "question", "answer")
_OPTIONAL_TEXTS = ("chain", "prefix", "id", "split")
_KEYS = (*_TEXTS, *_OPTIONAL_TEXTS, *OPEN_ONLY, "choices", "perception")
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
        puzzle = annotated_puzzle(record, image)
        if wrong := [f"{key!r}: {why}" for key, why in gold_problems(puzzle)]:
            raise _Problems("; ".join(wrong))
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
        if problem := image_problem(raw, f"image {name!r}"):
            raise _Problems(problem)
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
            yield f"{name!r}: expected text, got {shown(record[name])}"
    wrong = list(choice_problems(record))
    yield from (f"{key!r}: {why}" for key, why in (*wrong, *open_problems(record)))
    if "choices" in record and not wrong:
        yield from _chain_problems(record)
    yield from _perception_problems(record.get("perception", []))
    if record.get("split", SPLITS[0]) not in SPLITS:
        yield f"'split': expected one of {', '.join(SPLITS)}, got {shown(record['split'])}"


def _chain_problems(record: dict[str, Any]) -> Iterator[str]:
    answer = record.get("answer")
    _, mark, said = str(record.get("chain", "")).rpartition(ANSWER_MARK)
    if mark and isinstance(answer, str) and said.strip() != answer.strip():
        yield f"'chain' ends with the answer {said.strip()!r}, 'answer' is {answer!r}"


def _perception_problems(perception: Any) -> Iterator[str]:
    if not isinstance(perception, list):
        yield f"'perception': expected a list, got {shown(perception)}"
        return
    for index, item in enumerate(perception):
        keys = set(item) if isinstance(item, dict) else None
        if keys != {"question", "answer"} or not all(
            isinstance(text, str) and text.strip() for text in item.values()
        ):
            yield (
                f"'perception' {index}: expected an object with the texts 'question' and "
                f"'answer', got {shown(item)}"
            )
