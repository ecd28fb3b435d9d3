"""What a model takes without packs: padded rows, each with its own images."""

from collections.abc import Sequence
from typing import Any

import torch

from rl_avr.modeling.conversation_pass import Conversation


def plain_rows(conversations: Sequence[Conversation], pad_token_id: int) -> dict[str, Any]:
    """Returns what a model takes: ids and labels padded on the right, and all images.

    Args:
        conversations: one a row.
        pad_token_id: what fills the rows.
    """
    ids = [c.ids_L for c in conversations]
    labels = [c.ids_L.where(c.trained_L, -100) for c in conversations]
    rows = {
        "input_ids": _padded(ids, pad_token_id),
        "attention_mask": _padded([torch.ones_like(one) for one in ids], 0),
        "labels": _padded(labels, -100),
    }
    types = [c.token_types_L for c in conversations]
    if any(one is not None for one in types):
        given = [
            torch.zeros_like(own) if one is None else one
            for own, one in zip(ids, types, strict=True)
        ]
        rows["mm_token_type_ids"] = _padded(given, 0)
    shown = [c.images for c in conversations if c.images]
    for name in shown[0] if shown else ():
        rows[name] = _stacked([images[name] for images in shown])
    return rows


def _padded(rows: Sequence[torch.Tensor], value: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def _stacked(values: Sequence[torch.Tensor]) -> torch.Tensor:
    """Joins images; where some have fewer crops than others, zeros stand for those missing."""
    if len({value.shape[1:] for value in values}) == 1:
        return torch.cat(list(values))
    most = max(value.shape[1] for value in values)
    widened = [
        torch.cat([v, v.new_zeros(v.shape[0], most - v.shape[1], *v.shape[2:])], dim=1)
        for v in values
    ]
    return torch.cat(widened)
