"""Settings of the puzzle engine."""

import math
from dataclasses import dataclass, field
from typing import Literal

from rl_avr.errors import ConfigError, check_range

RuleKind = Literal["progression", "arithmetic", "distribute_three", "constant"]
AnswerSet = Literal["iraven", "fair", "raven"]

_ALL_KINDS: tuple[RuleKind, ...] = ("progression", "arithmetic", "distribute_three", "constant")


@dataclass(frozen=True)
class RenderConfig:
    """How a puzzle becomes one image."""

    panel_size_px: int = 160
    """Side of a panel's cell; RAVEN's own is 160."""
    has_letters: bool = True
    """Draws A to H into the corners of the choices, at least 9 px high."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("panel_size_px", self.panel_size_px, 8)


@dataclass(frozen=True)
class RuleConfig:
    """Which kinds of rule a group of attributes may have."""

    layout: tuple[RuleKind, ...] = _ALL_KINDS
    """Of number and position, where a component has several slots."""
    type: tuple[RuleKind, ...] = ("progression", "distribute_three", "constant")
    """Of the type; arithmetic on types has no meaning."""
    size: tuple[RuleKind, ...] = _ALL_KINDS
    """Of the size."""
    color: tuple[RuleKind, ...] = _ALL_KINDS
    """Of the color."""

    def __post_init__(self) -> None:
        """Refuses an empty list, and arithmetic on types."""
        for name in ("layout", "type", "size", "color"):
            kinds = getattr(self, name)
            if not kinds:
                raise ConfigError(f"{name}: expected at least one kind of rule, got none")
            if len(set(kinds)) != len(kinds):
                raise ConfigError(f"{name}: expected each kind of rule once, got {kinds}")
        if "arithmetic" in self.type:
            raise ConfigError(
                "type: arithmetic on types has no meaning (a triangle plus a square is no shape); "
                "expected progression, distribute_three or constant"
            )


@dataclass(frozen=True)
class PuzzleConfig:
    """Which puzzles are made."""

    num_train: int = 4000
    """Puzzles of the training split."""
    num_held_out: int = 500
    """Puzzles of the held-out split; no puzzle of it is in the training split."""
    seed: int = 0
    """Seed of the whole data set."""
    mix: dict[str, float] = field(default_factory=lambda: {"center_single": 1.0})
    """Weights of RAVEN's configurations, by folder name, and of non-regular kinds; 0 leaves
    one out that an earlier file put in."""
    rules: RuleConfig = field(default_factory=RuleConfig)
    """Kinds of rule allowed, for matrix puzzles."""
    answer_set: AnswerSet = "iraven"
    """How the choices of a matrix puzzle are made; `raven` has RAVEN's known shortcut."""
    max_distractor_distance: int = 0
    """Most levels (slots of a position) between a wrong value and the right one; 0: any."""
    min_ruled: int = 1
    """Least number of rules that are not constant, for matrix puzzles."""
    max_ruled: int = 8
    """Greatest number of rules that are not constant, for matrix puzzles."""
    min_difficulty: float = 0.0
    """Least difficulty; 1 to 1.5 for each rule that is not constant, 0.5 for each noisy
    attribute."""
    max_difficulty: float = 100.0
    """Greatest difficulty."""
    has_angle_noise: bool = False
    """Turns shapes by random multiples of 45 degrees, as RAVEN does."""
    has_uniformity_noise: bool = False
    """Lets the entities of a grid differ where no rule forbids it, as RAVEN does in three
    puzzles of four."""
    render: RenderConfig = field(default_factory=RenderConfig)
    """How the images are drawn."""

    def __post_init__(self) -> None:
        """Checks the ranges; the sampler checks that some puzzle meets them."""
        check_range("num_train", self.num_train, 1)
        check_range("num_held_out", self.num_held_out, 1)
        check_range("max_distractor_distance", self.max_distractor_distance, 0)
        check_range("min_ruled", self.min_ruled, 0, 8)
        check_range("max_ruled", self.max_ruled, self.min_ruled, 8)
        check_range("min_difficulty", self.min_difficulty, 0)
        check_range("max_difficulty", self.max_difficulty, self.min_difficulty)
        for name, weight in self.mix.items():
            check_range(f"mix.{name}", weight, 0)
        if not any(self.mix.values()):
            raise ConfigError("mix: expected a weight above 0 for some configuration or kind")
        if not math.isfinite(sum(self.mix.values())):
            raise ConfigError("mix: the weights add up to more than a float holds")
