"""Logprobs of a group's completions with its image and its prompt computed once.

`enable_shared_prefix` gives a policy's forward one more keyword:

    output = model(shared_prefix=batch)      batch: SharedPrefixBatch
    output.logprobs, output.entropies        (B, C), as trl's `_get_per_token_logps_and_entropies`

The call goes through whatever wraps the policy (an adapter, a distributed engine). Inside,
completions are packed behind their prompts (`algo.shared_prefix`), the layers attend by the
structure of the pack (`shared_prefix_attention`), and only the tokens of completions go
through the output head, in chunks that are computed again in backward. Without the keyword
the policy does what it did before.

`shared_prefix_check` compares both ways on a few tokens of a run before a policy goes this one.

P: tokens of a prompt, B: completions, C: longest completion, S: tokens of completions in a
pack, V: vocabulary, A: axes of positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import ModelOutput

from rl_avr.algo.shared_prefix import Pack, make_packs
from rl_avr.errors import DataError
from rl_avr.modeling.image_features import FeatureCache, image_features, vision_parameters
from rl_avr.modeling.packed_pass import (
    LOGITS_AT_ONCE,
    add_keyword,
    own_positions,
    run_backbone,
    score,
)


@dataclass(frozen=True)
class PromptInputs:
    """One prompt as the model reads it.

    Args:
        ids_P: token ids with the images' placeholders, without padding.
        images: what the processor made of its images, as keyword arguments of the model's
            `get_image_features`; empty without images.
        token_types_P: 1 at the placeholders; None where they tell by their ids.
    """

    ids_P: torch.Tensor
    images: Mapping[str, torch.Tensor]
    token_types_P: torch.Tensor | None = None


@dataclass(frozen=True)
class SharedPrefixBatch:
    """Prompts once each, and as many completions for every one.

    Args:
        prompts: in order.
        completion_ids_BC: those of the first prompt first.
        completion_mask_BC: 1 for a row's tokens, which come first; a row may have none.
        compute_entropy: also compute entropies.
    """

    prompts: tuple[PromptInputs, ...]
    completion_ids_BC: torch.Tensor
    completion_mask_BC: torch.Tensor
    compute_entropy: bool = False


@dataclass
class SharedPrefixOutput(ModelOutput):
    """Of every token of every completion; 0 where the mask is 0.

    Args:
        logprobs: (B, C) logprobs after the temperature, in nats.
        entropies: (B, C) in nats; None where not asked for. With gradient.
    """

    logprobs: torch.Tensor | None = None
    entropies: torch.Tensor | None = None


@dataclass(frozen=True)
class SharedPrefixSettings:
    """How packs are made and read.

    Args:
        temperature: logits are divided by it.
        token_budget: most tokens of a pack; None for one pack a call.
        cache: keeps the features of images where nothing of the vision tower and its
            connector is trained; without one, a call computes them once for its own use.
        logits_at_once: most numbers in the logits of a chunk.
    """

    temperature: float = 1.0
    token_budget: int | None = None
    cache: FeatureCache | None = None
    logits_at_once: int = LOGITS_AT_ONCE


def enable_shared_prefix(model: Any, settings: SharedPrefixSettings) -> None:
    """Gives a policy's forward the keyword `shared_prefix`; to be called once for a policy.

    Args:
        model: a policy of transformers, or one with peft's adapters around it.
        settings: of every call.

    Raises:
        ConfigError: the policy's layers are of a kind that has no shared-prefix form.
    """
    add_keyword(model, "shared_prefix", lambda base, batch: _Pass(base, settings, batch).run())


class _Pass:
    """One call: its packs, and the features of its prompts, each computed once."""

    def __init__(self, base: Any, settings: SharedPrefixSettings, batch: SharedPrefixBatch) -> None:
        self._base = base
        self._settings = settings
        self._batch = batch
        self._features: dict[int, Any] = {}
        trained = any(p.requires_grad for p in vision_parameters(base))
        self._cache = None if trained else settings.cache

    def run(self) -> SharedPrefixOutput:
        batch = self._batch
        self._check_placeholders()
        packs = make_packs(
            [prompt.ids_P for prompt in batch.prompts],
            batch.completion_ids_BC,
            batch.completion_mask_BC,
            self._settings.token_budget,
        )
        num_tokens = sum(len(pack.rows_S) for pack in packs)
        parts = [self._run_pack(pack, num_tokens) for pack in packs]
        if not parts:
            return self._nothing()
        where = (
            torch.cat([pack.rows_S for pack in packs]),
            torch.cat([pack.columns_S for pack in packs]),
        )
        logprobs_BC = self._table(where, [logprobs for logprobs, _ in parts])
        entropies = [entropies for _, entropies in parts if entropies is not None]
        return SharedPrefixOutput(logprobs_BC, self._table(where, entropies) if entropies else None)

    def _table(
        self, where: tuple[torch.Tensor, torch.Tensor], parts_S: list[torch.Tensor]
    ) -> torch.Tensor:
        values_S = torch.cat(parts_S)
        table_BC = values_S.new_zeros(self._batch.completion_ids_BC.shape)
        return table_BC.index_put(where, values_S)

    def _nothing(self) -> SharedPrefixOutput:
        """Returns zeros for a batch without a single token, whose gradient is zero."""
        zeros_BC = torch.zeros(
            self._batch.completion_ids_BC.shape, device=self._batch.completion_ids_BC.device
        )
        for parameter in self._base.parameters():
            if parameter.requires_grad:
                zeros_BC = zeros_BC + 0.0 * parameter.sum()
        return SharedPrefixOutput(zeros_BC, zeros_BC if self._batch.compute_entropy else None)

    def _check_placeholders(self) -> None:
        batch = self._batch
        if not any(prompt.images for prompt in batch.prompts):
            return
        image_id = self._base.config.image_token_id
        if ((batch.completion_ids_BC == image_id) & batch.completion_mask_BC.bool()).any():
            raise DataError(
                f"a completion has the image placeholder {image_id}: there is no image for it; "
                "expected a rollout engine that never samples it"
            )
        if any(prompt.ids_P[-1] == image_id for prompt in batch.prompts):
            raise DataError("a prompt ends with an image: expected a text token behind it")

    def _run_pack(self, pack: Pack, num_tokens: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns (S,) logprobs, and (S,) entropies where asked for."""
        backbone, prompts = self._base.base_model, self._batch.prompts
        groups = [span.group for span in pack.spans]
        images = [self._features_of(group) for group in groups if prompts[group].images]
        positions_AN = pack.positions(
            {
                group: own_positions(backbone, p.ids_P, p.images, p.token_types_P)
                for group, p in ((group, prompts[group]) for group in groups)
            }
        )
        hidden_NH = run_backbone(backbone, pack.ids_N, positions_AN, pack.spans, images)
        logprobs_S, entropies_S, _ = score(
            self._base.get_output_embeddings(),
            hidden_NH[pack.completion_index_S],
            self._batch.completion_ids_BC[pack.rows_S, pack.columns_S],
            temperature=self._settings.temperature,
            with_entropy=self._batch.compute_entropy,
            logits_at_once=self._settings.logits_at_once,
            num_tokens=num_tokens,
        )
        return logprobs_S, entropies_S

    def _features_of(self, group: int) -> Any:
        if group not in self._features:
            images = self._batch.prompts[group].images
            self._features[group] = (
                self._cache.features(self._base, images)
                if self._cache is not None
                else image_features(self._base.base_model, images)
            )
        return self._features[group]
