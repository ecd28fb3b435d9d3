"""Settings of the puzzle engine."""

from dataclasses import dataclass, field

from rl_avr.errors import check_range


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
class PuzzleConfig:
    """Which puzzles are made."""

    num_train: int = 4000
    """Puzzles of the training split."""
    num_held_out: int = 500
    """Puzzles of the held-out split; no puzzle of it is in the training split."""
    seed: int = 0
    """Seed of the whole data set."""
    min_difficulty: int = 1
    """Least number of attributes with a rule that is not constant, 0 to 3."""
    has_angle_noise: bool = False
    """Turns every shape by a random multiple of 45 degrees, as RAVEN does."""
    render: RenderConfig = field(default_factory=RenderConfig)
    """How the images are drawn."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_train", self.num_train, 1)
        check_range("num_held_out", self.num_held_out, 1)
        check_range("min_difficulty", self.min_difficulty, 0, 3)
