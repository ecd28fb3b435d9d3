"""Puzzles of any mix of configurations and kinds, one stream per split and seed."""

from collections.abc import Iterator

from rl_avr.contracts import Puzzle
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.feasibility import check_request
from rl_avr.puzzles.matrix import MatrixSampler, SamplingReport
from rl_avr.puzzles.nonregular.kinds import KINDS
from rl_avr.puzzles.nonregular.sampler import sample_nonregular
from rl_avr.puzzles.splits import Split
from rl_avr.seeding import rng_for


def sample_puzzles(
    split: Split,
    num_puzzles: int,
    seed: int,
    config: PuzzleConfig,
    report: SamplingReport | None = None,
) -> Iterator[Puzzle]:
    """Yields puzzles of one split; puzzle k depends on the seed, the split and k alone."""
    for index in range(num_puzzles):
        yield sample_puzzle(split, index, seed, config, report)


def sample_puzzle(
    split: Split,
    index: int,
    seed: int,
    config: PuzzleConfig,
    report: SamplingReport | None = None,
) -> Puzzle:
    """Returns puzzle number `index` of a split.

    Args:
        split: `train` or `held_out`.
        index: number of the puzzle.
        seed: seed of the data set.
        config: which puzzles are wanted.
        report: counts what is drawn; None where nobody asks.

    Raises:
        ConfigError: the request cannot be met; see `check_request`.
        PuzzleError: no puzzle was found although the request can be met.
    """
    names = _checked_mix(config)
    rng = rng_for("puzzle", seed, split, index)
    name = rng.choices(names, [config.mix[n] for n in names])[0] if len(names) > 1 else names[0]
    if name in KINDS:
        return sample_nonregular(split, index, seed, name)
    return MatrixSampler(name, config, rng, report or SamplingReport()).sample(split, index, seed)


_checked: dict[int, tuple[PuzzleConfig, tuple[str, ...]]] = {}


def _checked_mix(config: PuzzleConfig) -> tuple[str, ...]:
    """Returns the names of the mix; a config object is checked once, not for every puzzle."""
    known = _checked.get(id(config))
    if known is None or known[0] is not config:
        check_request(config)
        known = (config, tuple(name for name, weight in config.mix.items() if weight))
        _checked.clear()
        _checked[id(config)] = known
    return known[1]
