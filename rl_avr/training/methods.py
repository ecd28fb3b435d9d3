"""The three places where methods plug into GRPO, and every method that there is.

    KL_SCHEDULES          how much the KL penalty weighs, by the share of the run that is done
    ADVANTAGE_TRANSFORMS  what is done to the advantages of a batch
    PROMPT_SAMPLERS       which prompts a batch holds

A method of the user's own is named by `package.module:name` and made as those in the tables
are. The first of each table is neutral: with it a run is plain GRPO bit for bit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from trl import GRPOConfig

from rl_avr.algo.advantage_transform import AdvantageTransform, Outcomes, identity, stcr
from rl_avr.algo.kl_schedule import KlSchedule, constant, grpo_d
from rl_avr.algo.prompt_sampler import PromptSampler, SecSampler, UniformSampler
from rl_avr.contracts import GradedGroup, Puzzle
from rl_avr.errors import ConfigError
from rl_avr.importing import named
from rl_avr.puzzles.difficulty import num_ruled
from rl_avr.training.config import (
    Category,
    KlConfig,
    MethodsConfig,
    SamplerConfig,
    TransformConfig,
)
from rl_avr.training.prompt_order import PromptOrder
from rl_avr.training.puzzle_files import kind_of
from rollouts.config import DynamicConfig

Method = TypeVar("Method")


class PromptPool(NamedTuple):
    """What a sampler draws from.

    Args:
        puzzles: of each prompt of the data set, in its order.
        seed: of the run.
        is_shuffled: trl's `shuffle_dataset`.
    """

    puzzles: tuple[Puzzle, ...]
    seed: int
    is_shuffled: bool = True


def _sec(config: SamplerConfig, pool: PromptPool) -> PromptSampler:
    categories = [category_of(puzzle, config.category) for puzzle in pool.puzzles]
    if len(set(categories)) == 1:
        raise ConfigError(
            f"methods.sampler.category {', '.join(config.category)}: every puzzle is in "
            f"{categories[0]!r}, which leaves a bandit nothing to choose; expected a key in which "
            "the puzzles differ, or methods.sampler.name uniform"
        )
    return SecSampler(categories, pool.seed, config.alpha, config.temperature, config.unsampled)


KL_SCHEDULES: dict[str, Callable[[KlConfig, float], KlSchedule]] = {
    "constant": lambda config, beta: constant(beta),
    "grpo_d": lambda config, beta: grpo_d(config.b_min, config.b_max, config.turn),
}
"""Name -> maker from the settings and trainer.beta."""

ADVANTAGE_TRANSFORMS: dict[str, Callable[[TransformConfig], AdvantageTransform]] = {
    "identity": lambda config: identity,
    "stcr": lambda config: stcr(config.half_length),
}
"""Name -> maker from the settings."""

PROMPT_SAMPLERS: dict[str, Callable[[SamplerConfig, PromptPool], PromptSampler]] = {
    "uniform": lambda config, pool: UniformSampler(len(pool.puzzles), pool.seed, pool.is_shuffled),
    "sec": _sec,
}
"""Name -> maker from the settings and what there is to draw from."""

_CATEGORIES: dict[Category, Callable[[Puzzle], str]] = {
    "kind": kind_of,
    "configuration": lambda puzzle: puzzle.configuration,
    "difficulty": lambda puzzle: f"{puzzle.difficulty:g}",
    "num_rules": lambda puzzle: str(num_ruled(puzzle.rules)),
}


def category_of(puzzle: Puzzle, keys: tuple[Category, ...]) -> str:
    """Returns the category of a puzzle: what it is by each key, joined."""
    return " ".join(_CATEGORIES[key](puzzle) for key in keys)


def check_methods(config: MethodsConfig, args: GRPOConfig, dynamic: DynamicConfig) -> None:
    """Refuses methods that the rest of the run would silently undo.

    Raises:
        ConfigError: with what to set.
    """
    schedule, sampler = config.kl.schedule, config.sampler.name
    if schedule != "constant" and args.beta == 0:
        raise ConfigError(
            f"trainer.beta 0: with it there is no reference policy, and methods.kl.schedule "
            f"{schedule} has nothing to weigh; expected a number above 0, which is otherwise "
            "not used"
        )
    if schedule != "constant" and args.use_liger_kernel:
        raise ConfigError(
            f"trainer.use_liger_kernel true: that loss keeps the beta it was built with, so "
            f"methods.kl.schedule {schedule} would change nothing; expected false"
        )
    if sampler != "uniform" and dynamic.is_on:
        raise ConfigError(
            f"rollouts.dynamic.is_on true: it replaces the useless puzzles that "
            f"methods.sampler.name {sampler} draws and learns from by ones drawn at random; "
            "expected one of the two"
        )


def make_schedule(config: KlConfig, beta: float) -> KlSchedule:
    """Returns the schedule of a run.

    Raises:
        ConfigError: the user's own cannot be imported.
    """
    return _maker("kl.schedule", config.schedule, KL_SCHEDULES)(config, beta)


def make_transform(config: TransformConfig) -> AdvantageTransform:
    """Returns the transform of a run.

    Raises:
        ConfigError: the user's own cannot be imported.
    """
    return _maker("advantages.transform", config.transform, ADVANTAGE_TRANSFORMS)(config)


def outcomes_of(groups: Sequence[GradedGroup]) -> Outcomes:
    """Returns what a transform is told about a batch of groups of one size."""
    lengths = [len(one.token_ids) for graded in groups for one in graded.group.completions]
    judged = [score.outcome for graded in groups for score in graded.scores]
    outcomes = [float("nan") if one is None else one for one in judged]
    return Outcomes(
        torch.tensor(lengths, dtype=torch.float32),
        torch.tensor(outcomes, dtype=torch.float32),
        len(groups[0].scores),
    )


def make_order(
    config: SamplerConfig, puzzles: Mapping[str, Puzzle], args: GRPOConfig, accelerator: Any
) -> PromptOrder:
    """Returns the order of prompts of a run.

    Args:
        config: which sampler.
        puzzles: prompt id -> puzzle, in the order of the data set.
        args: trl's.
        accelerator: knows the ranks.

    Raises:
        ConfigError: the user's own cannot be imported, or every puzzle is of one category.
    """
    pool = PromptPool(tuple(puzzles.values()), args.seed, args.shuffle_dataset)
    sampler = _maker("sampler.name", config.name, PROMPT_SAMPLERS)(config, pool)
    num_prompts = args.generation_batch_size // args.num_generations
    return PromptOrder(sampler, list(puzzles), num_prompts, accelerator)


def _maker(key: str, name: str, table: Mapping[str, Method]) -> Method:
    wanted = "something that makes the method, as a class or a function"
    return named(f"methods.{key}", name, table, wanted)
