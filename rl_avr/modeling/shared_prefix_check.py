"""Whether shared prefixes give a policy the logprobs of plain rows.

B: completions, C: longest completion, P: tokens of the prompt.
"""

from typing import Any

import torch

from rl_avr.algo.token_logprobs import token_logprobs
from rl_avr.errors import ConfigError
from rl_avr.modeling.shared_prefix import SharedPrefixBatch, base_of

_CHECK_COMPLETIONS, _CHECK_TOKENS = 3, 16
"""What is compared: so many completions of one prompt, cut to so many tokens."""
_LARGEST_GAP = {torch.float64: 1e-4, torch.float32: 1e-4}
_LARGEST_GAP_IN_HALF = 0.25
"""In nats; both ways round differently in 16 bits, and a wrong mask moves much more."""


def refusal(model: Any, batch: SharedPrefixBatch, temperature: float = 1.0) -> str | None:
    """Returns why a policy must go the plain way, or None where both ways agree.

    To be called after `enable_shared_prefix`, with a batch of the run.
    """
    name = type(base_of(model)).__name__
    try:
        gap = check_shared_prefix(model, batch, temperature)
    except (ConfigError, TypeError, ValueError, AttributeError, KeyError, RuntimeError) as error:
        return f"{name} has no shared-prefix form: {type(error).__name__}: {error}"
    largest = _LARGEST_GAP.get(base_of(model).dtype, _LARGEST_GAP_IN_HALF)
    if gap <= largest:
        return None
    return (
        f"{name} has no shared-prefix form: its logprobs differ from those of plain rows by up to "
        f"{gap:.1e}, expected at most {largest:.1e} in {base_of(model).dtype}"
    )


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
    modes = [(module, module.training) for module in base.modules()]
    base.eval()
    try:
        packed_BC = base(shared_prefix=tiny).logprobs
        plain_BC = _plain_logprobs(base, tiny, temperature)
    finally:
        for module, was_training in modes:
            module.training = was_training
    return (packed_BC - plain_BC).abs().max().item()


def _plain_logprobs(base: Any, batch: SharedPrefixBatch, temperature: float) -> torch.Tensor:
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
