"""A data set of the user's own as prompts: any columns of images, questions and answers.

`SourceConfig` names the columns. Every row is checked before anything else is loaded, and
all that is wrong is said at once: the rows by number from 0, the column, what was expected,
what came. An image is a Hugging Face image, encoded bytes, base64, or a path relative to
the file; it stays encoded.
"""

import base64
import binascii
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_avr.chat import VISION_TOKENS
from rl_avr.contracts import CHOICE_LETTERS, Prompt, PromptKind
from rl_avr.errors import DataError, nearest
from rl_avr.prompts import AnswerForm, prompt_text
from rl_avr.training.annotated import (
    Problem,
    annotated_puzzle,
    choice_problems,
    gold_problems,
    image_problem,
    open_problems,
    shown,
)
from rl_avr.training.config import SourceConfig

_LOG = logging.getLogger(__name__)
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_NUM_NAMED = 20
_NUM_ROWS_NAMED = 5
_IMAGE_MARKS = re.compile(r"\s*<image>\s*")
_DATA_URI = re.compile(r"data:[\w/+.-]*;base64,")
Record = dict[str, Any]


class BadRow(Exception):
    """What is wrong with one row."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


def source_prompts(
    source: SourceConfig,
    num_rows: int = 0,
    kind: PromptKind = "cot",
    answer_form: AnswerForm = "mark",
) -> list[Prompt]:
    """Returns one prompt a row, named `row-0` and so on after the row's number.

    Args:
        source: which data set, and its columns.
        num_rows: how many rows, from the first on; 0 takes all.
        kind: what a prompt asks for.
        answer_form: how prompts ask for the answer to be marked.

    Raises:
        DataError: the source or a column is not there, rows cannot be used (with all of
            them), or there are too few rows.
    """
    prompts: list[Prompt] = []
    reasons: dict[Problem, list[int]] = {}
    num_read = num_bad = 0
    for index, found in enumerate(row_prompts(source, kind, answer_form)):
        if num_rows and index == num_rows:
            break
        num_read += 1
        if isinstance(found, Prompt):
            prompts.append(found)
            continue
        num_bad += 1
        for problem in found.problems:
            reasons.setdefault(problem, []).append(index)
    if num_rows > num_read:
        raise DataError(
            f"{source.path}: data.num_puzzles {num_rows} asked for, {num_read} rows there"
        )
    if num_bad:
        message = f"{source.path}: {num_bad} of {num_read} rows cannot be used:"
        message = f"{message}\n{named_problems(reasons)}"
        if source.bad_rows == "refuse" or not prompts:
            remedy = "mend them, name other columns in data.source"
            raise DataError(f"{message}\n{remedy}, or set data.source.bad_rows skip")
        _LOG.warning("%s\nthey are left out", message)
    if not prompts:
        raise DataError(f"{source.path}: expected rows, found none")
    return prompts


def row_prompts(
    source: SourceConfig, kind: PromptKind = "cot", answer_form: AnswerForm = "mark"
) -> Iterator[Prompt | BadRow]:
    """Yields the prompt of every row, or what is wrong with it; arguments as `source_prompts`.

    Raises:
        DataError: the source or a column is not there.
    """
    for index, row in enumerate(_rows(source)):
        try:
            yield _prompt(index, row, source, kind, answer_form)
        except BadRow as bad:
            yield bad


def named_problems(reasons: Mapping[Problem, Sequence[int]]) -> str:
    """Returns a line for each problem: its first rows, the column, and what is wrong."""
    lines = []
    for (column, reason), rows in list(reasons.items())[:_NUM_NAMED]:
        first = ", ".join(map(str, rows[:_NUM_ROWS_NAMED]))
        more = f" and {len(rows) - _NUM_ROWS_NAMED} more" if len(rows) > _NUM_ROWS_NAMED else ""
        place = f"column {column!r}: " if column else ""
        lines.append(f"  row{'s' if len(rows) > 1 else ''} {first}{more}: {place}{reason}")
    left = len(reasons) - _NUM_NAMED
    return "\n".join(lines + ([f"  … and {left} other problems"] if left > 0 else []))


def _rows(source: SourceConfig) -> Iterator[Record | BadRow]:
    path = Path(source.path)
    if path.suffix in _JSON_LINES:
        return json_rows(path)
    return iter(_dataset(source))


def json_rows(path: Path) -> Iterator[Record | BadRow]:
    """Yields the object of every line that is not empty, or what is wrong with the line.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            for line, raw in enumerate(file, start=1):
                if raw.strip():
                    yield _json_row(line, raw)
    except OSError as error:
        raise DataError(f"{path}: expected a JSONL file; got: {error.strerror}") from error


