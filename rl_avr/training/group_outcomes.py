"""How groups came out: all right, all wrong, or something to learn from."""

from collections.abc import Sequence
from typing import Any

import torch

from rl_avr.contracts import GradedGroup
from rl_avr.metric_names import ADMITTED_SHARE, ALL_RIGHT_SHARE, ALL_WRONG_SHARE, MIXED_SHARE


def outcome_shares(groups: Sequence[GradedGroup], ranks: Any) -> dict[str, float]:
    """Returns the shares of the trained groups of all ranks, by name of the metric.

    A group of which nothing could be judged is neither right, wrong nor mixed.

    Args:
        groups: of this rank, as many as on every other.
        ranks: the accelerator.
    """
    mine = torch.tensor([_kinds(group) for group in groups], device=ranks.device)
    shares = ranks.gather(mine).mean(dim=0).tolist()
    names = (ADMITTED_SHARE, ALL_RIGHT_SHARE, ALL_WRONG_SHARE, MIXED_SHARE)
    return dict(zip(names, shares, strict=True))


def _kinds(group: GradedGroup) -> list[float]:
    judged = [score.outcome for score in group.scores if score.outcome is not None]
    all_right = bool(judged) and min(judged) >= 1.0
    all_wrong = bool(judged) and max(judged) <= 0.0
    is_mixed = bool(judged) and not all_right and not all_wrong
    return [float(group.is_admitted), float(all_right), float(all_wrong), float(is_mixed)]
