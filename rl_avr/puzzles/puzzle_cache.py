"""What is worked out once for a puzzle and kept while it is in use."""

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from rl_avr.contracts import Puzzle

MOST_PUZZLES = 1024
"""Puzzles are asked about group by group; more than a batch of them need not be kept."""

MOST_GROUPS = 64
"""The same for what is kept of a puzzle's completions, which takes more room."""

Value = TypeVar("Value")


class PuzzleCache(Generic[Value]):
    """Keeps what `make` returned for the puzzles asked about last, while they live.

    A puzzle is told by its identity: it never changes, and its hash takes longer than
    most of what is kept. An equal puzzle that is another object has an entry of its own.

    Args:
        make: what it returns must not refer to the puzzle, which would then never die.
        most: number of puzzles kept; the first in are the first out.
    """

    def __init__(self, make: Callable[[Puzzle], Value], most: int = MOST_PUZZLES) -> None:
        self._make = make
        self._most = most
        self._entries: dict[int, tuple[weakref.ref[Puzzle], Value]] = {}

    def __call__(self, puzzle: Puzzle) -> Value:
        """Returns `make(puzzle)`."""
        entry = self._entries.get(id(puzzle))
        if entry is not None and entry[0]() is puzzle:
            return entry[1]
        return self._add(puzzle)

    def __len__(self) -> int:
        return len(self._entries)

    def _add(self, puzzle: Puzzle) -> Value:
        key, value = id(puzzle), self._make(puzzle)
        while len(self._entries) >= self._most:
            self._entries.pop(next(iter(self._entries)), None)
        self._entries[key] = weakref.ref(puzzle, lambda _: self._entries.pop(key, None)), value
        return value
