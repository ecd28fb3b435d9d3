"""Online difficulty: how often each puzzle and each category is solved, as it was sampled.

A by-product of sampling: every group counts, those that were thrown away before training too,
or the rate of what is left would lean towards one half. Samplers read it through `pass_rate`
and `pass_rate_of`; nothing here asks a trainer or an engine.

    passed <- decay * passed + sum of outcomes
    seen   <- decay * seen + number of outcomes         pass rate = passed / seen

With a decay of 1 both are plain counts; below 1 what older weights did is forgotten.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_avr.errors import DataError

Tally = tuple[float, float]
"""Passed and seen."""


class DifficultyRecord:
    """Pass rates by puzzle and by category.

    Args:
        decay: in (0, 1]; what a tally keeps when its own puzzle or category comes again.

    >>> record = DifficultyRecord()
    >>> record.add("p1", "center_single", [1.0, 0.0, 0.0, None])
    >>> record.add("p2", "center_single", [1.0])
    >>> round(record.pass_rate("p1"), 3), record.pass_rate_of("center_single")
    (0.333, 0.5)
    >>> print(record.pass_rate("p3"))
    None
    """

    def __init__(self, decay: float = 1.0) -> None:
        self._decay = decay
        self._puzzles: dict[str, Tally] = {}
        self._categories: dict[str, Tally] = {}

    def add(self, puzzle_id: str, category: str, outcomes: Sequence[float | None]) -> None:
        """Counts one group.

        Args:
            puzzle_id: the puzzle that was asked.
            category: what the puzzle is counted under, such as its configuration.
            outcomes: of each completion, in [0, 1]; None where it could not be judged, which
                counts as not seen.
        """
        judged = [outcome for outcome in outcomes if outcome is not None]
        if not judged:
            return
        for tallies, key in ((self._puzzles, puzzle_id), (self._categories, category)):
            passed, seen = tallies.get(key, (0.0, 0.0))
            tallies[key] = (
                self._decay * passed + sum(judged),
                self._decay * seen + len(judged),
            )

    def pass_rate(self, puzzle_id: str) -> float | None:
        """Returns the share of a puzzle's completions that were right; None if never seen."""
        return _rate(self._puzzles.get(puzzle_id))

    def pass_rate_of(self, category: str) -> float | None:
        """Returns the share of a category's completions that were right; None if never seen."""
        return _rate(self._categories.get(category))

    def num_seen(self, puzzle_id: str) -> float:
        """Returns how many completions a puzzle's rate stands on, after forgetting."""
        return self._puzzles.get(puzzle_id, (0.0, 0.0))[1]

    @property
    def puzzle_ids(self) -> tuple[str, ...]:
        """Every puzzle seen, in the order of first sight."""
        return tuple(self._puzzles)

    @property
    def categories(self) -> tuple[str, ...]:
        """Every category seen, in the order of first sight."""
        return tuple(self._categories)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values from which `from_dict` makes an equal record."""
        return {
            "decay": self._decay,
            "categories": {key: list(tally) for key, tally in self._categories.items()},
            "puzzles": {key: list(tally) for key, tally in self._puzzles.items()},
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], decay: float | None = None) -> "DifficultyRecord":
        """Returns the record that `to_dict` described; `decay` replaces its own from here on.

        Raises:
            ValueError, KeyError, TypeError or AttributeError: it is none.
        """
        record = cls(float(raw["decay"]) if decay is None else decay)
        record._puzzles = {key: _tally(pair) for key, pair in raw["puzzles"].items()}
        record._categories = {key: _tally(pair) for key, pair in raw["categories"].items()}
        return record

    def save(self, path: Path) -> None:
        """Writes the record as JSON; the file is never seen half written."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> "DifficultyRecord":
        """Reads what `save` wrote.

        Raises:
            DataError: the file cannot be read or is no record.
        """
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: expected a record of difficulty; got: {error!r}") from error


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file that appears only when whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _rate(tally: Tally | None) -> float | None:
    return tally[0] / tally[1] if tally else None


def _tally(pair: Sequence[Any]) -> Tally:
    passed, seen = float(pair[0]), float(pair[1])
    if not (math.isfinite(seen) and 0 <= passed <= seen and seen > 0):
        raise ValueError(f"passed {passed} of {seen}: expected 0 to a number above 0")
    return passed, seen
