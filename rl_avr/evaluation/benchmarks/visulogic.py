"""VisuLogic: a thousand puzzles with four choices that the images letter A to D.

    <folder>/data.jsonl     a line a puzzle: id, image_path, question, label, tag
    <folder>/images/…

Assumed from the set's card and its evaluation scripts, as no original was at hand: `label`
is the letter of the answer (`answer` where there is no `label`), `tag` the type of
reasoning, and `image_path` relative to the folder. The question names the choices already.

Source: VisuLogic (2504.15279).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.common import (
    Outcome,
    asked,
    need_folder,
    numbered_rows,
    outcomes,
    read_image,
    record_puzzle,
    tag,
    words,
)
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.problems import Problem
from rl_avr.training.annotated import shown
from rl_avr.training.own_data import BadRow

_LETTERS = ["A", "B", "C", "D"]


def load_visulogic(folder: Path, config: LoadConfig) -> Iterator[Outcome]:
    """Yields every puzzle, in the order of the file.

    Raises:
        DataError: at once, where there is no data.jsonl.
    """
    need_folder(folder, "data.jsonl")
    file = folder / "data.jsonl"
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected the set's data.jsonl and images/")

    def read(row: Any) -> Iterator[Problem]:
        if isinstance(row, BadRow):
            raise row
        name = row.get("id")
        if isinstance(name, bool) or not isinstance(name, int | str) or not str(name).strip():
            raise DataError(f"id: expected a text or a number, got {shown(name)}")
        image = read_image(folder, row.get("image_path"))
        letter = words(row, "label" if "label" in row else "answer")
        record = {"question": words(row, "question"), "choices": _LETTERS, "answer": letter}
        puzzle = record_puzzle(f"visulogic/{name}", record, image)
        tags = (("benchmark", "visulogic"), ("pattern", tag(row, "tag")))
        yield asked(puzzle, (image,), config, tags, "letters")

    return outcomes(numbered_rows(file, folder), read, config.limit)
