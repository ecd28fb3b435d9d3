"""What is done to the advantages of a batch after they were normalised.

    identity    A
    stcr        m A,   m = 1 + (1 - 2^(-(L - L+) / half_length))    wrong and longer than L+
                       m = 1                                        otherwise

L is a completion's length in tokens, L+ the mean length of the right completions of its group.
A wrong completion that is one half-length longer than the right ones counts 1.5 times, one
that is much longer at most twice. A group without a right completion has no L+ and m = 1.

The factor comes after the normalisation: on the reward it would partly cancel. It multiplies
whatever advantage the completion has, so a wrong completion whose advantage is positive is
pushed up; that cannot happen where nothing but the answer is rewarded.

Source: STCR, APO / View-R1 (2506.21655), m = 1 + (1 - b^-(L - L+)). The released b is 1.00001,
a half-length of 69,315 tokens; b = 2^(1 / half_length) says the same in tokens.

B: completions of a batch, those of one group together; G: completions of a group; T: tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Outcomes:
    """What a transform may know about a batch.

    Args:
        lengths_B: tokens of each completion, float.
        outcomes_B: its final answer, in [0, 1], 1 is right; NaN where it cannot be judged.
        num_generations: G, which divides B.
    """

    lengths_B: torch.Tensor
    outcomes_B: torch.Tensor
    num_generations: int


AdvantageTransform = Callable[[torch.Tensor, Outcomes], torch.Tensor]
"""(B,) or (B, T) advantages, and what came out -> advantages of the same shape."""


def identity(advantages: torch.Tensor, outcomes: Outcomes) -> torch.Tensor:
    """Returns the advantages, the same tensor."""
    return advantages


def stcr(half_length: float) -> AdvantageTransform:
    """Returns the transform that counts long wrong completions more.

    Args:
        half_length: extra tokens at which the factor is 1.5; above 0.
    """

    def transform(advantages: torch.Tensor, outcomes: Outcomes) -> torch.Tensor:
        factors = stcr_factors(outcomes, half_length).to(advantages)
        return advantages * (factors.unsqueeze(1) if advantages.dim() == 2 else factors)

    return transform


def stcr_factors(outcomes: Outcomes, half_length: float) -> torch.Tensor:
    """Returns (B,): m of each completion, in [1, 2).

    1 in a group in which every completion is right, or none, or none can be judged.

    >>> batch = Outcomes(torch.tensor([10.0, 20.0, 30.0]), torch.tensor([1.0, 0.0, 0.0]), 3)
    >>> stcr_factors(batch, half_length=10).tolist()
    [1.0, 1.5, 1.75]
    """
    lengths = outcomes.lengths_B.view(-1, outcomes.num_generations)
    judged = outcomes.outcomes_B.view(-1, outcomes.num_generations)
    # a comparison with NaN is false, so what cannot be judged is neither
    is_right, is_wrong = judged >= 1, judged < 1
    num_right = is_right.sum(1, keepdim=True)
    mean_right = (lengths * is_right).sum(1, keepdim=True) / num_right.clamp(min=1)
    extra = (lengths - mean_right).clamp(min=0) * (is_wrong & (num_right > 0))
    return (2 - torch.exp2(-extra / half_length)).view(-1)
