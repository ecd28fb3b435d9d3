"""Losses over pairs of completions of one question, the first of which is preferred.

    S = sum_t w_t logp_t           score of a completion; w_t is 1, or less the later the token
    M = S / sum_t w_t              its mean
    D = S - S_ref                  its log ratio against the reference policy

    dpo      -log sigmoid(beta (D+ - D-))                                        2305.18290, eq. 7
    ipo      (D+ / n+ - D- / n- - 1 / (2 beta))^2                                2310.12036, eq. 17
    sft      -sum w logp / sum w     over all tokens of a batch's chosen
    orpo     -M+ - beta log sigmoid(L+ - L-),    L = log odds = M - log(1 - e^M)  2403.07691, eq. 6
    simpo    -log sigmoid(beta (M+ - M-) - gamma)                                2405.14734, eq. 6
    aft      -M+ and the alignment of all of a question's completions:           2309.02144
      plain      log(1 + sum_pn exp(M_n - M_p))
      detached   the same, and M_n gets no gradient
      boundary   log(1 + sum_pn [exp(M_n - M_p) + exp(T - M_n)]),   T = min_p M_p - 2 b

The boundary is why M_n stops falling: its gradient is 0 at (T + M_p) / 2, which is M_p - b for
the least M_p. What T is made of gets no gradient by it. n is a number of tokens.

DPO, IPO and DPO mixed with sft are trained through trl's own trainer, whose formulas are these;
a test holds the two together, and orpo and simpo to those of trl's experimental trainers. Of orpo
and aft the likelihood is a mean over chains, so that a split of the batch changes nothing; trl's
sft is one over tokens.

B: completions, C: longest completion, N: pairs, P: chosen and Q: rejected of one question.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F

WeightShape = Literal["even", "cosine", "linear"]
Alignment = Literal["plain", "detached", "boundary"]


def token_weights(mask_BC: torch.Tensor, shape: WeightShape) -> torch.Tensor:
    """Returns (B, C) float32 weights of tokens in [0, 1]; 0 where the mask is 0.

    Of the t-th of n tokens, from 0: `even` 1, `cosine` (1 + cos(pi t / n)) / 2, `linear`
    (n - t) / n. An empty completion has no weight.

    Args:
        mask_BC: 1 for a completion's tokens, which come first in each row.
        shape: how weights fall.

    Source: LLaVA-Reasoner's released training code.

    >>> token_weights(torch.tensor([[1, 1, 1, 1, 0]]), "linear")
    tensor([[1.0000, 0.7500, 0.5000, 0.2500, 0.0000]])
    """
    mask_BC = mask_BC.float()
    if shape == "even":
        return mask_BC
    lengths_B1 = mask_BC.sum(dim=1, keepdim=True).clamp(min=1)
    done_BC = torch.arange(mask_BC.shape[1], device=mask_BC.device) / lengths_B1
    falling_BC = 1 - done_BC if shape == "linear" else (1 + torch.cos(math.pi * done_BC)) / 2
    return falling_BC * mask_BC


def scores(logprobs_BC: torch.Tensor, weights_BC: torch.Tensor) -> torch.Tensor:
    """Returns (B,) weighted sums of logprobs, in nats, at most 0; 0 of an empty completion."""
    return (logprobs_BC * weights_BC).sum(dim=1)


def mean_scores(logprobs_BC: torch.Tensor, weights_BC: torch.Tensor) -> torch.Tensor:
    """Returns (B,) weighted means of logprobs, in nats a token; 0 of an empty completion."""
    return scores(logprobs_BC, weights_BC) / weights_BC.sum(dim=1).clamp(min=1e-9)


def sft_loss(logprobs_BC: torch.Tensor, weights_BC: torch.Tensor) -> torch.Tensor:
    """Returns () the weighted mean of -logprob over the tokens of all completions of a batch.

    Args:
        logprobs_BC: of the chosen.
        weights_BC: of their tokens.
    """
    return -(logprobs_BC * weights_BC).sum() / weights_BC.sum().clamp(min=1e-9)


def dpo_losses(
    chosen_ratio_N: torch.Tensor, rejected_ratio_N: torch.Tensor, beta: float
) -> torch.Tensor:
    """Returns (N,) losses of pairs, log 2 where both ratios are the same.

    Args:
        chosen_ratio_N: log ratio of the policy to the reference, summed over tokens.
        rejected_ratio_N: likewise.
        beta: above 0; larger keeps nearer to the reference.
    """
    return -F.logsigmoid(beta * (chosen_ratio_N - rejected_ratio_N))


def ipo_losses(chosen_N: torch.Tensor, rejected_N: torch.Tensor, beta: float) -> torch.Tensor:
    """Returns (N,) losses of pairs, 1 / (4 beta^2) where both are the same.

    Args:
        chosen_N: log ratio of the policy to the reference, the mean over tokens.
        rejected_N: likewise.
        beta: above 0; the margin that is aimed at is 1 / (2 beta).
    """
    return (chosen_N - rejected_N - 1 / (2 * beta)) ** 2


def log_odds(means_N: torch.Tensor) -> torch.Tensor:
    """Returns (N,) log(P / (1 - P)) of P = exp(mean logprob); finite where P rounds to 1."""
    means_N = means_N.clamp(max=-torch.finfo(means_N.dtype).eps)
    return means_N - torch.log(-torch.expm1(means_N))


def orpo_losses(
    chosen_mean_N: torch.Tensor, rejected_mean_N: torch.Tensor, beta: float
) -> torch.Tensor:
    """Returns (N,) losses of pairs, the likelihood of the chosen in them; above 0.

    Args:
        chosen_mean_N: mean logprob a token, at most 0.
        rejected_mean_N: likewise.
        beta: weight of the odds ratio, the paper's lambda.
    """
    odds_ratio_N = log_odds(chosen_mean_N) - log_odds(rejected_mean_N)
    return -chosen_mean_N - beta * F.logsigmoid(odds_ratio_N)


def simpo_losses(
    chosen_mean_N: torch.Tensor, rejected_mean_N: torch.Tensor, beta: float, gamma: float
) -> torch.Tensor:
    """Returns (N,) losses of pairs; they need no reference.

    Args:
        chosen_mean_N: mean logprob a token.
        rejected_mean_N: likewise.
        beta: scale of a mean logprob.
        gamma: margin that is aimed at, after the scale.
    """
    return -F.logsigmoid(beta * (chosen_mean_N - rejected_mean_N) - gamma)


def aft_alignment(
    chosen_mean_P: torch.Tensor,
    rejected_mean_Q: torch.Tensor,
    alignment: Alignment,
    boundary: float,
) -> torch.Tensor:
    """Returns () how far one question's chosen and rejected are out of order; above 0.

    Args:
        chosen_mean_P: mean logprob a token of each.
        rejected_mean_Q: likewise.
        alignment: the formula; see the module's head.
        boundary: b, in nats a token: how far below the least chosen a rejected is pushed.
    """
    pushed_Q = rejected_mean_Q.detach() if alignment == "detached" else rejected_mean_Q
    terms = [(pushed_Q - chosen_mean_P[:, None]).flatten()]
    if alignment == "boundary":
        least = chosen_mean_P.detach().min() - 2 * boundary
        terms.append((least - rejected_mean_Q).repeat(len(chosen_mean_P)))
    return torch.cat([*terms, terms[0].new_zeros(1)]).logsumexp(dim=0)
