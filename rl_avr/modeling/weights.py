"""What leaves a policy on its way to a rollout engine, and what keeps the two equal."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from rl_avr.errors import ConfigError
from rl_avr.modeling.adapters import (
    adapter_layers,
    adapter_pair,
    has_adapters,
    merged_weight,
    plain_model,
)
from rl_avr.modeling.config import Part
from rl_avr.modeling.freezing import PARTS, part_of, trained_parts

# exp gives 0 in every precision, and float16 still holds it beside any logit
_NEVER = -1e4
_BASE_LAYER = "base_layer"
_ADAPTER = "lora_"


def named_weights(
    model: Any, skip_frozen: bool = False, adapters_apart: Collection[Part] = ()
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields every weight once, under its name in the plain policy, whole on every rank.

    Where an adapter stands beside a layer, the layer's weight comes with it merged,
    W + alpha / rank * B A, computed when its turn comes; the policy itself stays as it is.

    Under ZeRO-3 a parameter is gathered while it is out; all ranks must iterate
    together. Tied weights come once, under the name of the input embedding.

    Args:
        model: the policy, with adapters or without.
        skip_frozen: leave out each part of which nothing is trained. Parts and not single
            parameters, because an engine fuses neighbours (queries, keys and values) and
            would fill what does not come with anything.
        adapters_apart: parts whose adapters are not merged: each comes as the two weights
            `LAYER.lora_A.weight` and `LAYER.lora_B.weight`, after all others. With
            `skip_frozen` they are all that comes of such a part.
    """
    layers = dict(adapter_layers(model)) if has_adapters(model) else {}
    apart = {name: layer for name, layer in layers.items() if part_of(name) in adapters_apart}
    kept = trained_parts(model) if skip_frozen else set(PARTS)
    if layers and skip_frozen:
        kept -= set(adapters_apart)
    for full_name, parameter in plain_model(model).named_parameters():
        module, _, last = full_name.rpartition(".")
        if (layers and _ADAPTER in module) or part_of(full_name) not in kept:
            continue
        module = module.removesuffix(f".{_BASE_LAYER}")
        is_merged = last == "weight" and module in layers and module not in apart
        beside = adapter_pair(layers[module]) if is_merged else ()
        with _gathered(parameter, *beside):
            weight = merged_weight(layers[module]) if is_merged else parameter
            yield f"{module}.{last}" if module else last, weight.detach()
    for name, layer in apart.items():
        for which, matrix in zip("AB", adapter_pair(layer), strict=True):
            with _gathered(matrix):
                yield f"{name}.{_ADAPTER}{which}.weight", matrix.detach()


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


def _gathered(*parameters: torch.Tensor) -> Any:
    if not hasattr(parameters[0], "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(list(parameters))
