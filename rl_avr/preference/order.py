"""In which order pairs are trained on: a question's side by side, and in one micro-batch."""

from collections import deque
from collections.abc import Hashable, Sequence
from itertools import islice

from rl_avr.seeding import rng_for

_LOOKED_AT = 64
"""Questions among which one is sought that fits into what is left of a micro-batch."""


def pair_order(
    questions: Sequence[Hashable],
    num_rows: int,
    batch_size: int,
    seed: int,
    keep_together: bool = True,
) -> list[int]:
    """Returns the places of pairs, row by row; each pair comes once before any comes twice.

    Micro-batches are runs of `batch_size` rows. A question is cut only where none of the next
    ones fits into what is left of a micro-batch.

    Args:
        questions: of each pair, what it asks.
        num_rows: how many rows; more than there are pairs begins them anew, in another order.
        batch_size: pairs of a micro-batch.
        seed: of the run.
        keep_together: whether questions stay whole; otherwise pairs are shuffled one by one.
    """
    rows: list[int] = []
    for epoch in range(-(-num_rows // len(questions))):
        rows += _epoch(questions, len(rows), batch_size, keep_together, seed, epoch)
    return rows[:num_rows]


def _epoch(
    questions: Sequence[Hashable],
    num_before: int,
    batch_size: int,
    keep_together: bool,
    *path: int,
) -> list[int]:
    rng = rng_for("pairs", *path)
    groups: dict[Hashable, list[int]] = {}
    for place, question in enumerate(questions):
        groups.setdefault(question if keep_together else place, []).append(place)
    shuffled = list(groups.values())
    rng.shuffle(shuffled)
    left = deque(shuffled)
    rows: list[int] = []
    while left:
        room = -(num_before + len(rows)) % batch_size or batch_size
        near = enumerate(islice(left, _LOOKED_AT))
        chosen = next((i for i, group in near if len(group) <= room), 0)
        group = left[chosen]
        del left[chosen]
        rows += rng.sample(group, len(group))
    return rows
