"""Four reward functions of one's own: plain or async, one sample or many at a time.

Named in a config they become parts of the reward, each with its weight:

    rewards:
      own:
        docs/own_reward.py:brevity: 0.1
        docs/own_reward.py:names_the_answer: 0.2
      own_limits:
        time_limit_s: 5

`completion` or `completions` is required; `prompt` or `prompts` and the columns prompt_id,
puzzle, answer, kind, finish_reason and num_tokens come where the signature names them. A
number in [0, 1] is a reward; None says that the function cannot judge this completion.
"""

import asyncio

from rl_avr.contracts import Puzzle


def brevity(completion: str, num_tokens: int | None = None) -> float:
    """Returns 1 for no text, falling to 0 at 400 tokens."""
    length = len(completion.split()) if num_tokens is None else num_tokens
    return max(0.0, 1 - length / 400)


def names_the_answer(completions: list[str], answer: list[str], **columns: list) -> list[float]:
    """Returns, for a list, 1 where the right letter or words stand in the last line."""
    last_lines = [text.rstrip().rpartition("\n")[2] for text in completions]
    return [float(gold in line.split()) for gold, line in zip(answer, last_lines, strict=True)]


async def judged_elsewhere(prompt: str, completion: str) -> float | None:
    """Returns what a judge behind a network would say; up to 32 are asked at once."""
    await asyncio.sleep(0.01)
    return 1.0 if completion else None


async def counts_panels(completions: list[str], puzzle: list[Puzzle]) -> list[float | None]:
    """Returns how near the number of lines is to that of the panels; None without a state."""
    return [
        1 / (1 + abs(len(text.splitlines()) - len(one.context))) if one.has_state else None
        for text, one in zip(completions, puzzle, strict=True)
    ]
