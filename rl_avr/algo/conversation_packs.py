"""Packs of several conversations, each of which sees itself alone.

    rows     [user][assistant][user][assistant][padding]     [user][assistant][padding] ...
    a pack   [user][assistant][user][assistant][user][assistant] ...

A conversation ends in a pack before its last trained token, which nothing predicts from.
Conversations of a pack lie by length, so that those of like lengths attend as one batch.

Attention forward and backward on one core, 32 conversations of 85 to 132 tokens, 4 heads of 32, and
4 of 1,050 to 1,500 tokens, 10 heads of 32; milliseconds of one run:

    equal lengths as a batch (here)     26    382
    lengths up to 1.5 times, padded     40    553
    padded rows with a mask             28    982

N: tokens of a pack, S: trained tokens of a pack, L: tokens of a conversation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rl_avr.algo.shared_prefix import MAX_STRETCH, GroupSpan, blocks_of
from rl_avr.errors import DataError


@dataclass(frozen=True)
class ConversationPack:
    """One packed sequence, and where its tokens come from.

    Args:
        members: the conversations, in the order in which they lie.
        lengths: tokens of each of them in the pack.
        ids_N: token ids.
        spans: all that attention needs to know.
        before_S: places whose next token is trained.
        labels_S: these next tokens.
    """

    members: tuple[int, ...]
    lengths: tuple[int, ...]
    ids_N: torch.Tensor
    spans: tuple[GroupSpan, ...]
    before_S: torch.Tensor
    labels_S: torch.Tensor


def make_conversation_packs(
    ids_L: Sequence[torch.Tensor],
    trained_L: Sequence[torch.Tensor],
    token_budget: int | None,
    device: torch.device,
) -> list[ConversationPack]:
    """Returns packs of at most `token_budget` tokens, each conversation in one of them.

    Args:
        ids_L: token ids of each conversation, without padding.
        trained_L: True for the tokens that count; the first token of a conversation cannot.
        token_budget: None for one pack; a conversation over it has a pack of its own.
        device: where attention runs; everything else stays where it is.

    Raises:
        DataError: a conversation without a token that counts.
    """
    lengths = [_tokens_needed(index, trained) for index, trained in enumerate(trained_L)]
    packs = []
    for members in first_fit(lengths, token_budget):
        members.sort(key=lengths.__getitem__)
        packs.append(_pack(members, [lengths[i] for i in members], ids_L, trained_L, device))
    return packs


def first_fit(lengths: Sequence[int], budget: int | None) -> list[list[int]]:
    """Returns indices in bins: each goes into the first bin that it still fits into.

    >>> first_fit([5, 3, 9, 2, 4], 8)
    [[0, 1], [2], [3, 4]]
    """
    if budget is None:
        return [list(range(len(lengths)))] if lengths else []
    bins: list[list[int]] = []
    room: list[int] = []
    for index, length in enumerate(lengths):
        place = next((b for b, free in enumerate(room) if length <= free), len(bins))
        if place == len(bins):
            bins.append([])
            room.append(budget)
        bins[place].append(index)
        room[place] -= length
    return bins


def _tokens_needed(index: int, trained_L: torch.Tensor) -> int:
    """Returns the place of the last trained token, which only its label needs."""
    places = trained_L.nonzero()
    if len(places) == 0 or places[0] == 0:
        raise DataError(
            f"conversation {index} of the batch: expected tokens to train behind its first one; "
            f"got {len(places)} among {len(trained_L)} tokens"
        )
    return int(places[-1])


def _pack(
    members: list[int],
    lengths: list[int],
    ids_L: Sequence[torch.Tensor],
    trained_L: Sequence[torch.Tensor],
    device: torch.device,
) -> ConversationPack:
    ids_N = torch.cat([ids_L[i][:length] for i, length in zip(members, lengths, strict=True)])
    # what comes next after every token of the pack
    next_N = torch.cat(
        [ids_L[i][1 : length + 1] for i, length in zip(members, lengths, strict=True)]
    )
    trained_N = torch.cat(
        [trained_L[i][1 : length + 1] for i, length in zip(members, lengths, strict=True)]
    )
    before_S = trained_N.nonzero()[:, 0]
    # a CPU loses more by padding than by more calls
    max_stretch = 1.0 if device.type == "cpu" else MAX_STRETCH
    blocks = tuple(blocks_of(lengths, device, max_stretch))
    # completions of a prompt without a token
    span = GroupSpan(0, 0, 0, len(ids_N), blocks)
    return ConversationPack(
        members=tuple(members),
        lengths=tuple(lengths),
        ids_N=ids_N,
        spans=(span,),
        before_S=before_S,
        labels_S=next_N[before_S],
    )
