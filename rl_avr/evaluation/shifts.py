"""How far a problem lies from what a policy was trained on; and general sets, for retention.

in_distribution      a configuration, and no more difficulty, than training had
harder               a known configuration, but more difficult than any of training
other_configuration  a known family in a configuration that training did not have
other_family         matrix puzzles, scenes or people's own images, never trained on
retention            not a puzzle at all: what the policy could do before
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from rl_avr.contracts import Puzzle
from rl_avr.evaluation.breakdown import accuracy, by_tag
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.metrics import Interval
from rl_avr.evaluation.problems import Problem
from rl_avr.evaluation.rows import ProblemRow

Shift = Literal["in_distribution", "harder", "other_configuration", "other_family"]


@dataclass(frozen=True)
class TrainedOn:
    """What a policy was trained on.

    Args:
        families: of the puzzles.
        configurations: of the puzzles.
        max_difficulty: of the most difficult one.
    """

    families: frozenset[str]
    configurations: frozenset[str]
    max_difficulty: float


def trained_on(puzzles: Iterable[Puzzle]) -> TrainedOn:
    """Returns what the puzzles of a training set are; difficulty -inf without any."""
    families, configurations, most = set(), set(), float("-inf")
    for puzzle in puzzles:
        families.add(puzzle.family)
        configurations.add(puzzle.configuration)
        most = max(most, puzzle.difficulty)
    return TrainedOn(frozenset(families), frozenset(configurations), most)


def shift_of(puzzle: Puzzle, trained: TrainedOn) -> Shift:
    """Returns the widest way in which a puzzle differs from those of training.

    A puzzle whose difficulty is not known counts as not harder.

    >>> puzzle = Puzzle("p", "rpm", "center_single", (), (), None, (), 3.0, 0)
    >>> shift_of(puzzle, TrainedOn(frozenset({"rpm"}), frozenset({"center_single"}), 2.0))
    'harder'
    """
    if puzzle.family not in trained.families:
        return "other_family"
    if puzzle.configuration not in trained.configurations:
        return "other_configuration"
    return "harder" if puzzle.difficulty > trained.max_difficulty else "in_distribution"


def with_shift(problem: Problem, trained: TrainedOn) -> Problem:
    """Returns the problem with the tag `shift`."""
    shift = shift_of(problem.prompt.puzzle, trained)
    return replace(problem, tags=(*problem.tags, ("shift", shift)))


def as_retention(problem: Problem) -> Problem:
    """Returns a problem of a general set, tagged so that it stays out of all other numbers."""
    return replace(problem, tags=(*problem.tags, ("probe", "retention")))


def split_shares(rows: Sequence[ProblemRow], config: EvalConfig, seed: int) -> dict[str, Interval]:
    """Returns metric and split -> mean over its problems with its interval.

    The metric is pass@1, without sampled chains that of the greedy one. Without problems tagged
    with a shift, and without a general set, there are none.

    Args:
        rows: of an evaluation, in any order; what probes made of problems is left out.
        config: of the intervals.
        seed: of the bootstrap.
    """
    base = [row for row in rows if not row.values("probe")]
    general = [row for row in rows if "retention" in row.values("probe")]
    found: dict[str, Interval] = {}
    for part, tag, names in ((base, "shift", get_args(Shift)), (general, "probe", ("retention",))):
        if known := accuracy(part):
            metric, values = known
            shares = by_tag(part, values, tag, config, seed)
            words = {name: f"{metric}, {name.replace('_', ' ')}" for name in names}
            found |= {words[name]: shares[name] for name in names if name in shares}
    return found
