"""What an adversarial completion must score, and the puzzles it is about.

Five puzzles: `center` and `grid` stand in tests/conftest.py and so does `photo`; `pair`
has two components and `scenes` is no matrix. Their gold chains are written out here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rl_avr.contracts import (
    Component,
    Entity,
    FinishReason,
    Panel,
    ParseStatus,
    PromptKind,
    Puzzle,
    Rule,
    Scene,
)
from rl_avr.prompts import AnswerForm

WEIGHTS = {"format": 0.1, "perception": 0.2, "rule": 0.1}
"""Default weights; the choice's is 1."""


@dataclass(frozen=True)
class Entry:
    """A completion and its worth.

    Args:
        family: what it tries.
        puzzle: key of the puzzle that it is about.
        text: the completion.
        status: what the parser must say.
        choice: what the final answer is worth.
        form: what the form is worth.
        perception: what the claims about panels are worth; None where they are not judged.
        rule: what the claims about rules are worth; None where they are not judged.
        kind: what the prompt asked for.
        answer_form: how the prompt asked for the answer.
        finish: why the engine stopped.
        note: changes to the annotation of the puzzle `photo`.
    """

    family: str
    puzzle: str
    text: str = field(repr=False)
    status: ParseStatus
    choice: float
    form: float = 0.0
    perception: float | None = 0.0
    rule: float | None = 0.0
    kind: PromptKind = "cot"
    answer_form: AnswerForm = "mark"
    finish: FinishReason = "stop"
    note: dict[str, Any] = field(default_factory=dict)

    def total(self, gate: str, format_mode: str) -> float:
        """Returns the mean by the default weights.

        (c + 0.1 f + 0.2 p + 0.1 r) / 1.4, where what is not judged leaves both sums. With
        the gate all but c count only where c is 1. `implicit` has no f; `and` has c only
        where f is 1.
        """
        right = 0.0 if format_mode == "and" and self.form < 1 else self.choice
        parts = {"format": self.form, "perception": self.perception, "rule": self.rule}
        if format_mode == "implicit":
            del parts["format"]
        judged = {name: part for name, part in parts.items() if part is not None}
        beside = sum(WEIGHTS[name] * part for name, part in judged.items())
        if gate == "choice" and right < 1:
            beside = 0.0
        return (right + beside) / (1 + sum(WEIGHTS[name] for name in judged))


def f1(num_right: int, num_claims: int, num_seen: int, num_stated: int = 24) -> float:
    """Returns 2 P R / (P + R), P = right / claims, R = seen / stated."""
    precision, recall = num_right / num_claims, num_seen / num_stated
    return 2 * precision * recall / (precision + recall)


PREFIX = "This is a regular puzzle."
TYPE = "Type: square square square | circle circle circle | hexagon hexagon -> constant -> hexagon"
SIZE = "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4"
COLOR = "Color: 3 4 7 | 1 1 2 | 5 2 -> arithmetic + -> 7"
MISSING = "Missing panel: hexagon 4 7"
TRIED = ("A: circle no", "B: hexagon yes, 3 no", "C: hexagon yes, 4 yes, 7 yes")

BODIES = {
    "center": "\n".join((PREFIX, TYPE, SIZE, COLOR, MISSING, *TRIED)),
    "grid": (
        "This is a regular puzzle.\n"
        "Number: 2 2 2 | 1 1 1 | 3 3 -> no rule\n"
        "Position: 14 14 14 | 2 2 2 | 123 123 -> constant -> 123\n"
        f"{TYPE}\n"
        f"{SIZE}\n"
        "Color: 3.5 3.5 3.5 | 4 4 4 | 1.2.2 1.2.2 -> no rule\n"
        "Missing panel: any 123 hexagon 4 any\n"
        "A: 123 yes, hexagon yes, 1 no\n"
        "B: 123 yes, hexagon yes, 4 yes"
    ),
    "pair": (
        "This is a regular puzzle.\n"
        f"Left {TYPE}\n"
        f"Left {SIZE}\n"
        f"Left {COLOR}\n"
        "Right Type: triangle square pentagon | square pentagon triangle | pentagon triangle"
        " -> distribute three -> square\n"
        "Right Size: 1 1 1 | 2 2 2 | 3 3 -> constant -> 3\n"
        "Right Color: 4 3 2 | 7 6 5 | 9 8 -> progression -1 -> 7\n"
        "Missing panel: hexagon 4 7 square 3 7\n"
        "A: hexagon yes, 4 yes, 7 yes, circle no\n"
        "B: hexagon yes, 4 yes, 7 yes, square yes, 3 yes, 7 yes"
    ),
    "scenes": (
        "This is a non-regular puzzle.\n"
        "Item count: 1 2 3 4 -> plus 1 -> 5\n"
        "Item shape: disc box disc plus -> no rule\n"
        "Missing panel: 5 any\n"
        "A: 3 no\n"
        "B: 5 yes"
    ),
    "photo": (
        "This is a photographed puzzle.\n"
        "Each tile is turned by a quarter.\n"
        "So the next one points up."
    ),
}
"""Puzzle -> its gold chain without the answer line."""
LETTERS = {"center": "C", "grid": "B", "pair": "B", "scenes": "B", "photo": "C"}
"""Puzzle -> its right letter; A is wrong everywhere."""
STATE = ("center", "grid", "pair", "scenes")
"""The puzzles whose state is known."""
NUM_STATED = {"center": 24, "grid": 47, "pair": 48, "scenes": 8}
"""Puzzle -> names that its chain states about the shown panels."""

