"""Dynamic sampling: groups that teach nothing are replaced by fresh puzzles before training.

A group whose outcomes are all the same has advantages of 0. Its place in the batch is given
to a fresh puzzle whose group is useful, for a bounded number of rounds:

    draw       ceil(missing / max(share, 1 / max_oversampling)) fresh puzzles
    share      moving average of the useful share of all groups sampled, once a step
    place      the first empty place takes the first useful group, in the order drawn

What is still useless after the last round stays: its advantages are 0 either way. Useful groups
beyond the places are recorded and dropped. Kept for the next step they would have been
sampled by weights older than those that are trained, and a shorter wait is not worth a batch
that is no longer on-policy.

Ranks do not talk to each other in here, so none waits for another's rounds. They share one
seeded order of fresh puzzles, of which each takes every W-th, so none is drawn twice.

Source: GLM-4.1V (2507.01006), RLCS with ratio-EMA: expansion 1 / (1 - share of groups that are
all right or all wrong), averaged over iterations.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Literal, NamedTuple

from rl_avr.contracts import GradedGroup
from rl_avr.seeding import rng_for
from rollouts.config import DynamicConfig

DropReason = Literal["no_variance", "surplus"]
Collect = Callable[[Sequence[str], int], list[GradedGroup]]
"""(prompt ids, number of the round from 1) -> their groups, in order."""


class Dropped(NamedTuple):
    """A group that was sampled and is not trained.

    Args:
        group: the group.
        reason: `no_variance` where it teaches nothing, `surplus` where every place was taken.
        round: the round in which it was sampled; 0 is the batch itself.
    """

    group: GradedGroup
    reason: DropReason
    round: int


@dataclass(frozen=True)
class FilledBatch:
    """A batch after its useless groups were replaced.

    Args:
        groups: what is trained, in the places of the batch.
        dropped: the rest of what was sampled, in the order of the rounds.
        num_rounds: rounds in which fresh puzzles were drawn.
    """

    groups: tuple[GradedGroup, ...]
    dropped: tuple[Dropped, ...] = ()
    num_rounds: int = 0

    @property
    def sampled(self) -> tuple[GradedGroup, ...]:
        """Every group that was sampled, trained or not."""
        return (*self.groups, *(one.group for one in self.dropped))

    @property
    def num_useful(self) -> int:
        """How many of the groups sampled were useful."""
        return sum(group.is_admitted for group in self.sampled)

    def dropped_by(self) -> Iterator[tuple[DropReason, int, list[GradedGroup]]]:
        """Yields reason, round and groups of each run of equal reason and round."""
        for (reason, number), same in groupby(self.dropped, key=lambda d: (d.reason, d.round)):
            yield reason, number, [one.group for one in same]


def fill_batch(
    groups: Sequence[GradedGroup],
    fresh: Iterable[str],
    collect: Collect,
    config: DynamicConfig,
    useful_share: float | None,
) -> FilledBatch:
    """Returns the batch with its useless groups replaced as far as the bound allows.

    Args:
        groups: the batch as it was sampled.
        fresh: ids of prompts that may take a place, in order; a shorter one ends the rounds.
        collect: samples and grades them.
        config: the bounds.
        useful_share: what share of the groups to expect useful; None for that of this batch.
    """
    kept = list(groups)
    empty = [i for i, group in enumerate(groups) if not group.is_admitted]
    dropped: list[Dropped] = []
    drawn, num_rounds = iter(fresh), 0
    num_sampled, num_useful = len(groups), len(groups) - len(empty)
    while empty and num_rounds < config.max_rounds:
        share = useful_share if useful_share is not None else num_useful / num_sampled
        ids = list(islice(drawn, num_to_draw(len(empty), share, config.max_oversampling)))
        if not ids:
            break
        num_rounds += 1
        for group in collect(ids, num_rounds):
            num_sampled += 1
            num_useful += group.is_admitted
            if not group.is_admitted:
                dropped.append(Dropped(group, "no_variance", num_rounds))
            elif not empty:
                dropped.append(Dropped(group, "surplus", num_rounds))
            else:
                place = empty.pop(0)
                dropped.append(Dropped(kept[place], "no_variance", 0))
                kept[place] = group
    dropped.sort(key=lambda one: one.round)
    return FilledBatch(tuple(kept), tuple(dropped), num_rounds)


def num_to_draw(missing: int, useful_share: float, max_oversampling: float) -> int:
    """Returns how many fresh puzzles to draw for `missing` places.

    >>> num_to_draw(3, 0.5, 4.0), num_to_draw(3, 0.8, 4.0), num_to_draw(3, 0.0, 4.0)
    (6, 4, 12)
    """
    # the smallest number of puzzles whose expected yield is whole, not one more by rounding
    return math.ceil(missing / max(useful_share, 1.0 / max_oversampling) - 1e-9)


def moving_average(old: float | None, new: float, decay: float) -> float:
    """Returns decay * old + (1 - decay) * new; without an old value, the new one.

    >>> round(moving_average(0.5, 1.0, 0.9), 3), moving_average(None, 0.25, 0.9)
    (0.55, 0.25)
    """
    return new if old is None else decay * old + (1.0 - decay) * new


def fresh_order(
    prompt_ids: Sequence[str],
    in_batch: Sequence[str],
    path: Sequence[str | int],
    rank: int = 0,
    num_ranks: int = 1,
) -> Iterator[str]:
    """Yields the prompts that may replace those of a batch, without repetition.

    Args:
        prompt_ids: every prompt of the run.
        in_batch: prompts of the batch, of all ranks; none of them is yielded.
        path: names the stream, such as the run's seed and the step; equal on every rank.
        rank: which share is yielded: positions rank, rank + num_ranks, … of the order.
        num_ranks: number of shares.
    """
    rng = rng_for("fresh", *path, *in_batch)
    taken = set(in_batch)
    position = 0
    for index in _shuffled(len(prompt_ids), rng.randrange):
        name = prompt_ids[index]
        if name in taken:
            continue
        if position % num_ranks == rank:
            yield name
        position += 1


def _shuffled(size: int, randrange: Callable[[int, int], int]) -> Iterator[int]:
    """Yields 0 to size - 1 in random order; memory and time grow with what is taken."""
    moved: dict[int, int] = {}
    for i in range(size):
        j = randrange(i, size)
        yield moved.get(j, j)
        moved[j] = moved.get(i, i)
