"""The npz half of a problem in RAVEN's format, read without trust and written.

image          uint8 (16, 160, 160), the shown panels, then the choices
target         whole number (), index of the right choice
predict        what the generator's own solver said: a leak, never read, written as -1
meta_matrix    uint8 (8, 9), a row of flags per rule
meta_target    uint8 (9,), their union
structure      text (n,), the tree of components; bytes where Python 2 wrote it
meta_structure uint8 (21,)
"""

import io
import math
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rl_avr.errors import DataError

NO_PREDICTION = -1

Shapes = Mapping[str, tuple[str, tuple[int | None, ...] | int]]
"""Key -> kinds (and bytes) of the element, and the shape: None is any length up to a limit; a
whole number any shape with so many elements."""
RAVEN: Shapes = {
    "image": ("u1", (16, 160, 160)),
    "target": ("iu", ()),
    "meta_matrix": ("u1", (8, 9)),
    "meta_target": ("u1", (9,)),
    "structure": ("SU", (None,)),
    "meta_structure": ("u1", (21,)),
}
_MAX_FILE_BYTES = 4 * 2**20
_MAX_BYTES = 4 * 2**20
_MAX_LENGTH = 64
_MAX_HEADER_BYTES = 10_000
_HEADER_START = 12
"""Bytes before an array's header: the format's name, its version, and the header's length."""
_READ_ERRORS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
_UNSUPPORTED = (NotImplementedError, RuntimeError)
"""What zipfile raises for a method that it does not know, and for an encrypted member."""


def read_arrays(
    path: Path, shapes: Shapes = RAVEN, optional: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Returns the arrays by key, as a rule those of RAVEN but `predict`; bytes as text.

    The header of each array is checked before any of its data is used, so nothing is
    unpickled and no size is believed. No other member of the file is opened. The arrays
    cannot be written to.

    Args:
        path: an npz file.
        shapes: what to read.
        optional: the keys that may be missing.

    Raises:
        DataError: naming the file and the key.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_FILE_BYTES:
            raise DataError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes of a file")
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            missing = [key for key in shapes if key not in members and key not in optional]
            if missing:
                raise DataError(
                    f"{path}: expected the keys {', '.join(shapes)}, got "
                    f"{', '.join(members) or 'none'}; missing: {', '.join(missing)}"
                )
            return {
                key: _read_array(archive, members[key], data, f"{path}: {key}", wanted)
                for key, wanted in shapes.items()
                if key in members
            }
    except DataError:
        raise
    except (*_READ_ERRORS, *_UNSUPPORTED) as error:
        raise DataError(
            f"{path}: expected an npz file with whole arrays, got {type(error).__name__}: {error}"
        ) from None


def _read_array(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    data: bytes,
    where: str,
    wanted: tuple[str, tuple[int | None, ...] | int],
) -> np.ndarray:
    try:
        content = _content(archive, member, data)
        stream = io.BytesIO(content[: _MAX_HEADER_BYTES + _HEADER_START])
        shape, dtype, is_fortran = _parse_header(*_read_header(stream))
        _check_header(shape, dtype, where, *wanted)
        if member.file_size > _MAX_BYTES:
            raise DataError(f"{where}: expected at most {_MAX_BYTES} bytes, got {member.file_size}")
        body = content[stream.tell() :]
        num_bytes = math.prod(shape) * dtype.itemsize
        if len(body) < num_bytes:
            raise EOFError(f"{len(body)} of {num_bytes} bytes")
        if len(body) > num_bytes:
            raise DataError(f"{where}: expected the end of the array, got more bytes")
        array = np.frombuffer(body, dtype).reshape(shape, order="F" if is_fortran else "C")
        return _as_text(array, where) if dtype.kind in "SU" else array
    except DataError:
        raise
    except (*_READ_ERRORS, *_UNSUPPORTED) as error:
        raise DataError(
            f"{where}: expected a whole array, got {type(error).__name__}: {error}"
        ) from None


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, data: bytes) -> memoryview:
    """Returns the bytes of a member, compared with their checksum, at most a little over the limit.

    A member that is not packed, as numpy writes them, is a part of the file and not copied.
    """
    with archive.open(member) as stream:
        if member.compress_type != zipfile.ZIP_STORED:
            unpacked = stream.read(_MAX_BYTES + 1)
            # at the end the checksum is compared
            stream.read(1)
            return memoryview(unpacked)
    # in the member's own header, which `open` has checked, the lengths of its name and extra field
    lengths = struct.unpack_from("<HH", data, member.header_offset + 26)
    start = member.header_offset + 30 + sum(lengths)
    content = memoryview(data)[start : start + member.file_size]
    if zlib.crc32(content) != member.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {member.filename!r}")
    return content


def _read_header(stream: BinaryIO | Any) -> tuple[tuple[int, int], bytes]:
    """Returns the version of the format and the header, its length in front, unparsed."""
    version = np.lib.format.read_magic(stream)
    length = stream.read(2 if version == (1, 0) else 4)
    num_bytes = int.from_bytes(length, "little")
    if num_bytes > _MAX_HEADER_BYTES:
        raise ValueError(f"a header of {num_bytes} bytes, more than {_MAX_HEADER_BYTES}")
    return version, length + stream.read(num_bytes)


# parsing is by Python's own syntax tree and takes longer than the rest; all files have the same few
@lru_cache(maxsize=256)
def _parse_header(
    version: tuple[int, int], header: bytes
) -> tuple[tuple[int, ...], np.dtype, bool]:
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(io.BytesIO(header))
    return shape, dtype, is_fortran


def _check_header(
    shape: tuple[int, ...],
    dtype: np.dtype,
    where: str,
    kinds: str,
    wanted: tuple[int | None, ...] | int,
) -> None:
    if dtype.hasobject:
        raise DataError(f"{where}: an object array, which only unpickling could read; refused")
    is_kind = dtype == np.uint8 if kinds == "u1" else dtype.kind in kinds
    if isinstance(wanted, int):
        fits = math.prod(shape) == wanted
    else:
        fits = len(shape) == len(wanted) and all(
            n == m if m is not None else 0 < n <= _MAX_LENGTH
            for n, m in zip(shape, wanted, strict=True)
        )
    if not is_kind or not fits or math.prod(shape) * dtype.itemsize > _MAX_BYTES:
        named = {"u1": "uint8", "iu": "whole numbers", "iufb": "numbers", "SU": "text"}[kinds]
        raise DataError(f"{where}: expected {named} of shape {wanted}, got {dtype} of {shape}")


def _as_text(array: np.ndarray, where: str) -> np.ndarray:
    try:
        if array.dtype.kind == "S":
            return np.char.decode(array, "ascii")
        # what is no character is found when it is read
        array.tolist()
        return array
    except ValueError as error:
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
