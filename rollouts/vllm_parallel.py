"""Ranks that share one copy of the policy must ask vLLM for the same prompts, in one order.

Each rank has prompts of its own, so the ranks of a tensor-parallel group ask for those
of all of them and each keeps its own groups. All ranks of a group must therefore call
`generate` equally often. Not run on GPUs yet.
"""

from collections.abc import Callable, Sequence
from typing import Any

from rl_avr.contracts import Prompt
from rollouts.engine import Sampling

Asked = tuple[Prompt, Sampling]
Exchange = Callable[[list[Asked]], tuple[list[Asked], slice]]


def prompt_exchange(size: int) -> Exchange:
    """Returns what turns a rank's prompts into those of its group and the place of its own.

    Args:
        size: ranks that share a policy; neighbours, as vLLM has them. All ranks of the run
            must call this at the same point where it is above 1.
    """
    if size == 1:
        return lambda mine: (mine, slice(None))
    import torch.distributed as dist

    group, _ = dist.new_subgroups(size)

    def gather(mine: list[Asked]) -> list[list[Asked]]:
        parts: list[Any] = [None] * size
        dist.all_gather_object(parts, mine, group=group)
        return parts

    return lambda mine: joined(gather(mine), dist.get_rank() % size)


def joined(parts: Sequence[list[Asked]], rank: int) -> tuple[list[Asked], slice]:
    """Returns the prompts of all ranks in order, and where those of `rank` stand.

    >>> joined([["a"], ["b", "c"], ["d"]], 1)
    (['a', 'b', 'c', 'd'], slice(1, 3, None))
    """
    start = sum(len(part) for part in parts[:rank])
    return [asked for part in parts for asked in part], slice(start, start + len(parts[rank]))
