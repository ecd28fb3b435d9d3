"""Which policy a folder holds: a hash of its files."""

from hashlib import blake2b
from pathlib import Path

_POLICY_FILES = (".json", ".jinja", ".safetensors", ".bin", ".txt", ".model")
_NUM_BLOCKS = 64
_BLOCK_BYTES = 1 << 16


def policy_digest(path: Path) -> str:
    """Returns a hash of a policy's files, of large ones of evenly spread blocks; "" for no folder.

    A policy that was trained further in the same folder has another one.
    """
    if not path.is_dir():
        return ""
    digest = blake2b(digest_size=16)
    for file in sorted(path.iterdir()):
        if file.suffix not in _POLICY_FILES or not file.is_file():
            continue
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}:".encode())
        stride = max(_BLOCK_BYTES, size // _NUM_BLOCKS)
        with file.open("rb") as stream:
            for start in range(0, size, stride):
                stream.seek(start)
                digest.update(stream.read(_BLOCK_BYTES))
    return digest.hexdigest()
