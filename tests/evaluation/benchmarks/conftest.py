"""Images, and what a loader made of a folder."""

import io
import struct
import zlib

import pytest
from PIL import Image

from rl_avr.evaluation.problems import Problem, Refused


@pytest.fixture
def png():
    """Makes a small PNG of one color."""

    def make(color: int = 7) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (12, 9), (color, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()

    return make


@pytest.fixture
def png_bomb() -> bytes:
    """A whole PNG of a few hundred kB whose header claims 12,000 by 12,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    side = 12_000
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * side), 1)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
def split():
    """Sorts what a loader yields into problems and refused items."""

    def sort(found) -> tuple[list[Problem], list[Refused]]:
        found = list(found)
        return (
            [item for item in found if isinstance(item, Problem)],
            [item for item in found if isinstance(item, Refused)],
        )

    return sort
