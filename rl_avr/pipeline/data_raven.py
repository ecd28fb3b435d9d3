"""RAVEN's files into a set, and a set into RAVEN's files."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from rl_avr.errors import DataError, PuzzleError
from rl_avr.pipeline.data_annotated import Bad, Good
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.raven_format import RavenSplit, iter_raven, raven_name, write_raven
from rl_avr.puzzles.render import render_png
from rl_avr.training.puzzle_data import row_puzzle
from rl_avr.training.puzzle_files import NEEDED, iter_rows, puzzle_row, splits_of

_SPLIT_OF: dict[str, RavenSplit] = {
    "train": "train",
    "val": "val",
    "held_out": "test",
    "test": "test",
}
# RAVEN's split is told by the last digit of a file's number
_DIGITS: dict[RavenSplit, tuple[int, ...]] = {
    "train": (0, 1, 2, 3, 4, 5),
    "val": (6, 7),
    "test": (8, 9),
}


def read_raven_files(source: Path, render: RenderConfig) -> Iterator[Good | Bad]:
    """Yields one outcome for every problem under a folder; its split is that of its name.

    The image is drawn from the state, in the layout that all other puzzles have.

    Raises:
        DataError: there is no problem.
    """
    for item in iter_raven(source):
        where = item.path.relative_to(source)
        if item.puzzle is None:
            yield Bad(str(where), str(item.error))
            continue
        # two sets under one folder have problems of the same number
        puzzle = replace(item.puzzle, puzzle_id=where.with_suffix("").as_posix())
        yield Good(raven_name(item.path).split, puzzle_row(puzzle, render_png(puzzle, render)))


def export_data(folder: Path, out: Path, split: str | None) -> str:
    """Writes matrix puzzles as `<configuration>/RAVEN_<k>_<split>.npz` and `.xml`.

    The held-out split becomes RAVEN's test split. Puzzles that the format has no place
    for, such as non-regular ones, are left out and counted.

    Args:
        folder: folder of a set.
        out: folder of the files; must not hold any yet.
        split: one split; None for all.

    Returns:
        A summary.

    Raises:
        DataError: the set cannot be read, `out` holds files already or cannot be written,
            or no puzzle fits the format.
    """
    splits = splits_of(folder) if split is None else [split]
    if any(out.glob("*/RAVEN_*")):
        raise DataError(f"{out}: RAVEN's files lie here already; choose another --out")
    written: Counter[str] = Counter()
    refused: list[str] = []
    numbers: Counter[tuple[str, RavenSplit]] = Counter()
    for name in splits:
        target = _SPLIT_OF[name]
        rows = iter_rows(folder, name, sorted(NEEDED - {"image"}))
        for path, index, row in tqdm(rows, desc=f"exporting, {name}", unit="puzzle"):
            puzzle = row_puzzle(row, index, path)
            count = numbers[puzzle.configuration, target]
            try:
                write_raven(puzzle, out, file_number(count, target), target)
            except PuzzleError as error:
                refused.append(str(error))
                continue
            except OSError as error:
                raise DataError(f"{out}: cannot be written: {error}") from error
            numbers[puzzle.configuration, target] += 1
            written[target] += 1
    if not written:
        reason = refused[0] if refused else "the set is empty"
        raise DataError(f"{folder}: no puzzle fits RAVEN's format: {reason}")
    total = ", ".join(f"{count} {name}" for name, count in written.items())
    left = f"; {len(refused)} left out, such as: {refused[0]}" if refused else ""
    return f"{out}: {total}{left}"


def file_number(count: int, split: RavenSplit) -> int:
    """Returns the number of a split's file `count`, whose last digit tells the split.

    >>> [file_number(count, "val") for count in range(4)]
    [6, 7, 16, 17]
    """
    digits = _DIGITS[split]
    return 10 * (count // len(digits)) + digits[count % len(digits)]
