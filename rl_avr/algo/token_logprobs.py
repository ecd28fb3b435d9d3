"""Logprobs and entropies of single tokens from logits, without a copy of the logits.

    logprob = z_y - log(sum_v exp(z_v))            z = logits / temperature
    entropy = log(sum_v exp(z_v)) - sum_v p_v z_v  p = softmax(z)

    d logprob / dz_v = 1[v = y] - p_v
    d entropy / dz_v = -p_v (log p_v + entropy)

N: tokens, V: vocabulary.
"""

from typing import Any

import torch


def token_logprobs(
    logits_NV: torch.Tensor,
    labels_N: torch.Tensor,
    temperature: float = 1.0,
    with_entropy: bool = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns (N,) logprobs of the labels and (N,) entropies, in nats, at least in float32.

    Backward keeps the logits and makes their gradient in one buffer; nothing is spent on
    the entropies where they take no part in the loss.

    Args:
        logits_NV: before the temperature.
        labels_N: in [0, V).
        temperature: above 0.
        with_entropy: without it, None takes the place of the entropies.

    >>> logprobs, entropies = token_logprobs(torch.zeros(1, 4), torch.tensor([2]))
    >>> [round(x.item(), 4) for x in (logprobs[0], entropies[0])]
    [-1.3863, 1.3863]
    """
    return _TokenLogprobs.apply(logits_NV, labels_N, temperature, with_entropy)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits_NV: torch.Tensor,
        labels_N: torch.Tensor,
        temperature: float,
        with_entropy: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        ctx.set_materialize_grads(False)
        z_NV = _scaled(logits_NV, temperature)
        log_sum_N = z_NV.logsumexp(dim=-1)
        logprobs_N = z_NV.gather(-1, labels_N[:, None])[:, 0] - log_sum_N
        entropies_N = None
        if with_entropy:
            p_NV = (z_NV - log_sum_N[:, None]).exp_()
            entropies_N = log_sum_N - torch.linalg.vecdot(p_NV, z_NV)
        ctx.save_for_backward(logits_NV, labels_N, log_sum_N, entropies_N)
        ctx.temperature = temperature
        return logprobs_N, entropies_N

    @staticmethod
    def backward(
        ctx: Any, grad_logprobs_N: torch.Tensor | None, grad_entropies_N: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, None, None, None]:
        logits_NV, labels_N, log_sum_N, entropies_N = ctx.saved_tensors
        if grad_logprobs_N is None and grad_entropies_N is None:
            return None, None, None, None
        grad_NV = _scaled(logits_NV, ctx.temperature) - log_sum_N[:, None]
        if grad_entropies_N is not None:
            p_NV = grad_NV.exp()
            grad_NV.add_(entropies_N[:, None]).mul_(-grad_entropies_N[:, None])
            if grad_logprobs_N is not None:
                grad_NV.sub_(grad_logprobs_N[:, None])
            grad_NV.mul_(p_NV)
        elif grad_logprobs_N is not None:
            grad_NV.exp_().mul_(-grad_logprobs_N[:, None])
        if grad_logprobs_N is not None:
            grad_NV.scatter_add_(-1, labels_N[:, None], grad_logprobs_N[:, None])
        if ctx.temperature != 1.0:
            grad_NV.div_(ctx.temperature)
        return grad_NV.to(logits_NV.dtype), None, None, None


def _scaled(logits_NV: torch.Tensor, temperature: float) -> torch.Tensor:
    z_NV = logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()
    return z_NV if temperature == 1.0 else z_NV / temperature
