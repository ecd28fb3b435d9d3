"""Settings of measuring whether credit knows which claims are false."""

from dataclasses import dataclass, field

from rl_avr.errors import ConfigError, check_range
from rl_avr.modeling.config import Dtype

_KEYS = ("policy", "reference", "rollouts")


@dataclass(frozen=True)
class CreditStudyConfig:
    """Which policies' credit is measured against the truth of claims, and on what."""

    arms: dict[str, dict[str, str]] = field(default_factory=dict)
    """Name -> `policy` and `reference`, folders or hub names, and `rollouts`, a run's folder or a
    file of recorded chains. What stands before the last `/` of a name is a family, such as the
    seeds of one method, over which the table has a mean."""
    dtype: Dtype = "float32"
    """Precision of the policies in memory."""
    num_groups: int = 0
    """How many groups of each recording, from the first on; 0 takes all."""
    num_resamples: int = 1000
    """Draws of puzzles for the intervals."""
    confidence: float = 0.95
    """Two-sided coverage of the intervals."""

    def __post_init__(self) -> None:
        """Checks the arms and the ranges."""
        for name, arm in self.arms.items():
            if sorted(arm) != sorted(_KEYS) or not all(arm.values()):
                raise ConfigError(
                    f"arms.{name}: expected {', '.join(_KEYS)}, each with a value; got "
                    f"{', '.join(map(str, arm)) or 'nothing'}"
                )
        check_range("num_groups", self.num_groups, 0)
        check_range("num_resamples", self.num_resamples, 1)
        check_range("confidence", self.confidence, 0, 1, open_low=True, open_high=True)
