"""What leaves a policy on its way to a rollout engine, and what keeps the two equal."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from rl_avr.errors import ConfigError
from rl_avr.modeling.freezing import Part, part_of

# exp gives 0 in every precision, and float16 still holds it beside any logit
_NEVER = -1e4


def named_weights(model: Any, skip_frozen: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields every parameter once, under its name in the module, whole on every rank.

    Under ZeRO-3 a parameter is gathered while it is out; all ranks must iterate
    together. Tied weights come once, under the name of the input embedding.

    Args:
        model: the policy.
        skip_frozen: leave out each part, vision or language, of which nothing is trained.
            Parts and not single parameters, because an engine fuses neighbours (queries,
            keys and values) and would fill what does not come with anything.
    """
    kept = trained_parts(model) if skip_frozen else None
    for name, parameter in model.named_parameters():
        if kept is None or part_of(name) in kept:
            with _gathered(parameter):
                yield name, parameter.detach()


def trained_parts(model: Any) -> set[Part]:
    """Returns the parts of which at least one parameter is trained."""
    return {part_of(name) for name, p in model.named_parameters() if p.requires_grad}


def mask_logits(model: Any, token_ids: Sequence[int]) -> None:
    """Takes all probability from `token_ids` in every forward pass of the policy.

    The engine never samples these tokens and renormalises over the others; so does the
    policy from here on, and logprobs of both sides stay equal. The output head gets a
    bias that is neither trained, saved nor sent to an engine. A hook on the head would
    not do: trl's fused head reads weight and bias and never calls the module.

    Raises:
        ConfigError: the output head has a bias of its own.
    """
    if not token_ids:
        return
    head = model.get_output_embeddings()
    if head.bias is not None:
        raise ConfigError(
            f"the output head of {type(model).__name__} has a bias of its own; expected a policy "
            "without, as every Qwen-VL, LLaVA-NeXT and Idefics3 is: its place is taken by the "
            "tokens that are never sampled"
        )
    weight = head.weight
    bias = torch.zeros(head.out_features, dtype=weight.dtype, device=weight.device)
    bias[list(token_ids)] = _NEVER
    if hasattr(weight, "ds_status"):
        # under ZeRO-3 trl asks the bias, too, whether it is whole
        bias.ds_status = type(weight.ds_status).AVAILABLE
    del head.bias
    head.register_buffer("bias", bias, persistent=False)


def _gathered(parameter: torch.Tensor) -> Any:
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter])
