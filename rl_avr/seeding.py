"""Hashed seeds: every random choice gets a stream of its own from a path of names.

`seed + index` would make the data of neighbouring seeds the same up to a shift;
a hash of the whole path does not.
"""

import hashlib
import random


def derive_seed(*path: str | int) -> int:
    """Returns a 63-bit seed from a path such as `("train", 17, 3)`.

    >>> derive_seed("train", 1) == derive_seed("train", 1)
    True
    >>> derive_seed("train", 1) == derive_seed("held_out", 1)
    False
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in path)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def rng_for(*path: str | int) -> random.Random:
    """Returns a `random.Random` whose stream depends on the path alone."""
    return random.Random(derive_seed(*path))
