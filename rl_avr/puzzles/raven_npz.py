"""The npz half of a problem in RAVEN's format, read without trust and written.

image          uint8 (16, 160, 160), the shown panels, then the choices
target         whole number (), index of the right choice
predict        what the generator's own solver said: a leak, never read, written as -1
meta_matrix    uint8 (8, 9), a row of flags per rule
meta_target    uint8 (9,), their union
structure      text (n,), the tree of components; bytes where Python 2 wrote it
meta_structure uint8 (21,)
"""

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rl_avr.errors import DataError

NO_PREDICTION = -1

_SHAPES: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "image": ("u1", (16, 160, 160)),
    "target": ("iu", ()),
    "meta_matrix": ("u1", (8, 9)),
    "meta_target": ("u1", (9,)),
    "structure": ("SU", (None,)),
    "meta_structure": ("u1", (21,)),
}
"""Kinds (and bytes) of the element, and the shape; None is any length up to the limit."""
_MAX_FILE_BYTES = 4 * 2**20
_MAX_BYTES = 2**20
_MAX_LENGTH = 64
_READ_ERRORS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
_UNSUPPORTED = (NotImplementedError, RuntimeError)
"""What zipfile raises for a method that it does not know, and for an encrypted member."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns every array but `predict`, by key; `structure` as text.

    The header of each array is checked before any of its data is read, so nothing is
    unpickled and no size is believed.

    Raises:
        DataError: naming the file and the key.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise DataError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes")
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            missing = [key for key in _SHAPES if key not in members]
            if missing:
                raise DataError(
                    f"{path}: expected the keys {', '.join(_SHAPES)}, got "
                    f"{', '.join(members) or 'none'}; missing: {', '.join(missing)}"
                )
            return {key: _read_array(archive, members[key], path, key) for key in _SHAPES}
    except DataError:
        raise
    except (*_READ_ERRORS, *_UNSUPPORTED) as error:
        raise DataError(
            f"{path}: expected an npz file with whole arrays, got {type(error).__name__}: {error}"
        ) from None


def _read_array(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, key: str
) -> np.ndarray:
    where = f"{path}: {key}"
    try:
        with archive.open(member) as stream:
            shape, dtype = _read_header(stream)
            _check_header(shape, dtype, where, key)
        if member.file_size > _MAX_BYTES:
            raise DataError(f"{where}: expected at most {_MAX_BYTES} bytes, got {member.file_size}")
        with archive.open(member) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
            # reads to the end, where zipfile compares the checksum
            if stream.read(1):
                raise DataError(f"{where}: expected the end of the array, got more bytes")
    except DataError:
        raise
    except (*_READ_ERRORS, *_UNSUPPORTED) as error:
        raise DataError(
            f"{where}: expected a whole array, got {type(error).__name__}: {error}"
        ) from None
    return _as_text(array, where) if key == "structure" else array


def _read_header(stream: BinaryIO | Any) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _check_header(shape: tuple[int, ...], dtype: np.dtype, where: str, key: str) -> None:
    kinds, wanted = _SHAPES[key]
    if dtype.hasobject:
        raise DataError(f"{where}: an object array, which only unpickling could read; refused")
    is_kind = dtype == np.uint8 if kinds == "u1" else dtype.kind in kinds
    fits = len(shape) == len(wanted) and all(
        n == m if m is not None else 0 < n <= _MAX_LENGTH
        for n, m in zip(shape, wanted, strict=True)
    )
    if not is_kind or not fits or math.prod(shape) * dtype.itemsize > _MAX_BYTES:
        named = {"u1": "uint8", "iu": "whole numbers", "SU": "text"}[kinds]
        raise DataError(f"{where}: expected {named} of shape {wanted}, got {dtype} of {shape}")


def _as_text(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype.kind == "U":
        return array
    try:
        return np.char.decode(array, "ascii")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: expected ASCII, got {error}") from None


def write_arrays(
    stream: BinaryIO, image: np.ndarray, target: int, meta: Mapping[str, np.ndarray]
) -> None:
    """Writes an npz with every key of the format; `predict` says nothing."""
    arrays = {
        "image": image,
        "target": np.array(target, np.int64),
        "predict": np.array(NO_PREDICTION, np.int64),
        **meta,
    }
    np.savez(stream, allow_pickle=False, **arrays)
