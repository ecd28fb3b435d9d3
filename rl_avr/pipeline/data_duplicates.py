"""Which puzzles of a split show the same as an earlier one, and what takes their place.

Splits cannot share a puzzle: a hash of what it shows decides the split. Within a split
every shard is drafted on its own, so two rows may hold the same puzzle. Of such rows the
first keeps it. Each later one gets the next puzzle of the split's stream, after its last
row, that is of the same kind and shows nothing that any row showed or any replacement
shows. That depends on the drafts alone, never on the number of processes or on where a
run was stopped.

Cost: one read of the hashes, 24 bytes a puzzle in memory for the sort (24 MB a million),
and one more puzzle drawn for each duplicate.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow.parquet as pq

from rl_avr.contracts import Puzzle
from rl_avr.errors import PuzzleError
from rl_avr.pipeline.data_shards import (
    FinalShard,
    MadeSplit,
    Replacement,
    Shard,
    checksum,
    draw,
    of_kind,
)
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.training.puzzle_files import state_hash

# with one new puzzle left among a thousand, the chance to miss it this often is 5e-5
_MAX_DRAWS = 10_000

Draw = Callable[[MadeSplit, int, PuzzleConfig], Puzzle]


def draft_hashes(shards: Sequence[Shard]) -> np.ndarray:
    """Returns the hashes of a split's drafts, int64 of shape (puzzles,)."""
    columns = [pq.read_table(shard.draft, columns=["state_hash"])["state_hash"] for shard in shards]
    return np.concatenate([column.to_numpy().copy() for column in columns])


def duplicate_rows(hashes: np.ndarray) -> np.ndarray:
    """Returns the rows, ascending, whose hash an earlier row has.

    >>> duplicate_rows(np.array([7, 5, 7, 7, 5]))
    array([2, 3, 4])
    """
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    return np.sort(order[1:][ordered[1:] == ordered[:-1]])


def find_replacements(shards: Sequence[Shard], draw: Draw = draw) -> tuple[Replacement, ...]:
    """Returns what takes the place of a split's duplicates, in the order of their rows.

    Args:
        shards: every shard of one split, all drafted.
        draw: what gives a puzzle of the stream.

    Raises:
        PuzzleError: a kind has no more puzzles that differ.
    """
    hashes = draft_hashes(shards)
    rows = duplicate_rows(hashes)
    if not len(rows):
        return ()
    hashes.sort()
    first = shards[0]
    kinds = _kinds_of(shards, rows)
    # one object a kind: the sampler checks a config object once
    configs = {kind: of_kind(first.config, kind) for kind in kinds}
    taken: set[int] = set()
    replacements = []
    index = len(hashes)
    for row, kind in zip(rows.tolist(), kinds, strict=True):
        for _ in range(_MAX_DRAWS):
            found = state_hash(draw(first.split, index, configs[kind]), b"")
            index += 1
            if found not in taken and not _contains(hashes, found):
                break
        else:
            raise PuzzleError(
                f"split {first.split!r}: no puzzle of the kind {kind!r} that differs from the "
                f"others in {_MAX_DRAWS} draws; {len(hashes)} puzzles asked for, {len(rows)} of "
                "them duplicates; ask for fewer, give the kind a smaller share, or allow more "
                "difficulties"
            )
        taken.add(found)
        replacements.append(Replacement(row, index - 1, kind, found))
    return tuple(replacements)


def final_shards(
    shards: Sequence[Shard], replacements: Sequence[Replacement]
) -> Iterator[FinalShard]:
    """Yields a split's shards, each with its replacements and its checksum."""
    for shard in shards:
        mine = tuple(r for r in replacements if shard.start <= r.row < shard.stop)
        hashes = draft_hashes([shard])
        for replacement in mine:
            hashes[replacement.row - shard.start] = replacement.state_hash
        yield FinalShard(shard, mine, checksum(hashes.tolist()))


def _contains(ordered: np.ndarray, value: int) -> bool:
    at = int(np.searchsorted(ordered, value))
    return at < len(ordered) and int(ordered[at]) == value


def _kinds_of(shards: Sequence[Shard], rows: np.ndarray) -> list[str]:
    kinds: list[str] = []
    for shard in shards:
        inside = rows[(rows >= shard.start) & (rows < shard.stop)] - shard.start
        if len(inside):
            column = pq.read_table(shard.draft, columns=["kind"])["kind"]
            kinds += column.take(inside).to_pylist()
    return kinds
