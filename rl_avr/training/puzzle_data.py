"""Sets of puzzles as a training run or an evaluation reads them.

`puzzle_files` has the columns and the names of the files.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rl_avr.chat import decode_image
from rl_avr.contracts import Prompt, PromptKind, Puzzle
from rl_avr.elicitation.asking import ask_puzzle
from rl_avr.errors import ConfigError, DataError
from rl_avr.prompts import AnswerForm, prompt_text
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.training.config import DataConfig
from rl_avr.training.own_data import source_prompts
from rl_avr.training.puzzle_files import (
    NEEDED,
    open_file,
    puzzle_row,
    split_files,
    write_rows,
)

# above this the rows stay on disk, memory-mapped, beside the files that `datasets` caches
_MAX_BYTES_IN_MEMORY = 500_000_000
_NEEDED_TO_ASK = {
    "perception": "a state or people's own perception questions",
    "yes_no": "a state and a chain that leads to the answer",
    "open": "a state and a chain that leads to the answer",
}


def write_puzzles(puzzles: Iterable[Puzzle], path: Path, render: RenderConfig) -> int:
    """Writes puzzles with their images; returns how many. The file appears only when whole."""
    return write_rows((puzzle_row(puzzle, render_png(puzzle, render)) for puzzle in puzzles), path)


def read_rows(config: DataConfig) -> Any:
    """Returns the rows of a split as a `datasets.Dataset`, images undecoded.

    Only the files that hold the first `num_puzzles` rows are read.

    Raises:
        ConfigError: `data.source` names a data set that is no set of puzzles.
        DataError: no such file, not a Parquet file, a column is missing, or too few rows.
    """
    if config.source.path:
        raise ConfigError(
            f"data.source.path {config.source.path!r}: GRPO, evaluation and rollouts read it as it "
            "is; expected a set of puzzles in data.path here, as `rl-avr data import` writes"
        )
    from datasets import Dataset
    from datasets import Image as ImageFeature
    from datasets.exceptions import DatasetGenerationError

    paths = _first_files(config)
    size = sum(path.stat().st_size for path in paths)
    try:
        rows = Dataset.from_parquet(
            [str(path) for path in paths],
            columns=sorted(NEEDED),
            keep_in_memory=size <= _MAX_BYTES_IN_MEMORY,
        )
    except (OSError, ValueError, DatasetGenerationError) as error:
        raise DataError(f"{_place(paths)}: expected a Parquet file; got: {error}") from error
    try:
        rows = rows.cast_column("image", ImageFeature(decode=False))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise DataError(
            f"{_place(paths)}: column 'image': expected images; got: {error}"
        ) from error
    return rows.select(range(config.num_puzzles)) if config.num_puzzles else rows


def _first_files(config: DataConfig) -> list[Path]:
    paths = split_files(Path(config.path), config.split)
    found, num_rows = [], 0
    for path in paths:
        with open_file(path) as file:
            num_rows += file.metadata.num_rows
        found.append(path)
        if config.num_puzzles and num_rows >= config.num_puzzles:
            break
    if config.num_puzzles > num_rows:
        raise DataError(
            f"{_place(paths)}: data.num_puzzles {config.num_puzzles} asked for, "
            f"{num_rows} rows there"
        )
    return found


def _place(paths: list[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def read_prompts(
    config: DataConfig, kind: PromptKind = "cot", answer_form: AnswerForm = "mark"
) -> list[Prompt]:
    """Returns the prompts of a split or of `data.source`, every image checked.

    Those of one puzzle are together.

    Args:
        config: which puzzles, and what to ask about each.
        kind: what a puzzle itself is asked for; other questions are of kind `perception`.
        answer_form: how prompts ask for the answer to be marked.

    Raises:
        DataError: as `read_rows` or `source_prompts`; a row's puzzle or image cannot be read,
            with the row and the path; or no puzzle can be asked what the config says.
    """
    if config.source.path:
        return source_prompts(config.source, config.num_puzzles, kind, answer_form)
    path = split_path(config)
    prompts = []
    for index, row in enumerate(read_rows(config)):
        image = row_image_bytes(row, index, path)
        decode_image(image, f"{path}, row {index}, image {row['image']['path'] or '(bytes)'}")
        puzzle = row_puzzle(row, index, path)
        if config.ask == "puzzle":
            text = prompt_text(puzzle, kind, answer_form)
            prompts.append(Prompt(f"{row['puzzle_id']}/{kind}", puzzle, kind, text, (image,)))
            continue
        for one in ask_puzzle(puzzle, config.ask, config.num_questions):
            text = prompt_text(one, "perception", answer_form)
            prompts.append(Prompt(f"{one.puzzle_id}/perception", one, "perception", text, (image,)))
    if config.ask != "puzzle" and not prompts:
        raise DataError(
            f"{path}: no puzzle can be asked data.ask {config.ask!r}, which needs "
            f"{_NEEDED_TO_ASK[config.ask]}; expected other puzzles, or data.ask 'puzzle'"
        )
    return prompts


def split_path(config: DataConfig) -> Path:
    """Returns what to call a split in a message: its file, or the pattern of its files."""
    files = split_files(Path(config.path), config.split)
    return files[0] if len(files) == 1 else Path(config.path) / f"{config.split}-*.parquet"


def row_puzzle(row: dict[str, Any], index: int, path: Path) -> Puzzle:
    """Returns the puzzle of a row, or raises DataError with the row and the path."""
    try:
        return Puzzle.from_json(row["puzzle"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}, row {index}: not a puzzle: {error!r}") from error


def row_image_bytes(row: dict[str, Any], index: int, path: Path) -> bytes:
    """Returns a row's encoded image, from the row or from the file that it names."""
    image = row["image"] or {"bytes": None, "path": None}
    if image["bytes"] is not None:
        return image["bytes"]
    source = Path(image["path"] or "")
    if not source.is_file():
        raise DataError(f"{path}, row {index}: image file {str(source)!r} is missing")
    return source.read_bytes()
