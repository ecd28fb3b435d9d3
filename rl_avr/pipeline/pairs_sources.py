"""What pairs are made of: folders of recorded rollouts, and sets that must not be in them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rewards.config import RewardConfig
from rl_avr.contracts import Prompt
from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.loaders import load_problems
from rl_avr.evaluation.problems import Problem
from rl_avr.pipeline.rollout import rollouts_file
from rl_avr.preference.config import PairsConfig
from rl_avr.preference.leakage import HeldOut, Shown, read_held_out
from rl_avr.settings import RecordedSettings, load_settings
from rl_avr.training.puzzle_data import read_prompts, row_image_bytes, row_puzzle
from rl_avr.training.puzzle_files import NEEDED, iter_rows
from rollouts.recorder import RecordedGroup, read_groups

_OTHERS = ("run", "policy", "rollouts", "rollout")
"""Blocks of a rollout's config that do not say what was asked and how it was graded."""


@dataclass(frozen=True)
class Source:
    """A folder of rollouts: its file, how it is graded, and what was asked, by prompt id."""

    path: Path
    rewards: RewardConfig
    prompts: Mapping[str, Prompt]


def read_sources(folders: Iterable[str]) -> list[Source]:
    """Returns folders of rollouts with the prompts that were asked, images included.

    Raises:
        ConfigError: a folder's config cannot be used.
        DataError: a folder holds no rollouts, its puzzles cannot be read, or a prompt is in
            two folders.
    """
    sources: list[Source] = []
    for name in folders:
        path = rollouts_file(Path(name))
        if not path.is_file():
            raise DataError(f"{path}: no such file; expected a folder that `rl-avr rollout` wrote")
        asked = load_settings(RecordedSettings, [Path(name) / "config.yaml"], ignored=_OTHERS)
        prompts = read_prompts(asked.data, answer_form=asked.rewards.answer_form)
        source = Source(path, asked.rewards, {prompt.prompt_id: prompt for prompt in prompts})
        for other in sources:
            both = source.prompts.keys() & other.prompts.keys()
            if both:
                raise DataError(
                    f"{path}: prompt {min(both)} and {len(both) - 1} more are in {other.path} too; "
                    "expected every prompt in one folder of rollouts"
                )
        sources.append(source)
    return sources


def held_out_of(config: PairsConfig) -> HeldOut:
    """Returns what must not be in the pairs.

    Raises:
        DataError: a set or a benchmark cannot be read, or is empty.
    """
    sets: dict[str, Iterable[Shown]] = {}
    for name in config.held_out:
        folder, _, split = name.rpartition(":")
        sets[name] = _set_puzzles(Path(folder), split)
    for name, path in config.benchmarks.items():
        sets[name] = _benchmark_puzzles(name, Path(path))
    return read_held_out(sets)


def _set_puzzles(folder: Path, split: str) -> Iterator[Shown]:
    for path, index, row in iter_rows(folder, split, sorted(NEEDED)):
        yield row_puzzle(row, index, path), (row_image_bytes(row, index, path),)


def _benchmark_puzzles(name: str, path: Path) -> Iterator[Shown]:
    for one in load_problems(name, path, LoadConfig()):
        if isinstance(one, Problem):
            puzzle = one.prompt.puzzle
            # drawing the panels of a puzzle whose state is known would tell nothing new
            yield puzzle, () if puzzle.has_state else tuple(one.prompt.images)


def asked_groups(source: Source) -> Iterator[tuple[RecordedGroup, Prompt]]:
    """Yields every group with its prompt, images included; each prompt comes once.

    Raises:
        DataError: a line is no group, or of another prompt than was asked, with file and line;
            or groups are missing.
    """
    seen: set[str] = set()
    for recorded in read_groups(source.path):
        group = recorded.group
        where = f"{source.path}:{recorded.line}: prompt {group.prompt.prompt_id}"
        prompt = source.prompts.get(group.prompt.prompt_id)
        if prompt is None or replace(prompt, images=()) != group.prompt:
            problem = "is not there" if prompt is None else "is another one there"
            raise DataError(
                f"{where}: expected a prompt of the data set that its config.yaml names, which "
                f"has its image; it {problem}"
            )
        if prompt.prompt_id in seen:
            raise DataError(f"{where}: is there twice; expected every prompt once")
        seen.add(prompt.prompt_id)
        yield recorded, prompt
    if len(seen) < len(source.prompts):
        raise DataError(
            f"{source.path}: expected {len(source.prompts)} questions, as its config.yaml asks "
            f"for; got {len(seen)}. The same `rl-avr rollout` command goes on"
        )
