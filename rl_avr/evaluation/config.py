"""Settings of an evaluation."""

from dataclasses import dataclass

from rl_avr.errors import check_range


@dataclass(frozen=True)
class EvalConfig:
    """What is measured on the held-out puzzles."""

    num_samples: int = 8
    """Sampled chains per puzzle, for mean accuracy (pass@1) and the majority vote."""
    num_puzzles: int = 0
    """How many puzzles, from the first on; 0 takes all."""
    num_bootstrap: int = 2000
    """Resamples of the puzzles for the intervals."""
    confidence: float = 0.95
    """Two-sided coverage of the intervals."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_samples", self.num_samples, 1)
        check_range("num_puzzles", self.num_puzzles, 0)
        check_range("num_bootstrap", self.num_bootstrap, 1)
        check_range("confidence", self.confidence, 0, 1, open_low=True, open_high=True)
