"""Writes the credit of chains: a page, a picture of each, and all numbers.

credit.html    the puzzle, the chains coloured by credit, tables by segment and by claim
chain-0.png    one chain each
credit.json    every token, claim and segment with its numbers
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rewards.config import RewardConfig
from rewards.grader import Grader
from rl_avr.contracts import RolloutGroup
from rl_avr.errors import ConfigError, DataError
from rl_avr.inference.credit import ChainCredit, group_credit
from rl_avr.inference.implicit_reward import load_pair
from rl_avr.modeling.config import Dtype
from rl_avr.pipeline.data_manifest import write_whole
from rl_avr.pipeline.recorded_chains import asked_prompts, recorded_settings, with_images
from rl_avr.pipeline.rewards_explain import Asked, find_completion
from rl_avr.reporting.credit_map import Shown, render_credit
from rl_avr.reporting.credit_picture import credit_png
from rl_avr.training.puzzle_files import kind_of


@dataclass(frozen=True)
class Pair:
    """Whose credit is wanted.

    Args:
        policy: folder or hub name of a policy, or a folder of adapters.
        reference: what it was trained from; likewise.
        dtype: precision of both in memory.
    """

    policy: str
    reference: str
    dtype: Dtype = "float32"


def write_credit(asked: Asked, pair: Pair, num_chains: int = 1, out: Path | None = None) -> str:
    """Writes page, pictures and numbers of some chains; returns what to print.

    Args:
        asked: the first chain: a recorded one, or a text of one's own.
        pair: whose credit.
        num_chains: how many chains of its group, from that one on; 1 or more.
        out: folder to write; default: `credit` in the folder of the rollouts, or here.

    Raises:
        ConfigError: the arguments do not name a chain, or the policies are no pair.
        DataError: the chain is not there or cannot be scored, or a file cannot be written.
    """
    if num_chains < 1:
        raise ConfigError(f"--chains: expected 1 or more, got {num_chains}")
    group, first, source, image, rewards = _asked_group(asked)
    stop = min(first + num_chains, len(group.completions))
    group = replace(group, completions=group.completions[first:stop])
    with Grader(rewards) as grader:
        (graded,) = grader.grade([group])
    scorer = load_pair(pair.policy, pair.reference, dtype=pair.dtype)
    chains = tuple(group_credit(scorer, graded, rewards))
    names = tuple(f"Chain {index}" for index in range(first, stop))
    prompt = group.prompt
    shown = Shown(
        chains,
        names,
        prompt.puzzle,
        kind_of(prompt.puzzle),
        f"Credit: {prompt.prompt_id}",
        f"{source}. Policy: {pair.policy}; reference: {pair.reference}.",
        prompt.text,
        image,
    )
    folder = out or _default_folder(asked)
    try:
        written = _write(folder, shown, first)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error}") from error
    lines = [_line(name, one) for name, one in zip(names, chains, strict=True)]
    if scorer.why_plain:
        lines.append(f"each chain went through with its own copy of the image: {scorer.why_plain}")
    return "\n".join([*lines, *(f"written: {path}" for path in written)])


def _asked_group(asked: Asked) -> tuple[RolloutGroup, int, str, bytes | None, RewardConfig]:
    """Returns group, index, where it is from, its image and how it is graded."""
    settings = recorded_settings(asked.rollouts) if asked.rollouts else None
    rewards = settings.rewards if settings else RewardConfig()
    group, index, source, image = find_completion(asked, rewards)
    if settings:
        prompt = with_images(group.prompt, asked_prompts(settings), str(asked.rollouts))
        group, image = replace(group, prompt=prompt), prompt.images[0] if prompt.images else None
    return group, index, source, image, rewards


def _default_folder(asked: Asked) -> Path:
    source = asked.rollouts
    if source is None:
        return Path("credit")
    return (source if source.is_dir() else source.parent) / "credit"


def _write(folder: Path, shown: Shown, first: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    page, numbers = folder / "credit.html", folder / "credit.json"
    write_whole(page, render_credit(shown))
    # plain ASCII: a text may hold what UTF-8 cannot
    write_whole(numbers, json.dumps([_record(one) for one in shown.chains]) + "\n")
    pictures = []
    for index in range(len(shown.chains)):
        pictures.append(folder / f"chain-{first + index}.png")
        pictures[-1].write_bytes(credit_png(shown, index))
    return [page, *pictures, numbers]


def _line(name: str, chain: ChainCredit) -> str:
    parts = ", ".join(f"{s.name} {s.credit:+.2f}" for s in chain.segments if s.num_tokens)
    return f"{name}: implicit reward {chain.total:+.2f} ({parts})"


def _record(chain: ChainCredit) -> dict[str, Any]:
    text, ends = chain.text, chain.token_ends_T
    starts = (0, *ends[:-1])
    return {
        "text": text,
        "reward": chain.total,
        "tokens": [
            {"text": text[start:end], "credit": credit, "centred": centred, "logprob": logprob}
            for start, end, credit, centred, logprob in zip(
                starts,
                ends,
                chain.credit_T.tolist(),
                chain.centred_T.tolist(),
                chain.logprobs_T.tolist(),
                strict=False,
            )
        ],
        "segments": [vars(segment) for segment in chain.segments],
        "claims": [
            {
                **one.claim._asdict(),
                "tokens": one.tokens,
                "credit": one.credit,
                "centred": one.centred,
                "logprob": one.logprob,
            }
            for one in chain.claims
        ],
    }
