"""PuzzleVQA and AlgoPuzzleVQA: a file of JSON lines for each type of puzzle.

    <folder>/<type>.json or .jsonl    a line a puzzle: image, question, answer, options
    <folder>/images/<type>/…          the images, named relative to the folder

`options` are texts of which one is the answer, which may be a number among texts; without
them, as in the first release of AlgoPuzzleVQA, the question is open. Caption, explanation,
deduction and solution are never read.

Source: PuzzleVQA (2403.13315), AlgoPuzzleVQA (2403.03864), their released files.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.common import (
    Outcome,
    asked,
    letter_of,
    need_folder,
    numbered_rows,
    outcomes,
    read_image,
    record_puzzle,
    words,
)
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.problems import Problem
from rl_avr.training.annotated import shown
from rl_avr.training.own_data import BadRow

Item = tuple[str, int, Any]
"""Type of puzzle, number of the row, the row."""


def load_puzzle_vqa(
    folder: Path, config: LoadConfig, benchmark: str = "puzzlevqa"
) -> Iterator[Outcome]:
    """Yields every puzzle, ordered by type and row.

    Args:
        folder: where the files lie, or the folder above, with `data/` in it.
        config: what is asked.
        benchmark: name of the set, for tags and ids.

    Raises:
        DataError: at once, where there is no file.
    """
    need_folder(folder, "<type>.json files of JSON lines")
    root = folder / "data" if (folder / "data").is_dir() else folder
    found = (path for end in ("json", "jsonl") for path in root.glob(f"*.{end}"))
    files = sorted(path for path in found if path.is_file())
    if not files:
        raise DataError(f"{root}: expected <type>.json files of JSON lines, found none")

    def items() -> Iterator[tuple[str, Item]]:
        for file in files:
            for index, (where, row) in enumerate(numbered_rows(file, root)):
                yield where, (file.stem, index, row)

    def read(item: Item) -> Iterator[Problem]:
        kind, index, row = item
        if isinstance(row, BadRow):
            raise row
        image = read_image(root, row.get("image"))
        puzzle = record_puzzle(f"{benchmark}/{kind}/{index}", _record(row), image)
        tags = (("benchmark", benchmark), ("pattern", kind))
        yield asked(puzzle, (image,), config, tags, config.labels)

    return outcomes(items(), read, config.limit)


def _record(row: dict[str, Any]) -> dict[str, Any]:
    question, options, answer = words(row, "question"), row.get("options"), row.get("answer")
    if options is not None:
        letter = letter_of(options, answer)
        return {"question": question, "choices": [str(o) for o in options], "answer": letter}
    if isinstance(answer, bool) or not isinstance(answer, int | str) or not str(answer).strip():
        raise DataError(f"answer: expected a text or a whole number, got {shown(answer)}")
    text = str(answer).strip()
    kind = {"yes": "yes_no", "no": "yes_no"}.get(text.lower(), "exact")
    return {
        "question": question,
        "answer": text,
        "answer_kind": "count" if text.isdecimal() else kind,
    }
