"""What all loaders share: going on after a bad item, images and texts that are not trusted."""

import io
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from PIL import Image, UnidentifiedImageError

from rl_avr.chat import VISION_TOKENS
from rl_avr.contracts import CHOICE_LETTERS, Prompt, PromptKind, Puzzle
from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.config import LabelStyle, LoadConfig
from rl_avr.evaluation.labels import labelled_text
from rl_avr.evaluation.problems import Problem, Refused, Tags
from rl_avr.training.annotated import (
    annotated_puzzle,
    choice_problems,
    gold_problems,
    open_problems,
    shown,
)
from rl_avr.training.own_data import BadRow, json_rows

T = TypeVar("T")
Outcome = Problem | Refused

MAX_PIXELS = 32 * 2**20
"""Largest image read; Pillow alone only warns up to 179 million pixels."""
_MAX_BYTES = 32 * 2**20
_MAX_JSON_BYTES = 64 * 2**20


def outcomes(
    items: Iterable[tuple[str, T]], read: Callable[[T], Iterable[Problem]], limit: int
) -> Iterator[Outcome]:
    """Yields the problems of every item, or why an item cannot be used.

    Args:
        items: where each item stands, and what it is.
        read: returns an item's problems, or raises DataError, OSError or BadRow.
        limit: the number of problems after which no item is read; 0 for none.
    """
    seen: set[str] = set()
    for where, item in items:
        if limit and len(seen) >= limit:
            return
        try:
            problems = list(read(item))
        except BadRow as bad:
            reasons = [f"{p.key!r}: {p.reason}" if p.key else p.reason for p in bad.problems]
            yield Refused(where, "; ".join(reasons))
            continue
        except (DataError, OSError) as error:
            yield Refused(where, str(error))
            continue
        for problem in problems:
            name = problem.prompt.prompt_id
            if name in seen:
                yield Refused(where, f"id {name!r} stands before, too")
            elif not limit or len(seen) < limit:
                seen.add(name)
                yield problem


def prompt_kind(config: LoadConfig) -> PromptKind:
    """Returns the kind of prompt that a config asks for."""
    if config.ask != "puzzle":
        return "perception"
    return "cot" if config.prompt == "chain" else "direct"


def asked(
    puzzle: Puzzle,
    images: Sequence[bytes],
    config: LoadConfig,
    tags: Tags,
    labels: LabelStyle,
    before: str = "",
    panels: Callable[[], Any] | None = None,
) -> Problem:
    """Returns a puzzle as a problem.

    Args:
        puzzle: the puzzle; its id becomes the prompt's.
        images: its images, encoded.
        config: what is asked.
        tags: what it is.
        labels: how its choices are named.
        before: words in front of the question.
        panels: see `Problem.panels`.

    Raises:
        DataError: the words hold a token that stands for an image.
    """
    kind = prompt_kind(config)
    text = before + labelled_text(puzzle, kind, config.answer_form, labels)
    if marks := [token for token in VISION_TOKENS if token in text]:
        raise DataError(f"expected no image marks in the words, got {', '.join(marks)}")
    prompt = Prompt(f"{puzzle.puzzle_id}/{kind}", puzzle, kind, text, images)
    return Problem(prompt, tags, labels if puzzle.num_choices else "letters", panels)


def record_puzzle(name: str, record: Mapping[str, Any], image: bytes) -> Puzzle:
    """Returns the puzzle of a record in the form of `rl_avr.training.annotated`.

    Raises:
        BadRow: everything that is wrong with it.
    """
    wrong = [*choice_problems(record), *open_problems(record)]
    if not wrong:
        puzzle = annotated_puzzle({**record, "id": name}, image)
        wrong = list(gold_problems(puzzle))
    if wrong:
        raise BadRow(*wrong)
    return puzzle


def words(row: Mapping[str, Any], key: str) -> str:
    """Returns a text of a row that is not blank.

    Raises:
        DataError: it is missing, or something else.
    """
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        got = shown(value) if key in row else "no such key"
        raise DataError(f"{key}: expected a text, got {got}")
    return value.strip()


