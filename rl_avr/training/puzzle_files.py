"""A set of puzzles on disk: columns, names of the files, writing, plain reading. No torch.

    <folder>/train-00000-of-00012.parquet …     a split in shards of one size
    <folder>/train.parquet                      a small split in one file

Columns: `puzzle_id`, `family`, `kind` (RAVEN's folder name, or the non-regular kind),
`configuration`, `difficulty`, `state_hash` (equal for puzzles that show the same),
`puzzle` (the JSON of `Puzzle.to_json`), `image` (a Hugging Face image: encoded bytes).
Anyone can load the files without this package. Reading one row group at a time keeps
memory constant in the size of the set.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rl_avr.contracts import Panel, Puzzle, Scene
from rl_avr.errors import DataError
from rl_avr.puzzles.nonregular.kinds import kind_of as nonregular_kind

SPLITS = ("train", "held_out", "val", "test")

_TYPES: dict[str, tuple[pa.DataType, dict[str, str]]] = {
    "puzzle_id": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "family": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "kind": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "configuration": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "difficulty": (pa.float64(), {"dtype": "float64", "_type": "Value"}),
    "state_hash": (pa.int64(), {"dtype": "int64", "_type": "Value"}),
    "puzzle": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "image": (pa.struct([("bytes", pa.binary()), ("path", pa.string())]), {"_type": "Image"}),
}
COLUMNS = tuple(_TYPES)
# the columns without which a file is no set of puzzles
NEEDED = frozenset({"puzzle_id", "puzzle", "image"})

# what `datasets` reads the features from
_FEATURES = {"features": {name: feature for name, (_, feature) in _TYPES.items()}}
_METADATA = {"huggingface": json.dumps({"info": _FEATURES})}
_SCHEMA = pa.schema([(name, kind) for name, (kind, _) in _TYPES.items()], metadata=_METADATA)
# images of one row group are in memory at once, here and in a reader that streams
_ROW_GROUP = 128
_SHARD = re.compile(r"^(?P<split>[a-z_]+)-(?P<index>\d{5})-of-(?P<num>\d{5})\.parquet$")

Row = dict[str, Any]


def kind_of(puzzle: Puzzle) -> str:
    """Returns RAVEN's folder name, the non-regular kind, or `annotated`."""
    if puzzle.family == "nonregular":
        return nonregular_kind(puzzle).name
    return puzzle.configuration if puzzle.family == "rpm" else puzzle.family


def state_hash(puzzle: Puzzle, image: bytes) -> int:
    """Returns 63 bits that are equal for puzzles which show the same thing.

    Of a puzzle with a state that is what the context shows: neither the order of the
    choices, nor the noise of angles, nor the seed makes another puzzle of it. Without a
    state it is the image and the question.
    """
    if puzzle.has_state:
        shown = repr((kind_of(puzzle), puzzle.configuration, [_shown(p) for p in puzzle.context]))
        raw = shown.encode()
    else:
        question = puzzle.annotation.question if puzzle.annotation else ""
        raw = question.encode() + b"\0" + image
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big") >> 1


def _shown(panel: Panel | Scene) -> Any:
    if isinstance(panel, Scene):
        return sorted((name, value) for name, value in panel.values if not name.startswith("_"))
    return [
        sorted((e.slot, e.type, e.size, e.color) for e in part.entities)
        for part in panel.components
    ]


def puzzle_row(puzzle: Puzzle, image: bytes) -> Row:
    """Returns a puzzle as a row of the file."""
    return {
        "puzzle_id": puzzle.puzzle_id,
        "family": puzzle.family,
        "kind": kind_of(puzzle),
        "configuration": puzzle.configuration,
        "difficulty": float(puzzle.difficulty),
        "state_hash": state_hash(puzzle, image),
        "puzzle": puzzle.to_json(),
        "image": {"bytes": image, "path": None},
    }


def write_rows(rows: Iterable[Row], path: Path) -> int:
    """Writes one file, which appears only when whole; returns the number of rows.

    The same rows give the same bytes. A failure leaves an older file as it was.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    num_rows = 0
    try:
        with open(partial, "wb") as file:
            with pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
                for group in _groups(rows):
                    writer.write_table(pa.Table.from_pylist(group, schema=_SCHEMA))
                    num_rows += len(group)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        # a failed write, unlike a failed open, does not say of which file
        error.filename = error.filename or str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)
    return num_rows


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        group.append(row)
        if len(group) == _ROW_GROUP:
            yield group
            group = []
    if group:
        yield group


def shard_path(folder: Path, split: str, index: int, num_shards: int) -> Path:
    """Returns a shard's place, such as `train-00000-of-00012.parquet`."""
    return folder / f"{split}-{index:05d}-of-{num_shards:05d}.parquet"


def split_files(folder: Path, split: str) -> list[Path]:
    """Returns the files of a split, in order.

    Raises:
        DataError: there are none, or some are missing.
    """
    single = folder / f"{split}.parquet"
    found = {}
    nums = set()
    for path in folder.glob(f"{split}-*.parquet"):
        match = _SHARD.match(path.name)
        if match and match["split"] == split:
            found[int(match["index"])] = path
            nums.add(int(match["num"]))
    if single.is_file() and not found:
        return [single]
    again = f"`rl-avr data make --config … --data.path {folder}`"
    if not found:
        raise DataError(
            f"{single}: no such file, nor {split}-00000-of-….parquet; {again} writes it"
        )
    if len(nums) > 1 or single.is_file():
        raise DataError(
            f"{folder}: files of several sets lie here for the split {split!r}; keep one of them"
        )
    missing = set(range(nums.pop())) - set(found)
    if missing:
        name = shard_path(folder, split, min(missing), max(found) + 1).name
        raise DataError(
            f"{folder}: {len(missing)} files of the split {split!r} are missing, such as number "
            f"{min(missing)} ({name}); {again} goes on where it was stopped"
        )
    return [found[index] for index in sorted(found)]


def splits_of(folder: Path) -> list[str]:
    """Returns the splits that have files in a folder.

    Raises:
        DataError: there are none.
    """
    found = [
        split
        for split in SPLITS
        if (folder / f"{split}.parquet").is_file() or any(folder.glob(f"{split}-*-of-*.parquet"))
    ]
    if not found:
        raise DataError(
            f"{folder}: no set of puzzles; expected a folder that `rl-avr data make` or "
            "`rl-avr data import` wrote"
        )
    return found


def open_file(path: Path) -> pq.ParquetFile:
    """Opens a file of a set.

    Raises:
        DataError: not a Parquet file, or a column is missing.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: expected a Parquet file; got: {error}") from error
    names = file.schema_arrow.names
    missing = NEEDED - set(names)
    if missing:
        raise DataError(f"{path}: columns {sorted(missing)} are missing; got {names}")
    return file


def iter_rows(
    folder: Path, split: str, columns: Sequence[str] = COLUMNS
) -> Iterator[tuple[Path, int, Row]]:
    """Yields file, row number within it, and row, one row group in memory at a time.

    Raises:
        DataError: as `split_files` and `open_file`; a page that cannot be read.
    """
    for path in split_files(folder, split):
        with open_file(path) as file:
            names = [name for name in columns if name in file.schema_arrow.names]
            index = 0
            try:
                for batch in file.iter_batches(_ROW_GROUP, columns=names):
                    for row in batch.to_pylist():
                        yield path, index, row
                        index += 1
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{path}: expected a Parquet file; got: {error}") from error
