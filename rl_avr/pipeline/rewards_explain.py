"""Shows why one completion got its reward: a recorded one, or a text of one's own."""

import os
import shutil
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rewards.config import RewardConfig, part_name
from rewards.explain import explain
from rewards.grader import Grader
from rl_avr.contracts import Completion, Prompt, PromptKind, Puzzle, RolloutGroup
from rl_avr.errors import ConfigError, DataError, nearest
from rl_avr.pipeline.data_manifest import write_whole
from rl_avr.pipeline.explanation_text import explanation_text
from rl_avr.pipeline.rewards_score import rollout_files
from rl_avr.prompts import prompt_text
from rl_avr.reporting.explanation import Shown, render_explanation
from rl_avr.settings import load_rewards
from rl_avr.training.puzzle_data import row_image_bytes, row_puzzle
from rl_avr.training.puzzle_files import iter_rows, kind_of, splits_of
from rollouts.recorder import read_groups

_NUM_SHOWN = 3
_MOST_COMPARED = 1000


@dataclass(frozen=True)
class Asked:
    """Which completion is wanted; the arguments of the command.

    Args:
        rollouts: a file of rollouts or a run's folder.
        prompt_id: a prompt in it; None for the first.
        index: which completion of the prompt, from 0.
        puzzle: folder of a set, for a text of one's own.
        puzzle_id: a puzzle in it; None for the first.
        text: file with the text; `-` for the standard input.
        kind: what the prompt of such a text asks for.
    """

    rollouts: Path | None = None
    prompt_id: str | None = None
    index: int = 0
    puzzle: Path | None = None
    puzzle_id: str | None = None
    text: str | None = None
    kind: PromptKind = "cot"


def explain_completion(asked: Asked, config: Path | None = None, html: Path | None = None) -> str:
    """Returns the explanation as text for this terminal, and writes the page if asked to.

    Args:
        asked: which completion.
        config: a YAML file with a block `rewards`; None for the defaults.
        html: where the page goes.

    Raises:
        ConfigError: the arguments do not name one completion, or the config cannot be used.
        DataError: the completion is not there, or a file cannot be read or written.
        RewardError: one of the user's own functions failed.
    """
    rewards = load_rewards(config) if config else RewardConfig()
    group, index, source, image = find_completion(asked, rewards)
    shown = _shown(group, index, source, image, rewards)
    if html:
        try:
            html.parent.mkdir(parents=True, exist_ok=True)
            write_whole(html, render_explanation(shown))
        except OSError as error:
            raise DataError(f"{html}: cannot be written: {error}") from error
    has_colors = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return explanation_text(shown, has_colors, shutil.get_terminal_size((100, 24)).columns)


def _shown(
    group: RolloutGroup, index: int, source: str, image: bytes | None, rewards: RewardConfig
) -> Shown:
    with Grader(rewards) as grader:
        (graded,) = grader.grade([group])
    prompt, score = group.prompt, graded.scores[index]
    own = {part_name(path): score.part(part_name(path)) for path in rewards.own}
    explanation = explain(
        group.completions[index].text,
        graded.parsed[index],
        prompt.puzzle,
        rewards,
        prompt.kind,
        own,
    )
    if len(group.completions) > 1:
        source += f". {_admission(graded.is_admitted, len(group.completions), rewards)}"
    return Shown(
        explanation,
        prompt.puzzle,
        kind_of(prompt.puzzle),
        prompt.prompt_id,
        f"{source}.",
        prompt.text,
        image,
    )


def _admission(is_admitted: bool, size: int, rewards: RewardConfig) -> str:
    if rewards.admission == "none":
        return f"Its group of {size} counts whatever its outcomes are"
    if is_admitted:
        return f"The outcomes of its group of {size} differ, so the group counts"
    return f"The outcomes of its group of {size} are all the same, so no advantage comes of it"


Found = tuple[RolloutGroup, int, str, bytes | None]
"""The group, the completion's index in it, where it was found, and the image."""


def find_completion(asked: Asked, rewards: RewardConfig) -> Found:
    """Returns the completion that is asked for, with its group.

    Raises:
        ConfigError: the arguments do not name one.
        DataError: it is not there, or a file cannot be read.
    """
    is_own = asked.puzzle is not None and asked.text is not None
    if (asked.rollouts is None) == (not is_own) or (asked.puzzle is None) != (asked.text is None):
        raise ConfigError(
            "expected either a file of rollouts, or --puzzle FOLDER and --text FILE for a text "
            "of your own"
        )
    return _own_text(asked, rewards) if is_own else _recorded(asked)


def _recorded(asked: Asked) -> Found:
    assert asked.rollouts is not None
    seen: dict[str, None] = {}
    for file in rollout_files(asked.rollouts):
        for recorded in read_groups(file):
            group = recorded.group
            name = group.prompt.prompt_id
            if asked.prompt_id not in (None, name):
                seen.setdefault(name)
                continue
            size = len(group.completions)
            if not 0 <= asked.index < size:
                raise DataError(
                    f"--index: expected 0 to {size - 1}, because prompt {name} has {size} "
                    f"completions in {file}, line {recorded.line}; got {asked.index}"
                )
            source = f"Completion {asked.index} of {size} in {file}, line {recorded.line}"
            return group, asked.index, source, None
    if asked.prompt_id is None:
        raise DataError(f"{asked.rollouts}: expected a group or more, found none")
    near = nearest(asked.prompt_id, seen, _NUM_SHOWN) if seen else "there is none"
    raise DataError(
        f"{asked.rollouts}: no prompt {asked.prompt_id!r} among {len(seen)}; nearest: {near}"
    )


def _own_text(asked: Asked, rewards: RewardConfig) -> Found:
    assert asked.puzzle is not None and asked.text is not None
    puzzle, image = _puzzle(asked.puzzle, asked.puzzle_id)
    prompt = Prompt(
        f"{puzzle.puzzle_id}/{asked.kind}",
        puzzle,
        asked.kind,
        prompt_text(puzzle, asked.kind, rewards.answer_form),
        (image,) if image else (),
    )
    completion = Completion(_read_text(asked.text), (), (), "stop", 0)
    source = f"Text from {'the standard input' if asked.text == '-' else asked.text}"
    return RolloutGroup(prompt, (), (completion,)), 0, source, image


def _read_text(name: str) -> str:
    """Returns a file's text as it stands, less the line end that an editor puts last."""
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return raw.decode("utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--text {name}: expected a text file in UTF-8; got: {error}") from error


def _puzzle(folder: Path, puzzle_id: str | None) -> tuple[Puzzle, bytes]:
    """Returns a puzzle of a set and its image; the first one for no id."""
    near: list[str] = []
    for split in splits_of(folder):
        # images are read for the one row alone
        for number, (_, _, row) in enumerate(iter_rows(folder, split, ["puzzle_id"])):
            if puzzle_id in (None, row["puzzle_id"]):
                path, index, whole = next(islice(iter_rows(folder, split), number, None))
                return row_puzzle(whole, index, path), row_image_bytes(whole, index, path)
            near.append(row["puzzle_id"])
    raise DataError(
        f"{folder}: no puzzle {puzzle_id!r} among {len(near)}; nearest: "
        f"{nearest(str(puzzle_id), near[:_MOST_COMPARED], _NUM_SHOWN) or 'there is none'}"
    )
