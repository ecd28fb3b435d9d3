"""What training's own chains show in wandb: rewards with intervals, right answers by rule."""

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.stats import t as student
from transformers import TrainerCallback

from rl_avr.contracts import GradedGroup, Puzzle
from rl_avr.reporting.curves import accuracy_bars

_ALL = "all"
_CONFIDENCE = 0.95
Shares = Sequence[tuple[Puzzle, float]]
"""Puzzles, each with the share of its chains that answer rightly."""


class Graded(NamedTuple):
    """What is kept of a group: no chain and no image, as checkpoints may be far apart.

    Args:
        puzzle: what its chains are about.
        right: share of those that answer rightly; None where no answer is graded.
        parts: part of the reward -> its mean over the chains that it judges.
    """

    puzzle: Puzzle
    right: float | None
    parts: Mapping[str, float]


class RolloutPanels(TrainerCallback):
    """Logs the chains since the last checkpoint to wandb, where a run of it is open.

    `rollouts/rewards` has a bar for each part of the reward, `rollouts/by_rule` the share of right
    answers by configuration and kind of rule. Each is over the groups of the main process.

    Args:
        groups: gives the newest groups.
    """

    def __init__(self, groups: Callable[[], Sequence[GradedGroup]]) -> None:
        self._groups = groups
        self._newest: Sequence[GradedGroup] = ()
        self._since: list[Graded] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remembers the step's groups, once where several steps train on them."""
        groups = self._groups()
        if groups is not self._newest and _is_shown(args, state):
            self._since += map(kept, groups)
        self._newest = groups

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Logs on the main process; nothing where no group was sampled since."""
        groups, self._since = self._since, []
        if groups and _is_shown(args, state):
            _to_wandb(groups, state.global_step)


def rule_table(shares: Shares) -> tuple[list[str], list[list[Any]]]:
    """Returns names of columns, and a row for each configuration: right answers by kind of rule.

    The first row and the column `all` are over all puzzles. A puzzle counts under every kind of
    rule that it has but `constant`; a share of no puzzle is None.
    """
    kinds = sorted({kind for puzzle, _ in shares for kind in _kinds(puzzle)})
    names = sorted({puzzle.configuration for puzzle, _ in shares})
    rows: list[list[Any]] = []
    for name in (_ALL, *names):
        here = [pair for pair in shares if name in (_ALL, pair[0].configuration)]
        parts = [here, *([pair for pair in here if kind in _kinds(pair[0])] for kind in kinds)]
        rows.append([name, len(here), *(_mean(part) for part in parts)])
    return ["configuration", "puzzles", _ALL, *kinds], rows


def kept(graded: GradedGroup) -> Graded:
    """Returns what is kept of a group."""
    parts = {}
    for name, _ in graded.scores[0].parts:
        judged = [v for score in graded.scores if (v := score.part(name)) is not None]
        if judged:
            parts[name] = float(np.mean(judged))
    choices = [v for score in graded.scores if (v := score.part("choice")) is not None]
    right = float(np.mean([value == 1.0 for value in choices])) if choices else None
    return Graded(graded.group.prompt.puzzle, right, parts)


def reward_bars(groups: Iterable[Graded], name: str) -> bytes | None:
    """Draws the parts of the reward with t intervals over puzzles, PNG; None without any.

    Args:
        groups: of the puzzles.
        name: what the bars are called.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for graded in groups:
        for part, value in graded.parts.items():
            values[part].append(value)
    cells = {part: _cell(np.array(shares)) for part, shares in values.items()}
    return accuracy_bars({name: cells}, "png", None) if cells else None


def _cell(shares_P: np.ndarray) -> dict[str, float]:
    num, value = len(shares_P), float(shares_P.mean())
    half = 0.0
    if num > 1:
        quantile = student.ppf((1 + _CONFIDENCE) / 2, num - 1)
        half = float(quantile * shares_P.std(ddof=1) / np.sqrt(num))
    low, high = np.clip([value - half, value + half], 0, 1)
    return {"value": value, "low": float(low), "high": float(high), "n": num}


def _is_shown(args: Any, state: Any) -> bool:
    return state.is_world_process_zero and "wandb" in args.report_to


def _kinds(puzzle: Puzzle) -> set[str]:
    return {rule.kind for rule in puzzle.rules} - {"constant"}


def _mean(shares: Shares) -> float | None:
    return sum(share for _, share in shares) / len(shares) if shares else None


def _to_wandb(groups: Sequence[Graded], step: int) -> None:
    import wandb

    if wandb.run is None:
        return
    columns, data = rule_table([(g.puzzle, g.right) for g in groups if g.right is not None])
    shown: dict[str, Any] = {"rollouts/by_rule": wandb.Table(columns=columns, data=data)}
    if picture := reward_bars(groups, f"step {step}"):
        shown["rollouts/rewards"] = wandb.Image(Image.open(io.BytesIO(picture)))
    wandb.run.log(shown, commit=False)