CENTER = BODIES["center"]
FIRST = "Panel 1 shows a square of size 0 and color 3."
"""Three right claims about `center`."""

FLUENT = "\n".join(
    (
        PREFIX,
        FIRST,
        "In panel 2 there is a square of size 1 and color 4.",
        "Panel 3 contains a square; its size is 2 and its color 7.",
        "The shape in panel 4 is a circle with size 1 and color 1.",
        "I see a circle in panel 5, with size 2 and color 1.",
        "A circle of size 3 and color 2 stands in panel 6.",
        "Panel 7 shows a hexagon of size 2 and color 5.",
        "Panel 8 shows a hexagon of size 3 and color 2.",
        "The type stays the same along row 1 and stays the same along row 2.",
        "The rule for the type is this: it stays the same along each row; so the missing panel "
        "has hexagon.",
        "For the size I find that it goes up by 1 from each panel to the next, hence 4 is missing.",
        "One rule fits the color: the third panel of a row adds up the first two; that leaves 7 "
        "for the missing panel.",
        "So in the missing panel the type is hexagon, the size is 4 and the color is 7.",
        "In choice A the type is circle, which is wrong.",
        "As for choice B, the type is hexagon, which fits, but the size is 3, which does not fit.",
        "Choice C: the type is hexagon, which fits, and the size is 4, as predicted, and the "
        "color is 7, which is right.",
    )
)
"""The gold chain of `center` in sentences, without the answer line."""


def _pair(*levels: tuple[int, int, int]) -> Panel:
    return Panel(tuple(Component((Entity(*one),)) for one in levels))


PAIR = Puzzle(
    puzzle_id="pair-by-hand",
    family="rpm",
    configuration="left_center_single_right_center_single",
    context=(
        _pair((2, 0, 3), (1, 1, 4)),
        _pair((2, 1, 4), (2, 1, 3)),
        _pair((2, 2, 7), (3, 1, 2)),
        _pair((5, 1, 1), (2, 2, 7)),
        _pair((5, 2, 1), (3, 2, 6)),
        _pair((5, 3, 2), (1, 2, 5)),
        _pair((4, 2, 5), (3, 3, 9)),
        _pair((4, 3, 2), (1, 3, 8)),
    ),
    choices=(
        _pair((4, 4, 7), (5, 3, 7)),
        _pair((4, 4, 7), (2, 3, 7)),
        _pair((4, 4, 7), (2, 2, 7)),
        _pair((4, 3, 7), (2, 3, 7)),
    ),
    answer_index=1,
    rules=(
        Rule("type", "constant"),
        Rule("size", "progression", 1),
        Rule("color", "arithmetic", 1),
        Rule("type", "distribute_three", 0, 1),
        Rule("size", "constant", 0, 1),
        Rule("color", "progression", -1, 1),
    ),
    difficulty=3,
    seed=0,
)


def _scene(count: int, shape: int) -> Scene:
    return Scene((("item_count", count), ("item_shape", shape), ("_item_scatter", 0)))


SCENES = Puzzle(
    puzzle_id="scenes-by-hand",
    family="nonregular",
    configuration="sequence",
    context=(_scene(1, 0), _scene(2, 1), _scene(3, 0), _scene(4, 4)),
    choices=(_scene(3, 2), _scene(5, 2), _scene(4, 1), _scene(6, 2)),
    answer_index=1,
    rules=(Rule("item_count", "progression", 1),),
    difficulty=1,
    seed=0,
)


def with_answer(family: str, puzzle: str, rows: Iterable[tuple[str, float, float]]) -> list[Entry]:
    """Returns entries of (claims, perception, rule), each with the right letter behind them.

    The form is wrong in all of them.
    """
    answer = f"\n### Answer: {LETTERS[puzzle]}"
    return [
        Entry(family, puzzle, text + answer, "malformed", 1.0, 0.0, perception, rule)
        for text, perception, rule in rows
    ]
