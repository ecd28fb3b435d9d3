"""MARVEL: puzzles from intelligence tests, each with questions about what is seen.

    <folder>[/Json_data]/<id>/<id>.png and <id>_label.json

`ask` chooses what becomes a problem: the puzzle, with four choices that the images number
1 to 4; `fine`, one open question about a detail of a choice; `coarse`, three questions
that count the panels of the question, the choices and the whole. The explanation and the
distractor of the fine question are never read.

Source: MARVEL (Jiang et al. 2024, 2404.13591), its released files.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.common import (
    Outcome,
    asked,
    need_folder,
    outcomes,
    read_image,
    read_object,
    record_puzzle,
    tag,
    words,
)
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.problems import Problem
from rl_avr.training.annotated import shown

_LETTERS = ("A", "B", "C", "D")
_PARTS = ("question", "choices", "whole")
_COUNT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def load_marvel(folder: Path, config: LoadConfig) -> Iterator[Outcome]:
    """Yields every problem, ordered by its number.

    Raises:
        DataError: at once, where there is no problem.
    """
    need_folder(folder, "Json_data/<id>/<id>_label.json")
    root = folder / "Json_data" if (folder / "Json_data").is_dir() else folder
    numbers = sorted(int(path.name) for path in root.iterdir() if _is_number(path.name))
    if not numbers:
        raise DataError(f"{root}: expected folders named by the numbers of puzzles, found none")
    items = [(str(number), number) for number in numbers]
    return outcomes(
        items, lambda number: _problems(root / str(number), number, config), config.limit
    )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and str(int(name)) == name


def _problems(folder: Path, number: int, config: LoadConfig) -> Iterator[Problem]:
    row = read_object(folder / f"{number}_label.json")
    if row.get("id") != number:
        raise DataError(f"id: expected {number}, the folder's, got {shown(row.get('id'))}")
    image = read_image(folder, f"{number}.png")
    tags = (
        ("benchmark", "marvel"),
        ("pattern", tag(row, "pattern")),
        ("configuration", tag(row, "task_configuration")),
        ("ask", config.ask),
    )
    for name, record in _records(row, config.ask):
        puzzle = record_puzzle(f"marvel/{number}/{name}", record, image)
        part = (("part", name),) if config.ask == "coarse" else ()
        yield asked(puzzle, (image,), config, (*tags, *part), "digits")


def _records(row: dict[str, Any], ask: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields a name and a record for each question."""
    if ask == "puzzle":
        answer = row.get("answer")
        if isinstance(answer, bool) or answer not in (1, 2, 3, 4):
            raise DataError(f"answer: expected 1 to 4, got {shown(answer)}")
        question = words(row, "avr_question")
        yield ask, {"question": question, "choices": list(_LETTERS), "answer": _LETTERS[answer - 1]}
    elif ask == "fine":
        answer = words(row, "f_perception_answer")
        question = words(row, "f_perception_question")
        yield ask, {"question": question, "answer": answer, "answer_kind": _kind(answer)}
    else:
        questions = row.get("c_perception_question_tuple")
        answers = row.get("c_perception_answer_tuple")
        for name, values in (("question", questions), ("answer", answers)):
            if not isinstance(values, list) or len(values) != len(_PARTS):
                raise DataError(
                    f"c_perception_{name}_tuple: expected {len(_PARTS)} of them, "
                    f"got {shown(values)}"
                )
        assert isinstance(questions, list) and isinstance(answers, list)
        for part, question, answer in zip(_PARTS, questions, answers, strict=True):
            if isinstance(answer, bool) or not isinstance(answer, int):
                raise DataError(
                    f"c_perception_answer_tuple: expected whole numbers, got {shown(answer)}"
                )
            text = words({"c_perception_question_tuple": question}, "c_perception_question_tuple")
            yield part, {"question": text, "answer": str(answer), "answer_kind": "count"}


def _kind(answer: str) -> str:
    plain = answer.lower()
    if plain in ("yes", "no"):
        return "yes_no"
    return "count" if plain in _COUNT_WORDS or plain.isdecimal() else "exact"
