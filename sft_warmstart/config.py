"""Settings of the two SFT stages."""

from dataclasses import dataclass
from typing import Literal

from rl_avr.errors import check_range


@dataclass(frozen=True)
class SftConfig:
    """One stage of the warm start.

    `perception` trains the vision tower and the connector on questions alone;
    `reasoning` trains everything on questions mixed with chains of thought.
    """

    stage: Literal["perception", "reasoning"] = "perception"
    num_questions: int = 8
    """Fine questions in one conversation, after the coarse ones, in random order."""
    perception_share: float = 0.2
    """Share of question conversations in the reasoning stage; the rest are chains."""
    prefix: bool = True
    """Begin every chain with "This is a regular puzzle"."""
    stop_after_steps: int = 0
    """Stop here, early in the schedule that `trainer.max_steps` shapes; 0 runs all of it."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_questions", self.num_questions, 1)
        check_range("stop_after_steps", self.stop_after_steps, 0)
        check_range("perception_share", self.perception_share, 0, 1)
