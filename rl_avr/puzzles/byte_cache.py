"""A cache of arrays that is bounded by their bytes, not by their number."""

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

_ENTRY_BYTES = 400
"""What an entry costs beside its pixels: key, array headers, place in the dictionary."""


class ByteCache:
    """Keeps what `make` returned, oldest out first, within a number of bytes.

    Pictures of different sizes share one cache, so a bound on the number of entries
    would bound nothing. Keys are the arguments of `make`.

    Args:
        make: returns an array, or a tuple that holds arrays.
        budget_bytes: most bytes kept; one entry is kept even where it is larger.
    """

    def __init__(self, make: Callable[..., Any], budget_bytes: int) -> None:
        self._make = make
        self._budget_bytes = budget_bytes
        self._entries: dict[Hashable, Any] = {}
        self.num_bytes = 0

    def __call__(self, *key: Hashable) -> Any:
        """Returns `make(*key)`; its arrays are read-only, for they are shared."""
        found = self._entries.get(key)
        return self._add(key) if found is None else found

    def __len__(self) -> int:
        return len(self._entries)

    def _add(self, key: tuple[Hashable, ...]) -> Any:
        made = self._make(*key)
        for array in _arrays(made):
            array.flags.writeable = False
        self._entries[key] = made
        self.num_bytes += _num_bytes(made)
        while self.num_bytes > self._budget_bytes and len(self._entries) > 1:
            oldest = next(iter(self._entries))
            self.num_bytes -= _num_bytes(self._entries.pop(oldest))
        return made


def _arrays(made: Any) -> list[np.ndarray]:
    parts = made if isinstance(made, tuple) else (made,)
    return [part for part in parts if isinstance(part, np.ndarray)]


def _num_bytes(made: Any) -> int:
    return _ENTRY_BYTES + sum(array.nbytes for array in _arrays(made))
