"""The policy's own chains that led to the right answer, from recorded rollouts.

Source: rejection sampling on the answer, STaR (2203.14465); on perception too, it keeps
chains that were right for the right reason.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from rewards.parts.choice import choice
from rewards.parts.perception import perception
from rl_avr.contracts import Completion, Prompt, Puzzle
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError
from rl_avr.prompts import answer_form_of
from rl_avr.seeding import rng_for
from rollouts.recorder import read_groups
from sft_warmstart.config import OwnChainsConfig

logger = logging.getLogger(__name__)
OwnChain = tuple[str, str]
"""The prompt, as it was when the chain was sampled, and the chain."""


def read_own_chains(
    config: OwnChainsConfig, puzzles: Mapping[str, str], seed: int
) -> dict[str, tuple[OwnChain, ...]]:
    """Returns puzzle id -> its kept chains; nothing where no file is named.

    Groups of the same puzzle count as one; groups that do not ask for a chain are left out.

    Args:
        config: the file, and which chains are kept.
        puzzles: puzzle id -> its JSON, of the data set that is trained on.
        seed: decides which chains are kept where there are more than `num_chains`.

    Raises:
        DataError: the file cannot be read, is of other puzzles, or has no chain to keep.
    """
    if not config.path:
        return {}
    path = Path(config.path)
    found: dict[str, dict[str, OwnChain]] = {}
    num_groups = num_chains = 0
    strange: list[str] = []
    for recorded in read_groups(path):
        prompt = recorded.group.prompt
        if prompt.kind != "cot":
            continue
        num_groups += 1
        num_chains += len(recorded.group.completions)
        if reason := _strange(prompt.puzzle, puzzles):
            strange.append(f"{prompt.puzzle.puzzle_id} (line {recorded.line}), {reason}")
            continue
        for completion in recorded.group.completions:
            if _is_kept(completion, prompt, config.min_perception):
                chain = prompt.text, completion.text
                found.setdefault(prompt.puzzle.puzzle_id, {})[completion.text] = chain
    if strange:
        raise DataError(
            f"{path}: {len(strange)} of {num_groups} groups are not about the {len(puzzles)} "
            f"puzzles of the data set, such as {strange[0]}; expected rollouts over data.path, "
            "data.split and data.num_puzzles of this run"
        )
    if not found:
        raise DataError(
            f"{path}: none of {num_chains} chains in {num_groups} groups is right with a "
            f"perception of at least {config.min_perception:g}; expected what `rl-avr rollout` "
            "writes with data.ask puzzle, of a better policy, or another min_perception"
        )
    logger.info("%s: own chains for %d of %d puzzles", path, len(found), len(puzzles))
    return {
        puzzle_id: tuple(_some(list(chains.values()), config.num_chains, seed, puzzle_id))
        for puzzle_id, chains in found.items()
    }


def _some(chains: list[OwnChain], most: int, seed: int, puzzle_id: str) -> list[OwnChain]:
    return rng_for("own_chains", seed, puzzle_id).sample(chains, k=min(most, len(chains)))


def _is_kept(completion: Completion, prompt: Prompt, min_perception: float) -> bool:
    """Returns whether a chain has the right answer and sees enough; a truncated one has none.

    Without a state nobody can say what it sees: it is then kept for 0 alone.
    """
    parsed = read(
        completion.text,
        prompt.puzzle,
        completion.finish_reason,
        prompt.kind,
        answer_form_of(prompt.text),
    )
    seen = perception(parsed, prompt.puzzle)
    return choice(parsed, prompt.puzzle) == 1.0 and (seen or 0.0) >= min_perception


def _strange(puzzle: Puzzle, puzzles: Mapping[str, str]) -> str | None:
    """Returns why a puzzle is none of the data set's; None where it is one."""
    text = puzzles.get(puzzle.puzzle_id)
    if text is None:
        return "which is not there"
    return None if Puzzle.from_json(text) == puzzle else "which is another puzzle there"
