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
