"""The order of a run: which conversation stands at each place, for all of its epochs.

Every kind of conversation is a stream. A stream with share s has its k-th conversation at
a random place of the stretch in which s times the number of places goes from k - 1 to k.
So wherever the shares of all streams are whole numbers each stream has had just that many,
and elsewhere it is a few off at most. Shares may change along the run. Within a stream
every unit comes once before any comes twice, each time round in another order.

The order depends on the seed, the settings and the number of conversations alone, so a
row of it is the same whatever was read before.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_avr.errors import ConfigError, DataError
from rl_avr.seeding import derive_seed
from sft_warmstart.config import Kind, SftConfig

Units = np.ndarray
"""(U, 2) whole numbers: row and part of everything that a kind can be made of."""
_NUM_STEPS = 1000
"""Pieces in which shares go from `mixture` to `mixture_end`."""


@dataclass(frozen=True)
class Stream:
    """The conversations of one kind along a run.

    Args:
        name: decides their order.
        kind: what they are.
        shares_M: in each of M pieces of the run of equal length, share of all places.
    """

    name: str
    kind: Kind
    shares_M: np.ndarray

    @property
    def share(self) -> float:
        """Its share of the whole run."""
        return float(self.shares_M.mean())


def puzzle_shares(sft: SftConfig) -> dict[Kind, np.ndarray]:
    """Returns kind -> share of the conversations about puzzles, in M pieces of the run.

    The perception stage has perception alone. With a curriculum the kinds that it names
    give their weights to the one whose turn it is; other kinds keep theirs.
    """
    if sft.stage == "perception":
        return {"perception": np.ones(1)}
    num_pieces = _NUM_STEPS if sft.mixture_end else max(len(sft.curriculum), 1)
    middles_M = (np.arange(num_pieces) + 0.5) / num_pieces
    start, end = _normalized(sft.mixture), _normalized(sft.mixture_end or sft.mixture)
    shares: dict[Kind, np.ndarray] = {}
    for kind in [*start, *(kind for kind in end if kind not in start)]:
        first, last = start.get(kind, 0.0), end.get(kind, 0.0)
        shares[kind] = first + (last - first) * middles_M
    taken = sum((shares[kind] for kind in sft.curriculum), np.zeros(num_pieces))
    for place, kind in enumerate(sft.curriculum):
        shares[kind] = np.where(np.arange(num_pieces) == place, taken, 0.0)
    return {kind: share for kind, share in shares.items() if share.any()}


def _normalized(weights: Mapping[str, float]) -> dict[Any, float]:
    total = sum(weights.values())
    return {kind: weight / total for kind, weight in weights.items() if weight}


def streams_of(sft: SftConfig, num_conversations: int) -> list[Stream]:
    """Returns the streams of a run; their shares sum to 1 in every piece.

    Replay has its share of all conversations. Format samples, half direct and half
    chains, are spread over the whole run as streams of their own.

    Raises:
        ConfigError: no place is left for the mixture.
    """
    replay = replay_share(sft)
    shown = sft.num_format_samples / num_conversations
    left = 1 - replay - shown
    if left <= 0:
        raise ConfigError(
            f"sft.num_format_samples {sft.num_format_samples}: expected fewer than the run has "
            f"beside its replay share, {num_conversations * (1 - replay):.0f}"
        )
    shares = puzzle_shares(sft)
    streams = [Stream(kind, kind, left * share) for kind, share in shares.items()]
    ones_M = np.ones(len(streams[0].shares_M))
    if replay:
        streams.append(Stream("replay", "replay", replay * ones_M))
    if shown:
        streams.append(Stream("format/direct", "direct", shown / 2 * ones_M))
        streams.append(Stream("format/chain", "chain", shown / 2 * ones_M))
    return streams


def replay_share(sft: SftConfig) -> float:
    """Returns the share of replay; 0 where no data set is named."""
    return sft.replay.share if sft.replay.path else 0.0


def epoch_length(sft: SftConfig, supply: Mapping[Kind, Units]) -> int:
    """Returns how many conversations one pass over the puzzles has.

    A conversation of a kind with U units is 1/U of a pass, so n conversations are one pass
    where n times the sum of share/U is 1. Replay and format samples come on top.
    """
    shares = puzzle_shares(sft)
    check_supply(shares, supply)
    per_conversation = sum(float(s.mean()) / len(supply[kind]) for kind, s in shares.items())
    extra = sft.num_format_samples
    return round((1 / per_conversation + extra) / (1 - replay_share(sft)))


def check_supply(kinds: Mapping[Kind, Any], supply: Mapping[Kind, Units]) -> None:
    """Refuses a kind that nothing can be made of.

    Raises:
        DataError: with the kind.
    """
    for kind in kinds:
        if not len(supply[kind]):
            raise DataError(
                f"sft.mixture: no puzzle can give a conversation of the kind {kind!r}; expected "
                "other puzzles, or a stage and a mixture without it"
            )


def run_plan(
    sft: SftConfig, supply: Mapping[Kind, Units], num_conversations: int, seed: int
) -> dict[str, Any]:
    """Returns the columns `kind`, `row`, `part` and `cycle` of a run in order.

    `cycle` counts from 0 how often the unit came before in its stream.

    Args:
        sft: the mixture and its schedule.
        supply: kind -> its units.
        num_conversations: length of the run.
        seed: decides the order.
    """
    streams = streams_of(sft, num_conversations)
    check_supply({stream.kind: None for stream in streams}, supply)
    stream_N = _stream_order(streams, num_conversations, seed)
    kinds = np.array([stream.kind for stream in streams])
    units_N3 = np.empty((num_conversations, 3), np.int64)
    for index, stream in enumerate(streams):
        (places,) = np.nonzero(stream_N == index)
        units_N3[places] = _visits(supply[stream.kind], len(places), stream.name, seed)
    row_N, part_N, cycle_N = units_N3.T
    return {"kind": kinds[stream_N], "row": row_N, "part": part_N, "cycle": cycle_N}


def _stream_order(streams: list[Stream], num: int, seed: int) -> np.ndarray:
    """Returns (N,) the number of the stream at each place."""
    times, owners = [], []
    counts = _counts([stream.share * num for stream in streams], num)
    for index, (stream, count) in enumerate(zip(streams, counts, strict=True)):
        rng = np.random.default_rng(derive_seed("places", seed, stream.name))
        num_pieces = len(stream.shares_M)
        had = np.concatenate([[0.0], np.cumsum(stream.shares_M)]) * num / num_pieces
        due = np.arange(count) + rng.random(count)
        times.append(np.interp(due, had, np.linspace(0, 1, num_pieces + 1)))
        owners.append(np.full(count, index))
    return np.concatenate(owners)[np.argsort(np.concatenate(times), kind="stable")]


def _counts(quotas: list[float], total: int) -> list[int]:
    """Returns whole numbers with a sum, by largest remainder.

    >>> _counts([2.5, 0.7, 0.8], 4)
    [2, 1, 1]
    """
    counts = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda i: counts[i] - quotas[i])
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


def _visits(units: Units, count: int, name: str, seed: int) -> np.ndarray:
    """Returns (count, 3) row, part and cycle: every unit once before any twice."""
    orders = []
    for cycle in range(math.ceil(count / len(units))):
        rng = np.random.default_rng(derive_seed("order", seed, name, cycle))
        order = rng.permutation(len(units))
        orders.append(np.column_stack([units[order], np.full(len(units), cycle)]))
    return np.concatenate(orders)[:count] if orders else np.empty((0, 3), np.int64)
