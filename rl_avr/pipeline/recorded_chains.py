"""Recorded chains with the images that they were asked about, graded again.

A recording has texts and puzzles; images are those of the set that the run's `config.yaml` names.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rewards.config import RewardConfig
from rewards.grader import Grader
from rl_avr.contracts import GradedGroup, Prompt
from rl_avr.errors import DataError
from rl_avr.pipeline.rewards_score import rollout_files
from rl_avr.settings import RecordedSettings, load_settings
from rl_avr.training.puzzle_data import read_prompts
from rollouts.recorder import read_groups

_OTHERS = (
    *("run", "policy", "rollouts", "rollout", "eval"),
    *("credit", "update", "methods", "dry_run", "trainer"),
)
"""Blocks of a run's config that do not say what was asked and how it was graded."""


def recorded_settings(source: Path) -> RecordedSettings:
    """Returns what the config of recorded chains says about prompts and grades.

    The user's own reward functions are left out: they say nothing about claims.

    Args:
        source: a run's folder, or a file of rollouts in it.

    Raises:
        ConfigError: the config cannot be used.
        DataError: there is none.
    """
    found = load_settings(RecordedSettings, [recorded_config(source)], ignored=_OTHERS)
    return replace(found, rewards=replace(found.rewards, own={}))


def recorded_config(source: Path) -> Path:
    """Returns the file with the settings that chains were recorded under.

    Args:
        source: a run's folder, or a file of rollouts in it.

    Raises:
        DataError: there is none.
    """
    folders = [source] if source.is_dir() else [source.parent, source.parent.parent]
    for folder in folders:
        if (folder / "config.yaml").is_file():
            return folder / "config.yaml"
    raise DataError(
        f"{source}: expected config.yaml beside the rollouts, which names the set with their "
        f"images; looked in {', '.join(map(str, folders))}"
    )


def asked_prompts(settings: RecordedSettings) -> dict[str, Prompt]:
    """Returns prompt id -> prompt with its images.

    Raises:
        DataError: the set cannot be read.
    """
    prompts = read_prompts(settings.data, answer_form=settings.rewards.answer_form)
    return {prompt.prompt_id: prompt for prompt in prompts}


def graded_groups(
    source: Path, prompts: Mapping[str, Prompt], rewards: RewardConfig
) -> Iterator[GradedGroup]:
    """Yields every recorded group with its images, in the order of the files.

    Args:
        source: a run's folder, or a file of rollouts.
        prompts: prompt id -> prompt with its images.
        rewards: what grades them.

    Raises:
        DataError: a file cannot be read, or a group is of a prompt that is not there.
    """
    with Grader(rewards) as grader:
        for file in rollout_files(source):
            for recorded in read_groups(file):
                prompt = with_images(recorded.group.prompt, prompts, f"{file}:{recorded.line}")
                group = replace(recorded.group, prompt=prompt)
                yield from grader.grade([group])


def with_images(recorded: Prompt, prompts: Mapping[str, Prompt], where: str) -> Prompt:
    """Returns a recorded prompt with its images.

    Raises:
        DataError: the set has no such prompt, or asks something else by the same name.
    """
    found = prompts.get(recorded.prompt_id)
    if found is None or (found.text, found.puzzle) != (recorded.text, recorded.puzzle):
        problem = "is not there" if found is None else "asks something else there"
        raise DataError(
            f"{where}: prompt {recorded.prompt_id} {problem}; expected the set that config.yaml "
            "names as it was when the chains were sampled, as it has their images"
        )
    return found
