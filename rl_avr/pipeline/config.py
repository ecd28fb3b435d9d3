"""Settings of the multi-step runs and of the making of data sets."""

from dataclasses import dataclass

from rl_avr.errors import check_range


@dataclass(frozen=True)
class MakeConfig:
    """Where a set of puzzles is written, and how the work is cut."""

    path: str = "runs/demo/data"
    """Folder of the set. A set that was stopped in the middle goes on from there."""
    num_workers: int = 0
    """Processes; 0 takes one a core. The bytes written do not depend on it."""
    shard_size: int = 2000
    """Puzzles in one Parquet file."""
    is_dry_run: bool = False
    """Says what would be made, how large it gets and how long it takes; writes nothing."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_workers", self.num_workers, 0, 1024)
        check_range("shard_size", self.shard_size, 1)


@dataclass(frozen=True)
class OfflineConfig:
    """How many chains `rl-avr rollout` samples, and in which portions."""

    num_generations: int = 32
    """Chains a puzzle."""
    batch_size: int = 16
    """Puzzles handed to the engine at once; their chains are written when all are there. The
    chains do not depend on it."""
    is_dry_run: bool = False
    """Says how much would be sampled and how long it takes, measured on a few puzzles; writes
    nothing."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_generations", self.num_generations, 1)
        check_range("batch_size", self.batch_size, 1)
