"""Settings of the multi-step runs and of the making of data sets."""

from dataclasses import dataclass

from rl_avr.errors import ConfigError, check_range


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
class SampleConfig:
    """A look at conversations of an SFT stage before anything is trained."""

    is_on: bool = False
    """Shows the mixture, a few conversations with what is trained on marked, tokens, steps and
    memory, and ends; writes the folder `dry_run` in `run.dir` alone."""
    num_samples: int = 10
    """How many conversations are shown."""
    num_measured: int = 64
    """How many conversations of each kind are tokenised, from which tokens are estimated."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_samples", self.num_samples, 0)
        check_range("num_measured", self.num_measured, 1)


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


@dataclass(frozen=True)
class AblateConfig:
    """Which jobs of an ablation are run, and how sure its table is."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Every arm is trained and measured once with each."""
    only: str = ""
    """A table such as `order`, or an arm such as `order/sequential`, to run alone with what it
    needs; empty for all. The table has every arm that there are results of."""
    num_jobs: int = 1
    """Jobs at a time; each takes its share of the cores."""
    max_minutes: float = 6.0
    """How long a job should take at most; a longer one is named."""
    num_bootstrap: int = 2000
    """Resamples of the puzzles for the intervals."""
    confidence: float = 0.95
    """Two-sided coverage of the intervals."""
    is_dry_run: bool = False
    """Lists the jobs with the minutes that they should take; writes nothing."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"seeds: expected different seeds, at least one; got {self.seeds}")
        for seed in self.seeds:
            check_range("seeds", seed, 0, 2**32 - 1)
        check_range("num_jobs", self.num_jobs, 1)
        check_range("max_minutes", self.max_minutes, 0, open_low=True)
        check_range("num_bootstrap", self.num_bootstrap, 1)
        check_range("confidence", self.confidence, 0, 1, open_low=True, open_high=True)
