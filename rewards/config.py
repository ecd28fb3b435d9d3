"""Settings of the reward's composition."""

from dataclasses import dataclass
from typing import Literal

from rl_avr.errors import ConfigError, check_range


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
    """`choice`: the other parts count only where the choice is right; `none`: always."""
    needs_format: bool = False
    """Count a right choice only in a chain whose format is right (the and-gate)."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not (self.choice or self.format or self.perception or self.rule):
            raise ConfigError(
                "choice, format, perception and rule: expected at least one weight above 0, got "
                "all 0; every reward would be 0 and nothing would be learned"
            )
        check_range("choice", self.choice, 0)
        check_range("format", self.format, 0)
        check_range("perception", self.perception, 0)
        check_range("rule", self.rule, 0)