def _json_row(line: int, raw: bytes) -> Record | BadRow:
    try:
        row = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return BadRow(Problem("", f"line {line}: expected JSON; got: {error}"))
    if not isinstance(row, dict):
        return BadRow(Problem("", f"line {line}: expected an object, got {shown(row)}"))
    return row


def _dataset(source: SourceConfig) -> Any:
    """Returns the columns that are needed, images undecoded, names of classes as texts."""
    from datasets import ClassLabel, Image, List

    rows = load_rows(source.path, source.split, source.subset, "data.source.split")
    needed = [*source.image, source.question, source.answer]
    needed += [source.choices] if source.choices else []
    for column in needed:
        if column not in rows.column_names:
            raise DataError(
                f"{source.path}: column {column!r} of data.source is missing; expected one of "
                f"{', '.join(rows.column_names)}; nearest: {nearest(column, rows.column_names, 1)}"
            )
    rows = rows.select_columns(needed)
    for column in source.image:
        feature = rows.features[column]
        if isinstance(feature, Image):
            rows = rows.cast_column(column, Image(decode=False))
        elif isinstance(feature, List) and isinstance(feature.feature, Image):
            rows = rows.cast_column(column, List(Image(decode=False)))
    answers = rows.features[source.answer]
    if isinstance(answers, ClassLabel) and not source.choices:
        names = answers.names
        return ({**row, source.answer: names[row[source.answer]]} for row in rows)
    return rows


def load_rows(source: str, split: str, subset: str, split_key: str) -> Any:
    """Returns the rows of a Parquet file, a saved data set, a folder or a Hugging Face data set.

    Args:
        source: path or name.
        split: which split, where there are several.
        subset: which configuration, where there are several; empty where not.
        split_key: the setting that names the split, for a message.

    Raises:
        DataError: there is no such data set or split.
    """
    from datasets import Dataset, DatasetDict, load_dataset, load_from_disk
    from datasets.exceptions import DatasetsError

    path = Path(source)
    if path.suffix == ".parquet" and not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        if path.suffix == ".parquet":
            return Dataset.from_parquet(str(path))
        if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
            saved = load_from_disk(str(path))
            return saved[split] if isinstance(saved, DatasetDict) else saved
        return load_dataset(source, subset or None, split=split)
    except (OSError, ValueError, KeyError, DatasetsError) as error:
        raise DataError(
            f"{source}: expected a JSONL or Parquet file, a folder, or the name of a Hugging "
            f"Face data set with {split_key} {split!r}; got: {error}"
        ) from error


def _prompt(
    index: int,
    row: Record | BadRow,
    source: SourceConfig,
    kind: PromptKind,
    answer_form: AnswerForm,
) -> Prompt:
    if isinstance(row, BadRow):
        raise row
    problems: list[Problem] = []
    images: list[bytes] = []
    path = Path(source.path)
    folder = path if path.is_dir() else path.parent
    for column in source.image:
        try:
            images += _images(row, column, folder)
        except BadRow as bad:
            problems += bad.problems
    record, wrong = _record(row, source, len(images))
    if problems or wrong:
        raise BadRow(*problems, *wrong)
    puzzle = annotated_puzzle(record | {"id": f"row-{index}"}, images[0])
    wrong = [Problem(_column(key, source), reason) for key, reason in gold_problems(puzzle)]
    if wrong:
        raise BadRow(*wrong)
    text = prompt_text(puzzle, kind, answer_form)
    return Prompt(f"{puzzle.puzzle_id}/{kind}", puzzle, kind, text, tuple(images))


def _column(key: str, source: SourceConfig) -> str:
    """Returns the user's name of the column from which a key of a record is made."""
    named = {"question": source.question, "choices": source.choices}
    return named.get(key, source.answer)


