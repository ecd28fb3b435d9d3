"""Logprobs of whole groups, each prompt and image once where the policy can, in plain rows else.

B: completions, P: padded prompt, C: padded completion.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from rl_avr.contracts import Prompt
from rl_avr.errors import ConfigError
from rl_avr.modeling.image_features import FeatureCache
from rl_avr.modeling.shared_prefix import (
    PromptInputs,
    SharedPrefixBatch,
    SharedPrefixSettings,
    enable_shared_prefix,
)
from rl_avr.modeling.shared_prefix_check import refusal
from rl_avr.modeling.shared_prefix_rows import processed_inputs
from rl_avr.training.config import UpdateConfig
from rollouts.prompt_inputs import processed_prompt

_LOG = logging.getLogger(__name__)
Logprobs = tuple[torch.Tensor, torch.Tensor | None]
"""(B, C) logprobs, and (B, C) entropies where asked for."""


@dataclass(frozen=True, eq=False)
class GroupPrompt:
    """The prompt of one group as the policy reads it, processed once.

    Args:
        inputs: its ids, and its images as the processor made them.
        num_images: how many images it has.
    """

    inputs: PromptInputs
    num_images: int


def group_prompt(processor: Any, prompt: Prompt, device: torch.device) -> GroupPrompt:
    """Returns a prompt with the placeholders of its images expanded, on a device."""
    made = processed_prompt(processor, prompt).to(device)
    return GroupPrompt(processed_inputs(made), len(prompt.images))


class PolicyPass:
    """Computes logprobs of completions under a policy.

    Which way is decided at the first batch, on all ranks alike: `why_plain` then says why
    rows are plain, and is None where prefixes are shared.

    Args:
        config: whether and how prefixes are shared.
        group_size: completions of a prompt.
        temperature: logits are divided by it.
        num_prompts: prompts of a rank's batch; features of a frozen tower are kept for so many.
        accelerator: of the run.
    """

    def __init__(
        self,
        config: UpdateConfig,
        group_size: int,
        temperature: float,
        num_prompts: int,
        accelerator: Accelerator,
    ) -> None:
        self._group_size = group_size
        self._temperature = temperature
        self._accelerator = accelerator
        self._settings = SharedPrefixSettings(
            temperature, config.pack_tokens, FeatureCache(max(1, num_prompts))
        )
        self._is_decided = not config.shared_prefix
        self.why_plain = None if config.shared_prefix else "update.shared_prefix is false"

    def enable(self, model: Any) -> None:
        """Prepares a policy, or notes why it cannot share prefixes."""
        if self._is_decided:
            return
        try:
            enable_shared_prefix(model, self._settings)
        except ConfigError as error:
            self._decide(str(error))

    def __call__(
        self,
        model: Any,
        prompts: Sequence[GroupPrompt],
        completion_ids_BC: torch.Tensor,
        completion_mask_BC: torch.Tensor,
        with_entropy: bool,
    ) -> Logprobs | None:
        """Returns logprobs and entropies by shared prefixes; None where rows must be plain."""
        batch = SharedPrefixBatch(
            tuple(prompt.inputs for prompt in prompts),
            completion_ids_BC,
            completion_mask_BC,
            with_entropy,
        )
        if not self._is_decided:
            unwrapped = self._accelerator.unwrap_model(model)
            self._decide(refusal(unwrapped, batch, self._temperature))
        if self.why_plain is not None:
            return None
        with self._accelerator.autocast():
            output = model(shared_prefix=batch)
        return output.logprobs, output.entropies

    def _decide(self, reason: str | None) -> None:
        """Takes the plain way on all ranks where one of them must."""
        refused = torch.tensor(float(reason is not None), device=self._accelerator.device)
        is_plain = bool(self._accelerator.gather(refused).max())
        self._is_decided = True
        self.why_plain = (reason or "another rank cannot share prefixes") if is_plain else None
        if self.why_plain and self._accelerator.is_main_process:
            _LOG.warning(
                "each completion goes through the policy with its own copy of prompt and image, "
                "which costs several times as much: %s",
                self.why_plain,
            )


def plain_rows(
    prompts: Sequence[GroupPrompt], group_size: int, prompt_length: int, completion_length: int
) -> dict[str, Any]:
    """Returns what trl's forward pass takes beside ids: every row with its own images.

    Args:
        prompts: one for each group.
        group_size: rows of a group, which lie side by side.
        prompt_length: P, padded on the left.
        completion_length: C.
    """
    repeated = [prompt for prompt in prompts for _ in range(group_size)]
    rows: dict[str, Any] = {}
    for name in prompts[0].inputs.images:
        rows[name] = torch.cat([prompt.inputs.images[name] for prompt in repeated])
    if rows:
        rows["num_images"] = [prompt.num_images for prompt in repeated]
    if prompts[0].inputs.token_types_P is not None:
        types = [_padded(p.inputs.token_types_P, prompt_length, completion_length) for p in prompts]
        rows["mm_token_type_ids"] = torch.stack(types).repeat_interleave(group_size, dim=0)
    return rows


def _padded(types_P: torch.Tensor | None, before: int, after: int) -> torch.Tensor:
    assert types_P is not None
    return torch.nn.functional.pad(types_P, (before - len(types_P), after))


def split_by_group(
    batch: dict[str, Any], group_size: int, num_parts: int, order: Callable[[int], Sequence[int]]
) -> list[dict[str, Any]]:
    """Returns a batch in parts of whole groups, in a drawn order of the groups.

    trl's own seam shuffles and splits rows, which leaves fragments of groups.

    Args:
        batch: tensors with B rows, lists with an entry for each group, and single numbers.
        group_size: rows of a group, which lie side by side.
        num_parts: how many parts; divides the number of groups.
        order: number of groups -> their order.
    """
    num_groups = len(batch["completion_ids"]) // group_size
    groups = torch.as_tensor(list(order(num_groups)))
    return [_part(batch, chosen.tolist(), group_size) for chosen in groups.chunk(num_parts)]


def _part(batch: dict[str, Any], groups: list[int], group_size: int) -> dict[str, Any]:
    rows = [group * group_size + k for group in groups for k in range(group_size)]
    part = {}
    for name, value in batch.items():
        if isinstance(value, list):
            part[name] = [value[group] for group in groups]
        elif isinstance(value, torch.Tensor) and value.dim() > 0:
            part[name] = value[rows]
        else:
            part[name] = value
    return part
