"""What an evaluation asks: a set of problems, what probes make of them, and a general set."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewards.config import RewardConfig
from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.raven import rule_tags
from rl_avr.evaluation.chain_probes import chain_probed
from rl_avr.evaluation.config import CHAIN_PROBE_NAMES, EvalConfig
from rl_avr.evaluation.loaders import load_problems
from rl_avr.evaluation.probes import probed
from rl_avr.evaluation.problems import Problem, Refused
from rl_avr.evaluation.shifts import TrainedOn, as_retention, trained_on, with_shift
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_prompts, row_puzzle
from rl_avr.training.puzzle_files import iter_rows, kind_of
from rollouts.recorder import read_groups

Found = tuple[list[Problem], list[Refused]]
"""Problems, and what cannot be used."""


def asked_problems(data: DataConfig, rewards: RewardConfig, config: EvalConfig, seed: int) -> Found:
    """Returns the problems with what the probes make of them, and what cannot be used.

    What chain probes make is not among them: `chain_problems`.

    Raises:
        DataError: the data cannot be read, an id stands twice, or no problem of a set can be used.
    """
    problems, refused = _usable(_problems(data, rewards, config), config.path or data.path)
    if config.trained_on:
        trained = _trained_on(config.trained_on)
        problems = [with_shift(problem, trained) for problem in problems]
    kept, unchanged = _usable(probed(problems, config.probes, seed), "")
    refused += unchanged
    general = config.retention
    if general.benchmark:
        load = replace(general.load, answer_form=rewards.answer_form)
        found = load_problems(general.benchmark, Path(general.path), load)
        more, unusable = _usable(found, general.path)
        kept, refused = [*kept, *map(as_retention, more)], refused + unusable
    counts = Counter(one.prompt.prompt_id for one in kept)
    twice = [name for name, num in counts.items() if num > 1]
    if twice:
        raise DataError(
            f"{config.path or data.path}: prompt {twice[0]} is there twice; expected problems, "
            "every id once"
        )
    return kept, refused


def chain_problems(
    folder: Path, problems: Iterable[Problem], config: EvalConfig, seed: int
) -> Found:
    """Returns what chain probes make of the greedy chains that a run's folder holds.

    Args:
        folder: of the run.
        problems: what is asked.
        config: names the probes.
        seed: of what is altered.

    Raises:
        DataError: the chains cannot be read.
    """
    path = folder / "greedy.jsonl"
    if not (set(config.probes) & set(CHAIN_PROBE_NAMES) and path.is_file()):
        return [], []
    # half a line at the end was left by a kill, and is asked again
    groups = (one.group for one in read_groups(path, on_broken=lambda _: None))
    chains = {group.prompt.prompt_id: group.completions[0].text for group in groups}
    found = list(chain_probed(problems, chains, config.probes, seed))
    return _split(found)


def _usable(found: Iterable[Problem | Refused], where: str) -> Found:
    problems, refused = _split(list(found))
    if not problems:
        first = f"the first refused: {refused[0].reason}; " if refused else ""
        raise DataError(f"{where}: no problem can be used; {first}expected problems")
    return problems, refused


def _split(found: list[Problem | Refused]) -> Found:
    return (
        [one for one in found if isinstance(one, Problem)],
        [one for one in found if isinstance(one, Refused)],
    )


def _problems(
    data: DataConfig, rewards: RewardConfig, config: EvalConfig
) -> Iterable[Problem | Refused]:
    if config.benchmark:
        limit = config.num_puzzles or config.load.limit
        load = replace(config.load, limit=limit, answer_form=rewards.answer_form)
        return load_problems(config.benchmark, Path(config.path), load)
    limit = config.num_puzzles or data.num_puzzles
    prompts = read_prompts(replace(data, num_puzzles=limit), answer_form=rewards.answer_form)
    return [Problem(prompt, _tags(prompt.puzzle, data)) for prompt in prompts]


def _tags(puzzle: Any, data: DataConfig) -> tuple[tuple[str, str], ...]:
    return (
        ("benchmark", "data"),
        ("split", data.split),
        ("configuration", puzzle.configuration),
        ("pattern", kind_of(puzzle)),
        *rule_tags([(rule.kind, rule.attribute) for rule in puzzle.rules]),
        ("difficulty", f"{puzzle.difficulty:g}"),
    )


def _trained_on(path: str) -> TrainedOn:
    """Returns what the puzzles of the split `train` of a folder are."""
    rows = iter_rows(Path(path), "train", ["puzzle"])
    return trained_on(row_puzzle(row, index, file) for file, index, row in rows)
