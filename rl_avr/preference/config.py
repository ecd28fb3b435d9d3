"""Settings of making preference pairs."""

from dataclasses import dataclass, field
from typing import Literal

from rl_avr.errors import ConfigError, check_range, nearest

WAY_NAMES = (
    "random",
    "hard_choice",
    "hard_perception",
    "length_matched",
    "perception_graded",
    "gold_vs_own_error",
)


@dataclass(frozen=True)
class PairsConfig:
    """Which pairs are made of recorded rollouts."""

    rollouts: tuple[str, ...] = ("runs/demo/rollout_warm",)
    """Folders that `rl-avr rollout` wrote; no prompt may be in two of them."""
    ways: dict[str, int] = field(default_factory=lambda: {"random": 3})
    """Way of choosing -> most pairs of a question: random, hard_choice, hard_perception,
    length_matched, perception_graded, gold_vs_own_error, or the user's own, `package.module:name`;
    0 leaves a way out."""
    min_accuracy: float = 0.25
    """Least share of right completions of a question that is taken; the bound itself is."""
    max_accuracy: float = 0.85
    """Largest share, likewise."""
    chosen: Literal["whole", "answered"] = "whole"
    """`whole`, only a completion with every section in order may be chosen; `answered`, one with a
    single readable answer. One that was cut off never is."""
    rejected: Literal["answered", "finished", "any"] = "answered"
    """`answered`, only a completion with a single readable answer is rejected, so that pairs are
    about reasons and not about form; `finished`, unreadable ones too; `any`, those that were cut
    off, too."""
    right_perception: float = 0.95
    """F1 of the claims about shown panels from which perception counts as right, for `hard_*`."""
    wrong_perception: float = 0.9
    """F1 below which perception counts as wrong, for `hard_perception`."""
    perception_margin: float = 0.1
    """Least difference in F1 of `perception_graded`."""
    length_gap: float = 0.05
    """Largest difference in length of `length_matched`, as a share of the longer one."""
    held_out: tuple[str, ...] = ()
    """Sets that no puzzle of the pairs may be in, each `folder:split`, such as
    runs/demo/data:held_out."""
    benchmarks: dict[str, str] = field(default_factory=dict)
    """Benchmarks likewise: name, as of `eval.benchmark`, -> where it lies."""
    on_leak: Literal["fail", "drop"] = "fail"
    """What is done about a puzzle that is in one of them: no pairs at all, or none of it."""
    balance: Literal["none", "answer"] = "none"
    """`answer`, of all pairs as many are kept as can be with every answer as often rejected as it
    is chosen, so that none of them is learned to be good or bad in itself; needs many pairs a
    question to begin with."""
    num_shown: int = 12
    """Pairs on the page."""
    is_dry_run: bool = False
    """Prints the statistics and writes the page into the folder `dry_run` in `run.dir` alone."""

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        if not self.rollouts or len(set(self.rollouts)) < len(self.rollouts):
            raise ConfigError(f"rollouts: expected different folders, got {list(self.rollouts)}")
        for name, num in self.ways.items():
            module, _, attribute = name.partition(":")
            if name not in WAY_NAMES and not (module and attribute):
                raise ConfigError(
                    f"ways: expected {', '.join(WAY_NAMES)} or your own as package.module:name; "
                    f"got {name!r}, the nearest is {nearest(name, WAY_NAMES, count=1)}"
                )
            check_range(f"ways.{name}", num, 0)
        if not any(self.ways.values()):
            raise ConfigError(f"ways: expected a number above 0, got {self.ways}")
        check_range("min_accuracy", self.min_accuracy, 0, 1)
        check_range("max_accuracy", self.max_accuracy, self.min_accuracy, 1)
        check_range("right_perception", self.right_perception, 0, 1)
        check_range("wrong_perception", self.wrong_perception, 0, self.right_perception)
        check_range("perception_margin", self.perception_margin, 0, 1, open_low=True)
        check_range("length_gap", self.length_gap, 0, 1)
        check_range("num_shown", self.num_shown, 0)
        for name in self.held_out:
            folder, _, split = name.rpartition(":")
            if not (folder and split):
                raise ConfigError(f"held_out: expected folder:split, got {name!r}")