def tag(row: Mapping[str, Any], key: str) -> str:
    """Returns what a row says about itself, in a few words; `unknown` where it says nothing."""
    value = row.get(key)
    return value.strip()[:80] if isinstance(value, str) and value.strip() else "unknown"


def letter_of(choices: Any, answer: Any) -> str:
    """Returns the letter of the one choice whose text is the answer.

    Raises:
        DataError: no list, more choices than letters, no choice or several with that text.
    """
    if not isinstance(choices, list) or not 2 <= len(choices) <= len(CHOICE_LETTERS):
        many = f"{len(choices)} choices" if isinstance(choices, list) else shown(choices)
        raise DataError(f"choices: expected a list of 2 to {len(CHOICE_LETTERS)}, got {many}")
    if answer is None or isinstance(answer, bool):
        raise DataError(f"answer: expected the text of a choice, got {shown(answer)}")
    if any(isinstance(c, bool) or not isinstance(c, str | int | float) for c in choices):
        raise DataError(f"choices: expected texts or numbers, got {shown(choices)}")
    texts = [str(choice).strip() for choice in choices]
    if texts.count(str(answer).strip()) != 1:
        raise DataError(
            f"answer: expected the text of one of the choices, got {shown(answer)} with "
            f"{shown(choices)}"
        )
    return CHOICE_LETTERS[texts.index(str(answer).strip())]


def read_image(folder: Path, name: Any) -> bytes:
    """Returns the bytes of an image inside a folder, once they were seen to be one.

    Raises:
        DataError: the name leads out of the folder, or there is no image of a usual size.
    """
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name:
        raise DataError(f"image: expected a path inside {folder}, got {shown(name)}")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"image: {shown(name)} leads out of {folder}; refused")
    file = folder / path
    if not file.is_file():
        raise DataError(f"image: {file} is missing")
    raw = read_bytes(file, _MAX_BYTES)
    check_image(raw, str(file))
    return raw


def check_image(raw: bytes, where: str) -> None:
    """Decodes an image of a usual size.

    Raises:
        DataError: it is none, or has more than `MAX_PIXELS`; then nothing is decoded.
    """
    try:
        with warnings.catch_warnings():
            # the size is checked below
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(raw)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(
                        f"{where}: expected at most {MAX_PIXELS} pixels, got {image.width} by "
                        f"{image.height}; refused"
                    )
                image.load()
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: expected at most {MAX_PIXELS} pixels; {error}") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{where}: expected an image that Pillow can read; got {len(raw)} bytes: {error}"
        ) from None


def read_bytes(path: Path, most: int) -> bytes:
    """Returns a file's content.

    Raises:
        DataError: it is larger than `most` bytes.
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: expected a file")
    with path.open("rb") as stream:
        raw = stream.read(most + 1)
    if len(raw) > most:
        raise DataError(f"{path}: expected at most {most} bytes")
    return raw


def read_object(path: Path) -> dict[str, Any]:
    """Returns the object of a JSON file.

    Raises:
        DataError: there is something else.
        OSError: the file cannot be read.
    """
    try:
        raw = json.loads(read_bytes(path, _MAX_JSON_BYTES).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON, got: {error}") from None
    if not isinstance(raw, dict):
        raise DataError(f"{path}: expected an object, got {shown(raw)}")
    return raw


def numbered_rows(path: Path, root: Path) -> Iterator[tuple[str, Any]]:
    """Yields where each row of a JSONL file stands, and the row or what is wrong with it."""
    for number, row in enumerate(json_rows(path)):
        yield f"{path.relative_to(root).as_posix()}, row {number}", row


def need_folder(path: Path, what: str) -> None:
    """Refuses what is no folder.

    Raises:
        DataError: with what was expected.
    """
    if not path.is_dir():
        hint = "; unpack an archive first" if path.is_file() else ""
        raise DataError(f"{path}: expected a folder with {what}, found none{hint}")
