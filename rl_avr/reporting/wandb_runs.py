"""Metrics out of an offline run of wandb, in the rows that `read_metrics` gives.

The file is a log in blocks of 32 KiB, as LevelDB writes its own: seven bytes of head, then
records, each in one piece or several with a checksum; a record is a message of wandb's.

Source: the format of LevelDB's log (doc/log_format.md of its repository).
"""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_avr.errors import DataError

_HEAD = b":W&B"
_HEAD_BYTES = 7
_BLOCK_BYTES = 1 << 15
_PIECE = struct.Struct("<IHB")
"""Checksum, length and kind of a piece."""
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_PREFIX = "train/"
"""What transformers puts before the name of every metric that a trainer logs."""


def read_wandb(path: Path) -> list[dict[str, Any]]:
    """Returns the metrics of an offline run, one row per step, in the order of the steps.

    Names are those of metrics.jsonl. As there, the rows of a step are merged and the newest
    value of a name stands; what a killed process left half written at the end is left out.

    Args:
        path: a file `run-*.wandb`.

    Raises:
        DataError: it cannot be read, is none of wandb's, or is broken before its end; or wandb,
            which knows the messages, is not installed.
    """
    try:
        from wandb.proto.wandb_internal_pb2 import Record
    except ImportError as error:
        raise DataError(f"{path}: expected wandb to be installed, to read its file") from error
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: expected an offline run of wandb; got: {error}") from error
    rows: dict[int, dict[str, Any]] = {}
    for message in _messages(raw, path):
        record = Record.FromString(message)
        if record.WhichOneof("record_type") != "history":
            continue
        logged = {item.key or "/".join(item.nested_key): item for item in record.history.item}
        values = {name: json.loads(item.value_json) for name, item in logged.items()}
        step = values.get(f"{_PREFIX}global_step")
        if isinstance(step, int):
            row = {"step": step, "time": values.get("_timestamp")}
            row |= {
                name.removeprefix(_PREFIX): value
                for name, value in values.items()
                if name.startswith(_PREFIX) and name != f"{_PREFIX}global_step"
            }
            rows[step] = {**rows.get(step, {}), **row}
    return [rows[step] for step in sorted(rows)]


def _messages(raw: bytes, path: Path) -> Iterator[bytes]:
    """Yields the records of a file; one that is cut off at the end is left out."""
    if not raw.startswith(_HEAD):
        raise DataError(f"{path}: expected a file of wandb, got {raw[:4]!r} at its start")
    place, pieces = _HEAD_BYTES, b""
    while place + _PIECE.size <= len(raw):
        left = _BLOCK_BYTES - place % _BLOCK_BYTES
        if left < _PIECE.size:
            place += left
            continue
        checksum, length, kind = _PIECE.unpack_from(raw, place)
        start = place + _PIECE.size
        place = start + length
        if place > len(raw):
            return
        piece = raw[start:place]
        if zlib.crc32(piece, zlib.crc32(bytes([kind]))) != checksum:
            raise DataError(f"{path}, byte {start}: expected the checksum of what is there")
        pieces = piece if kind in (_FULL, _FIRST) else pieces + piece
        if kind in (_FULL, _LAST):
            yield pieces