def _record(row: Record, source: SourceConfig, num_images: int) -> tuple[Record, Sequence[Problem]]:
    """Returns the record of a row and what is wrong with it."""
    record: Record = {}
    problems: list[Problem] = []
    try:
        record["question"] = _question(row, source.question, num_images)
    except BadRow as bad:
        problems += bad.problems
    answers = [_text(value) for value in _listed(row.get(source.answer))]
    if not answers or any(text is None for text in answers):
        expected = "expected a text, a number, true or false, or a list of these that are right"
        problems.append(Problem(source.answer, f"{expected}, got {_got(row, source.answer)}"))
        return record, problems
    choices = row.get(source.choices) if source.choices else None
    if choices is None:
        others = list(dict.fromkeys(text for text in answers[1:] if text != answers[0]))
        record |= {"answer": answers[0], "answer_kind": source.answer_kind}
        record |= {"accepted": others} if others else {}
    else:
        record["choices"] = list(choices) if isinstance(choices, list | tuple) else choices
        record["answer"] = _letter(row[source.answer], record["choices"])
    wrong = [*choice_problems(record), *open_problems(record)]
    return record, [*problems, *(Problem(_column(key, source), why) for key, why in wrong)]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _got(row: Record, column: str) -> str:
    if column in row:
        return shown(row[column])
    return f"no such column; the row has {', '.join(map(str, row)) or 'none'}"


def _question(row: Record, column: str, num_images: int) -> str:
    """Returns the question without the marks before it that stand for its images."""
    text = row.get(column)
    if not isinstance(text, str) or not text.strip():
        raise BadRow(Problem(column, f"expected a text, got {_got(row, column)}"))
    num_marks, place = 0, 0
    while num_marks < num_images and (mark := _IMAGE_MARKS.match(text, place)):
        num_marks, place = num_marks + 1, mark.end()
    found = [token for token in VISION_TOKENS if token in text[place:]]
    if found or num_marks not in (0, num_images):
        reason = (
            f"expected no image marks, or one <image> for each of {num_images} images before the "
            f"words, as every image stands there; got {found or num_marks} in {shown(text)}"
        )
        raise BadRow(Problem(column, reason))
    return text[place:].strip()


def _text(value: Any) -> str | None:
    """Returns an answer in words; None for what is no answer.

    >>> _text(True), _text(4.0), _text(2.5), _text(" a fish ")
    ('yes', '4', '2.5', 'a fish')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        # 4.0 of a column of floats is the count 4
        return repr(int(value) if float(value).is_integer() else value)
    return value.strip() or None if isinstance(value, str) else None


def _letter(answer: Any, choices: Any) -> str:
    """Returns the letter of the choice that an answer names; the answer itself where none is.

    A letter comes before the text of a choice, and a text before an index.
    """
    if not isinstance(choices, list):
        return str(answer)
    letters = list(CHOICE_LETTERS[: len(choices)])
    if isinstance(answer, bool) or not isinstance(answer, int | str):
        return str(answer)
    text = str(answer).strip()
    named = [i for i, choice in enumerate(choices) if str(choice).strip() == text]
    if text in letters or len(named) > 1:
        return text
    if named:
        return letters[named[0]] if named[0] < len(letters) else text
    is_index = isinstance(answer, int) and 0 <= answer < len(letters)
    return letters[int(answer)] if is_index else text


def _images(row: Record, column: str, folder: Path) -> list[bytes]:
    value = row.get(column)
    values = _listed(value)
    if value is None or not values:
        raise BadRow(Problem(column, f"expected an image, got {_got(row, column)}"))
    return [encoded_image(value, column, folder) for value in values]


def encoded_image(value: Any, column: str, folder: Path) -> bytes:
    """Returns the encoded bytes of one image, once they were seen to be one."""
    if isinstance(value, dict):
        value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    raw = value if isinstance(value, bytes) else None
    if isinstance(value, str):
        raw = _of_text(value, column, folder)
    if raw is None:
        expected = "expected a path, base64, bytes, or an object with `bytes` or `path`"
        raise BadRow(Problem(column, f"{expected}, got {shown(value)}"))
    if problem := image_problem(raw, "the image"):
        raise BadRow(Problem(column, problem))
    return raw


def _of_text(text: str, column: str, folder: Path) -> bytes:
    """Returns the bytes of a file that a text names, or those that it holds in base64."""
    path = folder / text
    if os.path.isfile(path):
        return path.read_bytes()
    head = _DATA_URI.match(text)
    try:
        raw = base64.b64decode(text[head.end() :] if head else text, validate=True)
    except (binascii.Error, ValueError):
        raw = None
    if raw is None or (head is None and image_problem(raw, column)):
        reason = (
            "expected the path of an image, relative to the folder of the data set, or an image "
            f"in base64; got {shown(text)}: no such file in {folder}, and no image in base64"
        )
        raise BadRow(Problem(column, reason))
    return raw
