"""Our own sets, and any other data set with named columns.

own       a folder that `rl-avr data make` or `data import` wrote; the split `all` is
          read as `train`, and images stay as they were drawn
columns   a JSONL or Parquet file, a saved data set, or one of Hugging Face's by name;
          the columns are named in a `SourceConfig`
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl_avr.contracts import Prompt
from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.common import (
    Outcome,
    asked,
    check_image,
    outcomes,
    prompt_kind,
)
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.benchmarks.raven import rule_tags
from rl_avr.evaluation.problems import Problem
from rl_avr.training.own_data import BadRow, row_prompts
from rl_avr.training.puzzle_data import row_image_bytes, row_puzzle
from rl_avr.training.puzzle_files import NEEDED, iter_rows, kind_of, splits_of

Item = tuple[Path, int, dict[str, Any]]


def load_own(folder: Path, config: LoadConfig) -> Iterator[Outcome]:
    """Yields every puzzle of a split, in the order of its files.

    The choices are lettered in the images, whatever the config says.

    Raises:
        DataError: the folder has no such split, or a file of it is broken.
    """
    found = splits_of(folder)
    split: str = config.split
    if split == "all":
        split = "train" if "train" in found else found[0]
    if split not in found and "held_out" in found and split == "test":
        split = "held_out"
    if split not in found:
        raise DataError(f"{folder}: expected the split {split!r}, got {', '.join(found)}")

    def items() -> Iterator[tuple[str, Item]]:
        for path, index, row in iter_rows(folder, split, sorted(NEEDED)):
            yield f"{path.name}, row {index}", (path, index, row)

    def read(item: Item) -> Iterator[Problem]:
        path, index, row = item
        puzzle = row_puzzle(row, index, path)
        image = row_image_bytes(row, index, path)
        check_image(image, f"{path}, row {index}")
        tags = (
            ("benchmark", "own"),
            ("split", split),
            ("configuration", puzzle.configuration),
            ("pattern", kind_of(puzzle)),
            *rule_tags([(rule.kind, rule.attribute) for rule in puzzle.rules]),
            ("difficulty", f"{puzzle.difficulty:g}"),
        )
        named = replace(puzzle, puzzle_id=f"own/{split}/{puzzle.puzzle_id}")
        yield asked(named, (image,), config, tags, "letters")

    return outcomes(items(), read, config.limit)


def load_columns(path: Path, config: LoadConfig) -> Iterator[Outcome]:
    """Yields every row of a data set by the columns that the config names.

    Raises:
        DataError: there is no such data set, or a column is missing.
    """
    source = replace(config.columns, path=str(path))
    rows = row_prompts(source, prompt_kind(config), config.answer_form)

    def read(row: Prompt | BadRow) -> Iterator[Problem]:
        if isinstance(row, BadRow):
            raise row
        named = replace(row.puzzle, puzzle_id=f"columns/{row.puzzle.puzzle_id}")
        for image in row.images:
            check_image(image, "image")
        yield asked(named, row.images, config, (("benchmark", "columns"),), config.labels)

    return outcomes(((f"row {i}", row) for i, row in enumerate(rows)), read, config.limit)
