"""What a validation shows in wandb beside its numbers: bars with intervals, answers by tag."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.stats import binomtest

from rl_avr.contracts import Puzzle
from rl_avr.reporting.curves import accuracy_bars
from rl_avr.training.rollout_panels import rule_table


class ChainValues(NamedTuple):
    """What a chain of one puzzle is worth.

    Args:
        puzzle: what it is about.
        is_right: whether its answer is right.
        perception: F1 of what it says about the panels; None without a state.
        is_parsed: whether it has every section, in order, and one answer.
    """

    puzzle: Puzzle
    is_right: bool
    perception: float | None
    is_parsed: bool


@dataclass(frozen=True)
class Answered:
    """The answers to some puzzles.

    Args:
        questions: whether each question about what is seen was answered rightly.
        chains: one of each puzzle.
    """

    questions: tuple[bool, ...]
    chains: tuple[ChainValues, ...]

    @property
    def totals(self) -> np.ndarray:
        """(4, 2): of each metric the sum over what could be judged, and how much that was."""
        seen = [one.perception for one in self.chains if one.perception is not None]
        columns: Sequence[Sequence[float]] = (
            self.questions,
            [one.is_right for one in self.chains],
            seen,
            [one.is_parsed for one in self.chains],
        )
        return np.array([[float(sum(column)), len(column)] for column in columns])


def joined(parts: Sequence[Answered]) -> Answered:
    """Returns the answers of all ranks."""
    return Answered(
        tuple(value for part in parts for value in part.questions),
        tuple(value for part in parts for value in part.chains),
    )


def bars(found: Answered, name: str) -> bytes | None:
    """Draws the shares of right answers with Wilson's 95% intervals, PNG; None without any.

    Args:
        found: the answers.
        name: what the bars are called.
    """
    right = {
        "questions": found.questions,
        "answers": [one.is_right for one in found.chains],
        "parsed": [one.is_parsed for one in found.chains],
    }
    cells = {metric: _cell(values) for metric, values in right.items() if values}
    nums = [one.puzzle.num_choices for one in found.chains if one.puzzle.num_choices]
    chance = {"answers": float(np.mean([1 / num for num in nums]))} if nums else {}
    return accuracy_bars({name: cells}, "png", None, [("guessing", chance)])


def _cell(values: Sequence[bool]) -> dict[str, float]:
    num, right = len(values), sum(values)
    ends = binomtest(right, num).proportion_ci(method="wilson")
    return {"value": right / num, "low": float(ends.low), "high": float(ends.high), "n": num}


def log_panels(found: Answered, step: int) -> None:
    """Logs bars and table to wandb, where a run of it is open."""
    import wandb

    if wandb.run is None:
        return
    columns, data = rule_table([(one.puzzle, float(one.is_right)) for one in found.chains])
    shown: dict[str, Any] = {"validation/by_rule": wandb.Table(columns=columns, data=data)}
    if picture := bars(found, f"step {step}"):
        shown["validation/accuracy"] = wandb.Image(Image.open(io.BytesIO(picture)))
    wandb.run.log(shown, commit=False)
