"""Settings of a training run that are ours; trl's own go through the `trainer` block."""

from dataclasses import dataclass
from typing import Literal

from rl_avr.errors import check_range


@dataclass(frozen=True)
class RunConfig:
    """Where a run writes, and how it reports."""

    dir: str = "runs/run"
    """Folder of the run: resolved config, versions, checkpoints, metrics, rollouts."""
    seed: int = 0
    wandb: Literal["offline", "online", "disabled"] = "offline"
    wandb_project: str = "rl_avr"
    resume: bool = True
    """Go on from the newest checkpoint in the folder, where there is one."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        # numpy takes no seed beyond 32 bits
        check_range("seed", self.seed, 0, 2**32 - 1)


@dataclass(frozen=True)
class DataConfig:
    """Which puzzles a run reads: a folder that `rl-avr data make` or `data import` wrote."""

    path: str = "runs/demo/data"
    split: Literal["train", "held_out", "val", "test"] = "train"
    """`data make` writes the first two, `data import` whichever the source has."""
    num_puzzles: int = 0
    """How many puzzles, from the first on; 0 takes all."""
    ask: Literal["puzzle", "perception", "yes_no", "open"] = "puzzle"
    """What GRPO and evaluation ask: `puzzle`, the puzzle itself, with a reason first; the others
    ask for an answer alone: `perception`, what is seen in the image; `yes_no`, whether a choice is
    the missing panel; `open`, what the missing panel looks like. Puzzles that cannot be asked this
    are left out: the last two need a state and a chain, `perception` a state or questions."""
    num_questions: int = 0
    """How many questions a puzzle, where `ask` is not `puzzle`, drawn by its id; 0 takes all."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_puzzles", self.num_puzzles, 0)
        check_range("num_questions", self.num_questions, 0)


@dataclass(frozen=True)
class CreditConfig:
    """How advantages reach single tokens."""

    claim_weight: float = 0.0
    """Weight of a claim's own truth on its tokens; 0 is plain GRPO."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("claim_weight", self.claim_weight, 0)
