"""Losses of supervised fine-tuning over the trained tokens of a batch.

    ce = -log p(y)                                        of every trained token
    plain     sum(ce) / trained tokens of the step
    entropy   sum(ce of kept tokens) / kept tokens of the step
              kept: the share rho with the largest  delta = ce - lambda * H

H is the entropy of the policy's distribution at the token. A token whose distribution is wide
and whose label is likely all the same has a small delta; leaving it out keeps entropy. The kept
tokens are chosen in each batch that goes through the policy at once.

Source: Light-IF (entropy-preserving SFT), with lambda 0.8 and rho 0.8.

S: trained tokens of a batch.
"""

import math

import torch

_ROUNDING = 1e-9


def num_kept(num_tokens: int, token_share: float) -> int:
    """Returns how many tokens count, rounded up.

    >>> num_kept(10, 0.8), num_kept(3, 0.5), num_kept(7, 1.0), num_kept(0, 0.8)
    (8, 2, 7, 0)
    """
    return math.ceil(num_tokens * token_share - _ROUNDING)


def kept_tokens(
    logprobs_S: torch.Tensor,
    entropies_S: torch.Tensor,
    entropy_weight: float,
    token_share: float,
) -> torch.Tensor:
    """Returns (S,) True for the tokens that count; all of them where `token_share` is 1.

    Args:
        logprobs_S: of the labels, in nats.
        entropies_S: in nats.
        entropy_weight: lambda, at least 0.
        token_share: rho, in (0, 1].

    >>> logprobs = torch.tensor([-1.0, -3.0, -2.0])
    >>> kept_tokens(logprobs, torch.tensor([0.0, 3.0, 0.0]), 1.0, 2 / 3).tolist()
    [True, False, True]
    """
    delta_S = -logprobs_S.detach() - entropy_weight * entropies_S.detach()
    kept_S = torch.zeros_like(delta_S, dtype=torch.bool)
    kept_S[delta_S.topk(num_kept(len(delta_S), token_share)).indices] = True
    return kept_S


def mean_cross_entropy(
    logprobs_S: torch.Tensor, kept_S: torch.Tensor | None, num_tokens: int | torch.Tensor
) -> torch.Tensor:
    """Returns (): a batch's part of the mean cross-entropy of its optimizer step.

    The parts of all batches of a step, over accumulation and processes, add up to the mean.

    Args:
        logprobs_S: of the labels, in nats.
        kept_S: True for the tokens that count; None where all do.
        num_tokens: tokens that count in the whole step; at least 1 is taken.
    """
    counted = logprobs_S if kept_S is None else logprobs_S[kept_S]
    return -counted.sum() / torch.as_tensor(num_tokens).clamp(min=1)
