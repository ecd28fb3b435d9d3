"""What is known of a puzzle, by the names that claims have for it.

Worked out once for all completions of a puzzle, and no more of it than they speak of.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from rl_avr.contracts import Panel, ParsedCompletion, Puzzle, Scene
from rl_avr.puzzles.grammar import panel_value
from rl_avr.puzzles.puzzle_cache import PuzzleCache

Key = tuple[str, int, str, int | None]
"""Panel, component, attribute and slot of a claim."""
Prediction = tuple[int, str, int | None, int]
"""Component, attribute, slot and value of a claim about the missing panel."""
Answer = TypeVar("Answer")


class Values(dict[Key, int | None]):
    """The values of a puzzle's panels, each worked out when it is first asked for.

    None for a panel, component, attribute or slot that the puzzle does not have, and
    where a panel has no single value. Claims ask for no more than their schema has.

    Args:
        panels: name -> panel; `missing` is the right answer, where it is known.
    """

    def __init__(self, panels: Mapping[str, Panel | Scene]) -> None:
        super().__init__()
        self.panels = panels

    def __missing__(self, key: Key) -> int | None:
        name, component, attribute, slot = key
        panel = self.panels.get(name)
        value = None if panel is None else value_of(panel, attribute, component, slot)
        self[key] = value
        return value


def _values(puzzle: Puzzle) -> Values:
    panels = {f"context:{i}": panel for i, panel in enumerate(puzzle.context)}
    panels |= {f"choice:{i}": panel for i, panel in enumerate(puzzle.choices)}
    if puzzle.choices and puzzle.answer_index is not None:
        panels["missing"] = puzzle.answer
    return Values(panels)


values_of = PuzzleCache(_values)
"""Returns the values of a puzzle's panels."""


class ChoicesWith(dict[Prediction, frozenset[int]]):
    """Component, attribute, slot and value -> the choices that have it; made when asked for."""

    def __init__(self, choices: Sequence[Panel | Scene]) -> None:
        super().__init__()
        self._choices = choices

    def __missing__(self, key: Prediction) -> frozenset[int]:
        component, attribute, slot, value = key
        found = [value_of(choice, attribute, component, slot) for choice in self._choices]
        self[key] = choices = frozenset(i for i, other in enumerate(found) if other == value)
        return choices


choices_with = PuzzleCache(lambda puzzle: ChoicesWith(puzzle.choices))
"""Returns which choices of a puzzle agree with a prediction."""


class Fits(dict[tuple[int, int, str], bool | None]):
    """Choice, component and attribute -> whether the choice has the right answer's value.

    False where it has several; None where there is no such choice or no right answer.
    Made when asked for.
    """

    def __init__(self, panels: Mapping[str, Panel | Scene]) -> None:
        super().__init__()
        self._panels = panels

    def __missing__(self, key: tuple[int, int, str]) -> bool | None:
        index, component, attribute = key
        choice, answer = self._panels.get(f"choice:{index}"), self._panels.get("missing")
        fits = None
        if choice is not None and answer is not None:
            value = value_of(choice, attribute, component)
            fits = value is not None and value == value_of(answer, attribute, component)
        self[key] = fits
        return fits


fits_of = PuzzleCache(lambda puzzle: Fits(values_of(puzzle).panels))
"""Returns which attributes of a puzzle's choices fit its missing panel."""


def value_of(
    panel: Panel | Scene, attribute: str, component: int, slot: int | None = None
) -> int | None:
    """Returns the value of an attribute, or None where a panel has no single one."""
    if isinstance(panel, Panel):
        return panel_value(panel, attribute, component, slot)
    return dict(panel.values).get(attribute) if component == 0 and slot is None else None


class LastAnswer(Generic[Answer]):
    """A function of a completion and its puzzle that keeps its last answer.

    The parts of the reward ask the same of one completion, one after another. Only the
    very same objects get the same answer, which nobody may change.

    Args:
        function: what is asked.
    """

    def __init__(self, function: Callable[[ParsedCompletion, Puzzle], Answer]) -> None:
        self._function = function
        self._last: tuple[ParsedCompletion, Puzzle, Answer] | None = None

    def __call__(self, parsed: ParsedCompletion, puzzle: Puzzle) -> Answer:
        """Returns the function's answer."""
        last = self._last
        if last is None or last[0] is not parsed or last[1] is not puzzle:
            self._last = last = parsed, puzzle, self._function(parsed, puzzle)
        return last[2]
