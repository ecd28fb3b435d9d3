"""Settings of the reward's composition."""

from dataclasses import dataclass
from typing import Literal

from rl_avr.errors import check_range


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the parts; the total is their weighted mean, in [0, 1].

    With `gate: choice` the auxiliary parts count only where the final choice is
    right, so a group of wrong answers has equal rewards and no advantage.
    """

    choice: float = 1.0
    format: float = 0.1
    perception: float = 0.2
    rule: float = 0.1
    gate: Literal["choice", "none"] = "choice"

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("choice", self.choice, 0)
        check_range("format", self.format, 0)
        check_range("perception", self.perception, 0)
        check_range("rule", self.rule, 0)
