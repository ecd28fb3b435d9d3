"""Puzzle data sets on disk: one Parquet file a split, images as bytes, state as JSON.

Columns: `puzzle_id` (string), `puzzle` (the JSON of `Puzzle.to_json`), `image` (a
Hugging Face image: PNG bytes). Anyone can load the files without this package.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rl_avr.chat import decode_image
from rl_avr.contracts import Prompt, PromptKind, Puzzle
from rl_avr.errors import DataError
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.training.config import DataConfig


def write_puzzles(puzzles: Iterable[Puzzle], path: Path, render: RenderConfig) -> int:
    """Writes puzzles with their images; returns how many. The file appears only when whole."""
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    rows: dict[str, list[Any]] = {"puzzle_id": [], "puzzle": [], "image": []}
    for puzzle in puzzles:
        rows["puzzle_id"].append(puzzle.puzzle_id)
        rows["puzzle"].append(puzzle.to_json())
        rows["image"].append({"bytes": render_png(puzzle, render), "path": None})
    features = Features(
        puzzle_id=Value("string"), puzzle=Value("string"), image=ImageFeature(decode=False)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    Dataset.from_dict(rows, features=features).to_parquet(str(partial))
    partial.rename(path)
    return len(rows["puzzle_id"])


def read_rows(config: DataConfig) -> Any:
    """Returns the rows of a split as a `datasets.Dataset`, images undecoded.

    Raises:
        DataError: no such file, not a Parquet file, a column is missing, or too few rows.
    """
    from datasets import Dataset
    from datasets import Image as ImageFeature
    from datasets.exceptions import DatasetGenerationError

    path = Path(config.path) / f"{config.split}.parquet"
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; expected a split that `rl-avr data --config … --data.path "
            f"{config.path}` wrote"
        )
    try:
        rows = Dataset.from_parquet(str(path), keep_in_memory=True)
    except (OSError, ValueError, DatasetGenerationError) as error:
        raise DataError(f"{path}: expected a Parquet file; got: {error}") from error
    missing = {"puzzle_id", "puzzle", "image"} - set(rows.column_names)
    if missing:
        raise DataError(f"{path}: columns {sorted(missing)} are missing; got {rows.column_names}")
    try:
        rows = rows.cast_column("image", ImageFeature(decode=False))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: column 'image': expected images; got: {error}") from error
    if config.num_puzzles > len(rows):
        raise DataError(
            f"{path}: data.num_puzzles {config.num_puzzles} asked for, {len(rows)} rows there"
        )
    return rows.select(range(config.num_puzzles)) if config.num_puzzles else rows


def read_prompts(config: DataConfig, kind: PromptKind = "cot") -> list[Prompt]:
    """Returns one prompt per puzzle of a split, every image checked.

    Raises:
        DataError: as `read_rows`; or a row's puzzle or image cannot be read, with
            the row and the path.
    """
    path = Path(config.path) / f"{config.split}.parquet"
    prompts = []
    for index, row in enumerate(read_rows(config)):
        image = row_image_bytes(row, index, path)
        decode_image(image, f"{path}, row {index}, image {row['image']['path'] or '(bytes)'}")
        puzzle = row_puzzle(row, index, path)
        prompts.append(Prompt(f"{row['puzzle_id']}/{kind}", puzzle, kind, COT_PROMPT, image))
    return prompts


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
