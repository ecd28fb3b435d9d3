"""What leaves a policy on its way to a rollout engine, and what keeps the two equal."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch


def named_weights(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields every parameter once, under its name in the module, whole on every rank.

    Under ZeRO-3 a parameter is gathered while it is out; all ranks must iterate
    together. Tied weights come once, under the name of the input embedding.
    """
    for name, parameter in model.named_parameters():
        with _gathered(parameter):
            yield name, parameter.detach()


def mask_logits(model: Any, token_ids: Sequence[int]) -> None:
    """Takes all probability from `token_ids` in every forward pass of the policy.

    The engine never samples these tokens and renormalises over the others; so does the
    policy from here on, and logprobs of both sides stay equal.
    """
    if not token_ids:
        return
    index = torch.tensor(list(token_ids))

    def hook(module: Any, args: Any, logits: torch.Tensor) -> torch.Tensor:
        lowest = torch.finfo(logits.dtype).min
        return logits.index_fill(-1, index.to(logits.device), lowest)

    model.get_output_embeddings().register_forward_hook(hook)


def _gathered(parameter: torch.Tensor) -> Any:
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter])
