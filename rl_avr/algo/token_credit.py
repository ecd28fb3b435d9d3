"""Credit of single tokens, and a group's advantage spread over a completion's tokens by it.

    r_t = log pi(y_t) - log pi_ref(y_t)                      credit of token t
    c_t = r_t - mean_t r_t                                   centred, as it is shown
    z_t = clip(c_t / (std_t r_t + eps), -2, 2), centred again
    v_t = strength sign(A) z_t
    w_t = 1 + a v_t        a: the largest number <= 1 for which all w_t are in [low, high]
    A_t = w_t A

The mean of v is 0, so that of w is 1: the advantages of a completion's tokens sum to T A, what
they sum to in GRPO, and no token's sign differs from A's. In a completion that is pushed up the
tokens that the policy of the credit likes more than its reference does are pushed more; in one
that is pushed down, those that it likes less. With strength 0 every A_t is A, bit for bit.

PRIME adds returns of the tokens' rewards to that of the outcome instead, each against the group,
which leaves neither mass nor sign. The spread is our own.

Source: the credit, PRIME, 2502.01456, less its beta, which the division by the standard
deviation would cancel.

B: completions, T: tokens, S: spans.
"""

from collections.abc import Sequence

import torch

_EPS = 1e-6
_MOST_STDS = 2.0
"""Credit further from the mean counts as that far; one odd token would else take all the room."""


def centred(credit_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """Returns (B, T): each token's credit less the mean of its completion; 0 where no token is.

    Args:
        credit_BT: r_t.
        mask_BT: True, or 1, where there is a token.

    >>> centred(torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[1, 1, 0]])).tolist()
    [[-1.0, 1.0, 0.0]]
    """
    mask = mask_BT.to(credit_BT)
    means = (credit_BT * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    return (credit_BT - means) * mask


def spread_weights(
    advantages_B: torch.Tensor,
    credit_BT: torch.Tensor,
    mask_BT: torch.Tensor,
    strength: float,
    low: float,
    high: float,
) -> torch.Tensor:
    """Returns (B, T): w_t in [low, high], of mean 1 over each completion's tokens.

    1 where there is no token, where A is 0, and in a completion whose tokens all have the same
    credit, such as one of a single token.

    Args:
        advantages_B: A of each completion.
        credit_BT: r_t.
        mask_BT: True, or 1, where there is a token.
        strength: how far w_t is from 1 for a credit of one standard deviation; at least 0.
        low: least weight, in [0, 1].
        high: greatest weight, at least 1.
    """
    mask = mask_BT.to(credit_BT)
    lengths = mask.sum(1, keepdim=True).clamp(min=1)
    c_BT = centred(credit_BT, mask)
    std_B1 = (c_BT.square().sum(1, keepdim=True) / lengths).sqrt()
    z_BT = centred((c_BT / (std_B1 + _EPS)).clamp(-_MOST_STDS, _MOST_STDS), mask)
    v_BT = strength * advantages_B.sign().unsqueeze(1) * z_BT
    # dividing by 0 gives infinity, and the least of it and 1 is 1
    down = (1 - low) / (-v_BT).amax(dim=1, keepdim=True).clamp(min=0)
    up = (high - 1) / v_BT.amax(dim=1, keepdim=True).clamp(min=0)
    room = torch.minimum(down, up).nan_to_num(nan=0.0).clamp(max=1)
    # rounding may leave the range by a last digit
    return (1 + room * v_BT).clamp(low, high)


def spread(
    advantages_B: torch.Tensor,
    credit_BT: torch.Tensor,
    mask_BT: torch.Tensor,
    strength: float = 0.5,
    low: float = 0.0,
    high: float = 2.0,
) -> torch.Tensor:
    """Returns (B, T): A_t, which over a completion's tokens sum to T A and have A's sign.

    Args:
        advantages_B: as `spread_weights`; so are all others.
        credit_BT: as there.
        mask_BT: as there.
        strength: as there; 0 gives A for every token.
        low: as there.
        high: as there.

    >>> advantages = torch.tensor([1.0, -1.0])
    >>> credit = torch.tensor([[0.0, 2.0], [0.0, 2.0]])
    >>> spread(advantages, credit, torch.ones(2, 2)).round(decimals=3).tolist()
    [[0.5, 1.5], [-1.5, -0.5]]
    """
    weights = spread_weights(advantages_B, credit_BT, mask_BT, strength, low, high)
    return advantages_B.unsqueeze(1) * weights


def span_sums(values_T: torch.Tensor, spans_S: Sequence[tuple[int, int]]) -> list[float]:
    """Returns the sum of a completion's values over each span of tokens [first, stop).

    An empty span sums to 0. Spans may overlap: a token then counts in each.

    >>> span_sums(torch.tensor([1.0, 2.0, 4.0]), [(0, 2), (2, 3), (1, 1)])
    [3.0, 4.0, 0.0]
    """
    sums_T = [0.0, *values_T.double().cumsum(0).tolist()]
    return [sums_T[stop] - sums_T[first] for first, stop in spans_S]
