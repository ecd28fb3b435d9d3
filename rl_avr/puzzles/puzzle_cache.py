"""What is worked out once for a puzzle and kept as long as it lives."""

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from rl_avr.contracts import Puzzle

Value = TypeVar("Value")


class PuzzleCache(Generic[Value]):
    """Keeps what `make` returned for each living puzzle.

    A puzzle is told by its identity: it never changes, and its hash takes longer than
    most of what is kept. An equal puzzle that is another object has an entry of its own.

    Args:
        make: what it returns must not refer to the puzzle, which would then never die.
    """

    def __init__(self, make: Callable[[Puzzle], Value]) -> None:
        self._make = make
        self._entries: dict[int, tuple[weakref.ref[Puzzle], Value]] = {}

    def __call__(self, puzzle: Puzzle) -> Value:
        """Returns `make(puzzle)`."""
        entry = self._entries.get(id(puzzle))
        if entry is not None and entry[0]() is puzzle:
            return entry[1]
        value, key = self._make(puzzle), id(puzzle)
        self._entries[key] = weakref.ref(puzzle, lambda _: self._entries.pop(key, None)), value
        return value

    def __len__(self) -> int:
        return len(self._entries)
