"""Whether shared prefixes give a policy the logprobs of plain rows.

B: completions, C: longest completion, P: tokens of the prompt.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from rl_avr.algo.token_logprobs import token_logprobs
from rl_avr.errors import ConfigError
from rl_avr.modeling.packed_pass import base_of
from rl_avr.modeling.shared_prefix import SharedPrefixBatch

_CHECK_COMPLETIONS, _CHECK_TOKENS = 3, 16
"""What is compared: so many completions of one prompt, cut to so many tokens."""
_LARGEST_GAP = {torch.float64: 1e-4, torch.float32: 1e-4}
_LARGEST_GAP_IN_HALF = 0.25
"""In nats; both ways round differently in 16 bits, and a wrong mask moves much more."""


def refusal(model: Any, batch: SharedPrefixBatch, temperature: float = 1.0) -> str | None:
    """Returns why a policy must go the plain way, or None where both ways agree.

    To be called after `enable_shared_prefix`, with a batch of the run.
    """
    return reason_against(
        base_of(model), "shared-prefix", lambda: check_shared_prefix(model, batch, temperature)
    )


def reason_against(base: Any, form: str, largest_gap: Callable[[], float]) -> str | None:
    """Returns why a policy cannot go a faster way, or None where it agrees with the plain one.

    Args:
        base: the policy without adapters around it.
        form: what the faster way is called.
        largest_gap: goes both ways; returns how far their logprobs are apart, in nats.
    """
    name = type(base).__name__
    try:
        gap = largest_gap()
    except (ConfigError, TypeError, ValueError, AttributeError, KeyError, RuntimeError) as error:
        return f"{name} has no {form} form: {type(error).__name__}: {error}"
    largest = _LARGEST_GAP.get(base.dtype, _LARGEST_GAP_IN_HALF)
    if gap <= largest:
        return None
    return (
        f"{name} has no {form} form: its logprobs differ from those of plain rows by up to "
        f"{gap:.1e}, expected at most {largest:.1e} in {base.dtype}"
    )


@contextmanager
def evaluating(base: Any) -> Iterator[None]:
    """Has every module in evaluation mode for as long as its block runs."""
    modes = [(module, module.training) for module in base.modules()]
    base.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


@torch.no_grad()
def check_shared_prefix(model: Any, batch: SharedPrefixBatch, temperature: float = 1.0) -> float:
    """Returns the largest |logprob gap| between both ways, on a few tokens of one prompt.

    The completions' ids are taken as they are, padding too, at lengths that differ: what
    they say does not matter, and a batch of empty completions is compared as well.
    """
    base = base_of(model)
    size = len(batch.completion_ids_BC) // len(batch.prompts)
    group = next((i for i, prompt in enumerate(batch.prompts) if prompt.images), 0)
    ids_BC = batch.completion_ids_BC[group * size :][: min(size, _CHECK_COMPLETIONS)]
    ids_BC = ids_BC[:, :_CHECK_TOKENS]
    count, length = ids_BC.shape
    lengths_B = torch.arange(length, length - count, -1, device=ids_BC.device).clamp(min=1)
    mask_BC = (torch.arange(length, device=ids_BC.device) < lengths_B[:, None]).long()
    tiny = SharedPrefixBatch(batch.prompts[group : group + 1], ids_BC, mask_BC)
    with evaluating(base):
        packed_BC = base(shared_prefix=tiny).logprobs
        plain_BC = plain_logprobs(base, tiny, temperature)
    return (packed_BC - plain_BC).abs().max().item()


def plain_logprobs(base: Any, batch: SharedPrefixBatch, temperature: float) -> torch.Tensor:
    """Returns (B, C) logprobs of rows of one prompt, each with its image."""
    (prompt,) = batch.prompts
    count, length = batch.completion_ids_BC.shape
    ids_BP = prompt.ids_P.expand(count, -1)
    mask_BC = batch.completion_mask_BC
    inputs = {name: torch.cat([value] * count) for name, value in prompt.images.items()}
    if prompt.token_types_P is not None:
        types_BP = prompt.token_types_P.expand(count, -1)
        inputs["mm_token_type_ids"] = torch.cat([types_BP, torch.zeros_like(mask_BC)], dim=1)
    logits = base(
        input_ids=torch.cat([ids_BP, batch.completion_ids_BC], dim=1),
        attention_mask=torch.cat([torch.ones_like(ids_BP), mask_BC], dim=1),
        use_cache=False,
        **inputs,
    ).logits[:, -length - 1 : -1]
    labels = batch.completion_ids_BC.flatten()
    logprobs, _ = token_logprobs(logits.flatten(0, 1), labels, temperature, with_entropy=False)
    return logprobs.view(count, length) * mask_BC
